"""Scores of several architectures on the same folds: paired differences and their interval."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t as student_t

from napari_nh2st.analysis.scores import pearson
from napari_nh2st.evaluation.evaluation import Evaluation
from napari_nh2st.prediction.schema import MEASURED
from napari_nh2st.spots import expression_target
from napari_nh2st.training.split import Leave
from napari_nh2st.training.study import MeasuredSection

TOP = 50
"""Genes in the second mean correlation, ranked on the training sections of each fold."""

_CONFIDENCE = 0.95


class MeanDifference(NamedTuple):
    """Mean over the folds of a paired difference, with its 95 % interval; NaN where unknown."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class ArchitectureScores:
    """Scores of one architecture in a cross-validation.

    Parameters
    ----------
    name
        As asked for, such as ``"sepal"`` or ``"nh2st:average"``.
    folds
        A row for each donor or section left out, its name being the index, see
        :func:`fold_scores`; and ``seconds``, NaN where an earlier version trained the fold.
    n_trained, n_parameters
        Weights that are trained, and all of the network, the encoder and what takes part in
        training alone among them.
    n_without_pcc
        Genes that have no correlation on any section, since their prediction does not vary.
    """

    name: str
    folds: pd.DataFrame
    n_trained: int
    n_parameters: int
    n_without_pcc: int


@dataclass(frozen=True, eq=False)
class ArchitectureComparison:
    """Architectures compared on the same folds, labels and encoder.

    Parameters
    ----------
    architectures
        Architectures in the order asked for.
    reference
        Name of the one that the others are compared with: ``"linear"`` if it is among them,
        else the first.
    notices
        Sentences that a reader of the numbers should know.
    """

    architectures: tuple[ArchitectureScores, ...]
    reference: str
    notices: tuple[str, ...]

    def differences(self, name: str) -> pd.Series:
        """Mean PCC of an architecture minus that of the reference, for each fold."""
        by_name = {each.name: each.folds["mean_pcc"] for each in self.architectures}
        return by_name[name] - by_name[self.reference]

    def table(self) -> pd.DataFrame:
        """One row per architecture; each score is the mean over the folds.

        Columns are ``architecture``; ``mean_pcc`` over all genes; ``difference`` from the reference
        with its 95 % interval ``difference_low`` and ``difference_high``; ``better_folds``, the
        number in which it is above the reference; ``top50_pcc``; ``mse``, and ``mse_baseline`` of
        predicting each gene's mean in training; ``seconds`` of all trainings;
        ``trained_parameters`` and ``parameters``. The reference has no difference.
        """
        rows = []
        for each in self.architectures:
            difference = MeanDifference(math.nan, math.nan, math.nan)
            better = None
            if each.name != self.reference:
                paired = self.differences(each.name)
                difference, better = mean_difference(paired), int((paired > 0).sum())
            mean = each.folds.mean()
            rows.append(
                {
                    "architecture": each.name,
                    "mean_pcc": mean["mean_pcc"],
                    "difference": difference.mean,
                    "difference_low": difference.low,
                    "difference_high": difference.high,
                    "better_folds": better,
                    "top50_pcc": mean["top50_pcc"],
                    "mse": mean["mse"],
                    "mse_baseline": mean["mse_baseline"],
                    "seconds": each.folds["seconds"].sum(skipna=False),
                    "trained_parameters": each.n_trained,
                    "parameters": each.n_parameters,
                }
            )
        table = pd.DataFrame(rows)
        return table.astype({"better_folds": "Int64"})

    def fold_table(self) -> pd.DataFrame:
        """One row per architecture and fold, with its ``difference`` from the reference."""
        parts = []
        for each in self.architectures:
            part = each.folds.reset_index(names="left_out")
            part.insert(0, "architecture", each.name)
            part.insert(3, "difference", self.differences(each.name).to_numpy())
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def to_json(self) -> dict[str, Any]:
        """The tables as plain values for JSON, with None for NaN."""
        folds = self.fold_table()
        content = []
        for row in _records(self.table()):
            own = folds[folds["architecture"] == row["architecture"]]
            content.append(row | {"folds": _records(own.drop(columns="architecture"))})
        return {"reference": self.reference, "architectures": content}


