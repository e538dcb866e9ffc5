"""Base class of the docks: what is connected, runs and is remembered for as long as one is open."""

from collections.abc import Callable
from typing import Any

from napari.components import ViewerModel
from npe2 import PluginManager
from qtpy.QtCore import QEvent
from qtpy.QtGui import QKeySequence, QShortcut  # type: ignore[attr-defined]  # qtpy re-exports
from qtpy.QtWidgets import QAbstractButton, QWidget

from napari_nh2st.jobs.stoppable import Jobs
from napari_nh2st.session.connections import Connections
from napari_nh2st.session.remembered import Remembered
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.child_jobs import SharedJobs
from napari_nh2st.widgets.dock_place import DockPlace, bring_to_front, docked_as
from napari_nh2st.widgets.notifications import show_error
from napari_nh2st.widgets.queued_signals import deliver_queued_signals

_PLUGIN = "napari-nh2st"


class Dock(QWidget):
    """A widget that napari docks; what it is connected with goes with it and comes back with it.

    It is closed with the window and when it is taken out of its dock, as napari's × does; put into
    a dock again, it is opened again. A dock that is hidden, floating or behind another tab stays
    open.

    A subclass makes its widgets, connects with :meth:`connect_to`, and calls :meth:`open` last. Its
    parts get :attr:`connections` and do the same there; work of a
    :class:`~napari_nh2st.widgets.background.Background` among its children stops by itself.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.
    section
        Section of the plugin's settings in which it is remembered: its name in napari's menu, in
        lower case.
    has_jobs
        Whether it runs jobs in the child process that all docks share. The process starts when the
        first such dock is shown, and loads its libraries while the user still chooses.

    Attributes
    ----------
    viewer
        The viewer.
    connections
        For parts of the dock: connected while it is open.
    remembered
        Settings from one session to the next.
    process
        Access to that child process.
    dock_place
        Its place in napari's window.
    """

    def __init__(
        self,
        napari_viewer: ViewerModel,
        section: str,
        has_jobs: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        deliver_queued_signals()
        self.viewer = napari_viewer
        self.remembered = Remembered(section)
        self.connections = Connections()
        self.process = SharedJobs(self)
        window = getattr(getattr(napari_viewer, "__wrapped__", napari_viewer), "window", None)
        self.dock_place = DockPlace(self, window, section.capitalize())
        self._has_jobs = has_jobs
        self.destroyed.connect(self.connections.close)

    @property
    def is_running(self) -> bool:
        """Whether a job of the dock runs; a subclass that has jobs says."""
        return False

    def idle_jobs(self) -> Jobs | None:
        """Runs jobs; None while the dock runs one."""
        return None if self.is_running else self.process.ready()

    def connect_to(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Connect a slot for as long as the dock is open; see :meth:`Connections.add`."""
        self.connections.add(signal, slot)

    def open(self) -> None:
        """Connect everything; nothing if it is open."""
        self.connections.open()

    def end_jobs(self) -> None:
        """End the job under way, before its process may end; a subclass that has jobs does."""

    def close_down(self) -> None:
        """Disconnect everything and end what runs; nothing of that if it is closed."""
        self.end_jobs()
        self.process.close()
        for work in self.findChildren(Background):
            work.stop()
        self.connections.close()

    def bind_key(self, key: str, button: QAbstractButton) -> None:
        """Let a key press a button, wherever the focus is in the window."""
        # Not the button's own shortcut, which goes when the button is given another text.
        QShortcut(QKeySequence(key), self).activated.connect(button.click)

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Open it, and have the child process load its libraries while the user still chooses."""
        super().showEvent(event)
        self.open()
        self.dock_place.on_shown()
        if self._has_jobs:
            self.process.ready()

    def hideEvent(self, event: Any) -> None:  # Qt's name
        """Stay, where it was hidden behind another tab."""
        super().hideEvent(event)
        self.dock_place.on_hidden()

    def closeEvent(self, event: Any) -> None:  # Qt's name
        """Close with the window."""
        self.close_down()
        super().closeEvent(event)

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Close when it is taken out of its dock; open when it is put into one."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is None:
                self.close_down()
            else:
                self.open()
                self.dock_place.begin()


def open_dock(viewer: Any, name: str) -> Any:
    """Show a dock of this plugin in front, the one that is open or a new one.

    A problem is a notification.

    Parameters
    ----------
    viewer
        Has the window; nothing is done without one.
    name
        Name of the dock, as in napari's menu.

    Returns
    -------
    QWidget or None
        The widget in it.
    """
    viewer = getattr(viewer, "__wrapped__", viewer)
    window = getattr(viewer, "window", None)
    if window is None:
        return None
    widget: Any = docked_as(window, name)
    if widget is None:
        try:
            manifest = PluginManager.instance().get_manifest(_PLUGIN)
            known = {each.display_name: each for each in manifest.contributions.widgets or ()}
            widget = known[name].get_callable()(viewer)
            # By the name of napari's menu, which then shows it as open.
            window.add_dock_widget(widget, name=f"{name} ({manifest.display_name})", tabify=True)
        except Exception as error:  # napari's own, when a dock cannot be made
            show_error(f"The {name} widget could not be opened: {error}")
            return None
        widget.dock_place.settle()
    bring_to_front(widget)
    return widget
