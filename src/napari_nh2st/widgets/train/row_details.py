"""Details of one section below the table, and the button that corrects its positions."""

import re

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_nh2st.session.row_state import RowState
from napari_nh2st.session.section_rows import SectionRow
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.part_choice import PartChoice

_BREAK = "\u200b"
"""Space of no width: long paths may be broken there."""


class RowDetails(QWidget):
    """The sentences on a row that its cell has no room for; hidden where there are none.

    Attributes
    ----------
    text
        Sentences on the section.
    fix
        Does what is proposed.
    parts
        Choice of the part of the ST's file, where that holds several.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.text = PlainLabel(
            wrap=True, tip="The selected section, or else the first with a problem"
        )
        self.parts = PartChoice()
        self.fix = QPushButton()
        self.fix.setToolTip(
            "Use the positions like this from now on; the file is not changed, and Undo reverts it"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        layout.addWidget(self.parts)
        layout.addWidget(self.fix)
        self.clear()

    def show_row(self, number: int, row: SectionRow, state: RowState) -> None:
        """Say how a row stands, and which files it has."""
        every = (row.slide, row.expression, row.positions, row.features)
        files = [file.name for file in every if file]
        said = f"{row.name or f'Row {number + 1}'}: {' '.join(state.sentences)}"
        if row.fix is not None:
            said += f" Positions: {row.fix.in_short()}."
        self.text.setText(re.sub(r"([/\\_])", rf"\1{_BREAK}", "\n".join((said, " · ".join(files)))))
        self.fix.setVisible(state.proposal is not None)
        if state.proposal is not None:
            self.fix.setText(f"Fix: {state.proposal.fix.in_short()}")
        self.parts.offer(state.parts, row.choice)
        self.show()

    def clear(self) -> None:
        """There is nothing to say."""
        self.text.clear()
        self.fix.hide()
        self.parts.hide()
        self.hide()
