"""A session knows its viewer's slides and heatmaps, whoever adds, removes or changes them."""

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.utils._proxies import PublicOnlyProxy

from array_slides import textured, write_tiff
from gene_predictions import STEP_PX, add_heatmap, as_image, gene_prediction
from napari_nh2st.errors import InputError
from napari_nh2st.layers.given_mpp import give_mpp, take_back_mpp
from napari_nh2st.layers.heatmap import Heatmap, heatmap_layer
from napari_nh2st.layers.keys import PREDICTION_KEY, SLIDE_KEY
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.session import Session
from viewers import VIEWERS


def test_whoever_hears_of_the_layer_first_finds_the_same_heatmap() -> None:
    viewer = ViewerModel()
    found: list[Heatmap | None] = []
    session = Session.of(viewer)
    inserted = viewer.layers.events.inserted
    inserted.connect(lambda event: found.append(session.heatmap_of(event.value)))
    heatmap = add_heatmap(viewer, gene_prediction())
    assert found[-1] is heatmap is session.heatmap_of(heatmap.layer)


def test_a_prediction_goes_with_its_layer() -> None:
    viewer = ViewerModel()
    heatmap = add_heatmap(viewer, gene_prediction())
    gone = weakref.ref(heatmap.prediction)
    del heatmap, viewer  # napari's selection holds on to the layer that was active last
    gc.collect()
    assert gone() is None


def moved(prediction: AnnData) -> AnnData:
    """Tiles of half the pitch, the first row left out."""
    prediction = prediction[prediction.obs["array_row"] > 0].copy()
    prediction.uns["nh2st"]["step_px_fullres"] = np.array([STEP_PX / 2, STEP_PX / 2])
    return prediction


def test_another_prediction_is_shown_in_the_same_layer_where_its_tiles_lie() -> None:
    viewer = ViewerModel()
    heatmap = add_heatmap(viewer, gene_prediction(), "CD74")
    slide, layer = viewer.layers["C6"], heatmap.layer
    layer.colormap, layer.opacity, layer.interpolation2d = "viridis", 0.3, "linear"
    viewer.add_points([[0.0, 0.0]])
    slide.rotate = 20
    heard: list[tuple[Heatmap, AnnData]] = []
    heatmap.replaced.connect(lambda *what: heard.append(what))
    former, prediction = heatmap.prediction, moved(gene_prediction())
    prediction.uns["nh2st"]["model"] = {"name": "other", "trained": False}
    heatmap.take(prediction, slide)
    assert viewer.layers[1] is layer
    assert Session.of(viewer).heatmap_of(layer) is heatmap
    assert layer.metadata[PREDICTION_KEY] is heatmap.prediction is prediction
    assert heard == [(heatmap, former)]
    assert layer.name == "CD74 · C6 · UNTRAINED"
    assert (layer.colormap.name, layer.opacity, layer.interpolation2d) == ("viridis", 0.3, "linear")
    for tile in (0, 17, prediction.n_obs - 1):
        row, column = prediction.obs[["array_row", "array_col"]].iloc[tile]
        assert layer.data[row - 1, column] == prediction[:, "CD74"].X[tile, 0]
        # Half a pixel: napari's pixel k has its center at k, a slide's at k + 0.5.
        on_slide = (np.array([row, column]) + 0.5) * STEP_PX / 2 - 0.5
        np.testing.assert_allclose(
            layer.data_to_world((row - 1, column)), slide.data_to_world(on_slide)
        )
    slide.rotate = 0
    heatmap.take(gene_prediction(), slide)
    again = add_heatmap(viewer, gene_prediction(), "CD74").layer
    for corner in ((0, 0), (3, 0), (0, 5)):
        np.testing.assert_allclose(layer.data_to_world(corner), again.data_to_world(corner))
    np.testing.assert_array_equal(layer.data, again.data)


def test_limits_set_by_hand_stay_with_gene_and_model() -> None:
    viewer = ViewerModel()
    heatmap = add_heatmap(viewer, gene_prediction(), "CD74")
    slide, layer = viewer.layers["C6"], heatmap.layer
    layer.contrast_limits = (1, 2)
    heatmap.take(gene_prediction(filled=False), slide)
    heatmap.prediction.X[:] = 7
    heatmap.refresh()
    assert layer.contrast_limits == [1, 2]
    other = gene_prediction()
    other.uns["nh2st"]["model"]["name"] = "other"
    heatmap.take(other, slide)
    assert layer.contrast_limits[1] > 5
    layer.contrast_limits = (1, 2)
    shown: list[str] = []
    heatmap.gene_changed.connect(shown.append)
    heatmap.take(other[:, ["ESR1", "KRT19", "GRB7"]].copy(), slide)
    assert shown == [heatmap.gene] == ["GRB7"], "the most reliable one"
    assert layer.contrast_limits[1] > 5


