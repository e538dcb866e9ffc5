"""Queue of slides: filled, ordered, and found again in the folder of its results."""

from pathlib import Path

import pytest
from napari.components import ViewerModel
from napari.layers import Layer

from cohort_slides import SETTINGS, write_model, write_slide
from napari_nh2st import predict_cohort_events
from napari_nh2st.cohort.slides import FoundSlides
from napari_nh2st.cohort.summary import write_queue
from napari_nh2st.errors import InputError
from napari_nh2st.layers.keys import GIVEN_MPP_KEY
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.remote import RemotePath, slide_path
from napari_nh2st.session import Session
from napari_nh2st.session.cohort_queue import CohortQueue

pytestmark = pytest.mark.napari


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    for number, name in enumerate("abc"):
        write_slide(tmp_path / "slides" / f"{name}.tif", number, side=96)
    (tmp_path / "slides" / "b.tif").write_text("no slide", encoding="utf-8")
    return tmp_path / "slides"


def names(queue: CohortQueue) -> str:
    return "".join(row.slide.name for row in queue.rows)


def states(queue: CohortQueue) -> list[str]:
    return [row.state for row in queue.rows]


def run(queue: CohortQueue, model: Path, folder: Path) -> None:
    queue.begin()
    for event in predict_cohort_events(FoundSlides(queue.send()), folder, model, SETTINGS):
        queue.show_event(event)
    queue.show_ended()


def test_a_url_that_was_signed_anew_takes_the_place_of_the_one_without_a_signature(
    tmp_path: Path,
) -> None:
    signed = "https://data.example.org/a.tif?Signature={}&Expires=1"
    queue = CohortQueue()
    queue.add_paths([slide_path(signed.format("one"))])
    write_queue(tmp_path, queue.named())
    later = CohortQueue()
    later.open_folder(tmp_path)
    (row,) = later.rows
    row.state, row.failure = "failed", "the rest of the URL is not stored"
    later.add_paths([slide_path(signed.format("two"))])
    (row,) = later.rows
    assert isinstance(row.slide.path, RemotePath)
    assert row.slide.path.url == signed.format("two")
    assert (row.state, row.failure) == ("waiting", "")
    with pytest.raises(InputError, match="in the queue already"):
        later.add_paths([slide_path(signed.format("two"))])


def test_slides_are_added_once_and_put_into_order(slides: Path, tmp_path: Path) -> None:
    queue = CohortQueue()
    queue.add_paths([slides])
    assert names(queue) == "abc"
    with pytest.raises(InputError, match="in the queue already"):
        queue.add_paths([slides / "a.tif"])
    assert queue.move([2], -1) == [1]
    assert names(queue) == "acb"
    assert queue.move([0, 1], -1) == [0, 1]  # they are at the top
    assert queue.move([0, 1], 1) == [1, 2]
    assert names(queue) == "bac"
    queue.remove([0])
    assert names(queue) == "ac"
    with pytest.raises(InputError, match="there is no such file"):
        queue.add_paths([tmp_path / "away"])


def test_open_slides_come_with_the_resolution_given_there(slides: Path) -> None:
    viewer = ViewerModel()
    queue = Session.of(viewer).cohort
    with pytest.raises(InputError, match="No slide is open"):
        queue.add_open(viewer.layers)
    layer = viewer.add_layer(Layer.create(*read_slide(slides / "a.tif")[0]))
    layer.metadata[GIVEN_MPP_KEY] = 0.5
    queue.add_open(viewer.layers)
    assert queue.rows[0].slide.path == slides / "a.tif"
    assert queue.rows[0].slide.mpp == 0.5


def test_the_folder_of_the_results_holds_the_queue(slides: Path, tmp_path: Path) -> None:
    model, folder = write_model(tmp_path / "small"), tmp_path / "out"
    queue = CohortQueue()
    queue.open_folder(folder)
    queue.add_paths([slides])
    queue.give_mpp([0, 1, 2], 1.0)
    run(queue, model, folder)
    assert states(queue) == ["done", "failed", "done"]
    assert "not a slide" in queue.rows[1].failure
    queue.move([2], -1)
    other = write_slide(tmp_path / "other" / "a.tif", 7, side=96)
    queue.add_paths([other])
    queue.save()

    again = CohortQueue()
    again.open_folder(folder)
    assert [row.slide.name for row in again.rows] == ["a", "c", "b", "other-a"]
    assert states(again) == ["done", "done", "failed", "waiting"]
    assert again.rows[0].total == 9
    assert again.rows[0].was_done
    assert again.rows[0].slide.mpp == 1.0
    assert "not a slide" in again.rows[2].failure
    again.begin()  # and ended at once: what was there is there
    assert states(again) == ["waiting"] * 4
    again.end()
    assert states(again) == ["done", "done", "failed", "waiting"]
    again.give_mpp([3], 1.0)
    run(again, model, folder)
    assert states(again) == ["done", "done", "failed", "done"]
    assert [row.was_done for row in again.rows] == [True, True, False, False]

    # another folder: what was there goes, what was added since stays
    again.add_paths([write_tiff_copy(slides / "a.tif", tmp_path / "new.tif")])
    again.open_folder(tmp_path / "elsewhere")
    assert [row.slide.name for row in again.rows] == ["new"]


def write_tiff_copy(path: Path, copy: Path) -> Path:
    copy.write_bytes(path.read_bytes())
    return copy


def test_a_folder_whose_summary_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "summary.csv").write_text("my,own\n", encoding="utf-8")
    queue = CohortQueue()
    with pytest.raises(InputError, match="is not a summary that NH2ST wrote"):
        queue.open_folder(tmp_path)
    assert queue.rows == []
