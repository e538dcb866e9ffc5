"""Content of a dock that scrolls: up and down, and is never cut at its side."""

from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QDockWidget, QHBoxLayout, QMainWindow, QPushButton, QWidget

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


def test_a_dock_grows_with_a_part_of_its_content_that_is_shown_later(qtbot: QtBot) -> None:
    window, content, dock = QMainWindow(), QWidget(), QWidget()
    qtbot.addWidget(window)
    button = QPushButton("a button with a text that is much longer than the others")
    line = QHBoxLayout(content)
    line.addWidget(button)
    button.hide()
    area = scroll_within(dock, content)
    around = QDockWidget()
    around.setWidget(dock)
    window.setCentralWidget(QWidget())
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, around)
    with qtbot.waitExposed(window):
        window.show()
    visible = area.viewport()
    assert visible is not None
    button.show()
    end = button.minimumSizeHint().width()
    qtbot.waitUntil(lambda: end <= button.width())
    qtbot.waitUntil(lambda: button.mapTo(visible, QPoint(end, 0)).x() <= visible.width())
