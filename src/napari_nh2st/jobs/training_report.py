"""Report of a training in sentences: how it ended, and what it has brought."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from napari_nh2st.durations import duration
from napari_nh2st.evaluation.events import HeldOut
from napari_nh2st.jobs.training import Trained
from napari_nh2st.training.events import EpochDone

NO_RELIABILITY = "No section was held out: its genes have no reliability."

NOT_SCORED = "The held-out sections were not scored: its genes have no reliability."


def how_it_ended(trained: Trained, seconds: float) -> str:
    """Sentence on how a training ended.

    Parameters
    ----------
    trained
        Its last event.
    seconds
        Duration of all of it, with what was read and scored.
    """
    if trained.ended == "in an earlier run":
        return "Trained in an earlier run."
    took = f"It took {duration(seconds)}."
    if trained.ended == "closed form":
        return f"Solved in closed form, without epochs. {took}"
    if trained.unfinished_epoch:
        return f"Stopped in epoch {trained.unfinished_epoch}; its weights so far are kept. {took}"
    how = {
        "all epochs": "All epochs are done",
        "early": "Ended early, since validation no longer improved",
        "stopped": "Stopped",
    }[trained.ended]
    kept = (
        f"epoch {trained.best_epoch} is kept"
        if trained.best_epoch
        else "no epoch improved on the start, which is kept"
    )
    return f"{how}; {kept}. {took}"


def how_it_was_cut_short(was_aborted: bool, can_be_resumed: bool) -> str:
    """Sentence on how a training ended that left no model.

    Parameters
    ----------
    was_aborted
        Ended at once after it had begun, and not by a stop.
    can_be_resumed
        Whether there is a checkpoint.
    """
    how = "Aborted" if was_aborted else "Stopped"
    if can_be_resumed:
        return f"{how}; Resume continues from the last checkpoint."
    return f"{how} before the first {'checkpoint' if was_aborted else 'step'}."


def validation_summary(trained: Trained, epochs: Sequence[EpochDone]) -> str:
    """Scores of the epoch that is kept, on the sections set aside; empty where there are none."""
    kept = next((epoch for epoch in epochs if epoch.epoch == trained.best_epoch), None)
    if trained.unfinished_epoch or kept is None or kept.validation_pcc is None:
        return ""
    error = _error_summary(kept.validation_mse, kept.baseline_mse)
    return f"On validation: PCC {kept.validation_pcc:.3f}. {error}".strip()


@dataclass(frozen=True)
class HeldOutChange:
    """Scores on the held-out sections, of the start model and of the new one.

    Parameters
    ----------
    before, after
        None while it is not known; ``before`` stays None without a start model.
    """

    before: HeldOut | None = None
    after: HeldOut | None = None

    def __bool__(self) -> bool:
        return self.before is not None or self.after is not None

    def with_scores(self, scores: HeldOut) -> "HeldOutChange":
        """The report with the scores from before or after the training."""
        return replace(self, **{scores.when: scores})

    @property
    def table(self) -> pd.DataFrame:
        """One row a gene: ``gene``, and as far as they are known its correlation ``before`` and
        ``after``, and their ``difference``."""
        parts = {"before": self.before, "after": self.after}
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

    def summary(self) -> str:
        """The held-out correlation in a sentence; empty while there is none of the new model."""
        if self.after is None:
            return ""
        n, values = _n_scored(self.after), _pcc(self.after.summary["mean_pcc"])
        if (shared := self._shared_means()) is not None:
            before, after, n = shared
            values = f"{before:.3f} → {after:.3f}"
        return f"Mean PCC {values} over {_genes(n)} {self._where()}."

    @property
    def sentence(self) -> str:
        """All that the scores say; empty while there are none."""
        last = self.after or self.before
        if last is None:
            return ""
        n, where = _n_scored(last), self._where()
        text = f"Mean PCC over {_genes(n)} {where}: "
        shared = self._shared_means()
        if self.after is None:
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
        error = _error_summary(last.summary["mse"], last.summary["mse_baseline"])
        return f"{text}. {error}".strip() if error else f"{text}."

    def _where(self) -> str:
        last = self.after or self.before
        assert last is not None
        n = last.summary["n_sections"]
        return f"on {n} held-out section{'s' if n > 1 else ''}"

    def _shared_means(self) -> tuple[float, float, int] | None:
        """Mean correlation before and after, over genes with both; their number. None if none."""
        if self.before is None or self.after is None:
            return None
        both = self.table.dropna()
        if both.empty:
            return None
        return float(both["before"].mean()), float(both["after"].mean()), len(both)


def _n_scored(scores: HeldOut) -> int:
    """Number of genes with a correlation: where nothing varies, there is none."""
    return int(scores.scores["pcc"].notna().sum())


def _genes(n: int) -> str:
    return "1 gene" if n == 1 else f"{n} genes"


def _error_summary(mse: float | None, baseline: float | None) -> str:
    """A mean squared error beside that of predicting each gene's mean; empty where unknown."""
    if mse is None or baseline is None:
        return ""
    if mse > baseline:
        return f"MSE {mse:.3f}: worse than predicting each gene's mean ({baseline:.3f})."
    return f"MSE {mse:.3f}; predicting each gene's mean gives {baseline:.3f}."


def _pcc(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
