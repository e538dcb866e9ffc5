"""What seems wrong with where spots lie, and the choice to put it right."""

from psygnal import Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_nh2st.spots.placement import Proposal
from napari_nh2st.widgets.labels import PlainLabel


class FixBox(QFrame):
    """A box that is there only if something is to be said.

    Attributes
    ----------
    text
        What was noticed, or what was done.
    fix, keep, undo
        Apply the fix; leave the spots; take either back.
    changed
        Emitted with whether the fix applies, when the user has chosen or taken it back.
    """

    changed = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("nh2st-fix")
        # Orange of middle tone: seen on napari's light theme and on its dark one.
        self.setStyleSheet("#nh2st-fix { border: 2px solid #d98e04; border-radius: 5px; }")
        self._proposal: Proposal | None = None
        self._choice: bool | None = None
        self.text = PlainLabel()
        self.text.setWordWrap(True)
        self.fix = QPushButton("Fix it")
        self.fix.setToolTip("Move the spots to the rings in the viewer; the file stays as it is")
        self.keep = QPushButton("Keep as it is")
        self.keep.setToolTip("The spots are right where they are")
        self.undo = QPushButton("Undo")
        self.undo.setToolTip("Take the choice back")
        buttons = QHBoxLayout()
        for button in (self.fix, self.keep, self.undo):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addLayout(buttons)
        self.fix.clicked.connect(lambda: self._choose(True))
        self.keep.clicked.connect(lambda: self._choose(False))
        self.undo.clicked.connect(self._on_undo)
        self.offer(None)

    @property
    def choice(self) -> bool | None:
        """Whether what is proposed was chosen; None while there is no proposal, or no choice."""
        return None if self._proposal is None else self._choice

    @property
    def is_open(self) -> bool:
        """Whether a proposal waits for the user's choice."""
        return self._proposal is not None and self._choice is None

    def offer(self, proposal: Proposal | None, choice: bool | None = None) -> None:
        """Show a proposal; None for nothing to say.

        Parameters
        ----------
        proposal
            What seems wrong.
        choice
            What the user has chosen already, if anything.
        """
        self._proposal, self._choice = proposal, choice
        self.setVisible(proposal is not None)
        if proposal is None:
            return
        if choice is None:
            reasons = " ".join(proposal.reasons)
            self.text.setText(f"{reasons} Shall positions be {proposal.fix.in_words()}?")
        elif choice:
            self.text.setText(f"Positions are {proposal.fix.in_words()}.")
        else:
            self.text.setText("Positions are kept as read.")
        self.fix.setVisible(choice is None)
        self.keep.setVisible(choice is None)
        self.undo.setVisible(choice is not None)

    def set_enabled(self, enabled: bool) -> None:
        """Whether a choice can be made: not while a comparison runs."""
        for button in (self.fix, self.keep, self.undo):
            button.setEnabled(enabled)

    def _choose(self, fixed: bool) -> None:
        if self._proposal is not None:
            self.offer(self._proposal, fixed)
            self.changed.emit(fixed)

    def _on_undo(self) -> None:
        self.offer(self._proposal)
        self.changed.emit(False)
