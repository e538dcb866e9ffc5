"""Docks in napari's window: one of each, in tabs beside each other, with one title."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from napari._app_model import get_app_model
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QLabel, QMainWindow, QToolButton, QWidget

from napari_nh2st.widgets.dock import Dock, open_dock
from napari_nh2st.widgets.dock_place import around_of
from napari_nh2st.widgets.documentation import DocumentationBrowser

pytestmark = pytest.mark.viewer

SIZES = [(1024, 700), (1600, 1000)]
_LOWEST = 300
"""Pixels: room for a form and its buttons."""


class Window:
    """napari's window, and the docks of this plugin in it."""

    def __init__(self, viewer: Any, qtbot: QtBot) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        self.main: QMainWindow = viewer.window._qt_window

    def choose(self, name: str, front: str | None = None) -> None:
        """Choose a dock in the menu Plugins › NH2ST; then another, or this, is in front."""
        get_app_model().commands.execute_command(f"napari-nh2st.{name.lower()}").result()
        self.wait_for(front or name)

    def wait_for(self, name: str) -> None:
        """Wait until a dock is in front, and nothing else is to come."""
        self.qtbot.waitUntil(lambda: self.front == [name], timeout=20_000)
        self.qtbot.wait(50)

    @property
    def docks(self) -> dict[str, QDockWidget]:
        around = self.main.findChildren(QDockWidget)
        ours = [each for each in around if isinstance(each.widget(), Dock)]
        return {type(each.widget()).__name__.removesuffix("Widget"): each for each in ours}

    @property
    def controls(self) -> QDockWidget:
        return self.viewer.window._qt_viewer.dockLayerControls

    @property
    def n_docks(self) -> int:
        around = self.main.findChildren(QDockWidget)
        return len([each for each in around if isinstance(each.widget(), Dock)])

    @property
    def front(self) -> list[str]:
        return [name for name, around in self.docks.items() if not visible_part(around).isEmpty()]


def visible_part(widget: QWidget) -> Any:
    return widget.visibleRegion()


@pytest.fixture
def window(make_napari_viewer: Callable[..., Any], qtbot: QtBot) -> Iterator[Window]:
    window = Window(make_napari_viewer(show=True), qtbot)
    yield window
    del window.viewer, window.main  # napari's fixture wants them gone


@pytest.mark.parametrize(
    ("first", "again"),
    # napari's own function leaves a dock that it has opened itself where it is.
    [pair for pair in product(("menu", "own", "api"), repeat=2) if pair != ("api", "api")],
)
def test_a_dock_that_is_opened_twice_comes_to_the_front(
    window: Window, first: str, again: str
) -> None:
    ways: dict[str, Callable[[str], Any]] = {
        "menu": window.choose,
        "own": lambda name: open_dock(window.viewer, name),
        "api": lambda name: window.viewer.window.add_plugin_dock_widget("napari-nh2st", name),
    }
    ways[first]("Genes")
    window.wait_for("Genes")
    dock = window.docks["Genes"].widget()
    window.choose("Compare")
    ways[again]("Genes")
    window.wait_for("Genes")
    assert window.n_docks == 2
    assert window.docks["Genes"].widget() is dock


def test_napari_s_menu_still_hides_the_dock_in_front(window: Window) -> None:
    window.choose("Genes")
    window.choose("Compare")
    window.choose("Compare", front="Genes")
    assert window.docks["Compare"].isHidden()
    window.choose("Compare")
    assert not window.docks["Compare"].isHidden()


@pytest.mark.parametrize("size", SIZES)
def test_all_docks_are_tabs_of_one_place_and_leave_the_canvas_room(
    window: Window, size: tuple[int, int]
) -> None:
    window.main.resize(*size)
    window.viewer.add_image(np.zeros((9, 9)))
    neighbor = window.controls
    if size[0] > 1200:
        label = QLabel("of another plugin")
        neighbor = window.viewer.window.add_dock_widget(label, name="other")
    for name in ("Predict", "Genes", "Compare", "Train"):
        window.choose(name)
        around = window.docks[name]
        assert around.height() > _LOWEST
        window.qtbot.waitUntil(lambda a=around: a.minimumSizeHint().width() <= a.width())
    tabs = set(window.main.tabifiedDockWidgets(window.docks["Train"]))
    assert {window.docks[name] for name in ("Predict", "Genes", "Compare")} | {neighbor} == tabs
    assert window.main.size().width() == size[0], "the window became no wider for them"
    canvas = window.viewer.window._qt_viewer.canvas.native
    assert canvas.width() >= 450
    docks = [each.minimumSizeHint().width() for each in window.docks.values()]
    if size[0] < 1200:
        assert window.docks["Train"].width() == max(docks), "no wider than they must be"
    else:
        assert window.docks["Train"].width() == size[0] // 4


def test_docks_go_where_there_is_room_when_the_window_is_resized_unless_they_were_moved(
    window: Window,
) -> None:
    window.main.resize(1024, 700)
    for name in ("Predict", "Genes"):
        window.choose(name)
    docks = window.docks

    def are_with_controls() -> bool:
        beside = window.main.tabifiedDockWidgets(docks["Genes"])
        assert docks["Predict"] in beside
        return window.controls in beside

    assert are_with_controls()
    window.main.resize(1600, 1000)
    window.qtbot.waitUntil(lambda: not are_with_controls())
    window.wait_for("Genes")
    assert not visible_part(window.controls).isEmpty()
    assert docks["Genes"].width() == 400
    window.main.resize(1024, 700)
    window.qtbot.waitUntil(are_with_controls)
    window.wait_for("Genes")
    for name in ("Predict", "Genes"):
        window.main.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, docks[name])
    window.main.resize(1600, 1000)
    window.qtbot.wait(400)
    for name in ("Predict", "Genes"):
        assert window.main.dockWidgetArea(docks[name]) == Qt.DockWidgetArea.BottomDockWidgetArea


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "button"), [("Predict", "run"), ("Compare", "controls.run"), ("Train", "train")]
)
def test_the_button_that_starts_is_seen_without_scrolling(
    window: Window, size: tuple[int, int], name: str, button: str
) -> None:
    window.main.resize(*size)
    window.choose(name)
    found: Any = window.docks[name].widget()
    for part in button.split("."):
        found = getattr(found, part)
    assert visible_part(found).boundingRect() == found.rect()


def test_title_and_help_are_there_however_it_was_opened_also_afloat(window: Window) -> None:
    open_dock(window.viewer, "Compare")
    window.viewer.window.add_plugin_dock_widget("napari-nh2st", "Genes")
    window.wait_for("Genes")
    around = window.docks["Genes"]
    for afloat in (False, True, False):
        around.setFloating(afloat)
        bar: Any = around.titleBarWidget()
        assert bar.title.text() == "NH2ST: Genes"
        (button,) = bar.findChildren(QToolButton)
    button.click()
    (page,) = window.docks["Genes"].widget().findChildren(DocumentationBrowser)
    window.qtbot.waitUntil(lambda: page.textCursor().block().text() == "Genes")
    page.window().close()


def test_a_dock_that_was_hidden_in_front_and_opened_by_its_name_is_back(window: Window) -> None:
    dock = open_dock(window.viewer, "Genes")
    around = around_of(dock)
    assert around is not None
    around.close()  # napari's “hide”
    assert open_dock(window.viewer, "Genes") is dock
    assert not around.isHidden()
