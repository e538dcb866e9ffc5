"""A cohort on workers of dask.distributed: the same to the bit, whichever worker is lost."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import distributed
import numpy as np
import psutil
import pytest

from cohort_slides import SETTINGS, write_model, write_slide
from napari_nh2st import predict_cohort, predict_cohort_events
from napari_nh2st.cli.cohort import CohortReport
from napari_nh2st.cli.stopping import StopRequest
from napari_nh2st.cohort import (
    CohortFinished,
    CohortSettings,
    CohortSlide,
    SlideProgress,
    WaitingForWorkers,
    cluster,
    find_slides,
    worker,
)
from napari_nh2st.cohort.cluster import _local_cluster
from napari_nh2st.cohort.events import CohortEvent
from napari_nh2st.cohort.slides import FoundSlides
from napari_nh2st.errors import InputError
from napari_nh2st.log_file import logging_to

FINE = replace(SETTINGS, step_um=16)
"""1,600 tiles in the large slide, 200 batches."""

NH2ST = "from nh2st_command import main; raise SystemExit(main())"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "small", "neighborhood")


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A large slide, two small ones, and one that is none."""
    folder = tmp_path_factory.mktemp("slides")
    write_slide(folder / "large.tif", 0, side=640)
    for number, name in enumerate("ab"):
        write_slide(folder / f"{name}.tif", number)
    (folder / "broken.svs").write_text("no slide", encoding="utf-8")
    return folder


def with_a_missing_one(slides: Path) -> FoundSlides:
    """The slides, behind one that is not there."""
    gone = CohortSlide(slides / "gone.tif", "gone", mpp=1.0)
    return FoundSlides((gone, *find_slides([slides], mpp=1.0).slides))


