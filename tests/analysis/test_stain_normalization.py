"""Stains found on slides drawn with known ones, and slides brought to the same."""

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_nh2st.analysis.stain_normalization import (
    REFERENCE,
    StainColors,
    normalization,
    stain_colors,
)
from napari_nh2st.errors import InputError

PALE_AND_PINK = StainColors(
    np.array([[0.55, 0.75, 0.37], [0.20, 0.90, 0.39]]), np.array([1.1, 1.6])
)


def amounts(n: int = 20_000) -> NDArray[np.float64]:
    """(n, 2) shares of the most there is of hematoxylin and eosin, some of nearly one alone."""
    return np.random.default_rng(2).beta(0.5, 0.9, (n, 2))


def drawn(stains: StainColors, shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    vectors = stains.vectors / np.linalg.norm(stains.vectors, axis=1, keepdims=True)
    light = 256 * np.exp(-(shares * stains.amounts) @ vectors) - 1
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("stains", [REFERENCE, PALE_AND_PINK], ids=["reference", "pale"])
def test_the_stains_that_pixels_were_drawn_with_are_found(stains: StainColors) -> None:
    found = stain_colors(drawn(stains, amounts()))
    for one, drawn_with in zip(found.vectors, stains.vectors, strict=True):
        cosine = one @ drawn_with / np.linalg.norm(drawn_with)
        assert np.rad2deg(np.arccos(min(cosine, 1.0))) < 4
    np.testing.assert_allclose(found.amounts, stains.amounts, rtol=0.15)


def test_slides_of_different_stains_come_out_alike() -> None:
    shares = amounts()
    light = [drawn(stains, shares).astype(np.float64) for stains in (REFERENCE, PALE_AND_PINK)]
    before = np.abs(light[0] - light[1]).mean()
    after = []
    for pixels in light:
        matrix = normalization(stain_colors(pixels.astype(np.uint8)), REFERENCE)
        after.append(256 * np.exp(np.log((pixels + 1) / 256) @ matrix) - 1)
    assert before > 30
    assert np.abs(after[0] - after[1]).mean() < 3
    assert np.abs(after[0] - light[0]).mean() < 4  # the reference hardly changes


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (amounts(500), "too few"),
        (np.column_stack([amounts()[:, 0], np.zeros(20_000)]), "only one stain"),
    ],
)
def test_where_there_are_no_two_stains_it_says_so(
    shares: NDArray[np.float64], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        stain_colors(drawn(REFERENCE, shares))


def test_a_config_holds_the_reference_to_four_decimals() -> None:
    again = StainColors.from_json(REFERENCE.to_json())
    np.testing.assert_allclose(again.vectors, REFERENCE.vectors, atol=5e-5)
    np.testing.assert_allclose(again.amounts, REFERENCE.amounts, atol=5e-5)
