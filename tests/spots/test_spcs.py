"""SPCS smoothing, against the published rule written out spot by spot."""

from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from napari_nh2st.spots import expression_target, spcs_target
from spot_sections import drawn_spots, her2st

PANEL = ["ERBB2", "ACTB", "COL1A1", "CD74", "NOC2L", "GAPDH", "MUCL1", "FASN", "B2M", "CD24",
         "KRT19", "TMSB10"]  # fmt: skip


def naive(spots: AnnData, panel: list[str], hexagonal: bool = False) -> NDArray[np.float64]:
    """One loop over spots; a part that a spot does not have is its own value."""
    values = expression_target(spots, panel, smoothed=False).astype(float)
    place = spots.obs[["array_row", "array_col"]].to_numpy()
    components = PCA(10, svd_solver="full").fit_transform(values)
    result = []
    for i, own in enumerate(values):
        parts = []
        steps = np.abs(place - place[i])
        distance = steps.sum(1)
        near = (distance > 0) & (distance <= 2)
        if hexagonal:  # a vertical double step is no neighbor there
            near &= steps[:, 0] < 2
        weight = np.where(near, 1 / np.maximum(distance, 1), 0)
        parts.append(weight @ values / weight.sum() if weight.any() else own)
        r = np.array([np.corrcoef(components[i], other)[0, 1] for other in components])
        r[i] = -2
        alike = [j for j in np.argsort(-r)[:16] if 1 - r[j] <= 1]
        weight = np.exp(-4.5 * (1 - r[alike]) ** 2)
        parts.append(weight @ values[alike] / weight.sum() if alike else own)
        result.append(0.4 * own + 0.6 * (0.4 * parts[0] + 0.6 * parts[1]))
    return np.array(result)


def test_target_of_a_square_array_equals_a_naive_loop(test_data: Path) -> None:
    section = her2st(test_data, "C3")
    np.testing.assert_allclose(spcs_target(section, PANEL), naive(section, PANEL), atol=1e-4)


def test_target_of_a_hexagonal_array_equals_a_naive_loop() -> None:
    spots = drawn_spots("hexagonal", 9, 10, genes=tuple("ABCDEFGHIJKL"))
    panel = list(spots.var_names)
    np.testing.assert_allclose(
        spcs_target(spots, panel), naive(spots, panel, hexagonal=True), atol=1e-4
    )


def test_a_spot_that_has_nobody_beside_it_does_not_shrink(test_data: Path) -> None:
    section = her2st(test_data, "C3")
    obs = section.obs[["array_row", "array_col"]].to_numpy()
    far = np.abs(obs - obs[0]).sum(1)
    alone = section[(far == 0) | (far > 4)].copy()
    np.testing.assert_allclose(spcs_target(alone, PANEL)[0], naive(alone, PANEL)[0], atol=1e-4)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_spots_are_no_error(test_data: Path, count: int) -> None:
    few = her2st(test_data, "C3")[:count].copy()
    target = spcs_target(few, PANEL)
    assert np.isfinite(target).all()
    if count == 1:
        np.testing.assert_allclose(target, expression_target(few, PANEL), atol=1e-6)
