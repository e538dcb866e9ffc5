"""Numbers as a reader wants them: meaning, interval and place in the map."""

import numpy as np
import pytest

from gene_predictions import gene_prediction
from napari_nh2st.model.config import PUBLISHED_TARGET
from napari_nh2st.prediction.reading import (
    GeneReading,
    ValueScale,
    limits_in_words,
    unfamiliarity_in_words,
)

GENE = "CD74"


def reading_of(values: list[float], half_width: float | None = None, **target: object):
    """The values of the first tiles; all others have none."""
    prediction = gene_prediction(filled=False)
    prediction.X[: len(values), prediction.var_names.get_loc(GENE)] = values
    prediction.uns["nh2st"]["target"] = target or PUBLISHED_TARGET
    if half_width is not None:
        prediction.var["interval_90"] = half_width
    return GeneReading(prediction, GENE)


def test_a_value_is_told_with_interval_meaning_and_place() -> None:
    # 10 ** 1.66 - 1 = 44.7; 31 of 32 tiles are below, and it counts half itself.
    reading = reading_of([1.66, *np.linspace(0.5, 1.6, 31)], 0.2)
    assert reading.at(0) == "CD74 1.66 ± 0.2 ≈ 45 per 10,000 of the panel · 98th percentile"
    several = reading_of([1.0, 1.0, 1.0, 2.0, 3.0])
    # None is below the three equal ones, which count half: 1.5 of 5.
    assert several.at(0) == "CD74 1.00 ≈ 9 per 10,000 of the panel · 30th percentile"
    assert [several.percentile(value) for value in (0.5, 2.0, 9.0)] == [0, 70, 100]


@pytest.mark.parametrize(
    ("n_tiles", "said"), [(40, ["1st", "11th", "21st"]), (20, ["2nd", "12th", "22nd"])]
)
def test_percentiles_end_as_numbers_do(n_tiles: int, said: list[str]) -> None:
    reading = reading_of(np.linspace(1, 2, n_tiles).tolist())
    places = [
        reading.at(tile).rsplit(" · ", 1)[1] for tile in range(0, n_tiles // 4, n_tiles // 10)
    ]
    assert places == [f"{place} percentile" for place in said]


@pytest.mark.parametrize("value", [-0.12, 4.1])
def test_what_no_counts_can_be_is_outside_the_scale(value: float) -> None:
    words = reading_of([value, 1.0, 2.0], 0.15).at(0)
    shown = f"{value:.2f}".replace("-", "−")
    assert words.startswith(f"CD74 {shown} ± 0.15, outside the scale · ")


def test_what_is_shown_as_zero_is_zero() -> None:
    assert reading_of([-0.001, 1.5, 2.0]).at(0).startswith("CD74 0.00 ≈ 0 per 10,000")
    assert reading_of([-0.006, 1.5, 2.0]).at(0).startswith("CD74 −0.01, outside the scale")


@pytest.mark.parametrize(
    ("target", "meaning"),
    [
        (("log(1+v)", 1000, "counts of the panel"), "≈ 6.4 per 1,000 of the panel"),
        (("log10(1+v)", 10_000, "counts"), "≈ 99 per 10,000"),
        (("log10(1+v)", None, "counts"), "≈ 99 counts"),
        (("none", 10_000, "counts"), ""),
    ],
)
def test_the_meaning_is_that_of_the_models_target(
    target: tuple[str, float | None, str], meaning: str
) -> None:
    fields = dict(zip(("transform", "scale_to", "description"), target, strict=True))
    known = {name: value for name, value in fields.items() if value is not None}
    words = reading_of([2.0, 1.0], **known).at(0)
    assert words == f"CD74 2.00 {meaning}".rstrip() + " · 75th percentile"
    assert reading_of([2.0, 1.0], description="?").at(0) == "CD74 2.00 · 75th percentile"


def test_decimals_tell_tiles_apart() -> None:
    assert reading_of([1.234, 1.27]).number(0) == "1.234"
    assert reading_of([1234.5, 250.0]).number(0) == "1,234"
    assert reading_of([2.5, 2.5]).number(0) == "2.50"
    assert reading_of([-0.001, 1.5]).number(0) == "0.00"


def test_a_tile_without_a_value_says_why() -> None:
    reading = reading_of([1.0])
    status = ["predicted", "pending", "unreadable"]
    reading._prediction.obs["status"] = status + ["pending"] * (reading._prediction.n_obs - 3)
    assert [reading.at(tile) for tile in (1, 2)] == [
        "CD74: still to come",
        "CD74: no value, unreadable",
    ]


def test_limits_are_told_with_the_interval() -> None:
    prediction = reading_of([1.0], 0.2)._prediction
    assert limits_in_words(prediction, GENE, (0.3, 1.66)) == (
        "≈ 1 to 45 per 10,000 of the panel · ± 0.2"
    )
    # What lies below the scale is nothing that could be counted.
    assert limits_in_words(prediction, GENE, (-0.2, 1.66)).startswith("≈ 0 to 45 per")
    assert limits_in_words(prediction, GENE, (-0.2, -0.1)) == "± 0.2"
    prediction.uns["nh2st"]["target"] = {"description": "unknown"}
    del prediction.var["interval_90"]
    assert limits_in_words(prediction, GENE, (0, 1)) == ""
    assert ValueScale.of(prediction).counts(1.0) is None


def test_how_far_a_place_is_stands_in_words() -> None:
    assert [unfamiliarity_in_words(far) for far in (0.3, 1.0, 1.24, 2.0)] == [
        "familiar tissue",
        "familiar tissue",
        "unfamiliar tissue (1.2)",
        "very unfamiliar tissue (2.0)",
    ]
