"""Fixtures shared by all tests."""

import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from file_server import FileServer
    from small_models import MeanColor


# As in tox: two processes of tests share the cores, and sums of several threads may differ in their
# last digit with the place of a tile in its batch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

_LONGEST = (
    "test_end_to_end.py",
    "training/test_synthetic.py",
    "evaluation/test_crossval.py",
    "evaluation/test_architecture_comparison.py",
    "evaluation/test_spread_intervals.py",
    "jobs/test_train.py",
    "training/test_loop.py",
    "test_benchmarks.py",
)
"""Files with few tests that take long: last, one process would be left alone with them."""

# They watch processes as Linux alone can: elsewhere not even their modules can be imported.
collect_ignore = [] if find_spec("torch") and hasattr(os, "pidfd_open") else ["faults"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much the tests of faults and of documented blocks try."""
    parser.addoption(
        "--all-blocks", action="store_true", help="documented blocks that train are run as well"
    )
    group = parser.getgroup("faults")
    group.addoption("--faults", type=int, default=44, help="damaged slides to try")
    group.addoption("--faults-seed", type=int, default=0, help="seed of the first of them")


def pytest_configure() -> None:
    """Ctrl-C reaches what the tests start, also where they themselves run in the background."""
    # A shell that starts something there makes it, and all that it starts, ignore SIGINT.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest come first."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(_LONGEST))


def pytest_runtest_setup() -> None:
    """What a test draws from torch's own generator does not depend on the tests before it."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture
def qtbot(qtbot: "QtBot") -> "QtBot":
    """Waits long enough for a machine that does other things as well; five seconds are not."""
    for name in ("waitUntil", "waitSignal"):
        setattr(qtbot, name, partial(getattr(qtbot, name), timeout=60_000))
    return qtbot


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real slides and sections; tests that need it are skipped without it."""
    folder = os.environ.get("NH2ST_TEST_DATA")
    if not folder:
        pytest.skip("needs the real data: set NH2ST_TEST_DATA")
    path = Path(folder).resolve()
    assert path.is_dir(), f"NH2ST_TEST_DATA={folder} is not a folder"
    return path


@pytest.fixture(scope="session")
def vectors(test_data: Path) -> Path:
    """The folder of reference numbers, beside the test data."""
    folder = test_data.parent / "vectors"
    if not folder.is_dir():
        pytest.skip("the reference vectors are not beside the test data")
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what the package caches out of the user's own folder, and leave its settings alone."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("NH2ST_CACHE", str(folder))
    monkeypatch.setenv("NH2ST_CONFIG", os.devnull)
    return folder


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Iterator[FileServer]":
    """A server of files, asked again at once where it fails."""
    from file_server import serving
    from napari_nh2st.remote import file

    monkeypatch.setattr(file, "_PAUSES_S", (0.0, 0.0))
    (tmp_path / "served").mkdir()
    with serving(tmp_path / "served") as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widgets begin with their defaults, and leave the user's own settings alone."""
    if find_spec("napari") is not None:
        from napari_nh2st.session import remembered

        monkeypatch.setattr(remembered, "plugin_section", lambda _section: None)


@pytest.fixture
def mean_color(monkeypatch: pytest.MonkeyPatch) -> "type[MeanColor]":
    """Make the architecture ``"mean-color"`` known; gives what counts its encoded tiles."""
    from napari_nh2st.model.architectures import ARCHITECTURES
    from small_models import MEAN_COLOR, MeanColor

    monkeypatch.setitem(ARCHITECTURES, "mean-color", MEAN_COLOR)
    monkeypatch.setattr(MeanColor, "encoded", 0)
    return MeanColor


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, saved."""
    from napari_nh2st.model.folder import save_model_folder
    from small_models import small_model

    folder = tmp_path_factory.mktemp("models") / "small"
    save_model_folder(small_model(), folder)
    return folder
