"""Ctrl-C and SIGTERM, sent to the command in processes of its own when something has happened."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata
import numpy as np
import pytest

from hub_server import TOKEN, Repository, serving_hub
from napari_nh2st.cli import main
from napari_nh2st.cli.stopping import StopRequest
from napari_nh2st.model import read_config
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.synthetic import write_synthetic_slide
from section_tables import write_section, write_table
from small_models import small_model

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no signals to send")

NH2ST = "from nh2st_command import main; raise SystemExit(main())"
LIMIT_S = 120
SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Running:
    """A process, and the lines that it writes to stderr."""

    def __init__(self, *command: str, **more: str) -> None:
        # What measures coverage imports much before the command has a say.
        own = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
        environment = own | {"OMP_NUM_THREADS": "1"} | more
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen = ""

    def until(self, happened: Callable[[str], bool]) -> "Running":
        """Wait for a line."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.seen += line
            if happened(line):
                return self
        raise AssertionError(self.seen)

    def send(self, *signals: signal.Signals) -> "Running":
        for number in signals:
            self.process.send_signal(number)
        return self

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout, and what was said without the table of imports."""
        out, err = self.process.communicate(timeout=LIMIT_S)
        lines = (self.seen + err).splitlines(keepends=True)
        said = "".join(line for line in lines if not line.startswith("import time:"))
        assert "Traceback" not in said
        assert "ignored" not in said
        return self.process.returncode, out, said


@pytest.fixture
def running() -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def run(*command: object, **more: str) -> Running:
        started.append(Running(*map(str, command), **more))
        return started[-1]

    yield run
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.communicate()


Run = Callable[..., Running]


@pytest.mark.parametrize(
    ("command", "stalls"),
    [
        ("pull", "GET .*safetensors"),
        ("fetch-encoder", "GET .*safetensors"),
        ("push", "PUT /upload"),
        ("push", "POST .*/commit"),
    ],
)
def test_a_model_on_its_way_to_or_from_the_hub_is_there_whole_or_not_at_all(
    running: "Run", tmp_path: Path, command: str, stalls: str
) -> None:
    save_model_folder(small_model(), tmp_path / "model")
    files = {file.name: file.read_bytes() for file in (tmp_path / "model").iterdir()}
    arguments: dict[str, tuple[object, ...]] = {
        "pull": ("hf:me/tiny", "-o", tmp_path / "own"),
        "fetch-encoder": ("transformers:me/tiny",),
        "push": (tmp_path / "model", "hf:me/tiny", "--license", "mit"),
    }
    with serving_hub() as hub:
        if command != "push":
            hub.repositories["me/tiny"] = Repository(False, {"a" * 40: files})
        hub.stalls = stalls
        places = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "cache")}
        started = running(
            *("-c", NH2ST, "model", command, *arguments[command]),
            HF_TOKEN=TOKEN,
            HF_HUB_DISABLE_XET="1",
            **places,
        )
        assert hub.stalled.wait(LIMIT_S)
        code, out, said = started.send(signal.SIGINT).end()
        assert (code, out) == (1, "")
        assert said.splitlines()[-1] == "nh2st: Stopped."
        assert len(said.splitlines()) == (2 if command == "push" else 1)  # what is sent is said
        assert list(hub.repositories) == ([] if command == "push" else ["me/tiny"])
    assert not (tmp_path / "own").exists()
    assert not list((tmp_path / "cache").rglob("*.incomplete"))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic_slide(tmp_path_factory.mktemp("slide") / "slide.tif", shape=(512, 512))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model_folder(small_model(), folder)
    return folder


def predicting(slide: Path, model: Path, output: Path) -> tuple[object, ...]:
    return (
        *("predict", slide, "-o", output, "--model", model, "--mpp", 1, "--all-tiles"),
        *("--pitch-um", 16, "--batch-size", 8, "--precision", "float32"),
    )


# Before signals are looked after, SIGTERM ends a process without a word as it ends any.
@pytest.mark.parametrize(
    ("imported", "number"),
    [
        ("lazy_loader", signal.SIGINT),
        ("contextlib", signal.SIGINT),
        *((name, each) for name in ("napari_nh2st.cli.output", "torch._") for each in SIGNALS),
    ],
)
def test_a_signal_during_the_imports_ends_in_a_line(
    running: Run, slide: Path, model: Path, tmp_path: Path, imported: str, number: signal.Signals
) -> None:
    command = predicting(slide, model, tmp_path / "out.h5ad")
    started = running("-X", "importtime", "-c", NH2ST, *command)
    started.until(lambda line: line.rpartition("|")[2].strip().startswith(imported)).send(number)
    assert started.end() == (1, "", "nh2st: Stopped.\n")
    assert not list(tmp_path.iterdir())


def test_a_prediction_keeps_what_is_done_whichever_signal_stops_it(
    running: Run, slide: Path, model: Path, tmp_path: Path
) -> None:
    command = predicting(slide, model, tmp_path / "out.h5ad")
    begun = "tiles on cpu in float32"
    for number in SIGNALS:
        started = running("-c", NH2ST, *command).until(lambda line: begun in line)
        code, out, said = started.send(number).end()
        assert (code, out) == (1, "")
        assert "nh2st: Stopped. " in said
        assert not (tmp_path / "out.h5ad").exists()
    assert main(list(map(str, command))) == 0
    assert np.isfinite(anndata.read_h5ad(tmp_path / "out.h5ad").X).all()
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5ad"]


def test_a_cohort_goes_on_within_the_slide_where_it_was_stopped(
    running: Run, slide: Path, model: Path, tmp_path: Path
) -> None:
    command = list(predicting(slide, model, tmp_path / "out"))
    command.insert(2, shutil.copy(slide, tmp_path / "other.tif"))
    for number in SIGNALS:
        started = running("-c", NH2ST, *command).until(lambda line: line.startswith("slide: "))
        code, out, said = started.send(number).end()
        assert (code, out) == (1, "")
        assert "1 of 2 slides done; the same command continues from there." in said
    assert main(list(map(str, command))) == 0
    for name in ("slide", "other"):
        assert np.isfinite(anndata.read_h5ad(tmp_path / "out" / f"{name}.h5ad").X).all()
    left = {path.name for path in (tmp_path / "out").iterdir()}
    assert left == {"slide.h5ad", "other.h5ad", "summary.csv"}


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    folder = tmp_path_factory.mktemp("study")
    table = write_table(folder / "sections.csv", [write_section(folder, k) for k in range(2)])
    save_model_folder(small_model(mpp=6.25, pitch_um=200.0), folder / "model")
    return (
        *("train", "--sections", table, "--start", folder / "model", "--encoder", "frozen"),
        *("--device", "cpu", "--validation", "none", "--epochs", 500),
    )


@pytest.mark.parametrize("number", SIGNALS)
def test_a_training_keeps_its_model_whichever_signal_stops_it(
    running: Run, training: tuple[object, ...], tmp_path: Path, number: signal.Signals
) -> None:
    started = running("-c", NH2ST, *training, "-o", tmp_path / "run")
    started.until(lambda line: line.startswith("epoch 2/500")).send(number)
    code, _, said = started.end()
    assert code == 1
    assert "the same command continues from there" in said
    assert read_config(tmp_path / "run" / "model").training["epochs"] >= 2


def test_a_second_signal_ends_a_training_at_once(
    running: Run, training: tuple[object, ...], tmp_path: Path
) -> None:
    started = running("-c", NH2ST, *training, "-o", tmp_path / "run")
    started.until(lambda line: line.startswith("epoch 2/500"))
    code, _, said = started.send(signal.SIGINT, signal.SIGTERM).end()
    assert code == 1
    assert said.splitlines()[-1].startswith("nh2st: Stopped")


def script(text: str) -> tuple[str, str]:
    head = """\
        import signal, sys, threading
        from napari_nh2st.cli.stopping import StopRequest

        def say(text):
            print(text, file=sys.stderr, flush=True)
        """
    return "-c", textwrap.dedent(head) + textwrap.dedent(text)


def test_what_is_raised_where_nothing_can_be_raised_is_raised_again(running: Run) -> None:
    code = """
        class Deaf:
            def __del__(self):
                signal.raise_signal(signal.SIGINT)

        with StopRequest(owns_process=True) as stop, stop.cleaning_up():
            try:
                Deaf()
                threading.Event().wait(60)
                say("not heard")
            except KeyboardInterrupt:
                say("heard")
        """
    assert running(*script(code)).end() == (0, "", "heard\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_what_listens_to_none(running: Run, number: signal.Signals) -> None:
    code = """
        import hashlib

        with StopRequest(owns_process=True) as stop, stop.cleaning_up():
            say("deep in C")
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
        """
    started = running(*script(code)).until(lambda line: "deep in C" in line)
    # One at a time: of two that come before the first is heard, the system keeps one.
    started.send(number, signal.SIGINT if number == signal.SIGTERM else signal.SIGTERM)
    assert started.end() == (1, "", "deep in C\nnh2st: Stopped at once.\n")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("exit_code", [0, 1])
def test_a_signal_when_all_is_done_changes_nothing(
    running: Run, number: signal.Signals, exit_code: int
) -> None:
    code = f"""
        import atexit

        def linger():
            say("ending")
            threading.Event().wait(60)

        with StopRequest(owns_process=True) as stop:
            atexit.register(linger)
            stop.finish({exit_code})
        """
    started = running(*script(code)).until(lambda line: "ending" in line).send(number)
    assert started.end() == (exit_code, "", "ending\n")


def test_what_is_ignored_stays_ignored(running: Run) -> None:
    code = """
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with StopRequest(owns_process=True) as stop:
            signal.raise_signal(signal.SIGHUP)
            say("goes on")
        """
    assert running(*script(code)).end() == (0, "", "goes on\n")


def test_a_swallowed_stop_is_raised_at_the_next_occasion() -> None:
    with StopRequest() as stop:
        stop.check()
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            stop.check()
        stop.graceful = True
        stop.check()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
