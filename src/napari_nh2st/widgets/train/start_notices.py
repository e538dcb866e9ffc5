"""Notices on a training before it begins."""

from collections.abc import Collection, Mapping, Sequence

from psygnal import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_nh2st.model.config import ModelConfig
from napari_nh2st.session.training_sections import TrainingSections
from napari_nh2st.training.checks import sections_seen
from napari_nh2st.training.notices import held_out_notice, overlaps
from napari_nh2st.training.split import section_to_spare
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
            "Give this section the role hold out: the model does not learn from it, and is "
            "scored on it at the end"
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.notice)
        layout.addWidget(self.hold_out)
        self.hold_out.clicked.connect(lambda: self.wanted.emit(self._spare))
        self.show_notices([], "")

    def show_what_to_know(
        self,
        sections: TrainingSections,
        start: ModelConfig | None,
        genes: Mapping[str, Collection[str]] | None,
    ) -> None:
        """Show what the choice of sections means for the training.

        Parameters
        ----------
        sections
            The sections and their roles.
        start
            Description of the start model; None without one.
        genes
            Those that each section has; None where the panel is not the start model's.
        """
        trained = [(row.name, row.donor) for row in sections.rows.all if row.role == "train"]
        if not trained:
            self.show_notices([], "")
            return
        nothing_held_out = held_out_notice(len(sections.names("hold out")))
        seen = [] if start is None else sections_seen(start, [name for name, _ in trained])
        usable = [
            (row.name, row.donor)
            for number, row in enumerate(sections.rows.all)
            if row.role == "train" and sections.state(number).level != "bad"
        ]
        spare = section_to_spare(usable, seen) if nothing_held_out else ""
        notices = [nothing_held_out] if nothing_held_out else []
        if start is not None and genes is not None:
            found = overlaps(start.panel, genes)
            notices += [overlap.sentence for overlap in found if overlap.sentence]
        self.show_notices(notices, spare)

    def show_notices(self, notices: Sequence[str], spare: str) -> None:
        """Show sentences, and offer to hold a section out unless its name is empty."""
        self._spare = spare
        self.notice.setText("\n".join(notices))
        self.hold_out.setText(f"Hold out {spare}")
        self.hold_out.setVisible(bool(spare))
        self.setVisible(bool(notices))
