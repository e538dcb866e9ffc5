"""Drawing nuclei and cell borders, one small square per cell, many cells at a time."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from .fields import Floats
from .nuclei import Nuclei, NucleusClass

CELL_REACH_UM: Final = 18.0
"""No cell changes a pixel farther than this from its nucleus's centre."""

_BORDER_REACH_UM = 11.0
_BATCH = 256


def stamp_nuclei(
    nuclei: Nuclei, y: int, x: int, side: int, mpp: float, texture: Floats
) -> tuple[Floats, Floats]:
    """Draw nuclei over a square of the slide.

    Parameters
    ----------
    nuclei
        Table (n,) of `NUCLEUS_DTYPE`.
    y, x, side
        The square's upper left corner and side, px.
    mpp
        µm/px.
    texture
        Periodic chromatin texture, mean 0 and standard deviation 1.

    Returns
    -------
    covered, density
        (side, side) each: share of a pixel covered by nuclei, 0–1, and their hematoxylin
        optical density times that share. Where nuclei overlap, the denser one counts.
    """
    covered = np.zeros((side, side), np.float32)
    density = np.zeros((side, side), np.float32)
    for kind in NucleusClass:
        for batch, reach in _batches(nuclei[nuclei["class"] == kind], mpp):
            rows, columns, dy, dx = _squares(batch, reach, mpp)
            share, amount = _chromatin(batch, kind, dy, dx, mpp, texture)
            for canvas, values in ((covered, share), (density, amount)):
                for target, source in _overlaps(rows - y, columns - x, 2 * reach + 1, side):
                    part = canvas[target]
                    np.maximum(part, values[source], out=part)
    return covered, density


def stamp_cell_borders(nuclei: Nuclei, y: int, x: int, side: int, mpp: float) -> Floats:
    """Draw the borders between cells: lines equally far from the two nearest nuclei.

    Parameters as for `stamp_nuclei`; returns (side, side), 0 away from borders, 1 on them.
    """
    step = 2  # borders are drawn at half the resolution
    y, x, side_half = y // step, x // step, side // step
    reach = int(np.ceil(_BORDER_REACH_UM / mpp / step))
    nearest = np.full((side_half, side_half), _BORDER_REACH_UM, np.float32)
    second = nearest.copy()
    coarse = nuclei.copy()
    coarse["y"] /= step
    coarse["x"] /= step
    for start in range(0, len(coarse), _BATCH):
        rows, columns, dy, dx = _squares(coarse[start : start + _BATCH], reach, mpp * step)
        distance = np.minimum(np.hypot(dy, dx), np.float32(_BORDER_REACH_UM))
        for target, source in _overlaps(rows - y, columns - x, 2 * reach + 1, side_half):
            new = distance[source]
            np.minimum(second[target], np.maximum(nearest[target], new), out=second[target])
            np.minimum(nearest[target], new, out=nearest[target])
    line = np.exp(-(((second - nearest) / np.float32(1.1)) ** 2))
    line[second >= _BORDER_REACH_UM] = 0
    return line.repeat(step, axis=0).repeat(step, axis=1)


def _batches(nuclei: Nuclei, mpp: float) -> Iterator[tuple[Nuclei, int]]:
    """Nuclei of similar extent together, with the half side (px) of the square they need."""
    extent = nuclei["radius"] * np.sqrt(nuclei["elongation"]) * 1.25 + 1.0
    nuclei = nuclei[np.argsort(extent, kind="stable")]
    extent = np.sort(extent, kind="stable")
    for start in range(0, len(nuclei), _BATCH):
        batch = nuclei[start : start + _BATCH]
        largest = min(float(extent[start : start + _BATCH][-1]), CELL_REACH_UM - mpp)
        yield batch, int(np.ceil(largest / mpp))


