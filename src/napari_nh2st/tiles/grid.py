"""Grids of tiles over a slide's tissue.

A model knows one distance between neighbors, its **pitch**. The distance between the tiles of a
grid, its **step**, is the pitch divided by a whole number. A grid of step p / k is the union of
k × k interleaved grids of pitch p, its **phases**: each has the model's own layout, and in each a
tile's neighbors are as far away as in training. Phase 0 is the grid of k = 1.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from skimage.measure import points_in_poly

from napari_nh2st.errors import InputError
from napari_nh2st.html_card import PICTURE_PX, html_card
from napari_nh2st.slide import Slide
from napari_nh2st.tiles.mask import Polygon, TissueMask

Layout = Literal["square", "hexagonal"]

MOST_POSITIONS = 20_000_000
"""Largest array of a grid; more is taken for a wrong µm/px."""

_POSITIONS_AT_ONCE = 200_000

_TILE_COLOR = (181, 54, 122)


@dataclass(frozen=True, repr=False)
class TileGrid:
    """Tiles on a regular array, only those with tissue.

    Parameters
    ----------
    array
        (n, 2) int, (row, column) of each tile. On a hexagonal array, columns count half steps, as
        on Visium: even rows have even columns, odd rows odd ones.
    centers
        (n, 2) float, (y, x) in full-resolution pixels (corner of the first pixel: 0, 0).
    tile_px
        Side of a tile in full-resolution pixels, (y, x).
    pitch_um
        Distance in µm between the neighbors that a model looks at.
    step_px
        Full-resolution pixels from one array index to the next, (y, x).
    layout
        ``"square"`` or ``"hexagonal"``.
    array_shape
        Rows and columns of the whole array, with and without tissue.
    divisions
        Number of steps in a pitch.
    first_center
        Center (y, x) of array position (0, 0) in full-resolution pixels, for tiles laid by another
        tool; None for this package's own.
    """

    array: NDArray[np.int64]
    centers: NDArray[np.floating]
    tile_px: tuple[float, float]
    pitch_um: float
    step_px: tuple[float, float]
    layout: Layout
    array_shape: tuple[int, int]
    divisions: int = 1
    first_center: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.array)

    def __repr__(self) -> str:
        rows, columns = self.array_shape
        return (
            f"<TileGrid: {len(self):,} tiles of {self._tile_um}, {self.step_um:g} µm apart "
            f"(pitch {self.pitch_um:g} µm), on a {self.layout} array of {rows:,} × {columns:,}>"
        )

    def _repr_html_(self) -> str:
        rows, columns = self.array_shape
        tile_y, tile_x = self.tile_px
        facts = (
            ("tiles", f"{len(self):,}"),
            ("tile", f"{self._tile_um}, {tile_x:.4g} × {tile_y:.4g} px of the slide"),
            ("step", f"{self.step_um:g} µm"),
            ("pitch", f"{self.pitch_um:g} µm"),
            ("array", f"{self.layout}, {rows:,} × {columns:,}"),
        )
        return html_card("TileGrid", facts, self._drawing())

    @property
    def _tile_um(self) -> str:
        """Side of a tile in µm, in words."""
        per_step = 0.5 * 3**0.5 if self.layout == "hexagonal" else 1.0
        return f"{self.tile_px[0] / self.step_px[0] * self.step_um * per_step:.4g} µm"

    def _drawing(self) -> NDArray[np.uint8]:
        """(height, width, 3) picture of where on the array tiles are."""
        there = np.zeros(self.array_shape, bool)
        there[tuple(self.array.T)] = True
        if self.layout == "hexagonal":  # columns are half steps
            there[:, 1:] |= there[:, :-1]
        size = np.multiply(self.array_shape, self.step_px)
        shape = np.maximum(1, np.round(size * PICTURE_PX / size.max())).astype(int)
        row, column = (
            (np.arange(pixels) + 0.5) * places // pixels
            for pixels, places in zip(shape, self.array_shape, strict=True)
        )
        picture = np.full((*shape, 3), 235, np.uint8)
        picture[there[np.ix_(row.astype(int), column.astype(int))]] = _TILE_COLOR
        return picture

    def subset(self, index: NDArray[np.int64]) -> "TileGrid":
        """Some of the tiles, in the order given."""
        return replace(self, array=self.array[index], centers=self.centers[index])

    @property
    def step_um(self) -> float:
        """Distance between neighboring centers in µm."""
        return self.pitch_um / self.divisions

    @property
    def origin(self) -> tuple[float, float]:
        """Center (y, x) of array position (0, 0) in full-resolution pixels."""
        if self.first_center is not None:
            return self.first_center
        return _origin(self.step_px[0], self.divisions), _origin(self.step_px[1], self.divisions)

    @property
    def places(self) -> NDArray[np.int64]:
        """(n,) number of each tile in the whole array, row by row, whatever the region."""
        return np.asarray(self.array[:, 0] * self.array_shape[1] + self.array[:, 1], np.int64)

    @property
    def phases(self) -> NDArray[np.int64]:
        """(n,) phase of each tile."""
        return phases_of(self.array, self.layout, self.divisions)


def phases_of(array: NDArray[np.int64], layout: Layout | str, divisions: int) -> NDArray[np.int64]:
    """Phases of array positions: 0 to k² - 1 in a grid of k divisions, 0 the coarse grid's own.

    Parameters
    ----------
    array
        (n, 2) int, (row, column), as in :class:`TileGrid`.
    layout, divisions
        As in :class:`TileGrid`.

    Returns
    -------
    ndarray
        (n,) int64: ``k * down + right``, the numbers of steps by which the phase is shifted along
        the array's two axes; on a hexagonal array, the first of these runs down and half a step
        to the right.
    """
    down, right = (array - divisions // 2).T
    if layout == "hexagonal":
        right = (right - down) // 2
    return np.asarray(divisions * (down % divisions) + right % divisions, np.int64)


def refinements_of(phases: NDArray[np.int64], divisions: int) -> NDArray[np.int64]:
    """Which refinement of the coarse grid tiles of these phases come with.

    Each refinement divides the step by a prime: of four divisions, 0 is the pitch, 1 half of it,
    and 2 a quarter. Together with those before it, it is a regular grid.

    Parameters
    ----------
    phases
        (n,) as of :func:`phases_of`.
    divisions
        As there.
    """
    down, right = np.divmod(phases, divisions)
    refinement = np.zeros(len(phases), np.int64)
    stride = divisions
    while stride > 1:
        refinement += (down % stride != 0) | (right % stride != 0)
        stride //= next(n for n in range(2, stride + 1) if stride % n == 0)
    return refinement


def _origin(step: float, divisions: int) -> float:
    """The first center: half a pitch from the edge lies a center, which even parts make whole."""
    return step / 2 if divisions % 2 else 0.0


def tile_grid(
    slide: Slide,
    *,
    tile_um: float,
    pitch_um: float,
    mask: TissueMask | None,
    layout: Layout = "square",
    min_tissue: float = 0.25,
    region: tuple[Polygon, ...] = (),
    divisions: int = 1,
) -> TileGrid:
    """Lay tiles over the tissue of a slide; all have their centers on the slide.

    Parameters
    ----------
    slide
        Its µm/px must be known.
    tile_um
        Side of a tile in µm.
    pitch_um
        Distance between the neighbors that a model looks at, in µm.
    mask
        Tissue; None for the whole slide.
    layout
        ``"square"``, or ``"hexagonal"``: every other row shifted by half a pitch.
    min_tissue
        Share (0–1) of a tile that has to be tissue for the tile to be kept.
    region
        Polygons, (n, 2) corners (y, x) in full-resolution pixels; only tiles whose center lies in
        one of them are kept. Empty for no limit.
    divisions
        Number of steps in a pitch: centers are `pitch_um` / `divisions` apart.

    Raises
    ------
    InputError
        The slide's µm/px is unknown, the step is so small that there are more than 20 million
        places for tiles, or no tile is left.

    Examples
    --------
    .. code-block:: python

        grid = tile_grid(slide, tile_um=154, pitch_um=200, mask=find_tissue(slide))
        grid.centers  # (n, 2), (y, x) in full-resolution pixels
    """
    if slide.mpp is None:
        raise InputError(f"{slide.path}: its µm/px is not recorded: give it")
    mpp_y, mpp_x = slide.mpp
    tile = (tile_um / mpp_y, tile_um / mpp_x)
    pitch_px = _pitch_px(slide.mpp, pitch_um, layout)
    step = (pitch_px[0] / divisions, pitch_px[1] / divisions)
    shape = array_shape(slide, pitch_um=pitch_um, layout=layout, divisions=divisions)
    positions = shape[0] * shape[1]
    if positions > MOST_POSITIONS:
        raise InputError(
            f"{slide.path}: a step of {pitch_um / divisions:g} µm at {mpp_x:g} µm/px makes "
            f"{positions:,} places for tiles, more than {MOST_POSITIONS:,}. Is the µm/px right?"
        )

    def centers_of(array: NDArray[np.int64]) -> NDArray[np.float64]:
        # By pitches, so that those of the coarse grid are the same to the bit.
        return np.asarray(((array - divisions // 2) / divisions + 0.5) * pitch_px)

    parts, on_slide = [], 0
    rows_at_once = max(1, _POSITIONS_AT_ONCE // shape[1])
    for first in range(0, shape[0], rows_at_once):
        rows = np.arange(first, min(first + rows_at_once, shape[0]))
        array = np.stack(np.meshgrid(rows, np.arange(shape[1]), indexing="ij"), -1).reshape(-1, 2)
        if layout == "hexagonal":
            array = array[(array.sum(1) % 2) == 0]
        centers = centers_of(array)
        keep = np.all(centers < slide.shape, axis=1)
        if region:
            keep &= inside_region(centers, region)
        on_slide += int(keep.sum())
        if mask is not None and keep.any():
            keep[keep] = mask.fraction(centers[keep] - np.divide(tile, 2), tile) >= min_tissue
        if keep.any():
            parts.append(array[keep])
    if not parts:
        raise InputError(_why_none(slide, pitch_um / divisions, bool(region), on_slide > 0))
    array = np.concatenate(parts).astype(np.int64)
    return TileGrid(array, centers_of(array), tile, pitch_um, step, layout, shape, divisions)


def array_shape(
    slide: Slide, *, pitch_um: float, layout: Layout = "square", divisions: int = 1
) -> tuple[int, int]:
    """Rows and columns of a grid over a whole slide, which knows its µm/px.

    Parameters
    ----------
    slide, pitch_um, layout, divisions
        As for :func:`tile_grid`.
    """
    assert slide.mpp is not None
    rows, columns = (
        max(
            1,
            int(np.ceil((side - _origin(pitch / divisions, divisions)) * divisions / pitch - 1e-9)),
        )
        for side, pitch in zip(slide.shape, _pitch_px(slide.mpp, pitch_um, layout), strict=True)
    )
    return rows, columns


def _pitch_px(mpp: tuple[float, float], pitch_um: float, layout: Layout) -> tuple[float, float]:
    """Full-resolution pixels from one array index of the coarse grid to the next, (y, x)."""
    mpp_y, mpp_x = mpp
    if layout == "square":
        return pitch_um / mpp_y, pitch_um / mpp_x
    return float(pitch_um * np.sqrt(3) / 2 / mpp_y), pitch_um / 2 / mpp_x


def _why_none(slide: Slide, step_um: float, region: bool, on_slide: bool) -> str:
    """Why there is no tile, and what to do."""
    assert slide.mpp is not None
    if on_slide:
        where = "in the region" if region else "on the slide"
        return (
            f"{slide.path}: no tissue was found {where} at {slide.mpp[1]:g} µm/px. If that is "
            "wrong, ask for a smaller share of tissue per tile, or for all tiles."
        )
    height, width = (n * um for n, um in zip(slide.shape, slide.mpp, strict=True))
    if not region:
        return (
            f"{slide.path}: no tile has its center on the slide: it is {width:.3g} × {height:.3g} "
            f"µm, and tiles are {step_um:g} µm apart. Is the µm/px right?"
        )
    return (
        f"{slide.path}: no tile has its center in the region. Tiles are {step_um:g} µm apart, "
        f"the slide is {width:,.0f} × {height:,.0f} µm; regions are in full-resolution pixels."
    )


def inside_region(points: NDArray[np.floating], region: tuple[Polygon, ...]) -> NDArray[np.bool_]:
    """Which (n, 2) points (y, x) lie in any of some polygons: (n,).

    Points on a polygon's edge do. A point at the very edge of the slide counts as one a pixel
    further in: what is drawn along the edge of an image begins at the center of its first pixel.
    """
    inside = np.zeros(len(points), bool)
    points = np.maximum(points, 1)
    for polygon in region:
        inside |= points_in_poly(points, np.asarray(polygon, float))
    return inside