@pytest.mark.parametrize("viewer", [made() for made in VIEWERS.values()], ids=VIEWERS)
def test_who_connects_hears_of_another_prediction(viewer: ViewerModel) -> None:
    first = add_heatmap(viewer, gene_prediction())
    second = add_heatmap(viewer, gene_prediction(), slide="D1")
    session = Session.of(viewer)
    session.heatmap = second
    heard: list[Any] = []
    changed = session.heatmap_changed.connect(lambda: heard.append("changed"))
    session.prediction_replaced.connect(lambda heatmap, _former: heard.append(heatmap))
    first.take(gene_prediction(), viewer.layers["C6"])
    assert heard == [first]
    second.take(gene_prediction(), viewer.layers["D1"])
    assert heard == [first, second, "changed"]
    assert session.prediction is second.prediction
    session.heatmap_changed.disconnect(changed)
    second.take(gene_prediction(), viewer.layers["D1"])
    assert heard == [first, second, "changed", second]


@pytest.mark.parametrize(
    ("name", "gene", "next_name"),
    [
        ("GRB7 · C6", "GRB7", "CD74 · C6"),
        ("GRB7 · C6 · UNTRAINED", "GRB7", "CD74 · C6 · UNTRAINED"),
        ("my map", "GRB7", "my map"),
        ("CD74 · C6", "GRB7", "CD74 · C6"),
    ],
)
def test_a_layer_from_a_file_becomes_a_heatmap(name: str, gene: str, next_name: str) -> None:
    viewer, prediction = ViewerModel(), gene_prediction()
    prediction.uns["nh2st"]["model"]["trained"] = "UNTRAINED" not in name
    data, attributes, _ = heatmap_layer(prediction, gene, "C6", {})
    layer = viewer.add_image(data, **(attributes | {"name": name}))
    heatmap = Session.of(viewer).heatmap_of(layer)
    assert heatmap is not None
    assert heatmap.gene == gene, "it is not read off the layer's name"
    heatmap.gene = "CD74"
    assert layer.name == next_name
    np.testing.assert_array_equal(layer.data, as_image(prediction[:, "CD74"].X.ravel()))


def test_a_layer_of_which_only_the_prediction_is_known_shows_the_gene_it_was_saved_with() -> None:
    viewer, prediction = ViewerModel(), gene_prediction()
    prediction.uns["nh2st"]["shown_gene"] = "KRT19"
    layer = viewer.add_image(
        as_image(prediction[:, "KRT19"].X.ravel()),
        name="my map",
        metadata={PREDICTION_KEY: prediction},
    )
    heatmap = Session.of(viewer).heatmap_of(layer)
    assert heatmap is not None
    assert heatmap.gene == "KRT19"
    heatmap.gene = "CD74"
    assert layer.name == "my map"


def test_layers_of_other_things_have_no_heatmap() -> None:
    viewer = ViewerModel()
    session = Session.of(viewer)
    for metadata in ({}, {PREDICTION_KEY: "of old"}):
        layer = viewer.add_image(np.zeros((3, 3)), metadata=metadata)
        assert session.heatmap_of(layer) is None
    assert session.heatmaps == ()
    elsewhere = heatmap_layer(gene_prediction(), "CD74", "C6", {})
    assert session.heatmap_of(Image(elsewhere[0], **elsewhere[1])) is None, "of another viewer"


# --- one session for each viewer ---


def test_docks_of_a_viewer_share_its_session_and_other_viewers_have_their_own() -> None:
    viewer = ViewerModel()
    wrapped = PublicOnlyProxy(viewer)  # what napari gives to each dock
    assert Session.of(wrapped) is Session.of(viewer) is Session.of(PublicOnlyProxy(viewer))
    assert Session.of(ViewerModel()) is not Session.of(viewer)


def test_a_session_goes_with_its_viewer() -> None:
    viewer = ViewerModel()
    session = Session.of(viewer)
    add_heatmap(viewer, gene_prediction())
    session.pins.pin("CD74")
    gone = weakref.ref(viewer), weakref.ref(session), weakref.ref(session.prediction)
    del viewer, session
    gc.collect()
    assert [each() for each in gone] == [None, None, None]


