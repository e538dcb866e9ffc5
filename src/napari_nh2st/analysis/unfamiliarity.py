"""Distance of tiles from those that a model was trained on, in the features that it sees."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular

from napari_nh2st.errors import InputError

_QUANTILE = 0.99
_FEWEST_TILES = 10


@dataclass(frozen=True, eq=False)
class FamiliarFeatures:
    """Features of the tiles that a model was trained on.

    Parameters
    ----------
    mean
        (features,) float64.
    whitening
        (features, features) float64 W, upper triangular: features minus the mean, times W, have the
        identity as their shrunk covariance.
    far
        Distance that makes an unfamiliarity of 1.
    """

    mean: NDArray[np.float64]
    whitening: NDArray[np.float64]
    far: float


def fit_familiar(sections: Sequence[ArrayLike]) -> FamiliarFeatures:
    """Fit a mean and a covariance to the tiles of training.

    The covariance is that of all tiles together, shrunk (Ledoit & Wolf 2004), which gives it an
    inverse also where there are fewer tiles than features. How far is far is learned from tiles
    that were not fitted: every section's distance from a fit to the other sections. Measured by
    their own fit, a third of the tiles of the next section would count as far.

    Parameters
    ----------
    sections
        For each (tiles, features).

    Returns
    -------
    FamiliarFeatures
        With the 99th percentile of the left-out tiles' distances as ``far``; of a single section,
        that of its own.

    Raises
    ------
    InputError
        There are fewer than ten tiles, a feature is not finite, or they do not vary; of all
        sections or without one of them.
    """
    known = [np.asarray(section, np.float64) for section in sections]
    every = np.concatenate(known)
    familiar = _fitted(every)
    distances = unfamiliarity(familiar, every)
    if len(known) > 1:
        distances = np.concatenate(
            [
                unfamiliarity(_fitted(np.concatenate(known[:i] + known[i + 1 :])), section)
                for i, section in enumerate(known)
            ]
        )
    return replace(familiar, far=float(np.quantile(distances, _QUANTILE)))


def unfamiliarity(familiar: FamiliarFeatures, features: ArrayLike) -> NDArray[np.float64]:
    """How far tiles are from those of training.

    Parameters
    ----------
    familiar
        From :func:`fit_familiar`.
    features
        (tiles, features) of any tiles.

    Returns
    -------
    ndarray
        (tiles,) float64: Mahalanobis distance from the mean (Mahalanobis 1936) over ``far``: 1 or
        less for 99 % of the tiles of sections like those of training. NaN where a feature is NaN.
    """
    off = np.asarray(features, np.float64) - familiar.mean
    return np.asarray(np.linalg.norm(off @ familiar.whitening, axis=1) / familiar.far)


def _fitted(tiles: NDArray[np.float64]) -> FamiliarFeatures:
    """Mean and whitening of tiles, with distances as they are (``far`` of 1)."""
    # Not above: scikit-learn takes a second to load, which a viewer would stand still.
    from sklearn.covariance import LedoitWolf

    finite = np.count_nonzero(np.isfinite(tiles).all(1))
    if finite < len(tiles) or finite < _FEWEST_TILES:
        raise InputError(
            f"Familiar features need {_FEWEST_TILES} or more tiles, all with finite values; "
            f"{finite} of {len(tiles)} have them"
        )
    fitted = LedoitWolf().fit(tiles)
    try:
        root = np.linalg.cholesky(fitted.covariance_)
    except np.linalg.LinAlgError:
        raise InputError("The features of the tiles do not vary; are all tiles the same?") from None
    # Of all square roots of the inverse the triangular one: half of it takes no room in a wheel.
    whitening = solve_triangular(root, np.eye(len(root)), lower=True).T
    return FamiliarFeatures(fitted.location_, whitening, 1.0)
