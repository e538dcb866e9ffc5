"""Maps that fill up: tiles to come show the nearest coarser value, and nothing else does."""

import numpy as np
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction
from napari_nh2st.prediction.lattice import divisions, first_center, phases, step_um
from napari_nh2st.prediction.raster import HeatmapRaster
from napari_nh2st.prediction.schema import PENDING, PREDICTED, STATUS
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import Layout
from napari_nh2st.tiles.grid import refinements_of


def slide() -> Slide:
    return array_slide(ArrayLevel(textured(150, 215)), mpp=(1.0, 0.8))


def filling(layout: Layout, n_done: int) -> AnnData:
    """A fine prediction whose first refinements, and some tiles of the next, have values."""
    prediction = drawn_prediction(slide(), layout, divisions=4)
    refinement = refinements_of(phases(prediction), 4)
    done = refinement < n_done
    done[np.flatnonzero(refinement == n_done)[:5]] = True
    prediction.X[:] = np.arange(prediction.n_obs)[:, None]
    prediction.X[~done] = np.nan
    prediction.obs[STATUS] = np.where(done, PREDICTED, PENDING).astype(object)
    return prediction


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
@pytest.mark.parametrize("n_done", [1, 2])
def test_tiles_to_come_show_the_nearest_coarser_value(layout: Layout, n_done: int) -> None:
    prediction = filling(layout, n_done)
    refinement = refinements_of(phases(prediction), 4)
    raster, values = HeatmapRaster.of(prediction), prediction.X[:, 0]
    image = raster.sharpened(values)
    um = prediction.obsm["spatial"] * (0.8, 1.0)
    reach = 32.0 / n_done
    for tile in np.flatnonzero(np.isnan(values)):
        drawn = image[raster.rows[tile], raster.columns[tile]]
        coarse = np.flatnonzero(refinement < n_done)
        distance = np.linalg.norm(um[coarse] - um[tile], axis=1)
        if distance.min() > reach:
            continue
        taken = int(drawn)
        assert not np.isnan(values[taken])
        # By way of the refinement between, where that has none yet either.
        assert np.linalg.norm(um[taken] - um[tile]) <= 0.75 * reach * 1.5
        if refinement[tile] == n_done:
            np.testing.assert_allclose(
                np.linalg.norm(um[taken] - um[tile]), distance.min(), atol=1e-6
            )


def test_complete_maps_and_tiles_that_failed_stay_as_they_are() -> None:
    prediction = filling("square", 2)
    values = prediction.X[:, 0]
    raster = HeatmapRaster.of(prediction)
    prediction.obs[STATUS] = np.full(prediction.n_obs, "segment (0, 0) is damaged", object)
    np.testing.assert_array_equal(raster.sharpened(values), raster.image(values))
    whole = np.arange(prediction.n_obs, dtype=np.float32)
    np.testing.assert_array_equal(raster.sharpened(whole), raster.image(whole))
    del prediction.obs[STATUS]  # as after other tools
    np.testing.assert_array_equal(raster.sharpened(values), raster.image(values))


def test_exports_have_no_values_that_were_not_predicted() -> None:
    prediction = filling("square", 1)
    raster = HeatmapRaster.of(prediction)
    assert (
        np.isnan(raster.image(prediction.X[:, 0])).sum()
        > np.isnan(raster.sharpened(prediction.X[:, 0])).sum()
    )


def test_a_file_from_before_there_were_steps_has_the_step_of_its_pitch() -> None:
    prediction = drawn_prediction(slide())
    expected = HeatmapRaster.of(prediction)
    for name in ("step_um", "first_center_px_fullres"):
        del prediction.uns["nh2st"][name]
    assert step_um(prediction) == 32.0
    assert divisions(prediction) == 1
    assert first_center(prediction).tolist() == [16.0, 20.0]
    raster = HeatmapRaster.of(prediction)
    assert raster.center == expected.center
    assert raster.sharpening is None


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
def test_the_raster_of_a_fine_grid_lies_where_its_tiles_are(layout: Layout) -> None:
    prediction = drawn_prediction(slide(), layout, divisions=4)
    raster = HeatmapRaster.of(prediction)
    columns = raster.columns + (raster.width - 1) / 2
    at = np.array(raster.center) + np.column_stack([raster.rows, columns]) * raster.step
    np.testing.assert_allclose(at, prediction.obsm["spatial"][:, ::-1])
