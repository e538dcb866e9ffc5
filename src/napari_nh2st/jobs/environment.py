"""Environment of a child process, and where it finds its modules."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import napari_nh2st

_NOT_INHERITED = frozenset({"PYTHONSTARTUP", "PYTHONINSPECT", "PYTHONBREAKPOINT", "PYTHONWARNINGS"})
"""Variables with which Python runs other code first, asks for more at the end, or lets a
deprecation end what works."""


def child_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which a child imports what this process would, and nothing else.

    The folder a user works in holds other people's files, and Python would take a ``numpy.py``
    that lies there for NumPy. It is not searched, neither by the child nor by processes that the
    child starts.

    Parameters
    ----------
    environment
        To begin with; this process' own by default.
    """
    given = os.environ if environment is None else environment
    kept = {name: value for name, value in given.items() if name not in _NOT_INHERITED}
    return kept | {"PYTHONPATH": os.pathsep.join(trusted_paths()), "PYTHONSAFEPATH": "1"}


def trusted_paths() -> list[str]:
    """Where this process finds its modules, without the working folder.

    The folder that this package itself was imported from stays, whatever it is.
    """
    own = Path(napari_nh2st.__file__).resolve().parents[1]
    here = Path.cwd()
    return [
        path
        for path in sys.path
        if Path(path).is_absolute()
        and os.pathsep not in path
        and (_is_same(path, own) or not _is_same(path, here))
    ]


def _is_same(path: str, folder: Path) -> bool:
    try:
        return Path(path).samefile(folder)
    except OSError:  # it is not there: nothing is imported from it
        return False
