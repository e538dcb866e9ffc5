"""``nh2st``: arguments in, results on stdout, everything else on stderr.

Little is imported here: the rest comes when signals are looked after.
"""

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from napari_nh2st.cli.stopping import STOPPED, StopRequest
from napari_nh2st.errors import InputError, SegmentError

DONE, FAILED, BAD_INPUT = 0, 1, 2

_MOST_LINES = 4

_USERS_ERRORS = {
    getattr(errno, name)
    for name in (
        *("ENOENT", "EACCES", "EPERM", "EEXIST", "EISDIR", "ENOTDIR", "EROFS", "ELOOP"),
        *("ENAMETOOLONG", "ENOTEMPTY", "EINVAL", "EILSEQ", "EFBIG", "ENOSPC", "EDQUOT", "EXDEV"),
    )
    if hasattr(errno, name)
}
"""What the system says of a file or folder that the user named; the rest is a broken machine."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``nh2st``.

    Parameters
    ----------
    arguments
        Those of the command line by default; the process then ends with this function, and a
        signal may end it earlier.

    Returns
    -------
    int
        0 done, 1 failed or stopped, 2 an argument or input cannot be used.
    """
    with StopRequest(owns_process=arguments is None) as stop:
        code = _run(arguments, stop)
        stop.finish(code)
    if arguments is None:
        from napari_nh2st.cli.output import flush_streams

        flush_streams()
        if stop():
            # What ran in threads is in the middle of something, which the interpreter's own end
            # would wait for, or break.
            os._exit(code)
    return code


def _run(arguments: Sequence[str] | None, stop: StopRequest) -> int:
    from napari_nh2st.cli import output

    if arguments is None:
        output.prepare_streams()
        output.escape_warnings()
    with ExitStack() as until_the_end:
        return _run_command(arguments, stop, until_the_end)


def _run_command(
    arguments: Sequence[str] | None, stop: StopRequest, until_the_end: ExitStack
) -> int:
    import warnings

    from napari_nh2st.cli import output

    debug = False
    try:
        # Deprecations inside libraries are nothing a user of the command can act on.
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        from napari_nh2st.cli.arguments import parser

        top = parser()
        args = top.parse_args(arguments)
        debug = "debug" in args
        if args.version:
            from importlib import metadata

            output.show(f"nh2st {metadata.version('napari-nh2st')}")
            return DONE
        if args.command is None:
            top.print_help(sys.stderr)
            return BAD_INPUT
        args.stop = stop
        from napari_nh2st.cli.verbosity import as_asked

        until_the_end.enter_context(as_asked(args, owns_process=arguments is None))
        code = args.run(args) or DONE
        sys.stdout.flush()
    except BaseException as error:
        if isinstance(error, SystemExit):  # argparse, after help and after errors
            return error.code if isinstance(error.code, int) else BAD_INPUT
        try:
            return _complain(error, stop, debug)
        except OSError:  # stderr is gone, or its disk is full
            output.silence(sys.stderr)
            return FAILED
    return code


def _complain(error: BaseException, stop: StopRequest, debug: bool) -> int:
    """Say what went wrong, and choose the exit code."""
    import logging

    from napari_nh2st.cli import output
    from napari_nh2st.shown_text import in_one_line

    logging.getLogger(output.SAID).debug("%s:", type(error).__name__, exc_info=error)

    if debug and not isinstance(error, KeyboardInterrupt):
        import traceback

        output.complain("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, KeyboardInterrupt) or (stop() and not isinstance(error, InputError)):
        # Interrupted libraries raise what they like.
        text = str(error) if isinstance(error, KeyboardInterrupt) else ""
        if not stop.silent:
            output.complain(f"nh2st: Stopped. {text}".rstrip())
        return STOPPED
    if isinstance(error, BrokenPipeError):
        output.silence(sys.stdout)  # whoever read our output has gone: nothing to say to anybody
        output.silence(sys.stderr)
        return FAILED
    if isinstance(error, InputError | SegmentError):
        lines = str(error).splitlines()
        more = ["…"] if len(lines) > _MOST_LINES else lines[_MOST_LINES - 1 :]
        output.complain("nh2st: " + "\n".join([*lines[: _MOST_LINES - 1], *more]))
        return BAD_INPUT
    if isinstance(error, OSError) and error.errno in _USERS_ERRORS:
        # A file or folder that may not be read or written, wherever we met it.
        where = f"{error.filename}: " if error.filename else ""
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "; free some space, or write elsewhere" if is_full else ""
        output.complain(f"nh2st: {in_one_line(f'{where}{error.strerror or error}')}{advice}")
        return BAD_INPUT
    return _complain_of_what_nobody_foresaw(error, debug)


def _complain_of_what_nobody_foresaw(error: BaseException, debug: bool) -> int:
    from napari_nh2st.cli import output
    from napari_nh2st.cli.error_log import write_error_log
    from napari_nh2st.shown_text import in_one_line

    if is_out_of_memory(error):
        text = "there is not enough memory; close other programs, or give a smaller --batch-size"
    else:
        text = in_one_line(f"failed: {type(error).__name__}: {error}")
    log = None if debug else write_error_log(error)
    output.complain(f"nh2st: {text}" + (f" (traceback in {log})" if log else ""))
    return FAILED


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up, in Python, in NumPy or in torch."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, which may not be imported
        or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    )
