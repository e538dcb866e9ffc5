"""Layout of a synthetic tissue: smooth fields of position on a coarse grid.

`TissueFields` is the truth a drawing follows: outline, tumour nests, lumens, lymphoid aggregates,
fibre direction and the programmed nuclear density. Nuclei are placed by it and pixels are
drawn by it; whoever invents measurements for the tissue reads it too.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Positions = NDArray[np.floating]

FIELD_MPP: Final = 8.0
"""µm per pixel of the fields."""

# Programmed nuclei per mm² of each compartment.
NEST_DENSITY: Final = 7000.0
STROMA_DENSITY: Final = 1150.0
LYMPHOID_DENSITY: Final = 13500.0

_NEST_SHARE = 0.42  # of the tissue
_NEST_GRAIN_UM = 48.0
_LUMEN_GRAIN_UM = 17.0


@dataclass(frozen=True)
class TissueFields:
    """Fields of one tissue, each float32 (rows, columns), with pixels `mpp` µm apart.

    Pixel k of a field covers [k · mpp, (k + 1) · mpp) µm from the slide's upper left corner.

    Attributes
    ----------
    mpp
        µm per field pixel.
    tissue_level
        Approximate signed distance in µm to the outline of the tissue; positive inside.
    nest_level
        The same for the tumour nests.
    lumen_level
        The same for the lumens.
    lymphoid
        How strongly a place belongs to an aggregate of lymphocytes, 0–1.
    density
        Programmed nuclei per mm², all classes together.
    fibre_cosine
        cos 2θ of the collagen's direction θ, measured from x towards y.
    fibre_sine
        sin 2θ of the same direction.
    """

    mpp: float
    tissue_level: Floats
    nest_level: Floats
    lumen_level: Floats
    lymphoid: Floats
    density: Floats
    fibre_cosine: Floats
    fibre_sine: Floats

    @property
    def lumen(self) -> Floats:
        """Share of each field pixel that is lumen, 0–1."""
        return _inside(self.lumen_level, self.mpp) * self.tissue

    @property
    def nest(self) -> Floats:
        """Share of each field pixel that is tumour nest (lumens left out), 0–1."""
        return _inside(self.nest_level, self.mpp) * self.tissue - self.lumen

    @property
    def tissue(self) -> Floats:
        """Share of each field pixel inside the tissue's outline, 0–1."""
        return _inside(self.tissue_level, self.mpp)

    @property
    def stroma(self) -> Floats:
        """Share of each field pixel that is tissue outside the nests, 0–1."""
        return self.tissue * (1 - _inside(self.nest_level, self.mpp))

    def at(self, field: Floats, y_um: ArrayLike, x_um: ArrayLike) -> Floats:
        """Values of a field at scattered points, given in µm from the slide's corner."""
        rows = np.asarray(y_um) / self.mpp - 0.5
        columns = np.asarray(x_um) / self.mpp - 0.5
        values: Floats = ndimage.map_coordinates(field, [rows, columns], order=1, mode="nearest")
        return values

    def over(self, field: Floats, y_um: Positions, x_um: Positions) -> Floats:
        """A field, interpolated smoothly on the grid of positions `y_um` × `x_um` in µm."""
        rows, row_weights = _spline_weights(y_um / self.mpp, field.shape[0])
        columns, column_weights = _spline_weights(x_um / self.mpp, field.shape[1])
        samples = field[np.ix_(rows, columns)]
        return np.asarray(row_weights @ samples @ column_weights.T, np.float32)


