"""Options of settings dataclasses: what is read from a field, and which values it takes."""

import re
from dataclasses import dataclass, fields
from fractions import Fraction
from math import inf
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from napari_nh2st.analysis.domain_settings import DomainSettings
from napari_nh2st.errors import InputError
from napari_nh2st.export import FigureSettings
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.model.catalogue import CATALOGUE
from napari_nh2st.options import Option, Pair, check_options, settings_of, shown_value
from napari_nh2st.spots.panel import PanelSettings
from napari_nh2st.training.augmentation_settings import AugmentationSettings
from napari_nh2st.training.settings import TrainSettings

SETTINGS = (
    PredictSettings,
    TrainSettings,
    AugmentationSettings,
    PanelSettings,
    DomainSettings,
    FigureSettings,
)


@dataclass(frozen=True)
class Inner:
    dots: Annotated[bool, Option("Dots", "Draw dots")] = True


@dataclass(frozen=True)
class Drawing:
    size: Annotated[int, Option("Size", "Size of the drawing", (2, 20_000), multiple_of=2)] = 4
    blur: Annotated[
        float | None,
        Option("Blur", "Width of the blur", (0, 1), below=True, default="that of the lens"),
    ] = None
    style: Annotated[Literal["ink", "oil"], Option("Style", "What it is drawn with")] = "ink"
    seed: Annotated[int, Option("Seed", "Seed of the lines", (0, inf))] = 0
    tones: Annotated[Pair, Option("Tones", "Darkest and lightest", (0, 255))] = (0, 255)
    inner: Annotated[Inner, Option("Inside", "What is inside")] = Inner()
    note: str = ""

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Smudged(Drawing):
    blur: float = 0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 1}, "size is 1; it must be from 2 to 20,000"),
        ({"size": 30_000}, "size is 30000; it must be from 2 to 20,000"),
        ({"size": 2.5}, "size is 2.5; it must be a whole number"),
        ({"size": 7}, "size is 7; it must be a multiple of 2"),
        ({"size": "7"}, "size is 7; it must be a number"),
        ({"size": None}, "size is None; it must be a number"),
        ({"blur": -0.1}, "blur is -0.1; it must be from 0 to below 1"),
        ({"blur": 1}, "blur is 1; it must be from 0 to below 1"),
        ({"blur": float("nan")}, "blur is nan; it must be from 0 to below 1"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"seed": float("inf")}, "seed is inf; it must be at least 0"),
        ({"style": "chalk"}, "style is 'chalk'; it must be one of ink, oil"),
        ({"style": None}, "style is None; it must be one of ink, oil"),
        (
            {"tones": (9, 1)},
            "tones is 9 1; it must be two numbers from 0 to 255, the lower one first",
        ),
        (
            {"tones": (1, 1)},
            "tones is 1 1; it must be two numbers from 0 to 255, the lower one first",
        ),
        (
            {"tones": (0, 256)},
            "tones is 0 256; it must be two numbers from 0 to 255, the lower one first",
        ),
        (
            {"tones": [0, 1, 2]},
            "tones is 0 1 2; it must be two numbers from 0 to 255, the lower one first",
        ),
        ({"tones": "ab"}, "tones is ab; it must be two numbers from 0 to 255, the lower one first"),
        (
            {"tones": None},
            "tones is None; it must be two numbers from 0 to 255, the lower one first",
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_name_and_range(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as raised:
        Drawing(**given)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "given",
    [
        {"size": np.int64(2)},
        {"blur": np.float32(0.5)},
        {"blur": Fraction(1, 3)},
        {"blur": None},
        {"tones": [0, np.float32(0.5)]},
    ],
)
def test_numbers_of_all_kinds_are_taken(given: dict[str, Any]) -> None:
    (name,) = given
    assert getattr(Drawing(**given), name) == given[name]


@pytest.mark.parametrize(
    ("value", "shown"),
    [((1, 99.5), "1 99.5"), (("A", "B"), "A,B"), (0.2, "0.2"), (3, "3"), ("magma", "magma")],
)
def test_values_are_shown_as_one_types_them(value: Any, shown: str) -> None:
    assert shown_value(value) == shown


def test_a_subclass_keeps_the_options() -> None:
    assert settings_of(Smudged)["blur"].default == 0.5
    with pytest.raises(InputError, match="blur is 2; it must be from 0 to below 1"):
        Smudged(blur=2)


def test_what_a_field_is() -> None:
    settings = settings_of(Drawing)
    assert list(settings) == ["size", "blur", "style", "seed", "tones", "inner"], "with an option"
    assert (settings["blur"].kind, settings["blur"].optional) == (float, True)
    assert settings["style"].choices == ("ink", "oil")
    assert [name for name, setting in settings.items() if setting.is_group] == ["inner"]
    assert settings_of(FigureSettings)["limits"].kind == Pair, "the first of several"
    ranges = [settings[name].range_text for name in ("size", "tones", "style")]
    assert ranges == ["from 2 to 20,000", "two numbers from 0 to 255", ""]
    assert settings["blur"].option.tooltip == "Width of the blur. Default: that of the lens"


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_setting_has_an_option_that_says_what_it_does(kind: Any) -> None:
    settings = settings_of(kind)
    assert list(settings) == [field.name for field in fields(kind)]
    for name, setting in settings.items():
        option = setting.option
        assert option.label
        assert not option.help.endswith("."), "it goes on after it"
        assert setting.default is not None or option.default, f"{name}: what None means"
        assert not set(option.words) - set(setting.choices)


def test_the_published_shapes_are_those_of_the_network() -> None:
    from napari_nh2st.model.architectures import ARCHITECTURES
    from napari_nh2st.model.nh2st import NH2STHyperparameters
    from napari_nh2st.training.start import DEFAULT_MPP

    settings = settings_of(TrainSettings)
    published = {f.name: f.default for f in fields(NH2STHyperparameters)} | {"mpp": DEFAULT_MPP}
    del published["panel_size"]
    for name, value in published.items():
        shown = value if isinstance(value, str) else f"{value:g}"
        default, _, others = settings[name].option.default.partition(" (")
        assert default == f"the start model's, else {shown}"
        expected = {
            key: f"{getattr(ARCHITECTURES[key].hyperparameters, name):g}"
            for key, entry in CATALOGUE.items()
            if entry.settings.get(name, value) != value
        }
        named = [each.split(" for ") for each in others.strip(")").split("; ") if each]
        found = {key: own for own, keys in named for key in re.split(", | and ", keys)}
        assert found == expected