def _squares(nuclei: Nuclei, reach: int, mpp: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Upper left corners (n,) in px of squares around nuclei, and their pixels' µm from the centre.

    The distances come as (n, side, 1) and (n, 1, side).
    """
    corners, distances = [], []
    pixels = np.arange(2 * reach + 1)
    for axis in "yx":
        corner = np.floor(nuclei[axis]).astype(np.int64) - reach
        distance = (corner - nuclei[axis])[:, None] + pixels + 0.5
        corners.append(corner)
        distances.append((distance * mpp).astype(np.float32))
    return corners[0], corners[1], distances[0][:, :, None], distances[1][:, None, :]


def _overlaps(
    rows: Floats, columns: Floats, size: int, side: int
) -> Iterator[tuple[tuple[slice, slice], tuple[int, slice, slice]]]:
    """Where each square of `size` lies on a canvas of `side`, and which part of it does."""
    for i, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
        top, left = max(row, 0), max(column, 0)
        bottom, right = min(row + size, side), min(column + size, side)
        if top < bottom and left < right:
            yield (
                (slice(top, bottom), slice(left, right)),
                (i, slice(top - row, bottom - row), slice(left - column, right - column)),
            )


def _chromatin(
    nuclei: Nuclei, kind: NucleusClass, dy: Floats, dx: Floats, mpp: float, texture: Floats
) -> tuple[Floats, Floats]:
    """Share covered and hematoxylin density of each nucleus over its square, (n, side, side)."""

    def column(name: str) -> Floats:
        return nuclei[name].astype(np.float32)[:, None, None]

    angle, phase, stretch = column("angle"), column("phase"), np.sqrt(column("elongation"))
    cosine, sine = np.cos(angle), np.sin(angle)
    u = (dx * cosine + dy * sine) / (column("radius") * stretch)
    v = (dy * cosine - dx * sine) * stretch / column("radius")
    rho = np.sqrt(u * u + v * v) + np.float32(1e-6)
    # An outline that is not quite an ellipse: second and third harmonics of the polar angle.
    c, s = u / rho, v / rho
    turn = 2 * np.pi * phase
    wobble = 0.06 if kind is NucleusClass.TUMOUR else 0.03
    outline = 1 + np.float32(wobble) * (
        (2 * c * c - 1) * np.cos(turn)
        + 2 * s * c * np.sin(turn)
        + (4 * c * c - 3) * c * np.cos(3 * turn)
        + (3 - 4 * s * s) * s * np.sin(3 * turn)
    )
    rho /= outline
    thin = column("radius") / stretch  # the edge is as sharp across the short axis as it can be
    share = np.clip((1 - rho) * thin / np.float32(max(0.6, mpp)) + 0.5, 0, 1)

    period = texture.shape[0]
    starts = np.floor(nuclei["phase"].astype(np.float64) * [[9973], [7919]] * 17) % period
    pixels = np.arange(dy.shape[1])
    rows, columns = (
        (start[:, None].astype(np.int64) + pixels[None, :]) % period for start in starts
    )
    clumps = texture[rows[:, :, None], columns[:, None, :]]
    rim = np.exp(-(((rho - np.float32(0.9)) / np.float32(0.13)) ** 2))
    if kind is NucleusClass.TUMOUR:
        # Vesicular: pale inside, a dark membrane, one or two nucleoli.
        inside = 0.86 + 0.26 * clumps + 0.45 * rim
        for shift, strength in ((0.30, 0.9), (-0.38, 0.7)):
            size = np.float32(0.85) / column("radius")
            du, dv = u - shift * np.cos(3 * turn), v - shift * np.sin(5 * turn)
            present = (np.sin(7 * turn + shift * 10) > -0.3) * np.float32(strength)
            inside = inside + present * np.exp(-(du * du + dv * dv) / (2 * (0.7 * size) ** 2))
    elif kind is NucleusClass.LYMPHOCYTE:
        inside = 0.98 + 0.22 * clumps + 0.15 * rim
    else:
        inside = 0.92 + 0.20 * clumps + 0.28 * rim
    amount = share * column("stain") * np.clip(inside, 0.25, 2.0)
    return share, amount
