"""Fixtures of the tests of faults: their server, their number and their seeds."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from extent import Extent
from fault_runs import Prepared, Tally, prepared
from forking import ForkServer

_IMPORTED_FIRST = (
    "crash_cases",
    "damage_cases",
    "hostile_cases",
    "sklearn.linear_model",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf",
    "matplotlib.backends.backend_svg",
    "lightning_fabric",
    "torch._dynamo",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker("faults")


@pytest.fixture(scope="session")
def extent(pytestconfig: pytest.Config) -> Extent:
    return Extent(pytestconfig.getoption("--faults"), pytestconfig.getoption("--faults-seed"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    with ForkServer(_IMPORTED_FIRST, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="session")
def undisturbed(
    server: ForkServer, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Prepared]:
    """Gives a small run that was done once without faults."""
    known: dict[str, Prepared] = {}

    def get(name: str) -> Prepared:
        if name not in known:
            known[name] = prepared(server, name, tmp_path_factory.mktemp(name))
        return known[name]

    return get


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts outcomes, which the summary of the tests prints."""
    counted = Tally()
    yield counted
    subject = f"{request.path.stem.removeprefix('test_')}: {_parameter(request)}".rstrip(": ")
    request.node.user_properties.append(("faults", json.dumps([subject, counted.counts])))


def _parameter(request: pytest.FixtureRequest) -> str:
    return str((getattr(request.node, "callspec", None) and request.node.callspec.id) or "")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """A table of outcomes."""
    counts: dict[str, Counter[str]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == "faults" and report.when == "teardown":
                    subject, counted = json.loads(value)
                    counts.setdefault(subject, Counter()).update(counted)
    if counts:
        terminalreporter.section("faults")
        for subject, counted in sorted(counts.items()):
            shown = ", ".join(f"{n} {outcome}" for outcome, n in sorted(counted.items()))
            terminalreporter.line(f"{subject}: {counted.total()} ({shown})")
