"""Held-out scores before and after a training, gene by gene."""

import pandas as pd
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_nh2st.jobs.training import HeldOut
from napari_nh2st.widgets.small_table import SmallTable

_HEIGHT = 220


class HeldOutScores(QWidget):
    """A sentence and a sortable table of what a training has brought; hidden while there is none.

    Attributes
    ----------
    sentence
        The scores of all genes in a few words.
    genes
        One row a gene; see :attr:`table`.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._before: HeldOut | None = None
        self._after: HeldOut | None = None
        self.sentence = QLabel()
        self.sentence.setWordWrap(True)
        self.genes = SmallTable("held-out-scores")
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
        self._before = self._after = None
        self._show()

    def show_scores(self, scores: HeldOut) -> None:
        """Show the scores from before or after the training."""
        if scores.when == "before":
            self._before = scores
        else:
            self._after = scores
        self._show()

    @property
    def table(self) -> pd.DataFrame:
        """One row a gene: ``gene``, and as far as they are known its correlation ``before`` and
        ``after``, and their ``difference``."""
        parts = {"before": self._before, "after": self._after}
        known = {
            when: part.scores.set_index("gene")["pcc"]
            for when, part in parts.items()
            if part is not None
        }
        if not known:
            return pd.DataFrame()
        table = pd.DataFrame(known)
        if len(known) == 2:
            table["difference"] = table["after"] - table["before"]
        return table.rename_axis("gene").reset_index()

    def _show(self) -> None:
        self.setVisible(self._before is not None or self._after is not None)
        self.genes.show_table(self.table)
        self.sentence.setText(self._words())

    def _words(self) -> str:
        last = self._after or self._before
        if last is None:
            return ""
        before, after = (
            None if part is None else part.summary["mean_pcc"]
            for part in (self._before, self._after)
        )
        n, sections = last.summary["n_genes"], last.summary["n_sections"]
        where = f"on {sections} held-out section{'s' if sections > 1 else ''}"
        values = " → ".join(f"{value:.3f}" for value in (before, after) if value is not None)
        text = f"Mean PCC over {n} genes {where}: {values or 'none'}"
        if self._after is None:
            text += " before the training"
        elif self._before is not None:
            difference = self.table["difference"].dropna()
            text += f"; {int((difference > 0).sum())} of {len(difference)} genes are better"
        mse, mean = last.summary["mse"], last.summary["mse_baseline"]
        if mse is not None and mean is not None:
            text += f". MSE {mse:.3f}, of predicting each gene's mean {mean:.3f}"
        return f"{text}."
