"""*Cohort* dock: a queue is run, paused, resumed and edited; results are opened and compared."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import anndata
import distributed
import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QItemSelectionModel

from cohort_slides import write_model, write_slide
from local_jobs import LocalJobs
from napari_nh2st.cohort import SlideProgress, cluster, worker
from napari_nh2st.files import Lock
from napari_nh2st.session import remembered
from napari_nh2st.widgets import child_jobs
from napari_nh2st.widgets.cohort import queue_table, settings_form
from napari_nh2st.widgets.cohort.queue_table import MPP, STATE
from napari_nh2st.widgets.cohort.widget import CohortWidget
from small_configs import small_config

Messages = dict[str, list[str]]


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)


@pytest.fixture
def new_dock(viewer: ViewerModel, qtbot: QtBot, tmp_path: Path) -> Callable[[], CohortWidget]:
    model = write_model(tmp_path / "small")

    def new() -> CohortWidget:
        dock = CohortWidget(viewer)
        qtbot.addWidget(dock, before_close_func=lambda _dock: dock.close_down())
        dock.model.choose(str(model))
        dock.settings.controls["step_um"].show_value(32.0)
        dock.settings.controls["tissue_only"].show_value(False)
        dock.settings.device.show_value("cpu")
        return dock

    return new


@pytest.fixture
def dock(new_dock: Callable[[], CohortWidget], tmp_path: Path) -> CohortWidget:
    """Three slides, the second of which is none."""
    slides = tmp_path / "slides"
    for number, name in enumerate("abc"):
        write_slide(slides / f"{name}.tif", number)
    (slides / "b.tif").write_text("no slide", encoding="utf-8")
    dock = new_dock()
    dock.table.add_paths([slides])
    dock.queue.give_mpp(range(3), 1.0)
    dock.folder.show_value(str(tmp_path / "out"))
    return dock


def finish(dock: CohortWidget, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: not dock.is_running, timeout=60_000)


def states(dock: CohortWidget) -> list[str]:
    dock.table.update_rows()
    return [dock.table.model.text(row, STATE) for row in range(dock.table.model.rowCount())]


def test_one_bad_slide_does_not_stop_the_queue(dock: CohortWidget, qtbot: QtBot) -> None:
    dock.start()
    assert dock.pause.isEnabled()
    assert not dock.settings.isEnabled()
    finish(dock, qtbot)
    assert states(dock) == ["done, 36 tiles", "failed", "done, 36 tiles"]
    assert dock.status.text() == ("2 of 3 slides done, 1 failed: select one to read why.")
    assert dock.bar.value() == dock.bar.maximum()
    select(dock, 1)
    assert "b.tif" in dock.table.details.text()
    dock.start()
    finish(dock, qtbot)
    assert states(dock) == ["done before", "failed", "done before"]


def select(dock: CohortWidget, row: int) -> None:
    selection = dock.table.view.selectionModel()
    assert selection is not None
    flags = QItemSelectionModel.SelectionFlag
    selection.select(dock.table.model.index(row, 0), flags.ClearAndSelect | flags.Rows)


def test_a_paused_run_goes_on_where_it_was(dock: CohortWidget, qtbot: QtBot) -> None:
    dock.settings.controls["step_um"].show_value(8.0)
    dock.start()
    qtbot.waitUntil(lambda: dock.queue.rows[0].done > 0, timeout=60_000)
    dock.pause_run()
    finish(dock, qtbot)
    before = dock.queue.rows[0].done
    assert 0 < before < dock.queue.rows[0].total
    assert dock.run_button.text() == "Resume"
    assert dock.status.text().startswith("Paused: 3 slides left")
    assert states(dock)[0].startswith("waits at ")
    assert not dock.model.isEnabled()
    seen: list[int] = []
    dock.thread_of_job.event.connect(
        lambda event: seen.append(event.done) if isinstance(event, SlideProgress) else None
    )
    dock.start()
    finish(dock, qtbot)
    assert seen[0] == before
    assert states(dock) == ["done, 576 tiles", "failed", "done, 576 tiles"]
    assert dock.run_button.text() == "Run"
    assert dock.model.isEnabled()


def test_a_cancelled_run_can_be_changed(dock: CohortWidget, qtbot: QtBot) -> None:
    dock.settings.controls["step_um"].show_value(8.0)
    dock.start()
    qtbot.waitUntil(lambda: dock.queue.rows[0].done > 0, timeout=60_000)
    dock.stop()
    finish(dock, qtbot)
    assert dock.model.isEnabled()
    assert not dock.cancel.isEnabled()
    assert dock.status.text() == "0 of 3 slides done; Run continues with the others."


def test_slides_may_be_added_and_moved_while_others_are_predicted(
    dock: CohortWidget, qtbot: QtBot, tmp_path: Path
) -> None:
    dock.settings.controls["step_um"].show_value(8.0)
    order: list[str] = []
    dock.thread_of_job.event.connect(
        lambda event: order.append(event.result.slide.name) if hasattr(event, "result") else None
    )
    dock.start()
    qtbot.waitUntil(lambda: dock.queue.rows[0].done > 0, timeout=60_000)
    dock.table.add_paths([write_slide(tmp_path / "d.tif", 5, side=96)])
    dock.queue.give_mpp([3], 1.0)
    select(dock, 3)
    dock.table.move_selected(-1)
    dock.table.move_selected(-1)
    finish(dock, qtbot)
    assert order == ["a", "d", "b", "c"]
    assert [row.slide.name for row in dock.queue.rows] == order
    assert dock.status.text().startswith("3 of 4 slides done, 1 failed")


def test_results_are_compared_and_opened(
    dock: CohortWidget, qtbot: QtBot, viewer: ViewerModel, tmp_path: Path
) -> None:
    dock.start()
    finish(dock, qtbot)
    dock.show()
    dock.tabs.setCurrentWidget(dock.means)
    table = dock.means.table
    qtbot.waitUntil(lambda: len(table.table) == 2, timeout=30_000)
    assert list(table.table["slide"]) == ["a", "c"]
    a = anndata.read_h5ad(tmp_path / "out" / "a.h5ad")
    assert table.table["VIM"][0] == pytest.approx(a[:, "VIM"].X.mean())
    dock.means.genes.show_value(["VIM"])
    sets = tmp_path / "sets.gmt"
    sets.write_text("both\t\tVIM\tEPCAM\n", encoding="utf-8")
    dock.means.open_gmt(sets)
    assert list(table.table.columns) == ["slide", "region", "n_tiles", "VIM", "both"]
    item = dock.means.signatures.item(0)
    assert item is not None
    item.setCheckState(queue_table.Qt.CheckState.Unchecked)
    assert list(table.table.columns) == ["slide", "region", "n_tiles", "VIM"]

    dock.open_result(dock.queue.rows[0])
    qtbot.waitUntil(lambda: len(dock.session.heatmaps) == 1, timeout=30_000)
    assert [layer.name for layer in viewer.layers] == ["a", f"{dock.session.heatmap.gene} · a"]
    # a region that is drawn on it has a row of its own
    corners = [[0, 0], [0, 90], [90, 90], [90, 0]]
    viewer.add_shapes([corners], units="um", features={"name": ["corner"]}, name="regions")
    dock.means.refresh()
    qtbot.waitUntil(lambda: len(table.table) == 3, timeout=30_000)
    assert list(table.table["region"]) == ["all", "corner", "all"]
    dock.means.with_regions.setChecked(False)
    assert len(table.table) == 2
    dock.open_result(dock.queue.rows[0])
    qtbot.waitUntil(lambda: not dock._opening.is_busy, timeout=30_000)
    assert len(dock.session.heatmaps) == 1


def test_workers_are_offered_and_a_paused_run_of_theirs_goes_on(
    dock: CohortWidget, qtbot: QtBot, messages: Messages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_SECONDS_BETWEEN_MESSAGES", 0.0)
    monkeypatch.setattr(cluster, "_QUIET_S", 0.2)
    workers, scheduler = (dock.settings.controls[name] for name in ("workers", "scheduler"))
    assert (workers.value(), scheduler.value()) == (None, None)
    workers.show_value(2)
    scheduler.show_value(" tcp://127.0.0.1:9 ")
    dock.start()
    assert "cannot be combined" in messages["error"].pop()
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, dashboard_address=None
    ) as there:
        workers.show_value(None)
        scheduler.show_value(there.scheduler_address)
        dock.settings.controls["step_um"].show_value(8.0)
        dock.start()
        qtbot.waitUntil(lambda: "has no workers" in dock.status.text(), timeout=60_000)
        assert dock.status.text().endswith("Cancel stops.")
        there.scale(1)
        qtbot.waitUntil(lambda: dock.queue.rows[0].done > 0, timeout=60_000)
        dock.pause_run()
        finish(dock, qtbot)
        assert dock.status.text().startswith("Paused: ")
        assert dock.run_button.text() == "Resume"
        dock.start()
        finish(dock, qtbot)
    assert [row.state for row in dock.queue.rows] == ["done", "failed", "done"]
    dock.reset_settings()
    assert (workers.value(), scheduler.value()) == (None, None)


def test_without_the_extra_one_sentence_says_how_to_get_workers(
    new_dock: Callable[[], CohortWidget], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_form, "find_spec", lambda _name: None)
    dock = new_dock()
    assert "workers" not in dock.settings.controls
    assert "pip install 'napari-nh2st[distributed]'" in dock.settings.without_workers.text()
    assert dock.settings.chosen()[1].workers is None


def test_workers_and_scheduler_are_remembered(
    new_dock: Callable[[], CohortWidget], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = SimpleNamespace(workers=0, scheduler="")
    monkeypatch.setattr(remembered, "plugin_section", lambda _name: kept)
    controls = new_dock().settings.controls
    controls["workers"].show_value(3)
    controls["scheduler"].show_value("tcp://host:8786")
    again = new_dock()
    shown = [again.settings.controls[name].value() for name in ("workers", "scheduler")]
    assert shown == [3, "tcp://host:8786"]
    monkeypatch.setattr(settings_form, "find_spec", lambda _name: None)
    assert new_dock().settings.chosen()[1].workers is None
    assert kept == SimpleNamespace(workers=3, scheduler="tcp://host:8786")


def test_a_model_of_features_asks_for_their_folder(dock: CohortWidget, tmp_path: Path) -> None:
    features = dock.settings.features
    features.show_value(str(tmp_path / "uni"))
    assert features.isHidden()
    assert dock._chosen().settings.features is None
    encoder = {"key": "features", "tile_px": 32, "n_features": 6, "recipe": {"name": "uni_v1"}}
    dock._on_model(small_config(encoder=encoder))
    assert not features.isHidden()
    chosen = dock._chosen().settings
    assert (chosen.features, chosen.step_um) == (str(tmp_path / "uni"), None)


def test_a_resolution_is_typed_into_the_table(dock: CohortWidget, messages: Messages) -> None:
    model = dock.table.model
    assert model.setData(model.index(0, MPP), "0,25")
    assert dock.queue.rows[0].slide.mpp == 0.25
    assert not model.setData(model.index(0, MPP), "wide")
    assert "not a µm/px" in messages["error"][0]
    assert model.setData(model.index(0, MPP), "")
    assert dock.queue.rows[0].slide.mpp is None


def test_what_keeps_a_run_from_beginning_is_told(
    new_dock: Callable[[], CohortWidget], qtbot: QtBot, tmp_path: Path, messages: Messages
) -> None:
    dock = new_dock()
    (tmp_path / "empty").mkdir()
    dock.table.add_paths([tmp_path / "empty"])
    assert "has no slide in it" in messages["error"].pop()
    dock.start()
    assert "The queue is empty" in messages["error"].pop()
    dock.table.add_paths([write_slide(tmp_path / "a.tif", side=96)])
    dock.start()
    assert "Choose the folder" in messages["error"].pop()
    out = tmp_path / "out"
    out.mkdir()
    lock = Lock(out / ".summary.csv.lock")
    dock.folder.show_value(str(out))
    dock.start()
    finish(dock, qtbot)
    assert "another run writes to it" in messages["error"].pop()
    assert "another run writes to it" in dock.status.text()
    lock.release()
