"""Fixtures of the Compare dock: a model, a section, and docks in each state."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

from compare_docks import load, open_slide_of, run
from compared_sections import DrawnSection, write_model, write_section
from local_jobs import LocalJobs
from napari_nh2st.jobs import child
from napari_nh2st.widgets import child_jobs
from napari_nh2st.widgets.compare.widget import CompareWidget


@pytest.fixture(scope="package")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reliability = {"VIM": 0.5, "CD74": 0.1}
    return write_model(tmp_path_factory.mktemp("models") / "small", reliability=reliability)


@pytest.fixture
def section(tmp_path: Path) -> DrawnSection:
    return write_section(tmp_path)


@pytest.fixture
def viewer(qtbot: QtBot, request: pytest.FixtureRequest) -> Iterator[ViewerModel]:
    viewer = ViewerModel()
    yield request.param(viewer) if hasattr(request, "param") else viewer
    viewer.layers.clear()


@pytest.fixture
def local_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run in this process."""
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)
    monkeypatch.setitem(child.JOBS, "report", "napari_nh2st.jobs.comparison:write_report")  # type: ignore[arg-type]


@pytest.fixture
def widget(
    qtbot: QtBot,
    viewer: ViewerModel,
    model: Path,
    messages: dict[str, list[str]],
    local_jobs: None,
) -> CompareWidget:
    widget = CompareWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.choose(str(model))
    return widget


@pytest.fixture
def loaded(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, section: DrawnSection
) -> CompareWidget:
    """With measured ST on its slide."""
    open_slide_of(viewer, section)
    load(qtbot, widget, section)
    return widget


@pytest.fixture
def done(qtbot: QtBot, loaded: CompareWidget, messages: dict[str, list[str]]) -> CompareWidget:
    """With a comparison."""
    run(qtbot, loaded)
    assert messages["error"] == []
    assert loaded.compared is not None
    return loaded


@pytest.fixture
def misplaced(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, tmp_path: Path
) -> CompareWidget:
    """With spots that lie in the wrong place."""
    section = write_section(tmp_path, factor=4.0)
    open_slide_of(viewer, section)
    load(qtbot, widget, section)
    return widget
