"""Nuclei of a synthetic tissue: their places and looks."""

from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.measure import find_contours

from .fields import (
    LYMPHOID_DENSITY,
    NEST_DENSITY,
    STROMA_DENSITY,
    Floats,
    TissueFields,
)


class NucleusClass(IntEnum):
    """Classes of nuclei. If two nuclei would overlap, the one of the lower class stays."""

    LINING = 0  # epithelium around a lumen
    LYMPHOCYTE = 1
    TUMOUR = 2
    STROMAL = 3  # fibroblasts


NUCLEUS_DTYPE: Final = np.dtype(
    [
        ("y", np.float64),
        ("x", np.float64),
        ("class", np.uint8),
        ("radius", np.float32),
        ("elongation", np.float32),
        ("angle", np.float32),
        ("stain", np.float32),
        ("phase", np.float32),
    ]
)
"""y, x in full-resolution pixels; radius of the disc of the same area in µm; ratio of long to short
axis; angle of the long axis (radians, from x towards y); hematoxylin optical density; a phase
in 0–1 that gives each its own outline and chromatin."""

Nuclei = NDArray[np.void]

# Of jittered grids: distance between neighbors in µm.
_SPACING = {
    NucleusClass.TUMOUR: 10.6,
    NucleusClass.STROMAL: 21.0,
    NucleusClass.LYMPHOCYTE: 7.2,
}


def place_nuclei(rng: np.random.Generator, fields: TissueFields, mpp: float) -> Nuclei:
    """Place nuclei by the fields' programmed density.

    Each class sits on a jittered hexagonal grid, thinned to the density of its compartment, and
    lining nuclei follow the outlines of the lumens; nuclei that would overlap too much are taken
    out, so that distances look like those of a Poisson-disc sample.

    Parameters
    ----------
    mpp
        µm/px of the slide, for the table's y and x.

    Returns
    -------
    Nuclei
        Table (n,) of `NUCLEUS_DTYPE`, ordered by class.
    """
    groups = [
        _line_lumens(rng, fields),
        *(
            _fill(rng, fields, kind)
            for kind in (NucleusClass.LYMPHOCYTE, NucleusClass.TUMOUR, NucleusClass.STROMAL)
        ),
    ]
    nuclei = np.concatenate(groups)
    in_tissue = fields.at(fields.tissue_level, nuclei["y"], nuclei["x"]) > 3
    in_lumen = fields.at(fields.lumen_level, nuclei["y"], nuclei["x"]) > -3
    nuclei = _without_overlaps(nuclei[in_tissue & ~in_lumen])
    nuclei["y"] /= mpp
    nuclei["x"] /= mpp
    return nuclei


def _fill(rng: np.random.Generator, fields: TissueFields, kind: NucleusClass) -> Nuclei:
    y, x = _jittered_grid(rng, fields, _SPACING[kind])
    full = 1e6 / (_SPACING[kind] ** 2 * np.sqrt(0.75))  # nuclei per mm² of the whole grid
    nest_level = fields.at(fields.nest_level, y, x)
    lymphoid = fields.at(fields.lymphoid, y, x)
    if kind is NucleusClass.TUMOUR:
        wanted = np.where(nest_level > 2, NEST_DENSITY * 1.12, 0.0)
    elif kind is NucleusClass.STROMAL:
        wanted = np.where(nest_level < -3, STROMA_DENSITY * (1 - lymphoid), 0.0)
    else:
        scattered = np.where(nest_level < 0, 90.0, 120.0)  # single cells among the others
        wanted = scattered + lymphoid * LYMPHOID_DENSITY
    kept = rng.random(len(y)) * full < wanted
    nuclei = _table(rng, y[kept], x[kept], kind)
    n = len(nuclei)
    if kind is NucleusClass.TUMOUR:
        # Pleomorphic and vesicular, with a few large dark ones.
        dark = rng.random(n) < 0.06
        nuclei["radius"] = np.clip(rng.lognormal(np.log(4.35), 0.17, n) + dark * 0.8, 2.8, 7.2)
        nuclei["elongation"] = 1 + np.abs(rng.normal(0.22, 0.18, n))
        nuclei["stain"] = np.where(dark, rng.normal(0.95, 0.08, n), rng.normal(0.6, 0.07, n))
    elif kind is NucleusClass.STROMAL:
        cosine = fields.at(fields.fibre_cosine, nuclei["y"], nuclei["x"])
        sine = fields.at(fields.fibre_sine, nuclei["y"], nuclei["x"])
        nuclei["angle"] = np.arctan2(sine, cosine) / 2 + rng.normal(0, 0.2, n)
        nuclei["radius"] = np.clip(rng.lognormal(np.log(2.45), 0.18, n), 1.6, 4.0)
        nuclei["elongation"] = np.clip(rng.lognormal(np.log(2.9), 0.35, n), 1.4, 6.0)
        nuclei["stain"] = rng.normal(0.74, 0.12, n)
    else:
        nuclei["radius"] = rng.normal(2.95, 0.22, n)
        nuclei["elongation"] = 1 + np.abs(rng.normal(0.06, 0.06, n))
        nuclei["stain"] = rng.normal(1.02, 0.08, n)
    return nuclei


