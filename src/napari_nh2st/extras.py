"""Libraries of the package's extras, imported where they are used."""

from importlib import import_module
from types import ModuleType

from napari_nh2st.errors import InputError, first_line

NOT_INSTALLED = "is not installed"


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
    problem = import_problem(library)
    if problem is None:
        return import_module(library)
    if problem == NOT_INSTALLED:
        raise ExtraError(f"{purpose} needs {library}: pip install 'napari-nh2st[{extra}]'")
    raise ExtraError(
        f"{purpose} needs {library}, which {problem}. Update it and what it needs: "
        f"pip install --upgrade --upgrade-strategy eager 'napari-nh2st[{extra}]'"
    )


def import_problem(library: str) -> str | None:
    """Why a library cannot be imported; None where it can.

    Parameters
    ----------
    library
        Name of its module.

    Returns
    -------
    str or None
        What follows its name in a sentence: :data:`NOT_INSTALLED`, or that it is installed and
        fails when it is imported, with the reason.
    """
    try:
        import_module(library)
    except Exception as error:  # a library that is broken raises whatever it meets
        if isinstance(error, ModuleNotFoundError) and error.name == library.partition(".")[0]:
            return NOT_INSTALLED
        kind = type(error).__name__
        return f"is installed but cannot be imported ({kind}: {first_line(error)})"
    return None
