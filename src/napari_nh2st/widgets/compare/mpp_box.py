"""A µm/px of the slide that does not fit the spots, and the choice to correct it."""

from psygnal import Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_nh2st.spots.checks import MppProposal
from napari_nh2st.widgets.labels import PlainLabel


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
    refused
        Emitted with the proposal that the user does not take.
    """

    chosen = Signal(float)
    refused = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("nh2st-mpp")
        # Orange of middle tone: seen on napari's light theme and on its dark one.
        self.setStyleSheet("#nh2st-mpp { border: 2px solid #d98e04; border-radius: 5px; }")
        self._proposal: MppProposal | None = None
        self._is_of_chosen = True
        self.text = PlainLabel()
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
        self.keep.clicked.connect(self._on_keep)
        self.offer(None)

    @property
    def is_open(self) -> bool:
        """Whether a proposal waits for the user's choice."""
        return self._proposal is not None

    @property
    def is_of_chosen(self) -> bool:
        """Whether it is about the slide that is chosen; else it is not to be seen."""
        return self._is_of_chosen

    @is_of_chosen.setter
    def is_of_chosen(self, is_of_chosen: bool) -> None:
        self._is_of_chosen = is_of_chosen
        self.setVisible(self.is_open and is_of_chosen)

    def offer(self, proposal: MppProposal | None, slide_name: str = "") -> None:
        """Show a proposal for a slide; None for nothing to say."""
        self._proposal = proposal
        self.setVisible(self.is_open and self.is_of_chosen)
        if proposal is not None:
            self.text.setText(
                f"{slide_name}: {proposal.sentence}" if slide_name else proposal.sentence
            )
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

    def _on_keep(self) -> None:
        proposal = self._proposal
        if proposal is not None:
            self.offer(None)
            self.refused.emit(proposal)
