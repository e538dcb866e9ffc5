"""Exports opened by the tools they are for: squidpy, spatialdata-plot and Vitessce.

Run by ``tox run -e scverse``: squidpy and the package pin one library apart, so they share no
environment that pip makes. scanpy and SpatialData are in the others (``tests/export``).
"""

import json
from pathlib import Path
from typing import Any

import anndata
import matplotlib as mpl
import numpy as np
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction
from napari_nh2st.export import export

squidpy: Any = pytest.importorskip("squidpy", reason="tox run -e scverse has it")
spatialdata_plot: Any = pytest.importorskip("spatialdata_plot", reason="tox run -e scverse has it")
vitessce: Any = pytest.importorskip("vitessce", reason="tox run -e scverse has it")

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' about each other


@pytest.fixture(scope="module")
def prediction() -> AnnData:
    slide = array_slide(ArrayLevel(textured(330, 402)), mpp=(0.5, 0.5), path="a.b section.tif")
    prediction = drawn_prediction(slide)
    prediction.obs["domain"] = np.resize(["stroma", "tumour"], prediction.n_obs)
    prediction.uns["domain_colors"] = np.array(["#ff8000", "#0000ff"], object)
    return prediction


@pytest.fixture
def opened(tmp_path: Path, prediction: AnnData) -> AnnData:
    mpl.use("Agg")
    export(prediction, tmp_path / "out.h5ad")
    return anndata.read_h5ad(tmp_path / "out.h5ad")


def test_squidpy_draws_tiles_where_they_are(opened: AnnData) -> None:
    known = opened[:-2].copy()
    axes = squidpy.pl.spatial_scatter(known, color="VIM", shape="square", return_ax=True)
    (picture,) = axes.images
    assert picture.get_array().shape == (330, 402, 3)
    (tiles,) = axes.collections
    boxes = np.array([path.get_extents().get_points() for path in tiles.get_paths()])
    centers, expected = boxes.mean(1).round(2), known.obsm["spatial"]
    np.testing.assert_allclose(
        centers[np.lexsort(centers.T)], expected[np.lexsort(expected.T)], atol=1e-2
    )
    np.testing.assert_allclose(np.ptp(boxes, axis=1), 64, atol=1e-3)  # 32 µm at 0.5 µm/px
    mpl.pyplot.close("all")


def test_squidpy_finds_neighbors_and_autocorrelation(opened: AnnData, tmp_path: Path) -> None:
    known = opened[:-2].copy()
    squidpy.gr.spatial_neighbors(known, coord_type="grid", n_neighs=4)
    pairs = known.obsp["spatial_connectivities"].tocoo()
    array = known.obs[["array_row", "array_col"]].to_numpy()
    assert pairs.nnz > known.n_obs
    assert set(abs(array[pairs.row] - array[pairs.col]).sum(1)) == {1}
    squidpy.gr.spatial_autocorr(known, mode="moran", genes=["VIM", "CD74"])
    assert np.isfinite(known.uns["moranI"]["I"]).all()
    squidpy.gr.nhood_enrichment(known, cluster_key="domain", show_progress_bar=False)
    known.write_h5ad(tmp_path / "again.h5ad")
    assert "moranI" in anndata.read_h5ad(tmp_path / "again.h5ad").uns


def test_spatialdata_plot_draws_picture_and_tiles(tmp_path: Path, prediction: AnnData) -> None:
    import spatialdata

    mpl.use("Agg")
    export(prediction, tmp_path / "out.spatialdata.zarr")
    store = spatialdata.read_zarr(tmp_path / "out.spatialdata.zarr")
    figure, axes = mpl.pyplot.subplots()
    view = store.pl.render_images("hires").pl.render_shapes("tiles", color="VIM")
    view.pl.show(ax=axes, coordinate_systems="global")
    assert axes.images
    assert axes.collections or len(axes.images) > 1  # many shapes are drawn as an image
    assert axes.get_xlim() == pytest.approx((0, 402), abs=40)
    assert axes.yaxis_inverted()
    mpl.pyplot.close(figure)


@pytest.mark.parametrize("domains", [None, "domain"])
def test_vitessce_reads_its_configuration(
    tmp_path: Path, prediction: AnnData, domains: str | None
) -> None:
    export(prediction, tmp_path / "out.vitessce", domains=domains)
    written = json.loads((tmp_path / "out.vitessce" / "config.json").read_text(encoding="utf-8"))
    read = vitessce.VitessceConfig.from_dict(written)
    assert read.to_dict(base_url="") == written
