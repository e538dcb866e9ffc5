"""A comparison with measured ST, kept in its prediction so that a file has all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_nh2st.analysis.residuals import comparison_table
from napari_nh2st.analysis.scores import ERRORS, summarize
from napari_nh2st.prediction.schema import MEASURED, notes

_SCORES = ("pcc", "pcc_low", "pcc_high", *ERRORS)
"""Columns of each gene's scores, in this order."""


@dataclass(frozen=True, eq=False)
class KeptComparison:
    """How well a prediction fits what was measured.

    Parameters
    ----------
    scores
        One row a gene, see :func:`~napari_nh2st.analysis.scores.gene_scores`.
    summary
        Over all genes, see :func:`~napari_nh2st.analysis.scores.summarize`.
    notices
        What a reader of the numbers has to know.
    """

    scores: pd.DataFrame
    summary: dict[str, Any]
    notices: tuple[str, ...]


def keep_comparison(
    prediction: AnnData,
    scores: pd.DataFrame,
    summary: Mapping[str, Any],
    notices: Sequence[str] = (),
    origin: Mapping[str, Any] | None = None,
) -> None:
    """Put scores into the prediction that they are of; every format of AnnData holds them.

    Parameters
    ----------
    prediction
        Spots × genes with ``layers["measured"]``. It gets the columns of `scores` in ``var``
        (``pcc``, ``pcc_low``, ``pcc_high``, ``mse``, ``mae``, ``mse_baseline``, ``mae_baseline``)
        and the rest in ``uns["nh2st"]["comparison"]``, without what is None.
    scores, summary, notices
        As :class:`KeptComparison` has them.
    origin
        More for ``uns``: strings and numbers by name, for example names of files.
    """
    by_gene = scores.set_index("gene").reindex(prediction.var_names)
    for name in by_gene:
        prediction.var[name] = by_gene[name].to_numpy(np.float64)
    kept = {**summary, **(origin or {})}
    notes(prediction)["comparison"] = {
        **{name: value for name, value in kept.items() if value is not None},
        "notices": np.array(notices, object),
    }


def comparison_of(prediction: AnnData) -> KeptComparison:
    """The comparison that a prediction at spots holds.

    Parameters
    ----------
    prediction
        Spots × genes with ``layers["measured"]``. Where :func:`keep_comparison` did not put scores
        into it, or spots were left out since, they are computed, without intervals and without a
        baseline; so is the summary where genes were left out.

    Raises
    ------
    InputError
        There is no ``layers["measured"]``, or fewer than two spots have both.
    """
    kept = notes(prediction).get("comparison", {})
    is_kept = (
        kept.get("n_spots") == prediction.n_obs
        and set(_SCORES) <= set(prediction.var)
        and MEASURED in prediction.layers
    )
    if is_kept:
        scores = prediction.var[list(_SCORES)].astype(np.float64).reset_index(drop=True)
        scores.insert(0, "gene", prediction.var_names.to_numpy(str))
    else:
        scores = comparison_table(prediction, bootstrap=0)
        scores = scores.reindex(columns=["gene", *_SCORES])
    summary = summarize(scores, [prediction], bootstrap=0)
    if is_kept and kept["n_genes"] == prediction.n_vars:
        # What is None is not in a file; here it has its name.
        summary |= {name: _plain(kept[name]) for name in summary if name in kept}
    return KeptComparison(scores, summary, tuple(map(str, kept["notices"])) if is_kept else ())


def _plain(value: Any) -> Any:
    """A value as JSON has it: files give numbers of NumPy."""
    return value.item() if isinstance(value, np.generic) else value
