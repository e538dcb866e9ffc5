"""Fixtures shared by the tests of widgets."""

from collections.abc import Iterator
from typing import Any

import pytest
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from pytestqt.qtbot import QtBot

from napari_nh2st.shown_text import from_qt


@pytest.fixture
def viewer(qtbot: QtBot) -> Iterator[ViewerModel]:
    """A viewer without a window."""
    viewer = ViewerModel()
    yield viewer
    viewer.layers.clear()


@pytest.fixture
def messages() -> Iterator[dict[str, list[str]]]:
    """Texts of napari's notifications by their kind: error, warning, info."""
    shown: dict[str, list[str]] = {"error": [], "warning": [], "info": []}

    def note(notification: Any) -> None:
        shown[str(notification.severity)].append(from_qt(notification.message))

    notification_manager.notification_ready.connect(note)
    yield shown
    notification_manager.notification_ready.disconnect(note)
