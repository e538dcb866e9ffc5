"""A panel in a dock, as its tabs hold it."""

from collections.abc import Callable
from typing import TypeVar

from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.widgets.dock import Dock

Panel = TypeVar("Panel", bound=QWidget)


def docked(
    qtbot: QtBot, viewer: ViewerModel, make: Callable[[Session, Connections], Panel]
) -> Panel:
    """Make a panel in an open dock, which is closed with the test."""
    dock = Dock(viewer, "genes")
    panel = make(Session.of(viewer), dock.connections)
    QVBoxLayout(dock).addWidget(panel)
    dock.open()
    qtbot.addWidget(dock)
    panel.dock = dock  # Python deletes what nobody holds
    return panel


def dock_of(panel: QWidget) -> Dock:
    dock: Dock = panel.dock
    return dock
