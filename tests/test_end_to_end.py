"""A user's day in a real window: open, predict, mend the tissue, explore, compare, train, reopen.

A screenshot is kept at each step, in the test's folder or in the one that NH2ST_SCREENSHOTS names.
"""

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import psutil
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QApplication

from napari_nh2st.model import bundled_models, read_config
from napari_nh2st.spots import Section
from napari_nh2st.synthetic import write_synthetic_section
from trusted_predictions import add_trust

LONG_MS = 240_000


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> tuple[Section, Section]:
    """Two synthetic sections, whose genes go by names of the bundled model's panel."""
    panel = read_config(bundled_models()["her2-breast-demo"]).panel
    written = []
    for seed in (0, 1):
        section = write_synthetic_section(
            tmp_path_factory.mktemp("sections"), seed, size_um=(2200.0, 2200.0), mpp=1.0
        )
        spots = anndata.read_h5ad(section.expression)
        spots.var_names = list(panel[: spots.n_vars])
        spots.var_names.name = None
        spots.write_h5ad(section.expression)
        written.append(replace(section, donor_id=f"donor-{seed}"))
    return written[0], written[1]


class Window:
    """A napari window with the means to wait and to keep pictures."""

    def __init__(self, viewer: Any, qtbot: QtBot, folder: Path) -> None:
        self.viewer, self.qtbot, self.folder = viewer, qtbot, folder
        self.number = 0
        viewer.window.resize(1280, 800)

    def dock(self, name: str) -> Any:
        _, widget = self.viewer.window.add_plugin_dock_widget("napari-nh2st", name, tabify=True)
        QApplication.processEvents()
        return widget

    def until(self, condition: Callable[[], bool]) -> None:
        self.qtbot.waitUntil(condition, timeout=LONG_MS)

    def picture(self, name: str) -> np.ndarray:
        self.number += 1
        path = self.folder / f"{self.number:02}-{name}.png"
        QApplication.processEvents()
        return self.viewer.screenshot(str(path), canvas_only=False, flash=False)

    def pan(self, y: float, x: float) -> None:
        camera = getattr(self.viewer, "scene", self.viewer).camera
        camera.center = (0, y, x)


