"""Table of held-out scores before and after a training, gene by gene."""

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_nh2st.evaluation.events import HeldOut
from napari_nh2st.jobs.training_report import HeldOutChange
from napari_nh2st.widgets.frame_table import FrameTable
from napari_nh2st.widgets.labels import PlainLabel

_HEIGHT = 220


class HeldOutScores(QWidget):
    """A sentence and a sortable table of what a training has brought; hidden while there is none.

    Attributes
    ----------
    change
        The scores.
    sentence
        Those of all genes in a few words.
    genes
        One row a gene.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.sentence = PlainLabel(wrap=True)
        self.genes = FrameTable("held-out-scores")
        self.genes.view.setToolTip(
            "Pearson correlation of each gene on the held-out sections, of the start model and of "
            "the new one. Click a column to sort; Ctrl+C copies"
        )
        self.genes.view.setMinimumHeight(_HEIGHT)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.sentence)
        layout.addWidget(self.genes)
        self.clear()

    def clear(self) -> None:
        """Show nothing."""
        self.show_change(HeldOutChange())

    def show_scores(self, scores: HeldOut) -> None:
        """Show the scores from before or after the training, with the others."""
        self.show_change(self.change.with_scores(scores))

    def show_change(self, change: HeldOutChange) -> None:
        """Show these scores instead."""
        self.change = change
        self.setVisible(bool(change))
        table = change.table
        if len(table):  # the best first, until a column is clicked
            table = table.sort_values(table.columns[-1], ascending=False, ignore_index=True)
        self.genes.show_table(table)
        self.sentence.setText(change.sentence)
