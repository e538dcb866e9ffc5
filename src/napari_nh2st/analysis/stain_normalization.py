"""Stain normalization: a slide's two stains brought to the colors and amounts of a reference.

After Macenko et al. (ISBI 2009): the optical densities of stained pixels lie in a plane, between
the directions of hematoxylin and eosin, which are found per slide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.analysis.stain_fields import tissue_fields
from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide
from napari_nh2st.slide.optical_density import optical_density
from napari_nh2st.tiles import TissueMask

if TYPE_CHECKING:
    from napari_nh2st.model.config import ModelConfig

_STAINED = 0.15
"""Mean optical density (natural logarithm) above which a pixel counts as stained."""

_FEWEST_PIXELS = 1000
_EDGE_PERCENT = 1.0
"""Percentile of the angles in the plane at which each stain is looked for."""

_AMOUNT_PERCENT = 99.0
_LEAST_ANGLE = np.deg2rad(5)
"""Between the stains: of one stain alone there is no second to be found."""

_LEAST_AMOUNT = 0.05


@dataclass(frozen=True, eq=False)
class StainColors:
    """Colors and amounts of hematoxylin and eosin on a slide.

    Parameters
    ----------
    vectors
        (2, 3) optical density of each in red, green and blue, of length 1.
    amounts
        (2,) nearly the largest amount of each.
    """

    vectors: NDArray[np.float64]
    amounts: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """Plain lists of numbers, to four decimals."""
        return {
            "vectors": np.round(self.vectors, 4).tolist(),
            "amounts": np.round(self.amounts, 4).tolist(),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "StainColors":
        """Take over what :meth:`to_json` gave."""
        return cls(np.array(content["vectors"], float), np.array(content["amounts"], float))


REFERENCE = StainColors(
    np.array([[0.7254, 0.6028, 0.3317], [0.3407, 0.8077, 0.4761]]), np.array([3.0081, 0.9745])
)
"""Stain of the HER2+ breast sections C2 to C6 (Andersson et al. 2021), their mean."""


def reference_of(config: "ModelConfig") -> StainColors | None:
    """The stains that a model wants its slides brought to; None for slides as they are."""
    content = config.stain_reference
    return None if content is None else StainColors.from_json(content)


def stain_colors(pixels: NDArray[np.uint8]) -> StainColors:
    """Find the two stains of a slide's pixels.

    Parameters
    ----------
    pixels
        (n, 3) RGB.

    Raises
    ------
    InputError
        Too few pixels are stained, or not by two stains.
    """
    density = optical_density(pixels)
    density = density[density.mean(1) > _STAINED]
    if len(density) < _FEWEST_PIXELS:
        raise InputError(f"{len(density)} stained pixels are too few to tell two stains apart")
    _, axes = np.linalg.eigh(np.cov(density.T))
    plane = axes[:, [2, 1]]
    plane *= np.where(plane.sum(0) < 0, -1, 1)
    across = density @ plane
    angles = np.arctan2(across[:, 1], across[:, 0])
    ends = np.percentile(angles, (_EDGE_PERCENT, 100 - _EDGE_PERCENT))
    vectors = np.column_stack([np.cos(ends), np.sin(ends)]) @ plane.T
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    # Hematoxylin takes more of the red than eosin does.
    vectors = vectors[np.argsort(-vectors[:, 0])]
    if ends[1] - ends[0] < _LEAST_ANGLE:
        raise InputError("its pixels show only one stain")
    amounts = np.percentile(density @ np.linalg.pinv(vectors), _AMOUNT_PERCENT, axis=0)
    if amounts.min() < _LEAST_AMOUNT:
        raise InputError("its pixels show only one stain")
    return StainColors(vectors, amounts)


def slide_stain_colors(slide: Slide, tissue: TissueMask | None = None) -> StainColors:
    """Find the two stains of a slide, on a sample of its tissue.

    Parameters
    ----------
    slide
        Read on its coarsest own level that is fine enough.
    tissue
        Where to look; found by default.

    Raises
    ------
    InputError
        There is no tissue, none that can be read, or as :func:`stain_colors`.
    """
    fields = tissue_fields(slide, tissue)
    try:
        return stain_colors(fields[:, ::2, ::2].reshape(-1, 3))
    except InputError as error:
        raise InputError(f"{slide.path}: {error}") from None


def normalization(found: StainColors, reference: StainColors) -> NDArray[np.float32]:
    """(3, 3) matrix that maps optical densities of a slide, in rows, to the reference's stains.

    What neither stain explains is left out. It is rounded to six decimals: processors differ in
    the last digits, and all machines that predict parts of a slide must use the same.
    """
    scale = (reference.amounts / found.amounts)[:, None] * reference.vectors
    return np.round(np.linalg.pinv(found.vectors) @ scale, 6).astype(np.float32)
