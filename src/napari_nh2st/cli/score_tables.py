"""Tables of scores as rows of text."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_nh2st.evaluation.architecture_scores import ArchitectureComparison
from napari_nh2st.evaluation.crossval import CrossValidation

_COLUMNS = {
    "mean_pcc": ("mean PCC, all genes", 3),
    "top50_pcc": ("top-50", 3),
    "top10_pcc": ("top-10", 3),
    "mse": ("MSE", 4),
    "mse_baseline": ("MSE of the mean", 4),
}


def score_table(title: str, summaries: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A header, and a row for each summary, such as those of an evaluation's sections.

    Parameters
    ----------
    title
        Header of the names.
    summaries
        By name, from :func:`~napari_nh2st.analysis.scores.summarize`.
    """
    header = (title, *(column for column, _ in _COLUMNS.values()))
    return [header, *((name, *_cells(summary)) for name, summary in summaries.items())]


def summary_table(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each score with its name: over all genes first, errors beside the mean baseline's."""
    scored = summary["n_genes"] - summary["n_genes_without_pcc"]
    left_out = f" of {summary['n_genes']}" if summary["n_genes_without_pcc"] else ""
    names = (
        f"mean PCC over all {scored}{left_out} genes",
        "top-50 genes, picked on these sections",
        "top-10 genes, picked on these sections",
        "MSE",
        "MSE of predicting the mean in training",
    )
    return list(zip(names, _cells(summary), strict=True))


def fold_table(
    result: CrossValidation, splits: Mapping[str, Sequence[str]], leave: str
) -> list[tuple[str, ...]]:
    """A row for each fold, then the mean over the sections; errors are of the context taken.

    The last column is how many of the values lie in intervals that the other folds gave.
    """
    names = list(result.evaluations)
    shown = f" ({result.context})" if len(names) > 1 else ""
    header = (
        f"{leave} left out",
        *(f"PCC {name}" for name in names),
        f"MSE{shown}",
        "MSE of the mean",
        "in 90 % intervals",
    )
    rows = [
        (
            left_out,
            *(_mean_of(result, name, sections, "mean_pcc", 3) for name in names),
            _mean_of(result, result.context, sections, "mse", 4),
            _mean_of(result, result.context, sections, "mse_baseline", 4),
            str(result.coverage.get(left_out, "–")),
        )
        for left_out, sections in splits.items()
    ]
    taken = result.evaluations[result.context].summary
    last = (
        "mean",
        *(_number(result.evaluations[name].summary["mean_pcc"], 3) for name in names),
        _number(taken["mse"], 4),
        _number(taken["mse_baseline"], 4),
        "",
    )
    return [header, *rows, last]


def architecture_table(result: ArchitectureComparison) -> list[tuple[str, ...]]:
    """A row for each architecture; scores are means over the folds."""
    header = (
        "architecture",
        "mean PCC, all genes",
        f"minus {result.reference} (95 % interval)",
        "top-50, picked in training",
        "MSE",
        "MSE of the mean",
        "seconds",
        "trained weights",
        "of",
    )
    rows = [
        (
            row.architecture,
            _number(row.mean_pcc, 3),
            _difference(row.difference, row.difference_low, row.difference_high),
            _number(row.top50_pcc, 3),
            _number(row.mse, 4),
            _number(row.mse_baseline, 4),
            _number(row.seconds, 1),
            f"{row.trained_parameters:,}",
            f"{row.parameters:,}",
        )
        for row in result.table().itertuples()
    ]
    return [header, *rows]


def difference_table(result: ArchitectureComparison, leave: str) -> list[tuple[str, ...]]:
    """A row for each fold: PCC of the reference, and what the others have more."""
    (reference,) = (each for each in result.architectures if each.name == result.reference)
    others = [each.name for each in result.architectures if each.name != result.reference]
    header = (f"{leave} left out", f"PCC {reference.name}", *(f"{name} more" for name in others))
    rows = [
        (
            str(left_out),
            _number(pcc, 3),
            *(_signed(float(result.differences(name)[left_out])) for name in others),
        )
        for left_out, pcc in reference.folds["mean_pcc"].items()
    ]
    return [header, *rows]


def _difference(mean: float, low: float, high: float) -> str:
    interval = "" if np.isnan(low) else f" ({_signed(low)} to {_signed(high)})"
    return _signed(mean) + interval


def _signed(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:+.3f}"


def _cells(summary: Mapping[str, Any]) -> list[str]:
    cells = [_number(summary[column], digits) for column, (_, digits) in _COLUMNS.items()]
    low, high = summary["mean_pcc_low"], summary["mean_pcc_high"]
    if low is not None and high is not None:
        cells[0] += f" ({low:.3f} to {high:.3f})"
    return cells


def _number(value: float | None, digits: int) -> str:
    """A score, or a dash where it does not exist."""
    return "–" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def _mean_of(
    result: CrossValidation, context: Any, sections: Sequence[str], score: str, digits: int
) -> str:
    each = [result.evaluations[context].section_summaries[name][score] for name in sections]
    known = [value for value in each if value is not None]
    return _number(float(np.mean(known)) if known else None, digits)