@pytest.fixture(scope="module")
def alone(slides: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of them."""
    output = tmp_path_factory.mktemp("alone")
    predict_cohort(find_slides([slides], mpp=1.0), output, model, FINE)
    return output


@pytest.fixture
def here() -> Iterator[distributed.LocalCluster]:
    """A cluster that somebody else has started, its workers threads of this process."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        yield cluster


def same_as_alone(output: Path, alone: Path) -> bool:
    for name in ("a", "b", "large"):
        ours, theirs = (anndata.read_h5ad(f / f"{name}.h5ad") for f in (output, alone))
        np.testing.assert_array_equal(ours.X, theirs.X)
        assert ours.obs.equals(theirs.obs)
        assert ours.uns["nh2st"]["settings"].keys() == theirs.uns["nh2st"]["settings"].keys()
    return sorted(p.name for p in output.iterdir()) == sorted(p.name for p in alone.iterdir())


def worker_processes() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def test_a_killed_worker_costs_nothing_but_time(
    slides: Path, model: Path, alone: Path, tmp_path: Path
) -> None:
    settings = CohortSettings(workers=2, part_tiles=800)
    found = with_a_missing_one(slides)
    killed: list[psutil.Process] = []
    workers: list[psutil.Process] = []
    log = tmp_path / "run.log"
    seen = []
    run = predict_cohort_events(found, tmp_path / "out", model, FINE, settings)
    with logging_to(log), closing(run) as events:
        for event in events:
            seen.append(event)
            if not killed and "large, part 1: begun" in log.read_text("utf-8"):
                workers = worker_processes()
                for process in [psutil.Process(), *workers]:
                    for socket in process.net_connections("inet"):
                        assert socket.laddr.ip == "127.0.0.1"
                killed = workers[:1]
                killed[0].kill()
    assert len(workers) == 2
    last = seen[-1]
    assert isinstance(last, CohortFinished)
    assert sorted(last.summary["status"]) == ["done", "done", "done", "failed", "failed"]
    assert last.results[0].failure == f"{slides / 'gone.tif'}: there is no such file."
    assert same_as_alone(tmp_path / "out", alone)
    assert worker_processes() == []
    begun = r" INFO (\d+) napari_nh2st\.cohort\.worker: large, part 1: begun on worker "
    (of_first, *_) = re.findall(begun, log.read_text(encoding="utf-8"))
    assert int(of_first) in {process.pid for process in workers}


def test_workers_of_a_scheduler_that_is_there_do_the_same(
    slides: Path, model: Path, alone: Path, tmp_path: Path, here: distributed.LocalCluster
) -> None:
    settings = CohortSettings(scheduler=here.scheduler_address, part_tiles=300)
    found = with_a_missing_one(slides)
    *events, last = predict_cohort_events(found, tmp_path / "out", model, FINE, settings)
    assert isinstance(last, CohortFinished)
    assert [r.status for r in last.results] == ["failed", "done", "done", "failed", "done"]
    assert "gone.tif does not exist on worker" in last.results[0].failure
    assert same_as_alone(tmp_path / "out", alone)
    large = [e for e in events if isinstance(e, SlideProgress) and e.slide.name == "large"]
    assert {event.total for event in large} == {1600}
    assert events[-1].progress.share == pytest.approx(1)
    assert len(here.workers) == 2
    again = predict_cohort(found, tmp_path / "out", model, FINE, settings)
    assert again["skipped"].sum() == 3


def test_a_stopped_run_goes_on_with_or_without_workers(
    slides: Path,
    model: Path,
    alone: Path,
    tmp_path: Path,
    here: distributed.LocalCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "_SECONDS_BETWEEN_MESSAGES", 0.0)
    settings = CohortSettings(scheduler=here.scheduler_address, part_tiles=300)
    found, output = find_slides([slides], mpp=1.0), tmp_path / "out"
    with closing(predict_cohort_events(found, output, model, FINE, settings)) as events:
        for event in events:
            if isinstance(event, SlideProgress) and event.slide.name == "large" and event.done:
                break
    with distributed.Client(here, set_as_default=False) as client:
        assert not any(client.processing().values())
    assert not (output / "large.h5ad").exists()
    resumed = list(predict_cohort_events(found, output, model, FINE))
    begun = next(e for e in resumed if isinstance(e, SlideProgress) and e.slide.name == "large")
    assert begun.done >= event.done > 0
    assert same_as_alone(output, alone)


def test_slides_go_to_the_workers_that_have_a_gpu(
    slides: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str] = []
    monkeypatch.setattr(
        worker, "_check_there", lambda _: used.append(str(distributed.get_worker().name))
    )
    options = {"nthreads": 1, "dashboard": False}
    specification = {
        "gpu": {"cls": distributed.Worker, "options": options | {"resources": {"GPU": 1}}},
        "other": {"cls": distributed.Worker, "options": options},
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"dashboard_address": "127.0.0.1:0"}}
    with distributed.SpecCluster(specification, scheduler) as cluster:
        settings = CohortSettings(scheduler=cluster.scheduler_address)
        found = find_slides([slides], mpp=1.0)
        auto = replace(SETTINGS, device="auto")
        predict_cohort(found, tmp_path / "auto", model, auto, settings)
        assert used == ["gpu"] * 4
        predict_cohort(found, tmp_path / "cpu", model, SETTINGS, settings)
        assert "other" in used


