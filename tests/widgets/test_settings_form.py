"""Forms made of options: controls, labels, units, and what they stand for."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFormLayout

from napari_nh2st.errors import InputError
from napari_nh2st.options import Option, check_options, settings_of
from napari_nh2st.widgets.setting_controls import (
    ChoiceBox,
    FileLine,
    NumberBox,
    NumberLine,
    SwitchBox,
    control_for,
)
from napari_nh2st.widgets.settings_form import SettingsForm


@dataclass(frozen=True)
class Frame:
    gold: Annotated[bool, Option("Gold & silver", "Gild it", heading="Frame")] = True
    plain: Annotated[bool, Option("Ornaments", "Carve it", negative="carved")] = True

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Painting:
    style: Annotated[
        Literal["ink", "oil"],
        Option("Style", "What it is painted with", heading="Paint", words={"oil": "oil on wood"}),
    ] = "ink"
    coats: Annotated[int, Option("Coats", "Coats of varnish", (0, 9))] = 2
    width: Annotated[
        float | None,
        Option("Width", "Width of it", (1, 500), unit="cm", step=1, default="as the wall"),
    ] = None
    haste: Annotated[float, Option("Haste", "How fast", (0, 1), step=0.05, special="none")] = 0
    weight: Annotated[
        float | None, Option("Weight", "Weight of it", (0, 9), unit="kg", default="measured")
    ] = None
    mood: Annotated[
        Literal["sad", "gay"] | None, Option("Mood", "Mood of it", default="the painter's")
    ] = None
    frame: Annotated[Frame, Option("Frame", "Its frame")] = field(default_factory=Frame)
    file: Annotated[str | None, Option("File", "File of a sketch", default="none")] = None

    def __post_init__(self) -> None:
        check_options(self)


NAMES = [name for kind in (Painting, Frame) for name in settings_of(kind) if name != "frame"]


@pytest.fixture
def form(qtbot: QtBot) -> SettingsForm:
    form = SettingsForm()
    qtbot.addWidget(form)
    form.add_rows(Painting, NAMES, {"file": FileLine("A sketch")}, headings=True)
    return form


def labels(form: SettingsForm) -> list[str]:
    """Of each row, or the heading that it is."""
    found = []
    for row in range(form.form.rowCount()):
        items = [
            form.form.itemAt(row, role)
            for role in (QFormLayout.ItemRole.LabelRole, QFormLayout.ItemRole.SpanningRole)
        ]
        shown: Any = next((item.widget() for item in items if item is not None), None)
        found.append("" if shown is None else shown.text())
    return found


def test_rows_have_the_labels_units_and_headings_of_the_options(form: SettingsForm) -> None:
    assert labels(form) == [
        *("<b>Paint</b>", "Style", "Coats", "Width", "Haste", "Weight, kg", "Mood"),
        *("<b>Frame</b>", "", "", "File"),
    ]


def test_controls_are_those_that_the_fields_ask_for(form: SettingsForm) -> None:
    kinds = {name: type(control) for name, control in form.controls.items()}
    assert kinds == {
        "style": ChoiceBox,
        "coats": NumberLine,
        "width": NumberBox,
        "haste": NumberBox,
        "weight": NumberLine,
        "mood": ChoiceBox,
        "gold": SwitchBox,
        "plain": SwitchBox,
        "file": FileLine,
    }
    controls = form.controls
    assert controls["coats"].placeholderText() == "2"
    assert controls["weight"].placeholderText() == "measured"
    assert controls["width"].text() == "as the wall"
    assert controls["haste"].text() == "none"
    assert controls["style"].itemText(1) == "oil on wood"
    assert controls["mood"].currentText() == "the painter's"
    assert controls["gold"].text() == "Gold && silver"
    assert controls["width"].toolTip() == "Width of it. Default: as the wall"
    assert controls["coats"].toolTip() == "Coats of varnish"


def test_untouched_controls_are_the_defaults(form: SettingsForm) -> None:
    assert Painting(**form.values(Painting)) == Painting()


def test_what_is_shown_is_what_comes_back(form: SettingsForm) -> None:
    heard: list[int] = []
    form.changed.connect(lambda: heard.append(1))
    painting = Painting("oil", 5, 80.5, 0.35, 2.25, "gay", Frame(False, False), "/a/sketch")
    form.show_values(painting)
    assert Painting(**form.values(Painting)) == painting
    assert form.controls["width"].text() == "80.5 cm"
    assert form.controls["plain"].isChecked(), "its switch is the negative"
    assert len(heard) >= len(NAMES), "each control says that it has changed"
    form.show_values(Painting())
    assert Painting(**form.values(Painting)) == Painting()


def test_a_number_that_is_none_or_out_of_range_is_refused(form: SettingsForm) -> None:
    form.controls["coats"].setText("two")
    with pytest.raises(InputError, match="Coats is 'two': give a whole number"):
        form.values(Painting)
    form.controls["coats"].setText("10")
    with pytest.raises(InputError, match="coats is 10; it must be from 0 to 9"):
        Painting(**form.values(Painting))
    form.controls["coats"].setText("3,0")
    assert form.values(Painting)["coats"] == 3


def test_a_box_keeps_to_the_range(form: SettingsForm) -> None:
    for name, low, high in (("width", None, 500), ("haste", 0, 1)):
        form.controls[name].setValue(-1e6)
        assert form.controls[name].value() == low
        form.controls[name].setValue(1e6)
        assert form.controls[name].value() == high


def test_a_field_without_a_control_is_no_surprise_to_anybody() -> None:
    @dataclass(frozen=True)
    class Palette:
        colors: Annotated[tuple[str, ...], Option("Colors", "Colors that are mixed")] = ()

    with pytest.raises(TypeError, match="no control is made for colors"):
        control_for(settings_of(Palette)["colors"])
    assert control_for(settings_of(Painting)["file"]).value() is None, "a text may be none"
