"""A prediction against what was measured at the same places."""

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.analysis.scores import gene_scores
from napari_nh2st.errors import InputError
from napari_nh2st.prediction.schema import MEASURED, reliability
from napari_nh2st.prediction.values import predicted_tiles, standardized


def residual(prediction: AnnData, *, standardize: bool = False) -> NDArray[np.float32]:
    """Predicted minus measured.

    Parameters
    ----------
    prediction
        Spots × genes with ``layers["measured"]`` in the unit of ``X``.
    standardize
        Bring both to mean 0 and standard deviation 1 over the spots that have both, which shows
        where they disagree about high and low, whatever their units. A gene that does not vary in
        one of them is 0 there.

    Returns
    -------
    ndarray
        (spots, genes) float32; NaN where there is no prediction or no measurement.

    Raises
    ------
    InputError
        There is no ``layers["measured"]``.

    Examples
    --------
    .. code-block:: python

        difference = residual(at_spots(prediction, spots))
    """
    measured = _measured(prediction)
    values = np.asarray(prediction.X, np.float32)
    if not standardize:
        return values - measured
    result = np.full(values.shape, np.nan, np.float32)
    known = ~(np.isnan(values) | np.isnan(measured))
    # Genes known at the same spots together: most often all of them.
    patterns, which = np.unique(known, axis=1, return_inverse=True)
    for number, rows in enumerate(patterns.T):
        here = np.ix_(rows, np.ravel(which) == number)
        result[here] = standardized(values[here]) - standardized(measured[here])
    return result


def comparison_table(prediction: AnnData, *, bootstrap: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Score every gene of one section against its measurement.

    Parameters
    ----------
    prediction
        Spots × genes with ``layers["measured"]``, NaN throughout for a gene that was not measured.
        Spots without a prediction or without any measurement are left out.
    bootstrap
        Number of resamples for the interval; 0 for no interval.
    seed
        Seed of the resampling.

    Returns
    -------
    DataFrame
        One row per gene, in the prediction's order: ``gene``, ``pcc``, ``pcc_low``, ``pcc_high``
        (95 % interval), ``mse``, ``mae``, all as in
        :func:`~napari_nh2st.analysis.scores.gene_scores`; ``reliability``, the PCC on
        the sections held out when the model was made; and ``n_spots``.

    Raises
    ------
    InputError
        There is no ``layers["measured"]``, or fewer than two spots have both values.

    Examples
    --------
    .. code-block:: python

        comparison_table(at_spots(prediction, spots)).sort_values("pcc", ascending=False)
    """
    both = spots_with_both(prediction)
    scores = gene_scores([both], None, bootstrap=bootstrap, seed=seed)
    scores = scores.drop(columns=["mse_baseline", "mae_baseline"])
    scores["reliability"] = reliability(prediction).to_numpy()
    scores["n_spots"] = both.n_obs
    return scores


def spots_with_both(prediction: AnnData) -> AnnData:
    """View of the spots that have a prediction and a measurement.

    Raises
    ------
    InputError
        There is no ``layers["measured"]``, or they are fewer than two.
    """
    known = predicted_tiles(prediction) & ~np.isnan(_measured(prediction)).all(1)
    if (count := int(known.sum())) < 2:
        raise InputError(
            f"Prediction and measurement have too few spots in common: {count}, and scores need two"
        )
    return prediction[known]


def _measured(prediction: AnnData) -> NDArray[np.float32]:
    if MEASURED not in prediction.layers:
        raise InputError(
            'The prediction has no layers["measured"]: load the spots measured on this slide first'
        )
    return np.asarray(prediction.layers[MEASURED], np.float32)
