"""What may be typed into the sections table, and how it is spelled there."""

from pathlib import Path

import pytest

from napari_nh2st.errors import InputError
from napari_nh2st.session.section_cells import spelled, typed_value
from napari_nh2st.spots import Fix


@pytest.mark.parametrize(
    ("field", "typed", "value", "shown"),
    [
        ("donor", "C", "C", "C"),
        ("mpp", "0,5", 0.5, "0.5"),
        ("mpp", "", None, ""),
        ("fix", "flip-x", Fix.from_text("flip-x"), "flip-x"),
        ("fix", "", None, ""),
    ],
)
def test_typed_values_are_spelled_as_they_were_taken(
    field: str, typed: str, value: object, shown: str
) -> None:
    assert typed_value(field, typed, ["C5"]) == value
    assert spelled(value) == shown
    assert spelled(Path("slides") / "C6.tif") == "C6.tif"


@pytest.mark.parametrize(
    ("field", "typed", "message"),
    [
        ("name", "C5", "already a section 'C5'"),
        ("mpp", "-1", "'-1' is not a µm/px"),
        ("mpp", "half", "'half' is not a µm/px"),
        ("fix", "turn", "turn"),
    ],
)
def test_what_cannot_be_taken_is_refused(field: str, typed: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        typed_value(field, typed, ["C5"])
