"""Framed notices about measured ST and its slide, with buttons that answer them."""

from psygnal import Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout

from napari_nh2st.session.measured_section import MeasuredSection
from napari_nh2st.spots.checks import MppProposal
from napari_nh2st.widgets.labels import PlainLabel

# Middle tones: seen on napari's light theme and on its dark one.
_QUESTION, _STATEMENT = "2px solid #d98e04", "1px solid #888888"


class NoticeBox(QFrame):
    """A framed text with buttons below it; hidden while there is no text.

    Parameters
    ----------
    border
        In Qt's style language.
    **buttons
        Tooltip of each, by a name.

    Attributes
    ----------
    text
        The notice.
    buttons
        By name.
    """

    def __init__(self, border: str, **buttons: str) -> None:
        super().__init__()
        self.setObjectName("nh2st-notice")
        self.setStyleSheet(f"#nh2st-notice {{ border: {border}; border-radius: 5px; }}")
        self.text = PlainLabel(wrap=True)
        self.buttons: dict[str, QPushButton] = {}
        row = QHBoxLayout()
        for name, tip in buttons.items():
            self.buttons[name] = QPushButton()
            self.buttons[name].setToolTip(tip)
            row.addWidget(self.buttons[name])
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addLayout(row)
        self.show_notice("")

    def show_notice(self, text: str, **buttons: str) -> None:
        """Show a text, and those buttons that have one; an empty text hides the box."""
        self.text.setText(text)
        for name, button in self.buttons.items():
            button.setText(buttons.get(name, ""))
            button.setVisible(name in buttons)
        self.setVisible(bool(text))

    def set_enabled(self, enabled: bool) -> None:
        """Whether it can be answered: not while a comparison runs."""
        for button in self.buttons.values():
            button.setEnabled(enabled)


class FixBox(NoticeBox):
    """Asks whether the positions of spots shall be corrected.

    Attributes
    ----------
    fix, keep, undo
        Correct them; leave them; take either back.
    answered
        Emitted with True or False, and with None when the answer is taken back.
    """

    answered = Signal(object)

    def __init__(self) -> None:
        super().__init__(
            _QUESTION,
            fix="Move the spots to the rings in the viewer; the file is not changed",
            keep="The spots are right where they are",
            undo="Undo the choice",
        )
        self.fix, self.keep, self.undo = self.buttons.values()
        self.fix.clicked.connect(lambda: self.answered.emit(True))
        self.keep.clicked.connect(lambda: self.answered.emit(False))
        self.undo.clicked.connect(lambda: self.answered.emit(None))

    def show_section(self, section: MeasuredSection | None) -> None:
        """Show what is proposed for a section, or what the user has answered."""
        proposal = section.proposal if section is not None else None
        if section is None or proposal is None or section.slide_layer is None:
            self.show_notice("")
        elif section.is_asking:
            question = f"Shall positions be {proposal.fix.in_words()}?"
            text = " ".join([*proposal.reasons, question])
            self.show_notice(text, fix="Fix it", keep="Keep as it is")
        elif section.choice:
            self.show_notice(f"Positions are {proposal.fix.in_words()}.", undo="Undo")
        else:
            self.show_notice("Positions are kept as read.", undo="Undo")


class MppBox(NoticeBox):
    """Offers another µm/px for the slide, which the distance of the spots gives.

    Attributes
    ----------
    use, keep
        Take it; leave the slide's as it is.
    chosen
        Emitted with the µm/px that the user takes.
    refused
        Emitted when the user does not take it.
    """

    chosen = Signal(float)
    refused = Signal()

    def __init__(self) -> None:
        super().__init__(
            _QUESTION,
            use="Use the µm/px computed from the spots' distance for this slide layer",
            keep="The µm/px of the slide is right; the spots may be in the wrong place",
        )
        self._proposal: MppProposal | None = None
        self.use, self.keep = self.buttons.values()
        self.use.clicked.connect(self._on_use)
        self.keep.clicked.connect(self._on_keep)

    @property
    def is_open(self) -> bool:
        """Whether a proposal waits for an answer."""
        return self._proposal is not None

    def offer(self, proposal: MppProposal | None, slide_name: str = "") -> None:
        """Show a proposal for a slide; None for nothing to say."""
        self._proposal = proposal
        if proposal is None:
            self.show_notice("")
            return
        text = f"{slide_name}: {proposal.sentence}" if slide_name else proposal.sentence
        self.show_notice(text, use=f"Use {proposal.mpp:g} µm/px", keep="Keep it")

    def _on_use(self) -> None:
        proposal = self._proposal
        self.offer(None)
        if proposal is not None:
            self.chosen.emit(proposal.mpp)

    def _on_keep(self) -> None:
        self.offer(None)
        self.refused.emit()


class OtherSlideBox(NoticeBox):
    """Says that what is shown is not of the slide that is chosen.

    Attributes
    ----------
    lay_over
        Lay the measured ST over the chosen slide instead.
    """

    def __init__(self) -> None:
        super().__init__(
            _STATEMENT,
            lay_over="Lay the same measured ST over the chosen slide; a comparison with the "
            "other slide is removed",
        )
        (self.lay_over,) = self.buttons.values()

    def show_section(self, section: MeasuredSection | None, chosen_name: str | None) -> None:
        """Show whose section it is.

        Parameters
        ----------
        section
            The current one.
        chosen_name
            Name of the slide that is chosen instead; None where its own is, or none.
        """
        if section is not None and section.slide_layer is None and section.results is not None:
            self.show_notice(
                f"Results of {section.slide_name}, whose slide is not in the viewer: genes are "
                "shown in the table and the plot only."
            )
        elif section is None or section.slide_layer is None or chosen_name is None:
            self.show_notice("")
        else:
            what = "Results" if section.results is not None else "Measured ST"
            text = f"{what} of {section.slide_name}, while {chosen_name} is chosen."
            button = {"lay_over": f"Lay it over {chosen_name}"}
            self.show_notice(text, **(button if section.measured is not None else {}))
