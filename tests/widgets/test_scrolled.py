"""Content of a dock that scrolls: up and down, and is never cut at its side."""

from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_nh2st.widgets.scrolled import scroll_within


def test_a_dock_is_never_narrower_than_its_content(qtbot: QtBot) -> None:
    content, dock = QWidget(), QWidget()
    line = QHBoxLayout(content)
    buttons = [QPushButton(f"a button with a text {k}") for k in range(3)]
    for button in buttons:
        line.addWidget(button)
    area = scroll_within(dock, content)
    qtbot.addWidget(dock)
    dock.show()
    for height in (400, 10):  # without and with a scroll bar
        dock.resize(dock.minimumSizeHint().width(), height)
        visible = area.viewport()
        assert visible is not None
        assert buttons[-1].geometry().right() <= visible.width()
