"""Stain that a model was trained on, and the distance of a slide's stain from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2hed

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.reliability import STAIN_IS_FAR
from napari_nh2st.prediction.schema import FAR_STAIN

if TYPE_CHECKING:
    from napari_nh2st.model.config import ModelConfig

FIELD_MPP = 2.5
"""µm/px that stain is looked at: a nucleus is some three pixels, and little has to be read."""

STAINS = ("hematoxylin", "eosin", "residual")
DESCRIPTORS = (*STAINS, *(f"{stain} spread" for stain in STAINS))

_TISSUE_DENSITY = 0.08
"""Mean optical density above which a pixel is tissue: above pink glass, below pale nuclei."""

_LEAST_TISSUE = 0.05
"""Share of a field that has to be tissue."""

_FEWEST_FIELDS = 10
_LEAST_SPREAD = 1e-4
"""Spread of a descriptor: less than the rounding to 8 bits makes."""

_DARKER, _PALER = 1.2, 1 / 1.2
_OTHER_SHARE = 0.05
"""Ratios of all stain, and change of one stain's share in it, that are worth a word."""

_DIGITS = 6


@dataclass(frozen=True, eq=False)
class StainProfile:
    """Stain of the sections that a model was trained on.

    Parameters
    ----------
    mean
        (6,) mean of the descriptors, see :func:`tile_descriptors`, with every section weighted
        equally.
    covariance
        (6, 6) covariance of fields: within sections, plus between the sections' means.
    n_tiles, n_sections
        Number of fields and sections that it was fitted to.
    mpp
        µm/px of the fields.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    n_tiles: int
    n_sections: int
    mpp: float

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, to six digits."""
        return {
            "descriptors": list(DESCRIPTORS),
            "mean": [_rounded(value) for value in self.mean],
            "covariance": [[_rounded(value) for value in row] for row in self.covariance],
            "n_tiles": self.n_tiles,
            "n_sections": self.n_sections,
            "mpp": self.mpp,
        }

    @classmethod
    def from_json(cls, content: Any) -> "StainProfile":
        """Make a profile from what :meth:`to_json` returned.

        Raises
        ------
        InputError
            It is not a profile, or one of other descriptors.
        """
        try:
            profile = cls(
                np.asarray(content["mean"], np.float64),
                np.asarray(content["covariance"], np.float64),
                int(content["n_tiles"]),
                int(content["n_sections"]),
                float(content["mpp"]),
            )
            d = len(DESCRIPTORS)
            fits = (
                tuple(content["descriptors"]) == DESCRIPTORS
                and profile.mean.shape == (d,)
                and profile.covariance.shape == (d, d)
                and bool(np.isfinite(profile.mean).all() and profile.mpp > 0)
                and bool(np.linalg.eigvalsh(profile.covariance).min() > 0)
            )
        except (KeyError, TypeError, ValueError, np.linalg.LinAlgError):
            fits = False
        if not fits:
            raise InputError(
                "The stain profile is damaged or of another version; fit it again with fit_stain"
            )
        return profile


def profile_of(config: "ModelConfig", *, normalized: bool = False) -> StainProfile | None:
    """The stain profile of the sections that a model was trained on.

    Parameters
    ----------
    config
        Config of the model, with the profile in ``training["stain"]``.
    normalized
        Take the profile after normalization to the model's stain, ``training["normalized_stain"]``.

    Returns
    -------
    StainProfile or None
        None if the config has no such profile.

    Raises
    ------
    InputError
        The profile is damaged.
    """
    content = config.training.get("normalized_stain" if normalized else "stain")
    return None if content is None else StainProfile.from_json(content)


