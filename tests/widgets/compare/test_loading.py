"""Loading measured ST: what is shown of it, and what is refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from array_slides import write_tiff
from compare_docks import (
    in_both_viewers,
    jobs_of,
    load,
    of_panel,
    open_slide_of,
    points,
    run,
    wait_until_read,
)
from compared_sections import DrawnSection, write_section
from napari_nh2st.spots import expression_target
from napari_nh2st.widgets.compare import measured_controls
from napari_nh2st.widgets.compare.widget import CompareWidget
from small_configs import PANEL


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
    assert "42 spots × 5 genes" in widget.measured.source.summary.text()
    assert layer.name == "measured · VIM", "the most reliable gene first"
    assert not widget.view.kinds["predicted"].isEnabled()


def test_without_the_slides_resolution_the_spots_tell_it(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, section: DrawnSection
) -> None:
    open_slide_of(viewer, section, mpp=None)
    load(qtbot, widget, section)
    assert "6.25 µm/px by the spots' distance" in widget.measured.source.summary.text()
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
    widget.measured.set_model(of_panel(("X",)))
    wait_until_read(qtbot, widget)
    assert points(viewer)["measured"].features.columns.tolist() == ["X"]
    assert widget.section.layers.gene == "X"


def test_a_model_chosen_while_st_is_read_has_its_genes_shown(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, tmp_path: Path
) -> None:
    section = write_section(tmp_path, genes=("VIM", "X", "ERBB2"))
    open_slide_of(viewer, section)
    widget.load(section.expression)
    widget.measured.set_model(of_panel(("X",)))
    wait_until_read(qtbot, widget)
    assert widget.section.measured is not None
    assert points(viewer)["measured"].features.columns.tolist() == ["X"]


def test_a_target_that_cannot_be_computed_is_told_and_the_former_stays(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch, viewer: ViewerModel, loaded: CompareWidget,
    messages: dict[str, list[str]],
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise ValueError("no memory")

    before = loaded.section.target
    monkeypatch.setattr(measured_controls, "target_of", fail)
    loaded.measured.set_model(of_panel(("VIM",)))
    wait_until_read(qtbot, loaded)
    assert messages["error"] == ["S1.h5ad cannot be shown for this model: no memory"]
    assert loaded.section.target is before
    assert loaded.controls.status.text() == messages["error"][0]


def test_counts_and_positions_are_told_apart_when_both_are_dropped(
    widget: CompareWidget, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, positions = tmp_path / "counts.tsv", tmp_path / "selection.tsv"
    counts.write_text("\tA\tB\n1x1\t3\t4\n", encoding="utf-8")
    positions.write_text("x\ty\tpixel_x\tpixel_y\n1\t1\t10\t10\n", encoding="utf-8")
    chosen: list[tuple[Path, Path | None]] = []
    widget.measured.source.chosen.disconnect()
    widget.measured.source.chosen.connect(lambda *both: chosen.append(both))
    widget.measured.source.take([positions, counts])
    monkeypatch.setattr(widget.measured.source, "_ask_positions", lambda _path: positions)
    widget.measured.source.take([counts])
    assert chosen == [(counts, positions)] * 2
    monkeypatch.setattr(widget.measured.source, "_ask_positions", lambda _path: None)
    widget.measured.source.take([counts])
    assert len(chosen) == 2, "cancelled"


def test_positions_alone_are_not_enough(
    widget: CompareWidget, tmp_path: Path, messages: dict[str, list[str]]
) -> None:
    positions = tmp_path / "selection.tsv"
    positions.write_text("x\ty\tpixel_x\tpixel_y\n1\t1\t10\t10\n", encoding="utf-8")
    widget.measured.source.take([positions])
    assert "Give the table of counts as well" in messages["error"][0]


def test_st_that_cannot_be_used_leaves_what_is_there(
    qtbot: QtBot, viewer: ViewerModel, loaded: CompareWidget, messages: dict[str, list[str]],
    tmp_path: Path,
) -> None:  # fmt: skip
    before = loaded.section.measured
    loaded.load(write_section(tmp_path, "S2", normalized=True).expression)
    wait_until_read(qtbot, loaded)
    (message,) = messages["error"]
    assert "already normalized" in message
    assert loaded.section.measured is before
    assert "S1.h5ad" in loaded.measured.source.summary.text()
    assert "measured" in points(viewer)


def test_without_a_slide_it_says_so(
    widget: CompareWidget, section: DrawnSection, messages: dict[str, list[str]]
) -> None:
    widget.load(section.expression)
    assert messages["error"] == ["There is no image layer: open a slide first."]
    assert widget.controls.status.text() == messages["error"][0]
    widget.controls.run.click()
    assert "Measured ST is needed" in messages["error"][1]
    assert widget.controls.status.text() == messages["error"][1]


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
    assert widget.controls.run.isEnabled()


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


def test_st_that_is_dropped_gets_the_process_ready(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, section: DrawnSection
) -> None:
    open_slide_of(viewer, section)
    widget.measured.source.take([section.expression])
    assert jobs_of(widget).n_started > 1
    wait_until_read(qtbot, widget)
    assert widget.section.measured is not None


def test_another_model_that_lacks_genes_is_warned_of(
    qtbot: QtBot, loaded: CompareWidget, messages: dict[str, list[str]]
) -> None:
    loaded.measured.set_model(of_panel(tuple(f"Gene{i}" for i in range(9))))
    wait_until_read(qtbot, loaded)
    assert "shares no gene with the model" in messages["warning"][0]


@in_both_viewers
def test_removing_the_st_removes_its_layers(viewer: ViewerModel, done: CompareWidget) -> None:
    done.view.beside.setChecked(True)
    done.measured.source.clear.click()
    assert [layer.name for layer in viewer.layers] == ["S1"]
    assert not viewer.canvas.grid.enabled
    assert done.compared is None
    assert done.view.summary.text() == ""


def test_what_was_taken_away_does_not_come_back_with_the_slide(
    qtbot: QtBot, viewer: ViewerModel, loaded: CompareWidget, section: DrawnSection
) -> None:
    loaded.remove()
    viewer.layers.remove(viewer.layers["S1"])
    open_slide_of(viewer, section)
    assert loaded.section is None
    assert points(viewer) == {}
