"""A µm/px of the slide that does not fit the spots, and the choice to correct it."""

from psygnal import Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_nh2st.spots.checks import MppProposal


class MppBox(QFrame):
    """A box that is there only while another µm/px is proposed.

    Attributes
    ----------
    text
        What was noticed.
    use, keep
        Take the µm/px that is proposed; leave the slide's as it is.
    chosen
        Emitted with the µm/px that the user takes.
    """

    chosen = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("nh2st-mpp")
        # Orange of middle tone: seen on napari's light theme and on its dark one.
        self.setStyleSheet("#nh2st-mpp { border: 2px solid #d98e04; border-radius: 5px; }")
        self._proposal: MppProposal | None = None
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.use = QPushButton()
        self.use.setToolTip("Take what the spots' distance tells for the µm/px of this slide layer")
        self.keep = QPushButton("Keep it")
        self.keep.setToolTip("The µm/px of the slide is right; the spots may be in the wrong place")
        buttons = QHBoxLayout()
        buttons.addWidget(self.use)
        buttons.addWidget(self.keep)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addLayout(buttons)
        self.use.clicked.connect(self._on_use)
        self.keep.clicked.connect(lambda: self.offer(None))
        self.offer(None)

    @property
    def is_open(self) -> bool:
        """Whether a proposal waits for the user's choice."""
        return self._proposal is not None

    def offer(self, proposal: MppProposal | None) -> None:
        """Show a proposal; None for nothing to say."""
        self._proposal = proposal
        self.setVisible(proposal is not None)
        if proposal is not None:
            self.text.setText(proposal.sentence)
            self.use.setText(f"Use {proposal.mpp:g} µm/px")

    def set_enabled(self, enabled: bool) -> None:
        """Whether a choice can be made: not while a comparison runs."""
        for button in (self.use, self.keep):
            button.setEnabled(enabled)

    def _on_use(self) -> None:
        proposal = self._proposal
        if proposal is not None:
            self.offer(None)
            self.chosen.emit(proposal.mpp)
