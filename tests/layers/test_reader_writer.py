"""Exported files opened in napari, and layers saved by napari, through its own ways."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import napari.utils.notifications
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Image, Points
from napari.plugins.io import save_layers
from npe2 import PluginManager

from array_slides import textured, write_tiff
from drawn_predictions import BEST, drawn_prediction, drawn_spot_prediction, slide_file
from napari_nh2st.analysis import residual
from napari_nh2st.analysis.comparison import keep_comparison
from napari_nh2st.analysis.scores import gene_scores, summarize
from napari_nh2st.errors import InputError
from napari_nh2st.export import export
from napari_nh2st.layers.expression import read_expression
from napari_nh2st.layers.keys import (
    COMPARISON_KEY,
    COMPARISON_KIND_KEY,
    PREDICTION_KEY,
    SLIDE_KEY,
    SPOTS_KEY,
)
from napari_nh2st.layers.reader import get_reader, read_slide
from napari_nh2st.layers.writer import write_prediction
from napari_nh2st.prediction.raster import robust_limits
from napari_nh2st.session import Session
from napari_nh2st.session.comparison import ComparisonResults
from napari_nh2st.slide import open_slide
from small_configs import PANEL
from spot_sections import drawn_spots

MPP = (0.5, 0.8)
"""Pixels that are not square: mixing the axes up shows."""


@pytest.fixture
def infos(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    monkeypatch.setattr(napari.utils.notifications, "show_info", texts.append)
    return texts


@pytest.fixture
def plugin() -> Iterator[None]:
    """The plugin as napari knows it, by its manifest."""
    manager = PluginManager.instance()
    known = "napari-nh2st" in manager
    if not known:
        manager.discover()
    yield
    assert "napari-nh2st" in manager


@pytest.fixture
def predicted_slide(tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    return slide_file(folder / "section.tif")


@pytest.fixture
def prediction(predicted_slide: Path) -> AnnData:
    with open_slide(predicted_slide, mpp=MPP) as slide:
        return drawn_prediction(slide)


@pytest.fixture
def spots(predicted_slide: Path) -> AnnData:
    with open_slide(predicted_slide, mpp=MPP) as slide:
        return drawn_spot_prediction(slide)


def layers_of(path: Path) -> list[Any]:
    viewer = ViewerModel()
    for data, attributes, kind in read_expression(path):
        getattr(viewer, f"add_{kind}")(data, **attributes)
    return list(viewer.layers)


# --- opening ---


@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr", "out.ome.zarr"])
def test_a_prediction_brings_back_slide_heatmap_and_genes(
    tmp_path: Path, plugin: None, infos: list[str], prediction: AnnData, name: str
) -> None:
    export(prediction, tmp_path / name)
    viewer = ViewerModel()
    slide, heatmap = viewer.open(tmp_path / name, plugin="napari-nh2st")
    assert slide.metadata[SLIDE_KEY].fingerprint == prediction.uns["nh2st"]["slide"]["fingerprint"]
    assert slide.rgb
    np.testing.assert_allclose(slide.scale, MPP)
    assert heatmap.name == f"{BEST} · section"
    assert (heatmap.colormap.name, heatmap.opacity) == ("magma", 0.7)
    assert heatmap.units == slide.units
    values = prediction[:, BEST].X[:, 0]
    np.testing.assert_allclose(heatmap.contrast_limits, robust_limits(values))
    stored = heatmap.metadata[PREDICTION_KEY]
    np.testing.assert_array_equal(stored.X, prediction.X)
    assert infos == []
    # The widgets take it for one of their own.
    viewer = ViewerModel()
    viewer.add_layer(heatmap)
    adopted = Session.of(viewer).heatmap
    assert adopted is not None
    adopted.gene = "VIM"
    assert heatmap.name == "VIM · section"
    np.testing.assert_array_equal(
        np.sort(heatmap.data[np.isfinite(heatmap.data)]), np.sort(prediction[:, "VIM"].X[:-2, 0])
    )


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
def test_a_reopened_heatmap_lies_where_the_run_showed_it(
    tmp_path: Path, predicted_slide: Path, infos: list[str], layout: Any
) -> None:
    with open_slide(predicted_slide, mpp=MPP) as slide:
        prediction = drawn_prediction(slide, layout)
    viewer = ViewerModel()
    ((data, attributes, _),) = read_slide(predicted_slide, mpp=MPP)
    on_slide = viewer.add_image(data, **attributes)
    shown = Session.of(viewer).add_heatmap(on_slide, prediction, BEST).layer
    export(prediction, tmp_path / "out.h5ad")
    slide_layer, reopened = layers_of(tmp_path / "out.h5ad")
    np.testing.assert_allclose(reopened.scale, shown.scale)
    np.testing.assert_allclose(reopened.translate, shown.translate)
    np.testing.assert_array_equal(reopened.data, shown.data)

    # One tile whose place is known, found on the slide's layer through the world.
    tile = 17
    pixels = np.argwhere(reopened.data == prediction[:, BEST].X[tile, 0])
    world = reopened.data_to_world(pixels.mean(0))
    expected = prediction.obsm["spatial"][tile, ::-1] - 0.5  # napari's pixel k is around k
    np.testing.assert_allclose(slide_layer.world_to_data(world)[:2], expected, atol=1e-6)


def test_the_slide_is_looked_for_beside_the_file_first(
    tmp_path: Path, predicted_slide: Path, prediction: AnnData, infos: list[str]
) -> None:
    beside = tmp_path / "out"
    beside.mkdir()
    export(prediction, beside / "out.h5ad")
    assert layers_of(beside / "out.h5ad")[0].metadata[SLIDE_KEY].path == predicted_slide
    predicted_slide.rename(beside / "section.tif")
    assert layers_of(beside / "out.h5ad")[0].metadata[SLIDE_KEY].path == beside / "section.tif"


def test_without_its_slide_the_stored_picture_is_shown_and_said(
    tmp_path: Path, predicted_slide: Path, infos: list[str]
) -> None:
    # So large that its picture is coarser, with one bright square.
    pixels = np.full((4096, 512, 3), 90, np.uint8)
    pixels[1024:1088, 128:192] = 250
    large = write_tiff(tmp_path / "large.tif", pixels)
    with open_slide(large, mpp=0.5) as slide:
        prediction = drawn_prediction(slide, pitch_um=128)
    export(prediction, tmp_path / "out.h5ad")
    large.unlink()
    picture, heatmap = layers_of(tmp_path / "out.h5ad")
    assert infos == ["The slide large.tif is not beside out.h5ad: its stored picture is shown."]
    assert picture.name == "large (picture)"
    assert len(picture.data) < 4096
    bright = np.argwhere(picture.data[..., 0] > 200)
    world = np.array([picture.data_to_world(place) for place in bright])
    # Pixels 1024 to 1087 of the slide: in napari their centers lie at these numbers.
    np.testing.assert_allclose(world.mean(0) / 0.5, (1055.5, 159.5))
    assert heatmap.metadata[PREDICTION_KEY].n_obs == prediction.n_obs


def test_another_slide_of_the_same_name_is_not_taken(
    tmp_path: Path, predicted_slide: Path, prediction: AnnData, infos: list[str]
) -> None:
    export(prediction, tmp_path / "out.h5ad")
    predicted_slide.unlink()
    slide_file(tmp_path / "section.tif", seed=5)
    assert SLIDE_KEY not in layers_of(tmp_path / "out.h5ad")[0].metadata
    (info,) = infos
    assert "section.tif is not the slide that was predicted" in info


def test_a_slide_that_is_damaged_now_is_no_obstacle(
    tmp_path: Path, predicted_slide: Path, prediction: AnnData, infos: list[str]
) -> None:
    export(prediction, tmp_path / "out.h5ad")
    predicted_slide.write_bytes(b"")
    assert len(layers_of(tmp_path / "out.h5ad")) == 2
    assert "the file is empty" in infos[0]


def test_an_untrained_prediction_says_so(
    tmp_path: Path, predicted_slide: Path, infos: list[str]
) -> None:
    with open_slide(predicted_slide, mpp=MPP) as slide:
        export(drawn_prediction(slide, trained=False), tmp_path / "out.h5ad")
    assert layers_of(tmp_path / "out.h5ad")[1].name == f"{BEST} · section · UNTRAINED"


@pytest.mark.parametrize("beside", [True, False])
def test_a_prediction_at_spots_opens_as_points(
    tmp_path: Path, predicted_slide: Path, spots: AnnData, infos: list[str], beside: bool
) -> None:
    folder = predicted_slide.parent if beside else tmp_path
    spots = spots.copy()
    spots.obs["nuclei_per_mm2"] = np.linspace(900, 2000, spots.n_obs)
    export(spots, folder / "out.h5ad")
    slide, measured, predicted = layers_of(folder / "out.h5ad")
    assert (SLIDE_KEY in slide.metadata) == beside
    assert len(infos) == (not beside)
    assert (measured.name, predicted.name) == ("measured · section", "predicted · section")
    assert (measured.visible, predicted.visible) == (False, True)
    expected = (spots.obsm["spatial"][:, ::-1] - 0.5) * MPP
    np.testing.assert_allclose(predicted.data, expected)
    np.testing.assert_array_equal(predicted.features[list(PANEL)], spots.X)
    np.testing.assert_array_equal(measured.features[list(PANEL)], spots.layers["measured"])
    for layer in (measured, predicted):  # to be read in the status bar, and to color by
        np.testing.assert_array_equal(layer.features["nuclei_per_mm2"], spots.obs["nuclei_per_mm2"])
    (section,) = spots.uns["spatial"].values()
    diameter = section["scalefactors"]["spot_diameter_fullres"]
    np.testing.assert_allclose(predicted.size, diameter * np.mean(MPP))


@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_the_compare_dock_has_all_of_a_reopened_comparison(
    tmp_path: Path, plugin: None, spots: AnnData, infos: list[str], name: str
) -> None:
    scores = gene_scores([spots], None, bootstrap=20)
    summary = summarize(scores, [spots], bootstrap=20)
    keep_comparison(spots, scores, summary, ("A notice.",))
    export(spots, tmp_path / name)
    viewer = ViewerModel()
    _, *points = viewer.open(tmp_path / name, plugin="napari-nh2st")
    assert [layer.metadata[COMPARISON_KIND_KEY] for layer in points] == ["measured", "predicted"]
    kept = points[0].metadata[COMPARISON_KEY]
    assert points[1].metadata[COMPARISON_KEY] is kept

    results = ComparisonResults.of_prediction(kept)
    pd.testing.assert_frame_equal(results.compared.scores, scores)
    assert results.compared.summary == summary
    table = results.table.set_index("gene").loc[list(PANEL)]
    np.testing.assert_array_equal(table["low"], scores["pcc_low"])
    np.testing.assert_array_equal(table["reliability"], spots.var["reliability"])
    for kind, layer in zip(("measured", "predicted"), points, strict=True):
        np.testing.assert_array_equal(results.values[kind], layer.features[list(PANEL)])
    # A gene was not measured: the others are standardized.
    expected = residual(spots, standardize=True)
    np.testing.assert_array_equal(results.values["residual"], expected)
    np.testing.assert_array_equal(results.positions, spots.obsm["spatial"])
    measured, predicted, title = results.of_gene("ERBB2")
    np.testing.assert_array_equal(predicted, spots[:, "ERBB2"].X[:, 0])
    np.testing.assert_array_equal(measured, spots[:, "ERBB2"].layers["measured"][:, 0])
    assert title.startswith("ERBB2 · PCC ")
    assert results.notices[0] == "A notice."
    assert results.name == "section-compared"
    assert results.pitch_px == pytest.approx(32 / np.sqrt(0.5 * 0.8))


def test_a_file_without_measured_values_is_no_comparison(
    tmp_path: Path, spots: AnnData, infos: list[str]
) -> None:
    del spots.layers["measured"]
    export(spots, tmp_path / "out.h5ad")
    _, predicted = layers_of(tmp_path / "out.h5ad")
    assert COMPARISON_KEY not in predicted.metadata


@pytest.mark.parametrize(
    "name", ["out.csv", "out.geojson", "out.spatialdata.zarr", "out.ome.zarr", "out.png"]
)
def test_other_formats_write_a_comparison_too(tmp_path: Path, spots: AnnData, name: str) -> None:
    def written() -> InputError | None:
        """None, or why this format holds no spots."""
        try:
            export(spots, tmp_path / name, overwrite=True)
        except InputError as error:
            return error
        return None

    before = written()
    scores = gene_scores([spots], None, bootstrap=0)
    keep_comparison(spots, scores, summarize(scores, [spots], bootstrap=0), ("A notice.",))
    assert str(written()) == str(before)
    assert (tmp_path / name).exists() == (before is None)


def test_points_are_colored_by_the_best_gene_that_was_measured(
    tmp_path: Path, spots: AnnData, infos: list[str]
) -> None:
    export(spots, tmp_path / "out.h5ad")
    _, measured, predicted = layers_of(tmp_path / "out.h5ad")
    gene = "ERBB2"  # the next most reliable: CD74 was not measured
    both = np.concatenate([spots[:, gene].X[:, 0], spots[:, gene].layers["measured"][:, 0]])
    for layer, values in (
        (predicted, spots[:, gene].X[:, 0]),
        (measured, spots[:, gene].layers["measured"][:, 0]),
    ):
        np.testing.assert_allclose(layer.face_contrast_limits, robust_limits(both))
        low, high = layer.face_contrast_limits
        expected = layer.face_colormap.map(np.clip((values - low) / (high - low), 0, 1))
        np.testing.assert_allclose(layer.face_color[:, :3], expected[:, :3], atol=0.02)


def test_measured_spots_open_as_points_of_counts(tmp_path: Path, infos: list[str]) -> None:
    measured = drawn_spots("hexagonal")
    measured.write_h5ad(tmp_path / "visium.h5ad")
    (points,) = layers_of(tmp_path / "visium.h5ad")
    assert points.features.columns.tolist() == ["total counts", "A", "B", "C"]
    counts = measured.X.toarray()
    np.testing.assert_array_equal(points.features["total counts"], counts.sum(1))
    np.testing.assert_array_equal(points.features[["A", "B", "C"]], counts)
    # A hexagonal array of 40 px is Visium's, of 100 µm.
    np.testing.assert_allclose(points.data, (measured.obsm["spatial"][:, ::-1] - 0.5) * 100 / 40)
    assert points.metadata[SPOTS_KEY].n_obs == measured.n_obs


def test_of_many_genes_those_with_most_counts_become_features(
    tmp_path: Path, infos: list[str]
) -> None:
    names = tuple(f"G{i}" for i in range(700))
    measured = drawn_spots(rows=4, columns=4, genes=names)
    measured.X[:, 650] = 100
    measured.write_h5ad(tmp_path / "st.h5ad")
    (points,) = layers_of(tmp_path / "st.h5ad")
    assert points.features.shape == (16, 501)
    assert "G650" in points.features
    assert points.metadata[SPOTS_KEY].n_vars == 700


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as AnnData"),
        (b"\x89HDF\r\n\x1a\n cut off", "cannot be read as AnnData"),
        (AnnData(np.ones((3, 2), np.float32)), "there are no positions"),
        (
            AnnData(np.ones((3, 2), np.float32), uns={"nh2st": {"slide": {"name": "a"}}}),
            "not a prediction of napari-nh2st: 'mpp' is missing",
        ),
    ],
)
def test_bad_files_are_told_in_a_sentence(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "bad.h5ad"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content.write_h5ad(path)
    reader = get_reader(str(path))
    assert reader is not None
    with pytest.raises(InputError, match=message) as caught:
        reader(str(path))
    assert str(path) in str(caught.value)


def test_folders_go_to_the_reader_they_are_for(tmp_path: Path, prediction: AnnData) -> None:
    export(prediction, tmp_path / "a.zarr")
    export(prediction, tmp_path / "a.ome.zarr")
    slide = zarr.open_group(tmp_path / "slide.zarr", mode="w", zarr_format=2)
    slide.attrs["multiscales"] = []
    kinds = {}
    for name in ("a.zarr", "a.ome.zarr", "slide.zarr"):
        reader = get_reader(str(tmp_path / name))
        kinds[name] = None if reader is None else reader.__name__
    # That of the prediction beside them, since heatmaps are channels of numbers without colors.
    predictions = dict.fromkeys(("a.zarr", "a.ome.zarr"), "_read_expression")
    assert kinds == predictions | {"slide.zarr": "_read_slide"}


# --- saving ---


@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr", "out.geojson", "out.csv"])
def test_saving_a_heatmap_writes_the_whole_prediction(
    tmp_path: Path, plugin: None, prediction: AnnData, infos: list[str], name: str
) -> None:
    export(prediction, tmp_path / "first.h5ad")
    viewer = ViewerModel()
    _, heatmap = viewer.open(tmp_path / "first.h5ad", plugin="napari-nh2st")
    path = tmp_path / name
    for _ in range(2):  # the second time it is there, and napari has asked
        assert heatmap.save(str(path), plugin="napari-nh2st") == [str(path)]
    match path.suffix:
        case ".h5ad":
            assert anndata.read_h5ad(path).shape == prediction.shape
        case ".zarr":
            np.testing.assert_array_equal(anndata.read_zarr(path).X, prediction.X)
        case ".geojson":
            assert len(json.loads(path.read_text(encoding="utf-8"))["features"]) == prediction.n_obs
        case ".csv":
            assert set(PANEL) <= set(pd.read_csv(path).columns)


def test_saving_points_of_spots_writes_both_values(
    tmp_path: Path, plugin: None, spots: AnnData, infos: list[str]
) -> None:
    export(spots, tmp_path / "first.h5ad")
    predicted = layers_of(tmp_path / "first.h5ad")[-1]
    predicted.save(str(tmp_path / "out.h5ad"), plugin="napari-nh2st")
    found = anndata.read_h5ad(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(found.layers["measured"], spots.layers["measured"])


def test_other_layers_are_saved_by_others(tmp_path: Path, plugin: None) -> None:
    image = Image(np.zeros((4, 4)), name="nuclei")
    with pytest.raises(InputError, match="Layer 'nuclei' shows no prediction"):
        image.save(str(tmp_path / "out.h5ad"), plugin="napari-nh2st")
    with pytest.raises(InputError, match="2 layers are selected: save one at a time"):
        save_layers(str(tmp_path / "out.h5ad"), [image, Points(np.zeros((2, 2)))])
    assert list(tmp_path.iterdir()) == []
    writers = PluginManager.instance().iter_compatible_writers(["image"])
    assert not next(iter(writers)).command.startswith("napari-nh2st")  # in whatever order installed
    image.save(str(tmp_path / "out"))  # napari's own choice of a writer
    Points(np.zeros((2, 2))).save(str(tmp_path / "points.csv"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.tif", "points.csv"]


def test_saving_replaces_no_folder_of_others(tmp_path: Path, prediction: AnnData) -> None:
    slide = tmp_path / "slide.zarr"
    zarr.open_group(slide, mode="w", zarr_format=2).attrs["multiscales"] = []
    meta = {"name": "a", "metadata": {PREDICTION_KEY: prediction}}
    with pytest.raises(InputError, match="is not overwritten"):
        write_prediction(str(slide), [(textured(4, 4), meta, "image")])
    assert (slide / ".zattrs").is_file()
