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
        One row per gene, see :func:`~napari_nh2st.analysis.scores.gene_scores`.
    summary
        Scores over all genes, see :func:`~napari_nh2st.analysis.scores.summarize`.
    notices
        Sentences that a reader of the numbers has to know.
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
    """Store scores in the prediction they belong to; every file format of AnnData keeps them.

    Parameters
    ----------
    prediction
        Spots × genes with ``layers["measured"]``. It gets the columns of `scores` in ``var``
        (``pcc``, ``pcc_low``, ``pcc_high``, ``mse``, ``mae``, ``mse_baseline``, ``mae_baseline``)
        and the rest in ``uns["nh2st"]["comparison"]``, except values that are None.
    scores, summary, notices
        As in :class:`KeptComparison`.
    origin
        Further entries for ``uns``: strings and numbers by name, such as names of files.
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
    """The comparison stored in a prediction at spots.

    Parameters
    ----------
    prediction
        Spots × genes with ``layers["measured"]``. If :func:`keep_comparison` put no scores into it,
        or spots were removed since, they are computed, without intervals and without a baseline;
        so is the summary if genes were removed.

    Raises
    ------
    InputError
        There is no ``layers["measured"]``, or fewer than two spots have both values.
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
