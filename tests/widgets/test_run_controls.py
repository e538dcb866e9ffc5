"""Controls of a run: what they say is read whole."""

from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_nh2st.widgets.run_controls import RunControls
from napari_nh2st.widgets.scrolled import scroll_within


def test_a_long_status_is_not_cut_off_at_the_bottom_of_a_dock(qtbot: QtBot) -> None:
    dock, content, below, controls = QWidget(), QWidget(), QWidget(), RunControls()
    qtbot.addWidget(dock)
    QVBoxLayout(below).addWidget(controls)
    content.setMinimumHeight(900)
    scroll_within(dock, content, below=below)
    dock.resize(300, 400)
    dock.show()
    controls.status.setText(
        "218 tiles in 5 s. 2% of the tissue has no tile: pieces and edges. " * 3
    )
    status = controls.status

    def is_whole() -> None:
        assert status.height() >= status.heightForWidth(status.width()) > 40
        assert status.mapTo(dock, status.rect().bottomLeft()).y() < dock.height()

    qtbot.waitUntil(is_whole, timeout=5_000)
