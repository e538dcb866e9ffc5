"""Place of the docks in napari's window: one of each, beside each other in tabs, with one title."""

from typing import Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QDockWidget,
    QHBoxLayout,
    QMainWindow,
    QToolButton,
    QWidget,
)

from napari_nh2st.errors import InputError
from napari_nh2st.widgets.documentation import show_documentation
from napari_nh2st.widgets.notifications import show_error

_TITLE = "NH2ST"
_HELP = "NH2STHelp"
_WIDEST_PX = 420
"""Of a dock, until the user makes it wider."""
_CANVAS_PX = 450
"""Width that is left to the canvas where there is a way."""
_CONTROLS_PX = 340
"""Width of napari's controls of an image: there may be none yet."""
_MS_AFTER_RESIZING = 200


class DockPlace(QObject):
    """Puts a dock that napari has just docked where it belongs.

    napari's menu and its ``add_plugin_dock_widget`` name the same dock differently, so that each
    opens one of its own, and the menu puts docks above each other. A dock of which there is one is
    closed again, and the first comes to the front; otherwise it becomes a tab beside those that are
    there. In a window that is too narrow for napari's controls, a canvas and a dock beside each
    other, they are tabs beside the controls, above the list of layers, and back at the right in a
    wider one, unless the user has moved them. From napari's menu, a dock behind another tab comes
    to the front as well, instead of being hidden where nobody sees it.

    Parameters
    ----------
    dock
        The dock; this belongs to it.
    window
        napari's window; None where the viewer has none.
    name
        Of the dock.

    Attributes
    ----------
    title
        Title of the dock; of each there is one.
    """

    def __init__(self, dock: QWidget, window: Any, name: str) -> None:
        super().__init__(dock)
        self._dock = dock
        self._window = window
        self._name = name
        self.title = title_of(name)
        self._is_in_front = True
        self._was_hidden = False
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.settle)
        self._coming = QTimer(self)
        self._coming.setSingleShot(True)
        self._coming.timeout.connect(lambda: bring_to_front(self._dock))
        self._resized = QTimer(self)
        self._resized.setSingleShot(True)
        self._resized.timeout.connect(self._follow_width)
        self._watches_window = self._was_in_front = False
        self._is_with_controls: bool | None = None  # None where it was not placed here

    def begin(self) -> None:
        """The dock was docked: place it as soon as napari has done so."""
        around = around_of(self._dock)
        if around is not None:
            around.visibilityChanged.connect(self._on_seen)
            # napari makes its title bar anew.
            around.topLevelChanged.connect(self._entitle)
            around.dockLocationChanged.connect(self._entitle)
            self._entitle()
            self._later.start(0)

    def settle(self) -> None:
        """Close the dock where there is one of its kind; else make it a tab beside the others."""
        self._later.stop()
        around = around_of(self._dock)
        main = None if around is None else around.parent()
        if around is None or not isinstance(main, QMainWindow):
            return
        ours = [each for each in _ours(main) if each is not around]
        twin = next((each for each in ours if _title(each.widget()) == self.title), None)
        if twin is not None:
            self._window.remove_dock_widget(around)
            self._dock.deleteLater()
            bring_to_front(twin.widget())
            return
        area = main.dockWidgetArea(around)
        neighbors = [each for each in self._plugin_docks() if main.dockWidgetArea(each) == area]
        beside = [
            each for each in ours or neighbors if each is not around and not each.isFloating()
        ]
        if around.isFloating():
            return
        if beside:
            main.tabifyDockWidget(beside[-1], around)
            bring_to_front(self._dock)
        controls = _controls(main)
        if not ours and controls is not None and _is_narrow(main, around):
            self._put_with_controls(main, around, controls)
        self._share_width(main, around, is_first=not ours)
        self._is_with_controls = _is_tab_of(main, around, controls)
        self._watch(main)

    def _put_with_controls(
        self, main: QMainWindow, around: QDockWidget, controls: QDockWidget
    ) -> None:
        main.tabifyDockWidget(controls, around)
        below = main.findChild(QDockWidget, "layer list")
        if isinstance(below, QDockWidget):
            least = below.minimumSizeHint().height()
            heights = [main.height() - least, least]
            main.resizeDocks([around, below], heights, Qt.Orientation.Vertical)

    def _watch(self, main: QMainWindow) -> None:
        if not self._watches_window:
            self._watches_window = True
            main.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # Qt's name
        """Notice that the window has become wider or narrower."""
        if event is not None and event.type() == QEvent.Type.Resize:
            self._was_in_front = self._is_in_front  # before any of the docks goes elsewhere
            self._resized.start(_MS_AFTER_RESIZING)
        return bool(super().eventFilter(watched, event))

    def _follow_width(self) -> None:
        """Go to where there is room now, unless the user has moved the dock."""
        around = around_of(self._dock)
        main = None if around is None else around.parent()
        if around is None or around.isFloating() or around.isHidden():
            return
        if not isinstance(main, QMainWindow):
            return
        controls = _controls(main)
        with_controls = _is_tab_of(main, around, controls)
        wanted = controls is not None and _is_narrow(main, around)
        if with_controls != self._is_with_controls or with_controls == wanted:
            return
        others = [each for each in _ours(main) if each is not around and not each.isFloating()]
        there = [each for each in others if _is_tab_of(main, each, controls) == wanted]
        if there:
            main.tabifyDockWidget(there[-1], around)
        elif wanted and controls is not None:
            self._put_with_controls(main, around, controls)
        else:
            main.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, around)
            self._share_width(main, around, is_first=True)
        self._is_with_controls = wanted
        for each in (around, *others):  # Qt shows the tab that came last
            place = getattr(each.widget(), "dock_place", None)
            if isinstance(place, DockPlace) and place._was_in_front:
                bring_to_front(each.widget())

    def _share_width(self, main: QMainWindow, around: QDockWidget, is_first: bool) -> None:
        """Give the first dock a part of the window, and in a small one no more than it needs."""
        canvas = main.centralWidget()
        if canvas is not None and (is_first or canvas.width() < around.width()):
            docks = [around, *main.tabifiedDockWidgets(around)]
            least = max(each.minimumSizeHint().width() for each in docks)
            width = max(least, min(_WIDEST_PX, main.width() // 4))
            main.resizeDocks([around], [width], Qt.Orientation.Horizontal)

    def _plugin_docks(self) -> list[QDockWidget]:
        """Docks of all plugins, without napari's own lists."""
        added = (getattr(each, "native", each) for each in self._window.dock_widgets.values())
        return [around for each in added if (around := around_of(each)) is not None]

    def on_hidden(self) -> None:
        """Come to the front where napari's menu has hidden a tab that was behind another."""
        around = around_of(self._dock)
        self._was_hidden = around is not None and around.isHidden()
        if self._was_hidden and not self._is_in_front:
            self._coming.start(0)

    def on_shown(self) -> None:
        """Come to the front after it was hidden."""
        if self._was_hidden:
            self._was_hidden = False
            self._coming.start(0)

    def _on_seen(self, seen: bool) -> None:
        around = around_of(self._dock)
        if seen:
            self._is_in_front = True
        elif around is not None and not around.isHidden():  # another tab was chosen
            self._is_in_front = False

    def _entitle(self, _change: Any = None) -> None:
        around = around_of(self._dock)
        if around is not None:
            around.setWindowTitle(self._name)  # the tab's: four have room in the narrowest dock
            bar = around.titleBarWidget()
            label = getattr(bar, "title", None)
            if bar is not None and label is not None:
                label.setText(self.title)
                self._add_help(bar)

    def _add_help(self, bar: QWidget) -> None:
        """A *?* beside napari's own buttons of the title bar."""
        layout = bar.layout()
        if isinstance(layout, QHBoxLayout) and bar.findChild(QToolButton, _HELP) is None:
            button = QToolButton(bar)
            button.setObjectName(_HELP)
            button.setText("?")
            button.setToolTip(f"What {self._name} does: its page of the documentation")
            button.setCursor(Qt.CursorShape.ArrowCursor)
            button.clicked.connect(self.show_help)
            layout.insertWidget(layout.count() - 1, button)

    def show_help(self) -> None:
        """Open the documentation where it is about the dock."""
        try:
            show_documentation(self._dock, "napari.md", self._name)
        except InputError as error:
            show_error(str(error))


def _ours(main: QMainWindow) -> list[QDockWidget]:
    """Docks of this plugin in a window."""
    docks = main.findChildren(QDockWidget)
    return [each for each in docks if _title(each.widget()) is not None]


def _controls(main: QMainWindow) -> QDockWidget | None:
    """napari's controls of the layer; None where they are hidden or afloat."""
    found = main.findChild(QDockWidget, "layer controls")
    is_there = isinstance(found, QDockWidget) and not (found.isHidden() or found.isFloating())
    return found if is_there else None


def _is_tab_of(main: QMainWindow, around: QDockWidget, other: QDockWidget | None) -> bool:
    return other is not None and other in main.tabifiedDockWidgets(around)


def _is_narrow(main: QMainWindow, around: QDockWidget) -> bool:
    """Whether controls, canvas and a dock do not have room beside each other."""
    return main.width() < _CONTROLS_PX + _CANVAS_PX + around.minimumSizeHint().width()


def around_of(widget: QWidget) -> QDockWidget | None:
    """What Qt docks with a dock in it; None where it is not docked."""
    parent = widget.parent()
    return parent if isinstance(parent, QDockWidget) else None


def bring_to_front(widget: QWidget | None) -> None:
    """Show a dock, in front of other tabs."""
    around = None if widget is None else around_of(widget)
    if around is not None:
        around.show()
        around.raise_()


def title_of(name: str) -> str:
    """Title of a dock by its name in napari's menu."""
    return f"{_TITLE}: {name}"


def docked_as(window: Any, name: str) -> QWidget | None:
    """The dock of a name in napari's window; None where it is not open."""
    docks = (each for each in window.dock_widgets.values() if isinstance(each, QWidget))
    return next((dock for dock in docks if _title(dock) == title_of(name)), None)


def _title(dock: QWidget | None) -> str | None:
    """Title of a dock of this plugin; None for other widgets."""
    place = getattr(dock, "dock_place", None)
    return place.title if isinstance(place, DockPlace) else None