def test_a_session_that_comes_later_knows_what_is_there(viewer: ViewerModel) -> None:
    slide = viewer.add_image(np.zeros((60, 80, 3), np.uint8), name="C6")
    layers = [heatmap_layer(gene_prediction(), gene, "C6", {}) for gene in ("CD74", "ERBB2")]
    for data, attributes, _ in layers:
        viewer.add_image(data, **attributes)
    viewer.layers.selection.active = viewer.layers[1]
    session = Session.of(viewer)
    assert [heatmap.gene for heatmap in session.heatmaps] == ["CD74", "ERBB2"]
    assert (session.heatmap, session.slide) == (session.heatmaps[0], slide)


# --- the current ones ---


def test_to_show_another_gene_is_one_assignment(viewer: ViewerModel) -> None:
    session = Session.of(viewer)
    heatmap = add_heatmap(viewer, gene_prediction())
    heard: list[str] = []
    session.gene_changed.connect(heard.append)
    pin = session.pins.pin("KRT19")
    assert not heatmap.layer.visible
    assert session.heatmap is not None
    session.heatmap.gene = "CD74"
    assert heard == ["CD74"]
    assert (heatmap.layer.visible, pin.layer.visible) == (True, False), "it is seen"
    np.testing.assert_array_equal(
        heatmap.layer.data, as_image(heatmap.prediction[:, "CD74"].X.ravel())
    )
    assert heatmap.prediction.uns["nh2st"]["shown_gene"] == "CD74", "so a file of it opens"


def test_a_gene_that_the_prediction_lacks_changes_nothing(viewer: ViewerModel) -> None:
    heatmap = add_heatmap(viewer, gene_prediction())
    name = heatmap.layer.name
    with pytest.raises(InputError, match="CD47 is not among the 5 predicted genes"):
        heatmap.gene = "CD47"
    assert (heatmap.gene, heatmap.layer.name) == ("ERBB2", name)


def test_the_current_heatmap_is_the_selected_one_and_then_the_last(viewer: ViewerModel) -> None:
    session = Session.of(viewer)
    heard: list[Heatmap | None] = []
    session.heatmap_changed.connect(lambda: heard.append(session.heatmap))
    first = add_heatmap(viewer, gene_prediction())
    second = add_heatmap(viewer, gene_prediction(), slide="D1")
    viewer.layers.selection.active = first.layer
    viewer.layers.selection.active = viewer.layers["C6"]
    assert session.heatmap is first
    viewer.layers.remove(first.layer)
    assert session.heatmap is second
    viewer.layers.remove(second.layer)
    assert heard == [first, second, first, second, None]
    assert session.prediction is None


def test_the_current_slide_is_the_selected_one_and_then_the_last(viewer: ViewerModel) -> None:
    session = Session.of(viewer)
    heard: list[str | None] = []
    changes: list[int] = []
    session.slide_changed.connect(lambda: heard.append(session.slide and session.slide.name))
    session.slides_changed.connect(lambda: changes.append(len(session.slides)))
    for name in "ab":
        viewer.add_image(np.zeros((60, 80, 3), np.uint8), name=name)
    viewer.add_image(np.zeros((6, 8)), name="no slide")
    assert [layer.name for layer in session.slides] == ["a", "b"]
    viewer.layers.selection.active = viewer.layers["a"]
    viewer.layers.remove(viewer.layers["a"])
    viewer.layers.remove(viewer.layers["b"])
    assert heard == ["a", "b", "a", "b", None]
    assert changes == [1, 2, 1, 0]


def test_a_heatmap_says_when_a_run_fills_it(viewer: ViewerModel) -> None:
    session = Session.of(viewer)
    first = add_heatmap(viewer, gene_prediction())
    current = add_heatmap(viewer, gene_prediction(), slide="D1")
    heard: list[bool] = []
    session.filling_changed.connect(lambda: heard.append(session.is_filling))
    first.is_filling = True
    for filling in (True, True, False):
        current.is_filling = filling
    assert heard == [True, False], "of the current one alone"