def tile_descriptors(tiles: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Describe the stain of tiles by the amounts in their tissue.

    Colors are separated into hematoxylin, eosin and a residual (Ruifrok & Johnston 2001, by
    :func:`skimage.color.rgb2hed`, whose third stain is DAB's brown).

    Parameters
    ----------
    tiles
        (n, h, w, 3) uint8.

    Returns
    -------
    ndarray
        (n, 6) float64: the mean of each stain over the pixels with tissue, and its standard
        deviation; NaN for a tile that is less than 5 % tissue.
    """
    result = np.full((len(tiles), len(DESCRIPTORS)), np.nan)
    for row, tile in enumerate(tiles):
        density = -np.log10(np.maximum(tile, 1) / 255.0).mean(-1)
        tissue = density > _TISSUE_DENSITY
        if np.count_nonzero(tissue) >= _LEAST_TISSUE * tissue.size:
            stains = rgb2hed(tile[tissue])
            result[row] = np.concatenate([stains.mean(0), stains.std(0)])
    return result


def fit_stain(sections: Sequence[NDArray[np.floating]], *, mpp: float = FIELD_MPP) -> StainProfile:
    """Fit a profile to the sections that a model is trained on.

    The covariance is the sum of two: that within sections, pooled and shrunk (Ledoit & Wolf 2004,
    on descriptors of unit variance), and that of the sections' means. A single section shows
    nothing of the latter, so other slides are farther from its profile.

    Parameters
    ----------
    sections
        Descriptors of each section, (n, 6), from :func:`tile_descriptors` or
        :func:`~napari_nh2st.analysis.slide_stain`. Rows with NaN are left out.
    mpp
        µm/px of the fields they were taken from.

    Raises
    ------
    InputError
        There are fewer than ten fields with tissue.
    """
    # Not above: scikit-learn takes a second to load, which a viewer would stand still.
    from sklearn.covariance import LedoitWolf

    described = [_known(section) for section in sections]
    described = [section for section in described if len(section)]
    n_tiles = sum(map(len, described))
    if n_tiles < _FEWEST_FIELDS:
        raise InputError(
            f"{n_tiles} fields have tissue, too few to tell the stain; give {_FEWEST_FIELDS} or "
            "more"
        )
    means = np.array([section.mean(0) for section in described])
    within = np.concatenate([section - section.mean(0) for section in described])
    deviation = np.maximum(within.std(0), _LEAST_SPREAD)
    shrunk = LedoitWolf(assume_centered=True).fit(within / deviation).covariance_
    covariance = shrunk * np.outer(deviation, deviation)
    if len(means) > 1:
        covariance = covariance + np.cov(means.T)
    # Also where the descriptors do not vary at all it has an inverse.
    covariance = covariance + np.eye(len(DESCRIPTORS)) * _LEAST_SPREAD**2
    return StainProfile(means.mean(0), covariance, n_tiles, len(described), mpp)


def stain_distance(profile: StainProfile, descriptors: NDArray[np.floating]) -> float:
    """Distance of a slide's stain from a profile.

    Parameters
    ----------
    profile
        Profile of the model.
    descriptors
        (m, 6) descriptors of the slide.

    Returns
    -------
    float
        Mahalanobis distance (Mahalanobis 1936) of the median field, 0 at the profile's mean; above
        :data:`~napari_nh2st.prediction.schema.FAR_STAIN` it is far. NaN if there is no field.

    Examples
    --------
    .. code-block:: python

        profile = profile_of(model.config)
        with open_slide("slide.svs") as slide:
            fields = slide_stain(slide, mpp=profile.mpp)
        print(stain_notice(stain_distance(profile, fields), fields, profile))
    """
    known = _known(descriptors)
    if not len(known):
        return float("nan")
    off = np.median(known, axis=0) - profile.mean
    return float(np.sqrt(off @ np.linalg.solve(profile.covariance, off)))


def stain_notice(
    distance: float, descriptors: NDArray[np.floating], profile: StainProfile
) -> str | None:
    """A notice for a slide whose stain is far from what a model saw.

    Parameters
    ----------
    distance
        From :func:`stain_distance`.
    descriptors, profile
        What the distance was computed from.

    Returns
    -------
    str or None
        Sentences that say in which way it differs; None if the stain is near enough.
    """
    if not distance > FAR_STAIN:
        return None
    found = np.median(_known(descriptors), axis=0)
    return (
        f"The {STAIN_IS_FAR} (distance {distance:.1f}; {FAR_STAIN:g} is far): "
        f"{_direction(found, profile)} Predictions may be off."
    )


def is_no_he(descriptors: NDArray[np.floating], profile: StainProfile) -> bool:
    """Whether a slide has much more than a profile of what is neither hematoxylin nor eosin.

    As immunohistochemistry has, whose brown no normalization turns into eosin that was there.

    Parameters
    ----------
    descriptors
        (m, 6) of the slide.
    profile
        Profile of the model.
    """
    known = _known(descriptors)
    return len(known) > 0 and _is_brown(np.median(known, axis=0), profile)


def _is_brown(found: NDArray[np.float64], profile: StainProfile) -> bool:
    more = found - profile.mean
    off = more / np.sqrt(np.diag(profile.covariance))
    return bool(off[2] > FAR_STAIN and more[2] > 2 * more[1])


def _direction(found: NDArray[np.float64], profile: StainProfile) -> str:
    n = len(STAINS)
    stains, seen = found[:n], profile.mean[:n]
    share = stains / max(stains.sum(), _LEAST_SPREAD) - seen / max(seen.sum(), _LEAST_SPREAD)
    density = stains.sum() / max(seen.sum(), _LEAST_SPREAD)
    words = []
    if density > _DARKER or density < _PALER:
        words.append(f"{'darker' if density > 1 else 'paler'} ({density:.1f} times the stain)")
    if _is_brown(found, profile):
        words.append("browner")
        return (
            f"it is {' and '.join(words)}, with more of what is neither hematoxylin nor eosin. Is "
            "it immunohistochemistry (DAB), or not H&E at all?"
        )
    if share[1] > _OTHER_SHARE:
        words.append("pinker (more eosin)")
    elif share[0] > _OTHER_SHARE:
        words.append("bluer (more hematoxylin for its eosin)")
    if not words:
        deviation = np.sqrt(np.diag(profile.covariance))
        uneven = ((found - profile.mean) / deviation)[n:].sum() > 0
        words.append("more unevenly stained" if uneven else "more evenly stained")
    return f"it is {' and '.join(words)}."


def _known(descriptors: NDArray[np.floating]) -> NDArray[np.float64]:
    described = np.asarray(descriptors, np.float64).reshape(-1, len(DESCRIPTORS))
    return described[~np.isnan(described).any(1)]


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
