"""Notices on a training before it begins."""

from collections.abc import Sequence

from psygnal import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_nh2st.widgets.labels import CautionLabel


class StartNotices(QWidget):
    """Notices in orange above the button that begins the training; hidden while there is none.

    Attributes
    ----------
    notice
        The sentences.
    hold_out
        Offers to hold a section out; hidden where none can be spared.
    wanted
        Emitted with the name of the section that is to be held out.
    """

    wanted = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._spare = ""
        self.notice = CautionLabel(tip="What to know before the training begins")
        self.hold_out = QPushButton()
        self.hold_out.setToolTip(
            "Give this section the role hold out: it is not learned from, and in the end the "
            "model is scored on it"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.notice)
        layout.addWidget(self.hold_out)
        self.hold_out.clicked.connect(lambda: self.wanted.emit(self._spare))
        self.show_notices([], "")

    def show_notices(self, notices: Sequence[str], spare: str) -> None:
        """Show sentences, and offer to hold a section out unless its name is empty."""
        self._spare = spare
        self.notice.setText("\n".join(notices))
        self.hold_out.setText(f"Hold out {spare}")
        self.hold_out.setVisible(bool(spare))
        self.setVisible(bool(notices))
