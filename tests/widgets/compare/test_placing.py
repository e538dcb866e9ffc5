"""Where measured ST lies: on which slide, by which µm/px, and where its spots are corrected."""

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers._source import layer_source
from pytestqt.qtbot import QtBot

from compare_docks import (
    in_both_viewers,
    in_place,
    jobs_of,
    load,
    of_panel,
    open_slide_of,
    points,
    run,
    wait_until_read,
)
from compared_sections import MPP, DrawnSection, write_section
from napari_nh2st.session.measured import is_of_slide
from napari_nh2st.spots.orientation import Fix
from napari_nh2st.widgets.compare.widget import CompareWidget


@in_both_viewers
def test_a_fix_is_offered_previewed_made_and_undone(
    viewer: ViewerModel, misplaced: CompareWidget
) -> None:
    box = misplaced.measured.fix_box
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
    misplaced.controls.run.click()
    assert "choose “Fix it” or “Keep as it is”" in messages["error"][0]
    assert not misplaced.is_running


def test_the_fix_reaches_the_job_and_undoing_it_takes_the_results_away(
    qtbot: QtBot, viewer: ViewerModel, misplaced: CompareWidget
) -> None:
    misplaced.measured.fix_box.fix.click()
    run(qtbot, misplaced)
    ((_, arguments),) = jobs_of(misplaced).runs
    assert arguments["fix"] == Fix(factor=4.0)
    assert all(in_place(layer) for layer in points(viewer).values())
    misplaced.measured.fix_box.undo.click()
    assert misplaced.compared is None
    assert set(points(viewer)) == {"measured", "proposed places"}
    assert not misplaced.view.export.isVisibleTo(misplaced)


@in_both_viewers
def test_leaving_the_resolution_as_it_is_reads_nothing_and_keeps_the_fix(
    viewer: ViewerModel, misplaced: CompareWidget
) -> None:
    misplaced.measured.fix_box.fix.click()
    misplaced.slide.mpp.editingFinished.emit()  # as Qt does whenever the box is left
    assert not misplaced.measured.is_reading
    assert in_place(points(viewer)["measured"])


@in_both_viewers
@pytest.mark.parametrize("choice", ["fix", "keep"])
def test_the_choice_stays_when_the_same_is_proposed_again(
    qtbot: QtBot, viewer: ViewerModel, misplaced: CompareWidget, choice: str
) -> None:
    getattr(misplaced.measured.fix_box, choice).click()
    misplaced.slide.mpp.setValue(MPP * 1.01)
    misplaced.slide.mpp.editingFinished.emit()
    assert misplaced.measured.is_reading
    wait_until_read(qtbot, misplaced)
    assert misplaced.section.fix == (Fix(factor=4.0) if choice == "fix" else None)
    assert in_place(points(viewer)["measured"]) == (choice == "fix")
    assert "proposed places" not in points(viewer)
    assert misplaced.measured.fix_box.undo.isVisibleTo(misplaced.measured.fix_box)
    misplaced.measured.fix_box.undo.click()
    assert misplaced.section.is_asking


def test_spots_that_are_right_offer_nothing(loaded: CompareWidget) -> None:
    assert loaded.measured.fix_box.isHidden()
    assert not loaded.section.is_asking


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


@in_both_viewers
def test_the_mpp_that_spots_tell_is_for_their_own_slide(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, section: DrawnSection, tmp_path: Path
) -> None:
    slide = open_slide_of(viewer, section, mpp=12.0)
    load(qtbot, widget, section)
    assert widget.measured.mpp_box.text.text().startswith("S1: ")
    (tmp_path / "other").mkdir()
    other = open_slide_of(viewer, write_section(tmp_path / "other", "S2"), mpp=3.0)
    viewer.layers.selection.active = other
    assert not widget.measured.mpp_box.isVisibleTo(widget)
    widget.measured.mpp_box.chosen.emit(6.25)
    assert widget.slide.mpp.value() == 3.0
    viewer.layers.selection.active = slide
    assert widget.measured.mpp_box.isVisibleTo(widget)
    widget.measured.mpp_box.keep.click()
    widget.measured.set_model(of_panel(("VIM",)))
    wait_until_read(qtbot, widget)
    assert not widget.measured.mpp_box.is_open, "it was refused"
    widget.close_down()
    again = CompareWidget(viewer)
    qtbot.addWidget(again)
    wait_until_read(qtbot, again)
    assert again.section.measured is not None
    assert not again.measured.mpp_box.is_open


@in_both_viewers
def test_st_stays_on_its_slide_until_it_is_laid_over_another(
    qtbot: QtBot, viewer: ViewerModel, loaded: CompareWidget, tmp_path: Path,
    messages: dict[str, list[str]],
) -> None:  # fmt: skip
    assert not loaded.measured.other_slide.isVisibleTo(loaded)
    other = open_slide_of(viewer, write_section(tmp_path, "S2"))
    viewer.layers.selection.active = other
    assert loaded.slide.layer == other
    assert not loaded.measured.is_reading
    assert loaded.section.slide_layer == viewer.layers["S1"]
    assert "Measured ST of S1, while S2 is chosen" in loaded.measured.other_slide.text.text()
    loaded.controls.run.click()
    assert "lies on 'S1', and another slide is chosen" in messages["error"][0]
    loaded.measured.other_slide.lay_over.click()
    wait_until_read(qtbot, loaded)
    assert loaded.section.slide_layer == other
    assert len(points(viewer)) == 1
    assert not loaded.measured.other_slide.isVisibleTo(loaded)
    assert loaded.controls.status.text() == "", "what was refused before is over"


def test_pictures_of_other_readers_are_no_obstacle(viewer: ViewerModel) -> None:
    with layer_source(path="/data/photo.png", reader_plugin="napari"):
        photo = viewer.add_image(np.zeros((5, 5, 3), np.uint8), rgb=True)
    assert isinstance(photo.source.path, str)
    assert not is_of_slide(photo, Path("S1.tif"))
    assert is_of_slide(photo, Path("photo.png"))