def mean_difference(differences: Sequence[float] | pd.Series) -> MeanDifference:
    """The mean of paired differences with its 95 % interval, by Student's t over the folds.

    Without an interval where there is one fold alone, or a difference is not known.
    """
    values = np.asarray(differences, np.float64)
    n, mean = len(values), float(values.mean())
    if n < 2 or not np.isfinite(mean):
        return MeanDifference(mean, math.nan, math.nan)
    half = student_t.ppf((1 + _CONFIDENCE) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n)
    return MeanDifference(mean, mean - float(half), mean + float(half))


def top_genes(
    training: Iterable[MeasuredSection], panel: Sequence[str], count: int = TOP
) -> list[str] | None:
    """The genes whose target varies most between the spots of the training sections.

    The variance is that within a section, and its mean over the sections. None where the panel
    has fewer genes.
    """
    if len(panel) < count:
        return None
    variance = np.mean(
        [expression_target(each.spots, panel).var(0, dtype=np.float64) for each in training], axis=0
    )
    order = np.argsort(-variance, kind="stable")
    return [panel[column] for column in order[:count]]


def fold_scores(
    evaluation: Evaluation, tested: Iterable[str], top: Sequence[str] | None
) -> dict[str, float]:
    """Scores on the sections that a fold left out, each the mean over these.

    Parameters
    ----------
    evaluation
        Of a cross-validation.
    tested
        Names of the sections.
    top
        Genes of the second mean correlation, from :func:`top_genes`.

    Returns
    -------
    dict
        ``mean_pcc`` over all genes that have one, ``top50_pcc``, ``mse``, ``mse_baseline``; NaN for
        what does not exist.
    """
    pcc, top_pcc, mse, baseline = [], [], [], []
    for name in tested:
        prediction, summary = evaluation.predictions[name], evaluation.section_summaries[name]
        by_gene = pd.Series(
            pearson(np.asarray(prediction.X), np.asarray(prediction.layers[MEASURED])),
            index=prediction.var_names,
        )
        pcc.append(by_gene.mean())
        top_pcc.append(math.nan if top is None else by_gene[list(top)].mean())
        mse.append(_or_nan(summary["mse"]))
        baseline.append(_or_nan(summary["mse_baseline"]))
    columns = {"mean_pcc": pcc, "top50_pcc": top_pcc, "mse": mse, "mse_baseline": baseline}
    return {name: float(np.mean(values)) for name, values in columns.items()}


def comparison_notices(
    architectures: Sequence[ArchitectureScores],
    splits: Mapping[str, Sequence[MeasuredSection]],
    leave: Leave,
) -> tuple[str, ...]:
    """What a reader of the differences should know of the folds and the genes."""
    n = len(splits)
    notices = [
        f"The 95 % interval of a difference is Student's t over {n} folds"
        + (", and wide because they are few." if n < 10 else ".")
    ]
    donors = {section.donor for tested in splits.values() for section in tested}
    if len(donors) == 1:
        notices.append(
            f"All folds are sections of one donor ({donors.pop()}): the differences say nothing "
            "about sections of other donors."
        )
    elif leave == "section" and len(donors) < n:
        notices.append(
            "Some sections left out share a donor with sections trained on: scores on other "
            "donors will be lower."
        )
    without = {each.name: each.n_without_pcc for each in architectures if each.n_without_pcc}
    if without:
        counts = ", ".join(f"{name} {count}" for name, count in without.items())
        notices.append(f"Genes without a correlation, which are in no mean: {counts}.")
    return tuple(notices)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows by column name, with None for what is missing."""
    return [
        {name: None if pd.isna(value) else value for name, value in row.items()}
        for row in table.astype(object).to_dict("records")
    ]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
