"""What should be known of a training before it begins."""

from collections.abc import Collection, Sequence

from psygnal import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_nh2st.widgets.caution import CautionLabel

_LEAST_TO_HOLD_OUT = 3
"""Sections: with one held out, two are left to learn from and to choose the epoch by."""


class Outlook(QWidget):
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
        self.notice = CautionLabel()
        self.notice.setToolTip("What to know before the training begins")
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


def section_to_spare(trained: Sequence[tuple[str, str]], seen: Collection[str] = ()) -> str:
    """Which section to hold out.

    Parameters
    ----------
    trained
        Name and donor of each section that trains.
    seen
        Names of those that the start model was trained on: they tell nothing about it.

    Returns
    -------
    str
        The last section of the donor with the fewest: most is learned from the rest, and no
        other section of that donor where it is the only one. Empty where there are too few.
    """
    unseen = [row for row in reversed(trained) if row[0] and row[0] not in seen]
    if len(trained) < _LEAST_TO_HOLD_OUT or not unseen:
        return ""
    donors = [donor for _, donor in trained]
    return min(unseen, key=lambda row: donors.count(row[1]))[0]
