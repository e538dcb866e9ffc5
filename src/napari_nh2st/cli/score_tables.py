"""Scores as text: of an evaluation, of a model before and after training, of the folds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_nh2st.cli.output import print_rows, show
from napari_nh2st.evaluation import CrossValidation, Evaluation

_COLUMNS = {
    "mean_pcc": ("mean PCC, all genes", 3),
    "top50_pcc": ("top-50", 3),
    "top10_pcc": ("top-10", 3),
    "mse": ("MSE", 4),
    "mse_baseline": ("MSE of the mean", 4),
}


def score_row(summary: Mapping[str, Any] | None, name: str = "") -> tuple[str, ...]:
    """A row of a table of summaries; of None, its header."""
    if summary is None:
        return name, *(title for title, _ in _COLUMNS.values())
    cells = [number(summary[column], digits) for column, (_, digits) in _COLUMNS.items()]
    cells[0] += interval(summary)
    return name, *cells


def print_evaluation(evaluation: Evaluation) -> None:
    """Print an evaluation: over all genes first, errors beside the mean baseline's."""
    summary = evaluation.summary
    scored = summary["n_genes"] - summary["n_genes_without_pcc"]
    left_out = f" of {summary['n_genes']}" if summary["n_genes_without_pcc"] else ""
    print_rows(
        [
            (f"mean PCC over all {scored}{left_out} genes", _pcc(summary)),
            ("top-50 genes, picked on these sections", number(summary["top50_pcc"], 3)),
            ("top-10 genes, picked on these sections", number(summary["top10_pcc"], 3)),
            ("MSE", number(summary["mse"], 4)),
            ("MSE of predicting the mean in training", number(summary["mse_baseline"], 4)),
        ]
    )
    if len(evaluation.section_summaries) > 1:
        show()
        rows = [score_row(each, name) for name, each in evaluation.section_summaries.items()]
        print_rows([score_row(None, "section"), *rows])


def fold_table(
    result: CrossValidation, splits: Mapping[str, Sequence[str]], leave: str
) -> list[tuple[str, ...]]:
    """A row for each fold, then the mean over the sections; errors are of the context taken."""
    names = list(result.evaluations)
    shown = f" ({result.context})" if len(names) > 1 else ""
    header = (
        f"{leave} left out",
        *(f"PCC {name}" for name in names),
        f"MSE{shown}",
        "MSE of the mean",
    )
    rows = [
        (
            left_out,
            *(_mean_of(result, name, sections, "mean_pcc", 3) for name in names),
            _mean_of(result, result.context, sections, "mse", 4),
            _mean_of(result, result.context, sections, "mse_baseline", 4),
        )
        for left_out, sections in splits.items()
    ]
    taken = result.evaluations[result.context].summary
    last = (
        "mean",
        *(number(result.evaluations[name].summary["mean_pcc"], 3) for name in names),
        number(taken["mse"], 4),
        number(taken["mse_baseline"], 4),
    )
    return [header, *rows, last]


def number(value: float | None, digits: int) -> str:
    """A score, or a dash where it does not exist."""
    return "–" if value is None else f"{value:.{digits}f}"


def interval(summary: Mapping[str, Any]) -> str:
    """The 95 % interval of the mean PCC, in brackets; empty where there is none."""
    low, high = summary["mean_pcc_low"], summary["mean_pcc_high"]
    return "" if low is None or high is None else f" ({low:.3f} to {high:.3f})"


def _pcc(summary: Mapping[str, Any]) -> str:
    return number(summary["mean_pcc"], 3) + interval(summary)


def _mean_of(
    result: CrossValidation, context: Any, sections: Sequence[str], score: str, digits: int
) -> str:
    each = [result.evaluations[context].section_summaries[name][score] for name in sections]
    known = [value for value in each if value is not None]
    return number(float(np.mean(known)) if known else None, digits)
