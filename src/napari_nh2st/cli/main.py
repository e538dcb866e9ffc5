"""``nh2st``: arguments in, results on stdout, everything else on stderr."""

import sys
import warnings
from collections.abc import Sequence
from importlib import metadata

from napari_nh2st.cli.arguments import parser
from napari_nh2st.errors import InputError, SegmentError

DONE, FAILED, BAD_INPUT = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``nh2st``.

    Parameters
    ----------
    arguments
        Those of the command line by default.

    Returns
    -------
    int
        0 done, 1 failed or stopped, 2 something given cannot be used.
    """
    top = parser()
    args = top.parse_args(arguments)
    if args.version:
        print(f"nh2st {metadata.version('napari-nh2st')}")
        return DONE
    if args.command is None:
        top.print_help(sys.stderr)
        return BAD_INPUT
    # Deprecations inside libraries are nothing a user of the command can act on.
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        args.run(args)
    except (InputError, SegmentError) as error:
        return _complain(str(error), BAD_INPUT)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()  # whoever read our output has gone: nothing to say to anybody
            return FAILED
        # A file or folder that may not be read or written, wherever we met it.
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", BAD_INPUT)
    except KeyboardInterrupt as stop:
        return _complain(f"Stopped. {stop}".strip(), FAILED)
    except Exception as error:
        return _complain(f"failed: {type(error).__name__}: {error}", FAILED)
    return DONE


def _complain(text: str, code: int) -> int:
    print(f"nh2st: {text}", file=sys.stderr)
    return code
