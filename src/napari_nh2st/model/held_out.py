"""Correlations of a model's genes in each fold of its cross-validation, as its config has them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.model.config import ModelConfig

PCC_BY_FOLD = "pcc_by_fold"
"""Key in ``training["held_out"]``: by what was left out, a number or None for each gene."""


def held_out_pcc(config: ModelConfig) -> NDArray[np.float64] | None:
    """(panel, folds) Pearson correlation on what each fold left out; NaN where there is none.

    None where the config does not have two folds of them, or in a form that we do not know: a
    config is a file that anybody may have edited.
    """
    held_out = config.training.get("held_out")
    by_fold = held_out.get(PCC_BY_FOLD) if isinstance(held_out, Mapping) else None
    if not isinstance(by_fold, Mapping) or len(by_fold) < 2:
        return None
    try:
        found = np.array([list(each) for each in by_fold.values()], np.float64).T
    except (TypeError, ValueError):
        return None
    if found.shape != (len(config.panel), len(by_fold)):
        return None
    return np.where(np.abs(found) <= 1, found, np.nan)
