"""Measured ST and its comparison outlast docks and slides."""

from pathlib import Path

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QDockWidget

from compare_docks import (
    in_both_viewers,
    in_place,
    jobs_of,
    load,
    open_slide_of,
    points,
    run,
    wait_until_read,
)
from compared_sections import DrawnSection, write_section
from napari_nh2st.spots.orientation import Fix
from napari_nh2st.widgets.compare.widget import CompareWidget


@in_both_viewers
def test_with_its_slide_the_st_goes(viewer: ViewerModel, loaded: CompareWidget) -> None:
    viewer.layers.remove(viewer.layers["S1"])
    assert points(viewer) == {}
    assert loaded.section.slide_layer is None
    assert loaded.measured.source.summary.text() == "Drop a file here, or choose one."


@in_both_viewers
def test_two_docks_share_one_comparison(
    qtbot: QtBot, viewer: ViewerModel, loaded: CompareWidget
) -> None:
    other = CompareWidget(viewer)
    qtbot.addWidget(other)
    assert other.section is loaded.section
    assert other.measured.source.summary.text() == loaded.measured.source.summary.text()
    loaded.controls.run.click()
    assert not other.measured.source.clear.isEnabled()
    qtbot.waitUntil(lambda: not loaded.is_running, timeout=60_000)
    assert other.compared is loaded.compared is not None
    assert other.view.summary.text() == loaded.view.summary.text() != ""
    for one, two in ((other, loaded), (loaded, other)):
        gene = "CD74" if one is other else "VIM"
        one.show_gene(gene)
        assert two.view.genes.view.current_gene == gene
        assert f"{gene} · " in two.view.scatter.axes.get_title()
        one.view.kinds["residual" if one is other else "measured"].click()
        assert two.view.kinds["residual"].isChecked() == (one is other)
        one.view.beside.click()
        assert two.view.beside.isChecked()
        one.view.beside.click()
        assert not two.view.beside.isChecked()
    layers = points(viewer)
    loaded.view.beside.click()
    loaded.close_down()
    assert viewer.canvas.grid.enabled, "the other dock shows it"
    other.view.beside.click()
    assert points(viewer) == layers
    other.remove()
    assert points(viewer) == {}
    assert loaded.section is None


@in_both_viewers
def test_a_comparison_survives_that_another_slide_is_selected(
    viewer: ViewerModel, done: CompareWidget, tmp_path: Path
) -> None:
    before, compared = points(viewer), done.compared
    viewer.layers.selection.active = open_slide_of(viewer, write_section(tmp_path, "S2"))
    done.slide.mpp.setValue(3.0)
    done.slide.mpp.editingFinished.emit()  # of the other slide
    assert not done.measured.is_reading
    assert done.compared is compared
    assert points(viewer) == before
    assert "Results of S1" in done.measured.other_slide.text.text()
    done.show_gene("CD74")
    assert points(viewer)["predicted"].name == "predicted · CD74"
    viewer.layers.selection.active = viewer.layers["S1"]
    assert not done.measured.other_slide.isVisibleTo(done)


@in_both_viewers
@pytest.mark.parametrize("all_layers", [False, True])
def test_a_comparison_survives_its_slide(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget, all_layers: bool, tmp_path: Path,
    section: DrawnSection,
) -> None:  # fmt: skip
    done.view.beside.click()
    if all_layers:
        viewer.layers.clear()
    else:
        viewer.layers.remove(viewer.layers["S1"])
    assert points(viewer) == {}
    assert not viewer.canvas.grid.enabled
    assert done.compared is not None
    assert (
        "Results of S1, whose slide is not in the viewer" in done.measured.other_slide.text.text()
    )
    assert "Mean PCC" in done.view.summary.text()
    for part in (done.view.genes, done.view.scatter, done.view.export, done.view.report):
        assert part.isVisibleTo(done)
    done.view.genes.view.selectRow(done.view.genes.table.table["gene"].tolist().index("CD74"))
    assert "CD74 · " in done.view.scatter.axes.get_title()
    done.write_report(tmp_path / "report")
    qtbot.waitUntil(lambda: not done.is_running, timeout=60_000)
    assert (tmp_path / "report" / "summary.json").exists()
    compared = done.compared
    open_slide_of(viewer, section)
    qtbot.waitUntil(lambda: done.section.slide_layer is not None, timeout=20_000)
    assert done.compared is compared
    assert points(viewer)["predicted"].name == "predicted · CD74"
    assert not done.measured.other_slide.isVisibleTo(done)
    assert done.measured.source.summary.text().endswith("On S1.")


