"""Libraries of the package's extras, imported where they are used."""

from importlib import import_module
from types import ModuleType

from napari_nh2st.errors import InputError


class ExtraError(InputError):
    """A library of an extra is not installed, or cannot be imported."""


def import_extra(library: str, extra: str, purpose: str) -> ModuleType:
    """Import a library that an extra installs.

    Parameters
    ----------
    library
        Name of its module.
    extra
        Name of the extra.
    purpose
        What it is needed for, as the beginning of a sentence: "Reading SpatialData".

    Returns
    -------
    module

    Raises
    ------
    ExtraError
        It is not installed; or it is, and fails when it is imported, as where its own
        dependencies do not fit together.
    """
    install = f"pip install 'napari-nh2st[{extra}]'"
    try:
        return import_module(library)
    except Exception as error:  # a library that is broken raises whatever it meets
        if isinstance(error, ModuleNotFoundError) and error.name == library.partition(".")[0]:
            raise ExtraError(f"{purpose} needs {library}: {install}") from None
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ExtraError(
            f"{purpose} needs {library}, which is installed but cannot be imported "
            f"({type(error).__name__}: {reason}). Update what it stands on: "
            f"{install.replace('install', 'install --upgrade --upgrade-strategy eager', 1)}"
        ) from error