def _line_lumens(rng: np.random.Generator, fields: TissueFields) -> Nuclei:
    """Oval nuclei side by side around each lumen, their long axes pointing away from it."""
    spacing, distance = 7.4, 7.5  # µm
    slope_y, slope_x = (np.asarray(s) for s in np.gradient(fields.lumen_level))
    rows: list[NDArray[np.float64]] = []
    for line in _contours(fields.lumen_level, -distance):
        steps = np.hypot(*np.diff(line, axis=0).T) * fields.mpp
        along = np.concatenate([[0.0], np.cumsum(steps)])
        n = int(along[-1] / spacing)
        if n < 5:
            continue
        where = (np.arange(n) + rng.uniform(-0.15, 0.15, n)) * along[-1] / n
        rows.append(np.stack([np.interp(where, along, line[:, k]) for k in (0, 1)], axis=1))
    points = (np.concatenate(rows) if rows else np.empty((0, 2))) + 0.5
    y, x = points.T * fields.mpp
    n = len(y)
    nuclei = _table(rng, y + rng.normal(0, 0.8, n), x + rng.normal(0, 0.8, n), NucleusClass.LINING)
    nuclei["angle"] = np.arctan2(fields.at(slope_y, y, x), fields.at(slope_x, y, x))
    nuclei["angle"] += rng.normal(0, 0.2, n)
    nuclei["radius"] = np.clip(rng.normal(3.5, 0.35, n), 2.4, 4.6)
    nuclei["elongation"] = np.clip(rng.normal(1.5, 0.2, n), 1.05, 2.2)
    nuclei["stain"] = rng.normal(0.76, 0.08, n)
    return nuclei


def _contours(field: Floats, value: float) -> list[NDArray[np.float64]]:
    """Lines (n, 2) of (row, column) along which a field has a value."""
    lines: list[NDArray[np.float64]] = find_contours(field, value)
    return lines


def _jittered_grid(
    rng: np.random.Generator, fields: TissueFields, spacing: float
) -> tuple[Floats, Floats]:
    """A hexagonal grid over the slide (µm), each point moved by up to 0.3 of the spacing."""
    height, width = (n * fields.mpp for n in fields.tissue_level.shape)
    row = np.arange(0, height, spacing * np.sqrt(0.75), dtype=np.float32)
    column = np.arange(0, width, spacing, dtype=np.float32)
    y = np.repeat(row[:, None], len(column), axis=1)
    x = column[None, :] + np.where(np.arange(len(row)) % 2, spacing / 2, 0)[:, None]
    shift = rng.uniform(-0.3, 0.3, (2, *y.shape)) * spacing
    return (y + shift[0]).ravel(), (x + shift[1]).ravel()


def _table(rng: np.random.Generator, y: Any, x: Any, kind: NucleusClass) -> Nuclei:
    nuclei = np.zeros(len(y), NUCLEUS_DTYPE)
    nuclei["y"], nuclei["x"], nuclei["class"] = y, x, kind
    nuclei["angle"] = rng.uniform(0, np.pi, len(y))
    nuclei["phase"] = rng.random(len(y))
    return nuclei


def _without_overlaps(nuclei: Nuclei) -> Nuclei:
    """Take out the later nucleus of each pair much nearer than their radii together."""
    if len(nuclei) < 2:
        return nuclei
    points = np.stack([nuclei["y"], nuclei["x"]], axis=1)
    pairs = cKDTree(points).query_pairs(12.0, output_type="ndarray")
    first, second = pairs.min(axis=1), pairs.max(axis=1)
    gap = np.hypot(*(points[first] - points[second]).T)
    reach = nuclei["radius"][first] + nuclei["radius"][second]
    keep = np.ones(len(nuclei), bool)
    keep[second[gap < 0.84 * reach]] = False
    return nuclei[keep]
