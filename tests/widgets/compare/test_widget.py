"""The Compare widget: ST is laid where it belongs, the job gets what was chosen, results show."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Points
from napari.layers._source import layer_source
from napari.utils._proxies import PublicOnlyProxy
from napari.utils.colormaps import ensure_colormap
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QDockWidget

from array_slides import write_tiff
from compared_sections import MPP, DrawnSection, write_model, write_section
from drawn_predictions import drawn_prediction
from local_jobs import LocalJob, LocalJobs
from napari_nh2st.export import write_anndata
from napari_nh2st.jobs import JobFailed, child
from napari_nh2st.jobs.comparison import Predicting
from napari_nh2st.layers.expression import read_expression
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.prediction.raster import robust_limits
from napari_nh2st.session import Session
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import expression_target
from napari_nh2st.spots.choice import NO_CHOICE
from napari_nh2st.spots.position_fix import Fix
from napari_nh2st.widgets import child_jobs
from napari_nh2st.widgets.compare import on_slide as measured_on_slide
from napari_nh2st.widgets.compare import scatter as compare_scatter
from napari_nh2st.widgets.compare import widget as compare_module
from napari_nh2st.widgets.compare.kept import slide_layer_of
from napari_nh2st.widgets.compare.widget import CompareWidget
from small_configs import PANEL


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reliability = {"VIM": 0.5, "CD74": 0.1}
    return write_model(tmp_path_factory.mktemp("models") / "small", reliability=reliability)


@pytest.fixture
def section(tmp_path: Path) -> DrawnSection:
    return write_section(tmp_path)


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    shown: dict[str, list[str]] = {"error": [], "warning": [], "info": []}
    for kind, texts in shown.items():
        for module in (compare_module, measured_on_slide):
            monkeypatch.setattr(module, f"show_{kind}", texts.append, raising=False)
    return shown


@pytest.fixture
def viewer(qtbot: QtBot, request: pytest.FixtureRequest) -> Iterator[ViewerModel]:
    viewer = ViewerModel()
    yield request.param(viewer) if hasattr(request, "param") else viewer
    viewer.layers.clear()


in_both_viewers = pytest.mark.parametrize(
    "viewer", [lambda viewer: viewer, PublicOnlyProxy], ids=["plain", "proxy"], indirect=True
)
"""A dock gets a proxy, in which the same layer is not always the same object."""


@pytest.fixture
def widget(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    model: Path,
    messages: dict[str, list[str]],
) -> CompareWidget:
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)
    monkeypatch.setitem(child.JOBS, "report", "napari_nh2st.jobs.comparison:write_report")  # type: ignore[arg-type]
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.choose(str(model))
    return widget


def open_slide_of(viewer: ViewerModel, section: DrawnSection, mpp: float | None = MPP) -> Image:
    ((data, attributes, _),) = read_slide(section.slide, mpp=mpp)
    return viewer.add_image(data, **attributes)


def load(qtbot: QtBot, widget: CompareWidget, section: DrawnSection) -> None:
    widget.load(section.expression)
    qtbot.waitUntil(lambda: not widget.section.is_reading, timeout=30_000)


def run(qtbot: QtBot, widget: CompareWidget) -> None:
    widget.run.click()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=60_000)


@pytest.fixture
def loaded(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, section: DrawnSection
) -> CompareWidget:
    open_slide_of(viewer, section)
    load(qtbot, widget, section)
    return widget


@pytest.fixture
def done(qtbot: QtBot, loaded: CompareWidget, messages: dict[str, list[str]]) -> CompareWidget:
    run(qtbot, loaded)
    assert messages["error"] == []
    assert loaded.compared is not None
    return loaded


def points(viewer: ViewerModel) -> dict[str, Points]:
    """The points layers by what they show."""
    found = [layer for layer in viewer.layers if isinstance(layer, Points)]
    return {layer.name.partition(" · ")[0]: layer for layer in found}


def grid_of(viewer: ViewerModel) -> Any:
    return viewer.canvas.grid


def jobs_of(widget: CompareWidget) -> LocalJobs:
    jobs = widget._process.ready()
    assert isinstance(jobs, LocalJobs)
    return jobs


# Measured ST


@in_both_viewers
def test_what_was_measured_is_shown_at_once_where_it_lies(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, section: DrawnSection
) -> None:
    slide = open_slide_of(viewer, section)
    slide.translate, slide.rotate = (300, -20), 30
    load(qtbot, widget, section)
    layer = points(viewer)["measured"]
    x, y = section.spots.obsm["spatial"].T
    for number in (0, 17, 41):
        # A slide's pixel k covers [k, k + 1); napari centers it on k.
        expected = slide.data_to_world((y[number] - 0.5, x[number] - 0.5))
        np.testing.assert_allclose(layer.data_to_world(layer.data[number]), expected)
    np.testing.assert_allclose(layer.size, 0.55 * 32)
    # The shown gene alone: napari copies and checks every column that a layer has.
    target = pd.DataFrame(expression_target(section.spots, PANEL), columns=list(PANEL))
    pd.testing.assert_frame_equal(layer.features, target[["VIM"]], check_dtype=False)
    assert not layer.editable
    assert "42 spots × 5 genes" in widget.source.summary.text()
    assert layer.name == "measured · VIM", "the most reliable gene first"
    assert not widget.kinds["predicted"].isEnabled()


def test_without_the_slides_resolution_the_spots_tell_it(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, section: DrawnSection
) -> None:
    open_slide_of(viewer, section, mpp=None)
    load(qtbot, widget, section)
    assert "6.25 µm/px by the spots' distance" in widget.source.summary.text()
    run(qtbot, widget)
    ((_, arguments),) = jobs_of(widget).runs
    assert arguments["mpp"] is None
    assert widget.compared is not None


def test_another_models_panel_shows_its_genes(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, tmp_path: Path
) -> None:
    section = write_section(tmp_path, genes=("VIM", "X", "ERBB2"))
    open_slide_of(viewer, section)
    load(qtbot, widget, section)
    assert widget.section.target.columns.tolist() == ["ERBB2", "VIM"]
    widget.section.set_panel(("X",))
    qtbot.waitUntil(lambda: not widget.section.is_reading, timeout=30_000)
    assert points(viewer)["measured"].features.columns.tolist() == ["X"]
    assert widget.genes.gene == "X"


def test_a_model_chosen_while_st_is_read_has_its_genes_shown(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, tmp_path: Path
) -> None:
    section = write_section(tmp_path, genes=("VIM", "X", "ERBB2"))
    open_slide_of(viewer, section)
    widget.load(section.expression)
    widget.section.set_panel(("X",))
    qtbot.waitUntil(lambda: not widget.section.is_reading, timeout=30_000)
    assert widget.section.measured is not None
    assert points(viewer)["measured"].features.columns.tolist() == ["X"]


def test_a_target_that_cannot_be_computed_is_told_and_the_former_stays(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, viewer: ViewerModel, loaded: CompareWidget,
    messages: dict[str, list[str]],
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise ValueError("no memory")

    before = loaded.section.target
    monkeypatch.setattr(measured_on_slide, "target_of", fail)
    loaded.section.set_panel(("VIM",))
    qtbot.waitUntil(lambda: not loaded.section.is_reading, timeout=30_000)
    assert messages["error"] == ["S1.h5ad cannot be shown for this model: no memory"]
    assert loaded.section.target is before
    assert loaded.status.text() == messages["error"][0]


def test_counts_and_positions_are_told_apart_when_both_are_dropped(
    widget: CompareWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, positions = tmp_path / "counts.tsv", tmp_path / "selection.tsv"
    counts.write_text("\tA\tB\n1x1\t3\t4\n")
    positions.write_text("x\ty\tpixel_x\tpixel_y\n1\t1\t10\t10\n")
    chosen: list[tuple[Path, Path | None]] = []
    widget.source.chosen.disconnect()
    widget.source.chosen.connect(lambda *both: chosen.append(both))
    widget.source.take([positions, counts])
    monkeypatch.setattr(widget.source, "_ask_positions", lambda _path: positions)
    widget.source.take([counts])
    assert chosen == [(counts, positions)] * 2
    monkeypatch.setattr(widget.source, "_ask_positions", lambda _path: None)
    widget.source.take([counts])
    assert len(chosen) == 2, "cancelled"


def test_positions_alone_are_not_enough(
    widget: CompareWidget, tmp_path: Path, messages: dict[str, list[str]]
) -> None:
    positions = tmp_path / "selection.tsv"
    positions.write_text("x\ty\tpixel_x\tpixel_y\n1\t1\t10\t10\n")
    widget.source.take([positions])
    assert "Give the table of counts as well" in messages["error"][0]


def test_st_that_cannot_be_used_leaves_what_is_there(
    qtbot: QtBot, viewer: ViewerModel, loaded: CompareWidget, messages: dict[str, list[str]],
    tmp_path: Path,
) -> None:  # fmt: skip
    before = loaded.section.measured
    loaded.load(write_section(tmp_path, "S2", normalized=True).expression)
    qtbot.waitUntil(lambda: not loaded.section.is_reading, timeout=30_000)
    (message,) = messages["error"]
    assert "normalized already" in message
    assert loaded.section.measured is before
    assert "S1.h5ad" in loaded.source.summary.text()
    assert "measured" in points(viewer)


def test_without_a_slide_it_says_so(
    widget: CompareWidget, section: DrawnSection, messages: dict[str, list[str]]
) -> None:
    widget.load(section.expression)
    assert messages["error"] == ["There is no image layer: open a slide first."]
    assert widget.status.text() == messages["error"][0]
    widget.run.click()
    assert "Measured ST is needed" in messages["error"][1]
    assert widget.status.text() == messages["error"][1]


def test_st_of_another_slide_is_a_warning_and_refused(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, section: DrawnSection,
    messages: dict[str, list[str]], tmp_path: Path,
) -> None:  # fmt: skip
    glass = write_tiff(tmp_path / "glass.tif", np.full((200, 240, 3), 245, np.uint8))
    open_slide_of(viewer, section._replace(slide=glass))
    load(qtbot, widget, section)
    assert "is glass the slide they were measured on?" in messages["warning"][0]
    run(qtbot, widget)
    assert "tissue of glass.tif" in messages["error"][0]
    assert widget.run.isEnabled()


def test_a_model_of_another_species_is_refused_before_it_runs(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:  # fmt: skip
    section = write_section(tmp_path, genes=("Erbb2", "Epcam", "Vim"))
    open_slide_of(viewer, section)
    load(qtbot, widget, section)
    assert "shares no gene with the model" in messages["warning"][0]
    assert widget.section.target.columns.tolist() == ["Erbb2", "Epcam", "Vim"]
    run(qtbot, widget)
    assert "shares no gene with the model" in messages["error"][0]
    assert jobs_of(widget).runs == []


@in_both_viewers
def test_removing_the_st_removes_its_layers(viewer: ViewerModel, done: CompareWidget) -> None:
    done.beside.setChecked(True)
    done.source.clear.click()
    assert [layer.name for layer in viewer.layers] == ["S1"]
    assert not grid_of(viewer).enabled
    assert done.compared is None
    assert done.summary.text() == ""


@in_both_viewers
def test_with_its_slide_the_st_goes(viewer: ViewerModel, loaded: CompareWidget) -> None:
    viewer.layers.remove(viewer.layers["S1"])
    assert points(viewer) == {}
    assert loaded.section.measured is None


def test_what_was_taken_away_does_not_come_back_with_the_slide(
    qtbot: QtBot, viewer: ViewerModel, loaded: CompareWidget, section: DrawnSection
) -> None:
    loaded.remove()
    viewer.layers.remove(viewer.layers["S1"])
    open_slide_of(viewer, section)
    assert loaded._left() is None


@in_both_viewers
def test_what_one_dock_follows_is_not_taken_by_another(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget
) -> None:
    other = CompareWidget(viewer)
    qtbot.addWidget(other)
    assert other._left() is None
    assert done.compared is not None
    done._end()
    other._take_over()
    assert other.compared is done.compared


def test_pictures_of_other_readers_are_no_obstacle(viewer: ViewerModel) -> None:
    with layer_source(path="/data/photo.png", reader_plugin="napari"):
        photo = viewer.add_image(np.zeros((5, 5, 3), np.uint8), rgb=True)
    assert isinstance(photo.source.path, str)
    assert slide_layer_of(viewer, Path("S1.tif")) is None
    assert slide_layer_of(viewer, Path("photo.png")) == photo


def test_st_that_is_dropped_gets_the_process_ready(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, section: DrawnSection
) -> None:
    open_slide_of(viewer, section)
    widget.source.take([section.expression])
    assert jobs_of(widget).n_started > 1
    qtbot.waitUntil(lambda: not widget.section.is_reading, timeout=30_000)
    assert widget.section.measured is not None


@in_both_viewers
def test_the_mpp_that_spots_tell_is_for_their_own_slide(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, section: DrawnSection, tmp_path: Path
) -> None:
    slide = open_slide_of(viewer, section, mpp=12.0)
    load(qtbot, widget, section)
    assert widget.mpp_box.text.text().startswith("S1: ")
    (tmp_path / "other").mkdir()
    other = open_slide_of(viewer, write_section(tmp_path / "other", "S2"), mpp=3.0)
    viewer.layers.selection.active = other
    assert not widget.mpp_box.isVisibleTo(widget)
    widget.mpp_box.chosen.emit(6.25)
    assert widget.slide.mpp.value() == 3.0
    viewer.layers.selection.active = slide
    assert widget.mpp_box.isVisibleTo(widget)
    widget.mpp_box.keep.click()
    widget.section.set_panel(("VIM",))
    qtbot.waitUntil(lambda: not widget.section.is_reading, timeout=30_000)
    assert not widget.mpp_box.is_open, "it was refused"
    widget._end()
    again = CompareWidget(viewer)
    qtbot.addWidget(again)
    qtbot.waitUntil(lambda: not again.section.is_reading, timeout=30_000)
    assert again.section.measured is not None
    assert not again.mpp_box.is_open


def test_another_model_that_lacks_genes_is_warned_of(
    qtbot: QtBot, loaded: CompareWidget, messages: dict[str, list[str]]
) -> None:
    loaded.section.set_panel(tuple(f"Gene{i}" for i in range(9)))
    qtbot.waitUntil(lambda: not loaded.section.is_reading, timeout=30_000)
    assert "shares no gene with the model" in messages["warning"][0]


@in_both_viewers
def test_the_slides_second_layer_is_no_slide_and_st_that_is_read_ends_it(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget, section: DrawnSection
) -> None:
    done.beside.click()
    assert SLIDE_KEY not in viewer.layers["S1 (beside)"].metadata
    load(qtbot, done, section)
    assert done.section.slide_layer == viewer.layers["S1"]
    assert "S1 (beside)" not in viewer.layers


@in_both_viewers
def test_predictions_of_an_untrained_model_are_called_so(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget
) -> None:
    layers = done.section.layers
    assert layers is not None
    layers.is_trained = False
    done.show_gene("CD74")
    done.kinds["residual"].click()
    assert {layer.name for layer in points(viewer).values()} == {
        "measured · CD74",
        "predicted · CD74 · UNTRAINED",
        "residual · CD74 · UNTRAINED",
    }


@in_both_viewers
def test_st_stays_on_its_slide_until_it_is_laid_over_another(
    qtbot: QtBot, viewer: ViewerModel, loaded: CompareWidget, tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:  # fmt: skip
    assert not loaded.other_slide.isVisibleTo(loaded)
    other = open_slide_of(viewer, write_section(tmp_path, "S2"))
    viewer.layers.selection.active = other
    assert loaded.slide.layer == other
    assert not loaded.section.is_reading
    assert loaded.section.slide_layer == viewer.layers["S1"]
    assert "Measured ST of S1, while S2 is chosen" in loaded.other_slide.text.text()
    loaded.run.click()
    assert "lies on 'S1', and another slide is chosen" in messages["error"][0]
    loaded.other_slide.lay_over.click()
    qtbot.waitUntil(lambda: not loaded.section.is_reading, timeout=30_000)
    assert loaded.section.slide_layer == other
    assert len(points(viewer)) == 1
    assert not loaded.other_slide.isVisibleTo(loaded)
    assert loaded.status.text() == "", "what was refused before is over"


@in_both_viewers
def test_a_comparison_survives_that_another_slide_is_selected(
    viewer: ViewerModel, done: CompareWidget, tmp_path: Path
) -> None:
    before, compared = points(viewer), done.compared
    viewer.layers.selection.active = open_slide_of(viewer, write_section(tmp_path, "S2"))
    done.slide.mpp.setValue(3.0)
    done.slide.mpp.editingFinished.emit()  # of the other slide
    assert not done.section.is_reading
    assert done.compared is compared
    assert points(viewer) == before
    assert "Results of S1" in done.other_slide.text.text()
    done.show_gene("CD74")
    assert points(viewer)["predicted"].name == "predicted · CD74"
    viewer.layers.selection.active = viewer.layers["S1"]
    assert not done.other_slide.isVisibleTo(done)


@in_both_viewers
@pytest.mark.parametrize("all_layers", [False, True])
def test_a_comparison_survives_its_slide(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget, all_layers: bool, tmp_path: Path,
    section: DrawnSection,
) -> None:  # fmt: skip
    done.beside.click()
    if all_layers:
        viewer.layers.clear()
    else:
        viewer.layers.remove(viewer.layers["S1"])
    assert points(viewer) == {}
    assert not grid_of(viewer).enabled
    assert done.compared is not None
    assert "Results of S1, whose slide is not in the viewer" in done.other_slide.text.text()
    assert "Mean PCC" in done.summary.text()
    for part in (done.genes, done.scatter, done.export, done.report):
        assert part.isVisibleTo(done)
    done.genes.table.view.selectRow(done.genes.table.table["gene"].tolist().index("CD74"))
    assert "CD74 · " in done.scatter.axes.get_title()
    done.write_report(tmp_path / "report")
    qtbot.waitUntil(lambda: not done.is_running, timeout=60_000)
    assert (tmp_path / "report" / "summary.json").exists()
    compared = done.compared
    open_slide_of(viewer, section)
    qtbot.waitUntil(lambda: done.section.layers is not None, timeout=20_000)
    assert done.compared is compared
    assert points(viewer)["predicted"].name == "predicted · CD74"
    assert not done.other_slide.isVisibleTo(done)
    assert done.source.summary.text().endswith("On S1.")


@in_both_viewers
@pytest.mark.parametrize("compared", [False, True])
def test_a_new_dock_goes_on_with_what_the_former_left(
    qtbot: QtBot, viewer: ViewerModel, misplaced: CompareWidget, model: Path, compared: bool,
) -> None:  # fmt: skip
    misplaced.fix_box.fix.click()
    if compared:
        run(qtbot, misplaced)
        misplaced.show_gene("CD74")
        misplaced.show_kind("residual")
    before = points(viewer)
    misplaced._end()  # as when its dock is closed
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.choose(str(model))
    qtbot.waitUntil(lambda: not widget.section.is_reading, timeout=30_000)
    assert points(viewer) == before
    assert widget.section.measured is misplaced.section.measured
    assert widget.section.fix == Fix(factor=4.0)
    assert (widget.compared is not None) == compared
    assert widget.export.isVisibleTo(widget) == compared
    if compared:
        assert widget.genes.gene == "CD74"
        assert widget.kinds["residual"].isChecked()
        assert widget.summary.text() == misplaced.summary.text()
    widget.show_gene("VIM")
    widget.kinds["measured"].click()
    assert points(viewer)["measured"].features.columns.tolist() == ["VIM"]
    widget.fix_box.undo.click()
    assert not in_place(points(viewer)["measured"])


@in_both_viewers
def test_an_exported_comparison_that_is_opened_is_taken_up(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget, tmp_path: Path
) -> None:
    assert done.compared is not None
    write_anndata(done.compared.prediction, tmp_path / "out.h5ad")
    place = points(viewer)["measured"].data_to_world((30.0, 40.0))
    summary = done.summary.text()
    done.remove()
    viewer.layers.clear()
    for data, attributes, kind in read_expression(tmp_path / "out.h5ad"):
        getattr(viewer, f"add_{kind}")(data, **attributes)
    qtbot.waitUntil(lambda: done.compared is not None, timeout=30_000)
    assert done.summary.text() == summary
    layers = points(viewer)
    assert set(layers) == {"measured", "predicted"}
    np.testing.assert_allclose(layers["measured"].data_to_world((30.0, 40.0)), place)
    done.show_gene("CD74")
    done.kinds["residual"].click()
    assert points(viewer)["residual"].features.columns.tolist() == ["CD74"]
    assert done.report.isEnabled()


@in_both_viewers
def test_spots_stay_on_their_slide_when_that_is_moved(
    viewer: ViewerModel, misplaced: CompareWidget
) -> None:
    slide = viewer.layers["S1"]
    slide.scale, slide.translate, slide.rotate, slide.shear = (2, 3), (50, -7), 20, (0.3,)
    for layer in points(viewer).values():
        np.testing.assert_allclose(
            layer.data_to_world((11.0, 5.0)), slide.data_to_world((11.0, 5.0))
        )


# Where it lies


@pytest.fixture
def misplaced(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, tmp_path: Path
) -> CompareWidget:
    section = write_section(tmp_path, factor=4.0)
    open_slide_of(viewer, section)
    load(qtbot, widget, section)
    return widget


def in_place(layer: Points) -> bool:
    """Whether the first spot lies where it was drawn, (x, y) = (18.5, 20)."""
    return bool(np.allclose(layer.data[0], (19.5, 18.0)))


@in_both_viewers
def test_a_fix_is_offered_previewed_made_and_undone(
    viewer: ViewerModel, misplaced: CompareWidget
) -> None:
    box = misplaced.fix_box
    assert "an image 4 × smaller" in box.text.text()
    assert not box.isHidden()
    assert not in_place(points(viewer)["measured"])
    assert in_place(points(viewer)["proposed places"])
    box.fix.click()
    assert in_place(points(viewer)["measured"])
    np.testing.assert_allclose(points(viewer)["measured"].size, 0.55 * 32)
    assert "proposed places" not in points(viewer)
    assert box.undo.isVisibleTo(box)
    box.undo.click()
    assert not in_place(points(viewer)["measured"])
    np.testing.assert_allclose(points(viewer)["measured"].size, 0.55 * 8)
    assert in_place(points(viewer)["proposed places"])
    box.keep.click()
    assert not in_place(points(viewer)["measured"])
    assert "proposed places" not in points(viewer)


def test_nothing_is_compared_before_the_choice(
    misplaced: CompareWidget, messages: dict[str, list[str]]
) -> None:
    misplaced.run.click()
    assert "choose “Fix it” or “Keep as it is”" in messages["error"][0]
    assert not misplaced.is_running


def test_the_fix_reaches_the_job_and_undoing_it_takes_the_results_away(
    qtbot: QtBot, viewer: ViewerModel, misplaced: CompareWidget
) -> None:
    misplaced.fix_box.fix.click()
    run(qtbot, misplaced)
    ((_, arguments),) = jobs_of(misplaced).runs
    assert arguments["fix"] == Fix(factor=4.0)
    assert all(in_place(layer) for layer in points(viewer).values())
    misplaced.fix_box.undo.click()
    assert misplaced.compared is None
    assert set(points(viewer)) == {"measured", "proposed places"}
    assert not misplaced.export.isVisibleTo(misplaced)


@in_both_viewers
def test_leaving_the_resolution_as_it_is_reads_nothing_and_keeps_the_fix(
    viewer: ViewerModel, misplaced: CompareWidget
) -> None:
    misplaced.fix_box.fix.click()
    misplaced.slide.mpp.editingFinished.emit()  # as Qt does whenever the box is left
    assert not misplaced.section.is_reading
    assert in_place(points(viewer)["measured"])


@in_both_viewers
@pytest.mark.parametrize("choice", ["fix", "keep"])
def test_the_choice_stays_when_the_same_is_proposed_again(
    qtbot: QtBot, viewer: ViewerModel, misplaced: CompareWidget, choice: str
) -> None:
    getattr(misplaced.fix_box, choice).click()
    misplaced.slide.mpp.setValue(MPP * 1.01)
    misplaced.slide.mpp.editingFinished.emit()
    assert misplaced.section.is_reading
    qtbot.waitUntil(lambda: not misplaced.section.is_reading, timeout=30_000)
    assert misplaced.section.fix == (Fix(factor=4.0) if choice == "fix" else None)
    assert in_place(points(viewer)["measured"]) == (choice == "fix")
    assert "proposed places" not in points(viewer)
    assert misplaced.fix_box.undo.isVisibleTo(misplaced.fix_box)
    misplaced.fix_box.undo.click()
    assert misplaced.fix_box.is_open


def test_spots_that_are_right_offer_nothing(loaded: CompareWidget) -> None:
    assert loaded.fix_box.isHidden()
    assert not loaded.fix_box.is_open


# Comparing


def test_what_is_chosen_reaches_the_job(
    qtbot: QtBot, loaded: CompareWidget, section: DrawnSection, model: Path
) -> None:
    loaded.slide.mpp.setValue(6.0)
    loaded.device.setCurrentText("cpu")
    run(qtbot, loaded)
    assert jobs_of(loaded).runs == [
        (
            "compare",
            {
                "slide": section.slide,
                "mpp": (6.0, 6.0),
                "image": 0,
                "expression": section.expression,
                "positions": None,
                "fix": None,
                "choice": NO_CHOICE,
                "model": str(model),
                "device": "cpu",
            },
        )
    ]


def test_measured_and_predicted_have_one_scale_and_the_residual_is_symmetric(
    viewer: ViewerModel, done: CompareWidget
) -> None:
    assert done.compared is not None
    layers = points(viewer)
    gene = layers["predicted"].name.partition(" · ")[2]
    prediction = done.compared.prediction
    predicted = prediction[:, gene].X.ravel()
    measured = prediction[:, gene].layers["measured"].ravel()
    np.testing.assert_array_equal(layers["predicted"].features[gene], predicted)
    np.testing.assert_array_equal(layers["measured"].features[gene], measured)
    assert "residual" not in layers, "made when it is first shown"
    done.kinds["residual"].click()
    layers = points(viewer)
    np.testing.assert_allclose(layers["residual"].features[gene], predicted - measured, atol=1e-6)
    same = robust_limits(np.concatenate([measured, predicted]))
    for name in ("measured", "predicted"):
        layers[name].visible = True
        assert layers[name].face_contrast_limits == pytest.approx(same)
        assert layers[name].face_colormap.name == "magma"
    low, high = layers["residual"].face_contrast_limits
    assert -low == high == pytest.approx(np.percentile(np.abs(predicted - measured), 99))
    assert all(layer.visible for layer in layers.values())


@in_both_viewers
def test_another_gene_changes_the_colours_of_the_same_layers(
    viewer: ViewerModel, done: CompareWidget
) -> None:
    done.kinds["residual"].click()
    before = points(viewer)
    rows = done.genes.table.table["gene"].tolist()
    done.genes.table.view.selectRow(rows.index("CD74"))
    after = points(viewer)
    assert {name: id(layer) for name, layer in after.items()} == {
        name: id(layer) for name, layer in before.items()
    }
    assert {layer.name for layer in after.values()} == {
        f"{kind} · CD74" for kind in ("measured", "predicted", "residual")
    }
    for kind in ("predicted", "measured"):
        done.kinds[kind].click()
        layer = after[kind]
        low, high = layer.face_contrast_limits
        shares = (layer.features["CD74"].to_numpy() - low) / (high - low)
        np.testing.assert_allclose(
            layer.face_color, ensure_colormap("magma").map(np.clip(shares, 0, 1)), atol=0.01
        )
    assert "CD74 · " in done.scatter.axes.get_title()
    offsets = np.asarray(done.scatter._spots.get_offsets())
    np.testing.assert_allclose(offsets[:, 0], after["measured"].features["CD74"])
    np.testing.assert_allclose(offsets[:, 1], after["predicted"].features["CD74"])
    assert after["predicted"].features.columns.tolist() == ["CD74"]


def test_the_table_has_the_scores_best_first_and_finds_genes(done: CompareWidget) -> None:
    assert done.compared is not None
    scores = done.compared.scores.set_index("gene")
    table = done.genes.table.table.set_index("gene")
    assert table["PCC"].is_monotonic_decreasing
    np.testing.assert_array_equal(table["PCC"], scores.loc[table.index, "pcc"])
    np.testing.assert_array_equal(table["low"], scores.loc[table.index, "pcc_low"])
    assert table.loc["VIM", "reliability"] == 0.5
    assert np.isnan(table.loc["ERBB2", "reliability"])
    done.genes.search.setText("cd7")
    view = done.genes.table.view
    shown = [g for row, g in enumerate(table.index) if not view.isRowHidden(row)]
    assert shown == ["CD74"]
    done.genes.table.model.sort(0)
    genes = done.genes.table.table["gene"].tolist()
    assert genes == sorted(PANEL)
    assert [g for row, g in enumerate(genes) if not view.isRowHidden(row)] == ["CD74"]


def test_the_summary_tells_the_mean_with_its_interval(done: CompareWidget) -> None:
    assert done.compared is not None
    summary = done.compared.summary
    for key in ("mean_pcc", "mean_pcc_low", "mean_pcc_high"):
        assert f"{summary[key]:.2f}".replace("-", "−") in done.summary.text()
    assert "over 5 genes, 42 spots, with small" in done.summary.text()
    assert "no baseline" in done.notices.text()


def test_a_section_that_lacks_genes_has_residuals_in_standard_units(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, tmp_path: Path
) -> None:
    section = write_section(tmp_path, genes=PANEL[:3])
    open_slide_of(viewer, section)
    load(qtbot, widget, section)
    run(qtbot, widget)
    assert "standardized values" in widget.notices.text()
    for kind in ("measured", "predicted", "residual"):
        widget.kinds[kind].click()
        widget.show_gene("CD74")
    layers = points(viewer)
    standard = [
        (layers[kind].features["CD74"] - layers[kind].features["CD74"].mean())
        / layers[kind].features["CD74"].std(ddof=0)
        for kind in ("predicted", "measured")
    ]
    np.testing.assert_allclose(
        layers["residual"].features["CD74"], standard[0] - standard[1], atol=1e-4
    )
    widget.kinds["residual"].click()
    assert "standardized" in widget.unit.text()
    assert "log10" not in widget.unit.text()
    widget.kinds["predicted"].click()
    assert "log10" in widget.unit.text()
    widget.show_gene("VIM")
    assert "no PCC" in widget.scatter.axes.get_title()


@in_both_viewers
def test_one_kind_is_shown_at_a_time_and_its_scale_with_it(
    viewer: ViewerModel, done: CompareWidget
) -> None:
    for kind, button in done.kinds.items():
        button.click()
        shown = [name for name, layer in points(viewer).items() if layer.visible]
        assert shown == [kind]
        assert done.scale.limits == tuple(points(viewer)[kind].face_contrast_limits)


@in_both_viewers
def test_side_by_side_is_a_grid_of_two_slides_and_leaves_the_viewer_as_it_was(
    viewer: ViewerModel, done: CompareWidget
) -> None:
    other = viewer.add_image(np.zeros((4, 4)), name="other")
    viewer.layers.move(viewer.layers.index(other), 0)
    before = [(layer.name, layer.visible) for layer in viewer.layers]
    camera = viewer.scene.camera
    camera.center, camera.zoom = (0.0, 90.0, 40.0), 7.0
    done.beside.click()
    assert grid_of(viewer).enabled
    assert camera.zoom < 7.0, "both slides fit the view"
    gene = done.genes.gene
    assert (grid_of(viewer).stride, grid_of(viewer).shape) == (2, (1, 2))
    shown = [layer.name for layer in viewer.layers if layer.visible]
    assert shown == ["S1", f"measured · {gene}", "S1 (beside)", f"predicted · {gene}"]
    assert all(layer.visible for layer in viewer.layers[:4]), "each two share a place"
    assert done.section.slide_layer == viewer.layers["S1"]
    done.kinds["residual"].click()
    assert points(viewer)["residual"].visible
    assert not points(viewer)["predicted"].visible
    done.kinds["predicted"].click()
    viewer.layers.remove(points(viewer)["residual"])
    done.beside.click()
    assert [(layer.name, layer.visible) for layer in viewer.layers] == before
    assert not grid_of(viewer).enabled
    assert (camera.center, camera.zoom) == ((0.0, 90.0, 40.0), 7.0)
    assert not done.section.is_reading, "the other slide is the same one"


@in_both_viewers
def test_side_by_side_ends_with_the_slides_copy(viewer: ViewerModel, done: CompareWidget) -> None:
    other = viewer.add_image(np.zeros((40, 50, 3), np.uint8), name="other", rgb=True)
    done.slide.picker.value = viewer.layers["S1"]
    done.beside.click()
    assert done.slide.layer == viewer.layers["S1"]
    viewer.layers.remove(viewer.layers["S1 (beside)"])
    assert done.slide.layer == viewer.layers["S1"]
    viewer.layers.remove(other)
    assert not grid_of(viewer).enabled
    assert not done.beside.isChecked()
    assert [name for name, layer in points(viewer).items() if layer.visible] == ["predicted"]


@in_both_viewers
def test_a_second_run_keeps_the_layers_as_the_user_made_them(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget
) -> None:
    before = points(viewer)
    before["predicted"].opacity = 0.4
    run(qtbot, done)
    assert {k: id(v) for k, v in points(viewer).items()} == {k: id(v) for k, v in before.items()}
    assert points(viewer)["predicted"].opacity == 0.4


@in_both_viewers
def test_layers_that_the_user_deletes_are_missed_by_nothing_and_come_back_when_asked_for(
    viewer: ViewerModel, done: CompareWidget, messages: dict[str, list[str]]
) -> None:
    viewer.layers.remove(points(viewer)["predicted"])
    done.show_gene("CD74")
    assert "predicted" not in points(viewer)
    done.kinds["predicted"].click()
    layer = points(viewer)["predicted"]
    assert layer.visible
    assert layer.features.columns.tolist() == ["CD74"]
    viewer.layers.remove(layer)
    done.beside.click()
    assert points(viewer)["predicted"].visible
    done.beside.click()
    done.kinds["residual"].click()
    assert points(viewer)["residual"].visible
    assert messages["error"] == []


@in_both_viewers
def test_results_stay_when_the_slide_was_taken_away_while_it_ran(
    qtbot: QtBot, viewer: ViewerModel, loaded: CompareWidget, tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:  # fmt: skip
    loaded.run.click()
    viewer.layers.remove(viewer.layers["S1"])
    qtbot.waitUntil(lambda: not loaded.is_running, timeout=60_000)
    assert loaded.compared is not None
    assert points(viewer) == {}
    assert "whose slide is not in the viewer" in loaded.other_slide.text.text()
    assert "Mean PCC" in loaded.summary.text()
    loaded.show_gene("CD74")
    assert "CD74 · " in loaded.scatter.axes.get_title()
    loaded.genes.table.view.selectRow(loaded.genes.table.table["gene"].tolist().index("VIM"))
    assert "VIM · " in loaded.scatter.axes.get_title()
    for part in (loaded.genes, loaded.scatter, loaded.export, loaded.report):
        assert part.isVisibleTo(loaded)
    assert not any(button.isEnabled() for button in loaded.kinds.values())
    other = open_slide_of(viewer, write_section(tmp_path, "S2"))
    assert loaded.slide.layer == other
    assert loaded.compared is not None, "another slide takes no results away"
    loaded.write_report(tmp_path / "report")
    qtbot.waitUntil(lambda: not loaded.is_running, timeout=60_000)
    assert (tmp_path / "report" / "summary.json").exists()
    assert messages["error"] == []
    loaded.source.clear.click()
    assert loaded.compared is None


def test_devices_are_asked_for_again_where_the_process_was_ended(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, widget: CompareWidget
) -> None:
    asked: list[str] = []

    def run(_jobs: LocalJobs, name: str) -> Iterator[object]:
        asked.append(name)
        if len(asked) == 1:
            raise JobFailed("was ended by signal 9")
        yield {"cpu": "2 cores", "cuda:0": "a GPU"}, {"mps": "no Apple"}

    monkeypatch.setattr(LocalJobs, "run", run)
    picker = widget.device
    for count in (2, 4, 4):  # "auto" and "cpu" at first
        picker.showPopup()
        qtbot.waitUntil(lambda: not picker._asking.is_busy, timeout=20_000)
        assert picker.count() == count
    picker.hidePopup()
    assert asked == ["devices", "devices"]


# Stopping and ending


def test_cancel_at_once_begins_nothing(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, loaded: CompareWidget
) -> None:
    begin = threading.Event()
    events = LocalJob.events

    def late(job: LocalJob) -> Iterator[object]:
        begin.wait(20)
        yield from events(job)

    monkeypatch.setattr(LocalJob, "events", late)
    loaded.run.click()
    loaded.cancel.click()
    begin.set()
    qtbot.waitUntil(lambda: not loaded.is_running, timeout=20_000)
    assert jobs_of(loaded).runs == []
    assert loaded.status.text() == "Stopped."


def test_cancel_stops_it_and_keeps_the_measured(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, viewer: ViewerModel, loaded: CompareWidget
) -> None:
    def endless(jobs: LocalJobs, _job: str, **_arguments: object) -> Iterator[object]:
        while not jobs.inbox.stopped():
            yield Predicting(1, 42)

    monkeypatch.setattr(LocalJobs, "run", endless)
    loaded.run.click()
    qtbot.waitUntil(lambda: loaded.bar.value() == 1, timeout=20_000)
    assert not loaded.source.clear.isEnabled()
    assert not loaded.mpp_box.use.isEnabled()
    loaded._on_model(SimpleNamespace(panel=("VIM",), reliability=None))
    loaded.cancel.click()
    qtbot.waitUntil(lambda: not loaded.is_running, timeout=20_000)
    assert loaded.status.text() == "Stopped."
    assert set(points(viewer)) == {"measured"}
    assert loaded.run.isEnabled()
    assert loaded.source.clear.isEnabled()
    qtbot.waitUntil(lambda: not loaded.section.is_reading, timeout=20_000)
    assert loaded.section.target.columns.tolist() == ["VIM"], "of the model chosen meanwhile"


def test_out_of_its_dock_it_ends_its_jobs_and_forgets_the_viewer(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget, tmp_path: Path
) -> None:
    dock = QDockWidget()
    dock.setWidget(done)
    jobs = jobs_of(done)
    done.beside.setChecked(True)
    done.setParent(None)
    assert jobs.closed
    assert not grid_of(viewer).enabled
    assert "measured" in points(viewer), "what is shown may be looked at further"
    other = open_slide_of(viewer, write_section(tmp_path, "S2"))
    assert done.slide.picker.findData(other) < 0
    dark = done.scatter.figure.get_facecolor()
    viewer.theme = "light"
    assert done.scatter.figure.get_facecolor() == dark
    dock.setWidget(done)
    assert done.slide.picker.findData(other) >= 0
    assert jobs_of(done) is not jobs
    done.setParent(None)  # qtbot deletes it


def test_no_report_is_written_while_other_st_is_read(
    qtbot: QtBot, done: CompareWidget, section: DrawnSection, tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:  # fmt: skip
    done.load(section.expression)
    done.write_report(tmp_path / "report")
    assert "still being read" in messages["error"][0]
    assert not done.is_running
    qtbot.waitUntil(lambda: not done.section.is_reading, timeout=30_000)
    assert done.section.measured is not None
    assert done.compared is None


def test_the_report_and_the_table_are_written(
    qtbot: QtBot, done: CompareWidget, tmp_path: Path, messages: dict[str, list[str]]
) -> None:
    folder = tmp_path / "report"
    done.write_report(folder)
    assert not done.run.isEnabled()
    assert not done.cancel.isEnabled(), "half a folder is of no use"
    done.stop()
    qtbot.waitUntil(lambda: not done.is_running, timeout=60_000)
    assert messages["info"] == [f"Wrote {folder}"]
    assert (folder / "summary.json").exists()
    done.write_report(folder)
    qtbot.waitUntil(lambda: not done.is_running, timeout=60_000)
    assert "exists already" in messages["error"][0]


def test_the_scatter_is_saved_and_not_over_what_is_there(
    monkeypatch: pytest.MonkeyPatch, done: CompareWidget, tmp_path: Path
) -> None:
    texts: list[str] = []
    for kind in ("error", "info"):
        monkeypatch.setattr(compare_scatter, f"show_{kind}", texts.append)
    path = tmp_path / "gene.svg"
    done.scatter.save(path)
    assert path.read_text().startswith("<?xml")
    done.scatter.save(path)
    done.scatter.save(tmp_path / "gene.xyz")
    assert texts[0] == f"Wrote {path}"
    assert "exists already" in texts[1]
    assert "must end in" in texts[2]


def test_the_plot_takes_the_colours_of_the_theme(
    viewer: ViewerModel, widget: CompareWidget
) -> None:
    colours = []
    for theme in ("dark", "light"):
        viewer.theme = theme
        colours.append(widget.scatter.figure.get_facecolor())
    dark, light = (sum(colour[:3]) for colour in colours)
    assert dark < 1 < light


def test_the_model_of_the_current_prediction_is_offered_until_another_is_chosen(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, viewer: ViewerModel, section: DrawnSection,
    model: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)
    # Of a folder the path is the name by which it is found.
    monkeypatch.setattr(compare_module, "bundled_models", lambda: {str(model): model})
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    first = widget.model.text
    assert first != str(model)
    layer = open_slide_of(viewer, section)
    with open_slide(section.slide, mpp=1.0) as slide:
        prediction = drawn_prediction(slide)
    prediction.uns["nh2st"]["model"]["name"] = str(model)
    Session.of(viewer).add_heatmap(layer, prediction, "VIM")
    assert widget.model.text == str(model)
    widget.model.choose(first)
    Session.of(viewer).add_heatmap(layer, prediction, "CD74")
    assert widget.model.text == first


def test_what_comes_after_the_widget_is_gone_disturbs_nobody(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, viewer: ViewerModel, section: DrawnSection
) -> None:
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)
    widget = CompareWidget(viewer)
    open_slide_of(viewer, section)
    load(qtbot, widget, section)
    thread, jobs = widget._thread, jobs_of(widget)
    widget.start()
    with qtbot.waitSignal(widget.destroyed):
        widget.deleteLater()
    assert jobs.closed
    qtbot.waitUntil(lambda: not thread.is_running, timeout=20_000)