@pytest.mark.viewer
def test_a_day_with_a_slide(
    make_napari_viewer: Callable[..., Any],
    qtbot: QtBot,
    tmp_path: Path,
    sections: tuple[Section, Section],
) -> None:
    first, second = sections
    folder = Path(os.environ.get("NH2ST_SCREENSHOTS", tmp_path / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    viewer = make_napari_viewer(show=True)
    window = Window(viewer, qtbot, folder)
    children_before = set(psutil.Process().children(recursive=True))

    # Open, and predict while looking around.
    (slide_layer,) = viewer.open(first.slide, plugin="napari-nh2st")
    predict = window.dock("Predict")
    assert predict.slide.layer is slide_layer
    window.until(lambda: "tissue" in predict.facts.facts.text())
    window.until(lambda: "tiles" in predict.detail.itemText(2))
    assert predict.detail.itemText(2).startswith("100 µm · ")
    predict.detail.setCurrentIndex(2)
    window.picture("slide")
    announced = n_announced(predict)
    predict.start()
    window.until(lambda: predict.heatmap is not None and shown(predict) > 0)
    window.pan(600, 600)
    window.picture("predicting")
    window.until(lambda: not predict.is_running)
    window.pan(1100, 1100)
    assert shown(predict) == predict.prediction.n_obs == announced > 100
    about = predict.prediction.uns["nh2st"]
    assert (about["step_um"], about["pitch_um"]) == (100, 200)
    viewer.fit_to_view()
    window.picture("predicted")

    # Paint the tissue: a strip is none. What the run says is of the tissue as it is painted.
    whole = predict.prediction
    predict.tissue.click()
    window.until(lambda: predict.tissue.text() == "Tissue: as painted")
    (tissue,) = (layer for layer in viewer.layers if layer.name.endswith("tissue"))
    tissue.brush_size = tissue.data.shape[0]
    tissue.paint((tissue.data.shape[0] // 2, 0), 0)
    window.until(lambda: "as painted" in predict.facts.facts.text())
    window.until(lambda: n_announced(predict) < announced)
    window.picture("tissue")
    announced = n_announced(predict)
    predict.start()
    window.until(lambda: not predict.is_running)
    part = predict.prediction
    assert part.n_obs == shown(predict) == announced < whole.n_obs
    assert part.uns["nh2st"]["tissue"]["origin"] == "given"
    tissue.visible = False
    window.picture("predicted-as-painted")
    predict.result.undo.click()
    assert predict.prediction is whole
    predict.result.undo.click()

    # A region is added to the map. It takes what was computed before.
    viewer.layers.remove(tissue)
    corners = np.array([[-9, -9], [-9, 2209], [2209, 2209], [2209, -9]])
    predict.region.value = viewer.add_shapes(
        [corners], name="all", face_color="transparent", units=slide_layer.units
    )
    predict.start()
    window.until(lambda: not predict.is_running)
    assert predict.prediction.n_obs == shown(predict) == whole.n_obs
    assert set(predict.prediction.obs_names) == set(whole.obs_names)
    joined = predict.prediction[whole.obs_names]
    # Tiles whose neighbors were left out of the tissue had other values.
    np.testing.assert_array_equal(joined.X, whole.X)
    viewer.layers.remove(predict.region.value)
    window.picture("region-added")

    # Genes.
    genes = window.dock("Genes")
    heatmap = predict.heatmap
    before = heatmap.layer.data.copy()
    genes.next_gene()
    assert not np.array_equal(heatmap.layer.data, before, equal_nan=True)
    expected = np.sort(np.asarray(predict.prediction[:, heatmap.gene].X).ravel())
    np.testing.assert_array_equal(np.sort(heatmap.image.values), expected)
    drawn = heatmap.layer.data[np.isfinite(heatmap.layer.data)]
    assert set(drawn) <= set(expected)
    window.until(lambda: genes.genes.statistics is not None)
    window.picture("genes")
    heatmap.layer.interpolation2d = "linear"
    assert len(np.unique(heatmap.layer.data)) > 2 * len(set(drawn))
    window.picture("smooth")
    heatmap.layer.interpolation2d = "nearest"

    # How far to trust it: under the mouse, faded, and as a map of its own.
    add_trust(heatmap.prediction).layers["spread"] *= 4
    genes.session.heatmap_changed.emit()
    x, y = predict.prediction.obsm["spatial"][predict.prediction.n_obs // 2]
    viewer.mouse_over_canvas = True
    viewer.cursor.position = tuple(slide_layer.data_to_world((y - 0.5, x - 0.5)))
    told = f"{heatmap.gene} "
    window.until(lambda: told in status(viewer) and " percentile · " in status(viewer))
    assert " ± " in status(viewer)
    assert " per 10,000 of the panel" in status(viewer)
    genes.genes.display.fade.click()
    assert heatmap in [veil.source for veil in genes.session.veils.items]
    window.picture("faded")
    genes.genes.unfamiliar.click()
    assert not heatmap.layer.visible
    window.until(lambda: "familiar tissue" in status(viewer))
    window.picture("unfamiliar")
    genes.genes.unfamiliar.click()
    genes.genes.display.fade.click()
    assert heatmap.layer.visible

    # Domains.
    genes.tabs.setCurrentWidget(genes.domains)
    genes.domains.n_domains.setValue(3)
    genes.domains.run.click()
    window.until(lambda: "domain" in predict.prediction.obs)
    assert len(predict.prediction.obs["domain"].cat.categories) == 3
    labels = [layer for layer in viewer.layers if type(layer).__name__ == "Labels"]
    assert set(np.unique(labels[0].data)) == {0, 1, 2, 3}
    window.picture("domains")

    # A region, in µm of the world, that holds the middle of the slide.
    genes.tabs.setCurrentWidget(genes.regions)
    labels[0].visible = False
    square = np.array([[700, 700], [700, 1500], [1500, 1500], [1500, 700]])
    viewer.add_shapes(
        [square], name="middle", face_color="transparent", edge_width=20, units=slide_layer.units
    )
    window.until(lambda: len(genes.regions.polygons) == 1)
    (polygon,) = genes.regions.polygons.values()
    np.testing.assert_allclose(polygon, square + 0.5, atol=0.6)
    window.picture("regions")

    # Measured ST beside what the model predicts at its spots.
    compare = window.dock("Compare")
    viewer.layers.selection.active = slide_layer
    compare.load(first.expression)
    window.until(lambda: compare.section is not None and not compare.measured.is_reading)
    window.picture("measured")
    compare.start()
    window.until(lambda: not compare.is_running)
    assert compare.compared is not None
    assert compare.compared.prediction.layers["measured"].shape == compare.compared.prediction.shape
    window.picture("compared")

    # What was measured on the slide becomes the badges of its genes, and is taken back.
    of_model = genes.genes.header.text()
    compare.measured_badges.click()
    assert "on this slide (" in genes.genes.header.text()
    genes.genes.measured_badges.click()
    assert genes.genes.header.text() == of_model

    # Train three epochs on both sections, the encoder as it is.
    train = window.dock("Train")
    train.sections.show((first, second), held_out=(), validated=())
    train.settings.epochs.show_value(3)
    train.place.folder.show_value(str(tmp_path / "trained"))
    window.until(lambda: not train.sections.is_busy)
    train.start()
    assert train.is_running
    window.until(lambda: not train.is_running)
    assert train.model_folder is not None, train.status.text()
    window.picture("trained")

    # Predict with the result.
    train.predict.click()
    window.until(lambda: predict.model.text == str(train.model_folder))
    former = predict.prediction
    predict.start()
    window.until(lambda: not predict.is_running)
    assert predict.prediction is not former
    assert predict.prediction.uns["nh2st"]["model"]["name"] == train.model_folder.parent.name
    window.picture("predicted-with-it")

    # Export, and open it again in place of everything.
    output = tmp_path / "exported.h5ad"
    kept = np.array(predict.prediction.X)
    predict.export.write(output)
    window.until(output.is_file)
    window.until(predict.export.isEnabled)
    viewer.layers.clear()
    reopened = viewer.open(output, plugin="napari-nh2st")
    assert [type(layer).__name__ for layer in reopened] == ["Image", "Image"]
    assert genes.session.prediction is not None
    np.testing.assert_array_equal(genes.session.prediction.X, kept)
    genes.next_gene()
    viewer.fit_to_view()
    window.picture("reopened")

    pictures = sorted(folder.glob("*.png"))
    assert len(pictures) == window.number
    viewer.close()
    left = set(psutil.Process().children(recursive=True)) - children_before
    _, alive = psutil.wait_procs(left, timeout=20)
    assert not alive, "a process was left behind"


def status(viewer: Any) -> str:
    """What the status bar says, as napari works it out for where the mouse is."""
    viewer.update_status_from_cursor()
    said = viewer.status
    return str(said["coordinates"] if isinstance(said, dict) else said)


def shown(predict: Any) -> int:
    """How many tiles of the heatmap have a value."""
    return int(np.isfinite(predict.heatmap.image.values).sum())


def n_announced(predict: Any) -> int:
    """How many tiles the chosen detail is said to have."""
    found = re.search(r"([\d,]+) tiles", predict.detail.currentText())
    return 0 if found is None else int(found[1].replace(",", ""))
