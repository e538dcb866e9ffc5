"""The tiles laid over a slide's tissue."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from skimage.measure import points_in_poly

from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide
from napari_nh2st.tiles.mask import Polygon, TissueMask

Layout = Literal["square", "hexagonal"]

_MOST_POSITIONS = 20_000_000
_POSITIONS_AT_ONCE = 200_000


@dataclass(frozen=True)
class TileGrid:
    """Tiles on a regular array, those with tissue only.

    Parameters
    ----------
    array
        (n, 2) int, (row, column). On a hexagonal array, columns count half steps as Visium's do:
        even rows have even columns, odd rows odd ones.
    centers
        (n, 2) float, (y, x) in full-resolution pixels (corner of the first pixel: 0, 0).
    tile_px
        Side of a tile in full-resolution pixels, (y, x).
    pitch_um
        Distance between neighboring centers.
    step_px
        Full-resolution pixels from one array index to the next, (y, x).
    layout
        ``"square"`` or ``"hexagonal"``.
    array_shape
        Rows and columns of the whole array, with and without tissue.
    """

    array: NDArray[np.int64]
    centers: NDArray[np.floating]
    tile_px: tuple[float, float]
    pitch_um: float
    step_px: tuple[float, float]
    layout: Layout
    array_shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.array)

    def subset(self, index: NDArray[np.int64]) -> "TileGrid":
        """Some of the tiles, in the order given."""
        return replace(self, array=self.array[index], centers=self.centers[index])

    @property
    def origin(self) -> tuple[float, float]:
        """Center (y, x) of array position (0, 0) in full-resolution pixels."""
        return self.step_px[0] / 2, self.step_px[1] / 2


def tile_grid(
    slide: Slide,
    *,
    tile_um: float,
    pitch_um: float,
    mask: TissueMask | None,
    layout: Layout = "square",
    min_tissue: float = 0.25,
    region: tuple[Polygon, ...] = (),
) -> TileGrid:
    """Lay tiles over the tissue of a slide.

    Parameters
    ----------
    slide
        Must know its µm/px.
    tile_um
        Side of a tile in µm.
    pitch_um
        Distance between neighboring centers in µm.
    mask
        Tissue; None for the whole slide.
    layout
        ``"square"``, or ``"hexagonal"``: every other row shifted by half a pitch.
    min_tissue
        Share of a tile that has to be tissue for the tile to be kept.
    region
        Polygons; only tiles whose center lies in one of them are kept. None given: no limit.

    Raises
    ------
    InputError
        The slide does not know its µm/px, or no tile is left.
    """
    if slide.mpp is None:
        raise InputError(f"{slide.path}: its µm/px is not recorded: give it")
    mpp_y, mpp_x = slide.mpp
    if layout == "square":
        step = (pitch_um / mpp_y, pitch_um / mpp_x)
    else:
        step = (pitch_um * np.sqrt(3) / 2 / mpp_y, pitch_um / 2 / mpp_x)
    tile = (tile_um / mpp_y, tile_um / mpp_x)
    shape = tuple(
        max(1, int(np.ceil(s / p - 1e-9))) for s, p in zip(slide.shape, step, strict=True)
    )

    positions = shape[0] * shape[1]
    if positions > _MOST_POSITIONS:
        raise InputError(
            f"{slide.path}: a pitch of {pitch_um:g} µm at {mpp_x:g} µm/px makes {positions:,} "
            f"places for tiles, more than {_MOST_POSITIONS:,}. Is the µm/px right?"
        )
    parts, on_slide = [], 0
    rows_at_once = max(1, _POSITIONS_AT_ONCE // shape[1])
    for first in range(0, shape[0], rows_at_once):
        rows = np.arange(first, min(first + rows_at_once, shape[0]))
        array = np.stack(np.meshgrid(rows, np.arange(shape[1]), indexing="ij"), -1).reshape(-1, 2)
        if layout == "hexagonal":
            array = array[(array.sum(1) % 2) == 0]
        centers = (array + 0.5) * step
        # Where the pitch is wider than a tile, the last row or column may miss the slide.
        keep = np.all(centers - np.divide(tile, 2) < slide.shape, axis=1)
        if region:
            keep &= inside_region(centers, region)
        on_slide += int(keep.sum())
        if mask is not None and keep.any():
            keep[keep] = mask.fraction(centers[keep] - np.divide(tile, 2), tile) >= min_tissue
        if keep.any():
            parts.append(array[keep])
    if not parts:
        raise InputError(_why_none(slide, pitch_um, bool(region), on_slide > 0))
    array = np.concatenate(parts).astype(np.int64)
    return TileGrid(array, (array + 0.5) * step, tile, pitch_um, step, layout, (shape[0], shape[1]))


def _why_none(slide: Slide, pitch_um: float, region: bool, on_slide: bool) -> str:
    """Why there is no tile, and what to do."""
    assert slide.mpp is not None
    if on_slide:
        where = "in the region" if region else "on the slide"
        return (
            f"{slide.path}: no tissue was found {where} at {slide.mpp[1]:g} µm/px. If that is "
            "wrong, ask for a smaller share of tissue per tile, or for all tiles."
        )
    height, width = (n * um for n, um in zip(slide.shape, slide.mpp, strict=True))
    place = "region" if region else "slide"
    return (
        f"{slide.path}: no tile has its center in the {place}. Tiles are {pitch_um:g} µm apart, "
        f"the slide is {width:,.0f} × {height:,.0f} µm; regions are in full-resolution pixels."
    )


def inside_region(points: NDArray[np.floating], region: tuple[Polygon, ...]) -> NDArray[np.bool_]:
    """Which (n, 2) points (y, x) lie in any of some polygons: (n,)."""
    inside = np.zeros(len(points), bool)
    for polygon in region:
        inside |= points_in_poly(points, np.asarray(polygon, float))
    return inside
