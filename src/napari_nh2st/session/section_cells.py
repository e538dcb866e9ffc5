"""Cells of the sections table: how values are spelled, and what may be typed for them."""

from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from napari_nh2st.errors import InputError
from napari_nh2st.spots import Fix


def spelled(value: object) -> str:
    """Text of a field of a :class:`~napari_nh2st.session.section_rows.SectionRow`."""
    match value:
        case None:
            return ""
        case Path():
            return value.name
        case Fix():
            return value.spelled()
        case float():
            return f"{value:g}"
    return str(value)


def typed_value(field: str, text: str, other_names: Collection[str]) -> object:
    """The value of a row's field that was typed.

    Parameters
    ----------
    field
        Name of a field of :class:`~napari_nh2st.session.section_rows.SectionRow` that is text, or
        ``"mpp"`` or ``"fix"``, which are None where nothing is typed.
    text
        Without spaces around it.
    other_names
        Names of the other rows.

    Raises
    ------
    InputError
        It cannot be taken.
    """
    if field == "name" and text and text in other_names:
        raise InputError(f"There is already a section {text!r}: give another name.")
    if field == "mpp":
        return _mpp(text) if text else None
    if field == "fix":
        try:
            fix = Fix.from_text(text)
        except InputError as error:
            raise InputError(f"{error}.") from None
        return None if fix == Fix() else fix
    return text


def _mpp(text: str) -> float:
    with suppress(ValueError):
        mpp = float(text.replace(",", "."))
        if 0 < mpp < 100:
            return mpp
    raise InputError(f"{text!r} is not a µm/px: give a number such as 0.5.")