def make_fields(rng: np.random.Generator, height_um: float, width_um: float) -> TissueFields:
    """Invent the fields of a tissue on a slide of the given size in µm."""
    rows, columns = (max(int(np.ceil(n / FIELD_MPP)), 4) for n in (height_um, width_um))
    shape = (rows, columns)
    tissue_level = _outline(rng, shape, height_um, width_um)

    span = min(height_um, width_um)
    region = smooth_noise(rng, shape, min(320.0, span / 6) / FIELD_MPP)
    grain = smooth_noise(rng, shape, _NEST_GRAIN_UM / FIELD_MPP)
    tumour = grain + 0.8 * region
    in_tissue = tissue_level >= min(0.0, tissue_level.max())  # never empty
    nest_level = (tumour - np.quantile(tumour[in_tissue], 1 - _NEST_SHARE)) * _NEST_GRAIN_UM

    glandular = smooth_noise(rng, shape, 150.0 / FIELD_MPP)
    holes = smooth_noise(rng, shape, _LUMEN_GRAIN_UM / FIELD_MPP) + 0.45 * glandular
    lumen_level = np.minimum((holes - 1.35) * _LUMEN_GRAIN_UM, nest_level - 16)
    lumen_level = np.minimum(lumen_level, tissue_level - 30)

    aggregates = smooth_noise(rng, shape, 55.0 / FIELD_MPP)
    lymphoid = np.clip((aggregates - 1.15) / 0.5, 0, 1) * _inside(-nest_level - 8, 16)

    # Collagen runs in smoothly turning bundles, and around the nests rather than into them.
    cosine = smooth_noise(rng, shape, 170.0 / FIELD_MPP)
    sine = smooth_noise(rng, shape, 170.0 / FIELD_MPP)
    slope_y, slope_x = np.gradient(ndimage.gaussian_filter(nest_level, 1.5) / FIELD_MPP)
    around = 2.0 * np.exp(-(((nest_level + 15) / 30) ** 2))
    cosine += around * (slope_y**2 - slope_x**2)
    sine += around * (-2 * slope_x * slope_y)
    length = np.hypot(cosine, sine) + np.float32(1e-6)

    nest = _inside(nest_level, FIELD_MPP) * (1 - _inside(lumen_level + 2, FIELD_MPP))
    stroma = 1 - _inside(nest_level, FIELD_MPP)
    density = nest * NEST_DENSITY + stroma * (
        (1 - lymphoid) * STROMA_DENSITY + lymphoid * LYMPHOID_DENSITY
    )
    density *= _inside(tissue_level - 4, FIELD_MPP)
    return TissueFields(
        mpp=FIELD_MPP,
        tissue_level=tissue_level,
        nest_level=nest_level,
        lumen_level=lumen_level,
        lymphoid=lymphoid,
        density=density,
        fibre_cosine=np.asarray(cosine / length, np.float32),
        fibre_sine=np.asarray(sine / length, np.float32),
    )


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> Floats:
    """Isotropic Gaussian noise smoothed by `sigma` px; mean 0 and variance 1 before sampling."""
    step = max(sigma / 2.0, 1.0)  # a smooth field is made on a coarser grid and drawn out
    pad = 8
    coarse = tuple(int(np.ceil(n / step)) + 2 * pad for n in shape)
    noise = rng.standard_normal(coarse, dtype=np.float32)
    width = sigma / step
    noise = ndimage.gaussian_filter(noise, width, mode="wrap") * (2 * np.sqrt(np.pi) * width)
    rows, row_weights = _spline_weights((np.arange(shape[0]) + 0.5) / step + pad, coarse[0])
    columns, column_weights = _spline_weights((np.arange(shape[1]) + 0.5) / step + pad, coarse[1])
    samples = noise[np.ix_(rows, columns)]
    return np.asarray(row_weights @ samples @ column_weights.T, np.float32)


def _inside(level: Floats, width: float) -> Floats:
    """0 outside, 1 inside, over a ramp of `width` across the outline."""
    return np.clip(level / np.float32(width) + np.float32(0.5), 0, 1)


def _outline(
    rng: np.random.Generator, shape: tuple[int, int], height_um: float, width_um: float
) -> Floats:
    """Level of one large piece of tissue and a small fragment in one of the corners."""
    y = ((np.arange(shape[0], dtype=np.float32) + 0.5) * FIELD_MPP)[:, None]
    x = ((np.arange(shape[1], dtype=np.float32) + 0.5) * FIELD_MPP)[None, :]
    span = min(height_um, width_um)

    def piece(centre: ArrayLike, radii: ArrayLike) -> Floats:
        (cy, cx), (ry, rx) = np.asarray(centre), np.asarray(radii)
        rho = (np.abs((y - cy) / ry) ** 2.6 + np.abs((x - cx) / rx) ** 2.6) ** (1 / 2.6)
        return np.asarray((1 - rho) * min(ry, rx), np.float32)

    size = np.array([height_um, width_um])
    main = piece(size * rng.uniform(0.47, 0.53, 2), size * rng.uniform(0.41, 0.46, 2))
    corner = np.where(rng.random(2) < 0.5, 0.075, 0.925)
    fragment = piece(size * corner, np.full(2, span) * rng.uniform(0.04, 0.06, 2))
    bays = smooth_noise(rng, shape, span / 9 / FIELD_MPP) * span * 0.045
    notches = smooth_noise(rng, shape, 45.0 / FIELD_MPP) * min(14.0, span * 0.02)
    return np.maximum(main + bays, fragment + 0.3 * bays) + notches


def _spline_weights(
    positions: NDArray[np.floating], length: int
) -> tuple[NDArray[np.int64], Floats]:
    """Cubic B-spline weights: values at `positions` from the samples of a row of `length`.

    Returns the samples needed (indices, n) and their weights (positions, n). `positions` counts
    in samples, the first sample covering [0, 1).
    """
    centred = np.asarray(positions, np.float64) - 0.5
    base = np.floor(centred).astype(np.int64)
    first, last = base.min() - 1, base.max() + 2
    t = centred - base
    taps = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1
    )
    weights = np.zeros((len(base), last - first + 1), np.float32)
    lines = np.arange(len(base))
    for k in range(4):
        weights[lines, base - 1 - first + k] = taps[:, k] / 6
    return np.clip(np.arange(first, last + 1), 0, length - 1), weights