def test_a_scheduler_that_is_not_there_is_told(
    slides: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_S", 0.2)
    settings = CohortSettings(scheduler="tcp://127.0.0.1:9")
    with pytest.raises(cluster.ClusterError, match=r"no scheduler answers at tcp://127.0.0.1:9"):
        predict_cohort([slides], tmp_path / "out", model, SETTINGS, settings)


def test_a_scheduler_without_workers_is_waited_for_with_a_word(
    slides: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("_QUIET_S", "_LOOK_EVERY_S", "_WAIT_S"):
        monkeypatch.setattr(cluster, name, 0.05)
    shown = CohortReport(StopRequest())
    waits: list[WaitingForWorkers] = []
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, dashboard_address=None
    ) as there:
        address = there.scheduler_address

        def start_a_worker(event: CohortEvent) -> None:
            shown(event)
            if isinstance(event, WaitingForWorkers):
                waits.append(event)
                if len(waits) == 2:
                    there.scale(1)

        table = predict_cohort(
            find_slides([slides / "a.tif"], mpp=1.0),
            tmp_path / "out",
            model,
            SETTINGS,
            CohortSettings(scheduler=address),
            on_event=start_a_worker,
        )
    assert list(table["status"]) == ["done"]
    assert [event.is_first for event in waits] == [True] + [False] * (len(waits) - 1)
    sentence = f"The scheduler at {address} has no workers; waiting for one"
    ours = [record for record in caplog.records if record.name.startswith("napari_nh2st")]
    assert [record.message for record in ours] == [f"{sentence}."]
    assert capsys.readouterr().err.count(f"{sentence}; Ctrl-C stops.") == 1


def test_slides_that_wait_for_a_gpu_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_QUIET_S", "_LOOK_EVERY_S"):
        monkeypatch.setattr(cluster, name, 0.0)
    workers: dict[str, Any] = {"a": {"resources": {"GPU": 1}}, "b": {"resources": {}}}
    client = SimpleNamespace(
        scheduler_info=lambda: {"address": "tcp://there", "workers": workers},
        nthreads=lambda: dict.fromkeys(workers, 1),
        subscribe_topic=lambda *_: None,
    )
    tasks = cluster._Tasks(client, worker.Run("run", None, is_local=False), [])
    job = SimpleNamespace(settings=replace(SETTINGS, device="auto"))
    assert tasks._resources(job) == {"GPU": 1}
    assert not list(tasks._without_workers())
    del workers["a"]  # at the end of its wall time
    first, again = (next(tasks._without_workers()) for _ in range(2))
    assert "at tcp://there has a GPU any more" in str(first)
    assert (first.is_first, again.is_first) == (True, False)
    del workers["b"]
    none = next(tasks._without_workers())
    assert "tcp://there has no workers" in str(none)
    assert none.is_first
    workers["c"] = {"resources": {"GPU": 1}}
    assert not list(tasks._without_workers())


def test_a_worker_that_cannot_help_is_told_before_the_first_slide(
    slides: Path,
    model: Path,
    tmp_path: Path,
    here: distributed.LocalCluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = SimpleNamespace(version=lambda _: "0.0.1")
    monkeypatch.setattr(cluster, "metadata", other)
    settings = CohortSettings(scheduler=here.scheduler_address)
    with pytest.raises(cluster.ClusterError, match=r"worker .* cannot be used: .* this is 0.0.1"):
        predict_cohort([slides], tmp_path / "out", model, SETTINGS, settings)
    version = worker.metadata.version("napari-nh2st")
    assert worker.problem(version, tmp_path, (slides, model)) == ""
    away = tmp_path / "away.svs"
    assert worker.problem(version, tmp_path, (slides, away)) == f"{away} is not there"


def test_threads_of_a_worker_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    with (
        _local_cluster(CohortSettings(workers=1)) as cluster,
        distributed.Client(cluster) as client,
    ):
        assert list(client.run(os.getenv, "GOMP_SPINCOUNT").values()) == ["1000"]


def test_workers_and_a_scheduler_exclude_each_other() -> None:
    with pytest.raises(InputError, match="cannot be combined"):
        CohortSettings(workers=2, scheduler="tcp://127.0.0.1:8786")


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")
@pytest.mark.parametrize(("name", "workers"), [("SIGINT", 2), ("SIGKILL", 1)])
def test_workers_end_with_the_command_that_started_them(
    slides: Path, model: Path, alone: Path, tmp_path: Path, name: str, workers: int
) -> None:
    number = signal.Signals[name]
    command = [
        *("predict", slides, "-o", tmp_path / "out", "--model", model, "--mpp", 1),
        *("--all-tiles", "--step-um", 16, "--device", "cpu", "--precision", "float32"),
        *("--batch-size", 8, "--reader-threads", 1, "--workers", workers, "--part-tiles", 800),
    ]
    started = subprocess.Popen(
        [sys.executable, "-c", NH2ST, *map(str, command)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert started.stderr is not None
    seen = ""
    for line in started.stderr:
        seen += line
        if re.match(r"[ab]: ", line):  # a slide is done, and others are being done
            break
    children = psutil.Process(started.pid).children(recursive=True)
    assert len(children) > workers, seen  # and what tracks their resources
    # as a terminal does, to all of them; a kill is of one
    (os.killpg if number == signal.SIGINT else os.kill)(started.pid, number)
    _, said = started.communicate(timeout=60)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    if number == signal.SIGINT:
        assert started.returncode == 1
        assert "slides done; the same command continues from there." in said
        assert "Traceback" not in seen + said
    table = predict_cohort(find_slides([slides], mpp=1.0), tmp_path / "out", model, FINE)
    assert table["skipped"].sum() >= 1
    assert same_as_alone(tmp_path / "out", alone)
