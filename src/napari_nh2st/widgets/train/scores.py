"""Held-out scores before and after a training, gene by gene."""

import pandas as pd
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_nh2st.jobs.training import HeldOut
from napari_nh2st.widgets.frame_table import FrameTable
from napari_nh2st.widgets.labels import PlainLabel

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
        self.sentence = PlainLabel()
        self.sentence.setWordWrap(True)
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

    def in_short(self) -> str:
        """The held-out correlation in a sentence; empty while there is none of the new model."""
        if self._after is None:
            return ""
        n, values = _n_scored(self._after), _pcc(self._after.summary["mean_pcc"])
        if (shared := self._shared_means()) is not None:
            before, after, n = shared
            values = f"{before:.3f} → {after:.3f}"
        return f"Mean PCC {values} over {_genes(n)} {self._where()}."

    def _words(self) -> str:
        last = self._after or self._before
        if last is None:
            return ""
        n, where = _n_scored(last), self._where()
        text = f"Mean PCC over {_genes(n)} {where}: "
        shared = self._shared_means()
        if self._after is None:
            text += f"{_pcc(last.summary['mean_pcc'])} before the training"
        elif shared is None:
            text += _pcc(last.summary["mean_pcc"])
        else:
            difference = self.table["difference"].dropna()
            before, after, n_shared = shared
            values = f"{before:.3f} → {after:.3f}"
            if n_shared < n:
                values = (
                    f"{_pcc(last.summary['mean_pcc'])}; over the {n_shared} that the start model "
                    f"has a score for {values}"
                )
            better = int((difference > 0).sum())
            text += f"{values}; {better} of {len(difference)} genes are better"
        error = error_in_words(last.summary["mse"], last.summary["mse_baseline"])
        return f"{text}. {error}".strip() if error else f"{text}."

    def _where(self) -> str:
        last = self._after or self._before
        assert last is not None
        n = last.summary["n_sections"]
        return f"on {n} held-out section{'s' if n > 1 else ''}"

    def _shared_means(self) -> tuple[float, float, int] | None:
        """Mean correlation before and after, over genes with both; their number. None if none."""
        if self._before is None or self._after is None:
            return None
        both = self.table.dropna()
        if both.empty:
            return None
        return float(both["before"].mean()), float(both["after"].mean()), len(both)


def _n_scored(scores: HeldOut) -> int:
    """How many genes have a correlation: where nothing varies, there is none."""
    return int(scores.scores["pcc"].notna().sum())


def _genes(n: int) -> str:
    return "1 gene" if n == 1 else f"{n} genes"


def error_in_words(mse: float | None, baseline: float | None) -> str:
    """A mean squared error beside that of predicting each gene's mean; empty where unknown."""
    if mse is None or baseline is None:
        return ""
    if mse > baseline:
        return f"MSE {mse:.3f}: worse than predicting each gene's mean ({baseline:.3f})."
    return f"MSE {mse:.3f}; predicting each gene's mean makes {baseline:.3f}."


def _pcc(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