@in_both_viewers
@pytest.mark.parametrize("compared", [False, True])
def test_a_new_dock_goes_on_with_what_the_former_left(
    qtbot: QtBot, viewer: ViewerModel, misplaced: CompareWidget, model: Path, compared: bool,
) -> None:  # fmt: skip
    misplaced.measured.fix_box.fix.click()
    if compared:
        run(qtbot, misplaced)
        misplaced.show_gene("CD74")
        misplaced.show_kind("residual")
    before = points(viewer)
    misplaced.close_down()  # as when its dock is closed
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.choose(str(model))
    wait_until_read(qtbot, widget)
    assert points(viewer) == before
    assert widget.section.measured is misplaced.section.measured
    assert widget.section.fix == Fix(factor=4.0)
    assert (widget.compared is not None) == compared
    assert widget.view.export.isVisibleTo(widget) == compared
    if compared:
        assert widget.section.layers.gene == "CD74"
        assert widget.view.kinds["residual"].isChecked()
        assert widget.view.summary.text() == misplaced.view.summary.text()
    widget.show_gene("VIM")
    widget.view.kinds["measured"].click()
    assert points(viewer)["measured"].features.columns.tolist() == ["VIM"]
    widget.measured.fix_box.undo.click()
    assert not in_place(points(viewer)["measured"])


@in_both_viewers
def test_results_stay_when_the_slide_was_taken_away_while_it_ran(
    qtbot: QtBot, viewer: ViewerModel, loaded: CompareWidget, tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:  # fmt: skip
    loaded.controls.run.click()
    viewer.layers.remove(viewer.layers["S1"])
    qtbot.waitUntil(lambda: not loaded.is_running, timeout=60_000)
    assert loaded.compared is not None
    assert points(viewer) == {}
    assert "whose slide is not in the viewer" in loaded.measured.other_slide.text.text()
    assert "Mean PCC" in loaded.view.summary.text()
    loaded.show_gene("CD74")
    assert "CD74 · " in loaded.view.scatter.axes.get_title()
    loaded.view.genes.view.selectRow(loaded.view.genes.table.table["gene"].tolist().index("VIM"))
    assert "VIM · " in loaded.view.scatter.axes.get_title()
    for part in (loaded.view.genes, loaded.view.scatter, loaded.view.export, loaded.view.report):
        assert part.isVisibleTo(loaded)
    assert not any(button.isEnabled() for button in loaded.view.kinds.values())
    other = open_slide_of(viewer, write_section(tmp_path, "S2"))
    assert loaded.slide.layer == other
    assert loaded.compared is not None, "another slide takes no results away"
    loaded.write_report(tmp_path / "report")
    qtbot.waitUntil(lambda: not loaded.is_running, timeout=60_000)
    assert (tmp_path / "report" / "summary.json").exists()
    assert messages["error"] == []
    loaded.measured.source.clear.click()
    assert loaded.compared is None


def test_out_of_its_dock_it_ends_its_jobs_and_forgets_the_viewer(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget, tmp_path: Path
) -> None:
    dock = QDockWidget()
    dock.setWidget(done)
    jobs = jobs_of(done)
    done.view.beside.setChecked(True)
    done.setParent(None)
    assert jobs.closed
    assert not viewer.canvas.grid.enabled
    assert "measured" in points(viewer), "what is shown may be looked at further"
    other = open_slide_of(viewer, write_section(tmp_path, "S2"))
    assert done.slide.picker.findData(other) < 0
    dark = done.view.scatter.figure.get_facecolor()
    viewer.theme = "light"
    assert done.view.scatter.figure.get_facecolor() == dark
    dock.setWidget(done)
    assert done.slide.picker.findData(other) >= 0
    assert jobs_of(done) is not jobs
    done.setParent(None)  # qtbot deletes it


def test_what_comes_after_the_widget_is_gone_disturbs_nobody(
    qtbot: QtBot, local_jobs: None, viewer: ViewerModel, section: DrawnSection
) -> None:
    widget = CompareWidget(viewer)
    open_slide_of(viewer, section)
    load(qtbot, widget, section)
    thread, jobs = widget._thread, jobs_of(widget)
    widget.start()
    with qtbot.waitSignal(widget.destroyed):
        widget.deleteLater()
    assert jobs.closed
    qtbot.waitUntil(lambda: not thread.is_running, timeout=20_000)