def test_names_of_heatmaps_are_followed(viewer: ViewerModel) -> None:
    session = Session.of(viewer)
    heatmap = add_heatmap(viewer, gene_prediction())
    names: list[str] = []
    session.heatmaps_changed.connect(lambda: names.append(session.heatmaps[0].layer.name))
    heatmap.gene = "CD74"
    heatmap.layer.name = "mine"
    assert list(dict.fromkeys(names)) == ["CD74 · C6", "mine"]
    assert session.made_for(viewer.layers["C6"]) == (), "the user keeps it"


def open_slide_layer(
    viewer: ViewerModel, folder: Path, name: str, shape: tuple[int, int], mpp: float | None
) -> Image:
    path = write_tiff(folder / f"{name}.tif", textured(*shape))
    ((data, attributes, _),) = read_slide(path, mpp=mpp)
    return viewer.add_image(data, **attributes)


def test_the_camera_goes_to_a_second_slide(tmp_path: Path) -> None:
    viewer = ViewerModel()
    Session.of(viewer)
    open_slide_layer(viewer, tmp_path, "one", (200, 240), 1.0)
    viewer.scene.camera.center, viewer.scene.camera.zoom = (0, 10, 10), 40
    second = open_slide_layer(viewer, tmp_path, "two", (400, 500), 2.0)
    np.testing.assert_allclose(viewer.scene.camera.center[1:], second.extent.world.mean(0), atol=2)
    zoom = viewer.scene.camera.zoom
    viewer.fit_to_view(layers=[second])
    assert viewer.scene.camera.zoom == zoom
    viewer.scene.camera.zoom = 40
    viewer.add_points([[1.0, 1.0]], units=("um", "um"))
    assert viewer.scene.camera.zoom == 40, "whatever is no slide leaves the view as it is"


@pytest.mark.parametrize("known_first", [True, False])
def test_slides_with_and_without_mpp_have_one_unit(
    tmp_path: Path, known_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    infos: list[str] = []
    monkeypatch.setattr("napari_nh2st.session.slide_placement.show_info", infos.append)
    viewer = ViewerModel()
    Session.of(viewer)
    mpps = {"known": 2.0, "unknown": None}
    for name in sorted(mpps, reverse=not known_first):
        open_slide_layer(viewer, tmp_path, name, (200, 240), mpps[name])
    # None is what napari warns of: units that do not convert are used for nothing.
    assert viewer.layers.extent.units is not None
    assert len(infos) == 1
    assert infos[0].startswith("unknown has no µm/px")
    layer = viewer.layers["unknown"]
    np.testing.assert_allclose(layer.scale, 1)
    give_mpp(viewer, layer, layer.metadata[SLIDE_KEY], 0.5)
    np.testing.assert_allclose(layer.scale, 0.5)
    take_back_mpp(viewer, layer, layer.metadata[SLIDE_KEY])
    np.testing.assert_allclose(layer.scale, 1)
    assert viewer.layers.extent.units is not None


def test_a_slide_without_mpp_is_laid_in_units_before_it_is_drawn(tmp_path: Path) -> None:
    viewer, units = ViewerModel(), []

    def draw(_event: Any) -> None:  # as napari's canvas, which was there before the session
        units.append(viewer.layers.extent.units)

    viewer.layers.events.inserted.connect(draw)
    Session.of(viewer)
    open_slide_layer(viewer, tmp_path, "known", (200, 240), 2.0)
    open_slide_layer(viewer, tmp_path, "unknown", (200, 240), None)
    assert len(units) == 2
    assert None not in units, "napari would warn of it"


def test_a_duplicate_of_a_filling_heatmap_fills_with_it() -> None:
    viewer = ViewerModel()
    heatmap = add_heatmap(viewer, gene_prediction(filled=False))
    session, prediction = Session.of(viewer), heatmap.prediction
    heatmap.is_filling = True
    data, attributes, kind = heatmap.layer.as_layer_data_tuple()  # as napari's “Duplicate”
    copy = viewer.add_layer(Layer.create(data.copy(), attributes | {"name": "copy"}, kind))
    duplicate = session.heatmap_of(copy)
    assert duplicate is not None
    assert duplicate.is_filling, "it is not to be exported yet"
    session.heatmap = duplicate
    heard: list[None] = []
    session.filled.connect(lambda: heard.append(None))
    prediction.X[:] = gene_prediction().X
    heatmap.refresh()
    heatmap.filled.emit(heatmap)
    np.testing.assert_array_equal(copy.data, heatmap.layer.data)
    assert np.isfinite(copy.data).any()
    assert heard == [None]
    heatmap.is_filling = False
    assert not duplicate.is_filling
