"""A prediction's genes as small images, one value per tile."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.blend import Blend
from napari_nh2st.prediction.lattice import first_center, step_px
from napari_nh2st.prediction.schema import notes
from napari_nh2st.prediction.sharpening import Sharpening
from napari_nh2st.prediction.tissue_cells import PARTS, parts_of_cells
from napari_nh2st.spots.positions import ARRAY

_LARGEST = 2**28
"""Pixels; a slide of 25 mm at a pitch of 2 µm has 2**27."""

_LARGEST_DIVIDED = 2**20
"""Pixels up to which tiles are divided: switching the gene takes a few ms then."""


@dataclass(frozen=True)
class HeatmapRaster:
    """Where the tiles of a prediction lie in an image.

    A tile is a pixel, or, where it is known which parts of it are tissue, as many as it has parts:
    those over glass, or beyond the slide, stay empty. Tiles of a hexagonal array are twice as wide,
    as bricks in a wall. The cells of the last tiles of an array may end before the slide does, by
    up to half a step, or half a brick: these tiles reach to its edge.

    Parameters
    ----------
    shape
        (height, width) of the image.
    center
        Center (y, x) of its first pixel, in full-resolution pixels of the slide (whose first
        pixel has its corner at 0, 0 and its center at 0.5, 0.5).
    step
        Full-resolution pixels per pixel, (y, x).
    rows, columns
        (n,) upper left pixel of each tile.
    height, width
        Pixels that a tile is high and wide.
    parts
        (n, height, width) which of its pixels a tile covers; None for all.
    beside
        (m, 3) pixels at the edge of the slide that lie beside the tile that covers them: the tile,
        and by how many pixels they lie further down and right than its upper left one. None for
        none.
    sharpening
        Lets a prediction that fills up look complete; None where it has one refinement alone.
    """

    shape: tuple[int, int]
    center: tuple[float, float]
    step: tuple[float, float]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    height: int
    width: int
    parts: NDArray[np.bool_] | None = None
    beside: NDArray[np.int64] | None = None
    sharpening: Sharpening | None = None

    @classmethod
    def of(cls, prediction: AnnData, whole_tiles: bool = False) -> "HeatmapRaster":
        """The raster of a prediction.

        Parameters
        ----------
        prediction
            At the tiles of a grid.
        whole_tiles
            A tile is a pixel (two, if it is hexagonal), and the raster begins at the first array
            position; else it is no larger than its tiles need.

        Raises
        ------
        InputError
            Its tiles are so far apart that their image would fill the memory.
        """
        about = notes(prediction)
        step_y, step_x = (float(v) for v in step_px(prediction))
        width = 2 if about["layout"] == "hexagonal" else 1
        rows, columns = (prediction.obs[name].to_numpy(np.int64) for name in ARRAY)
        row, column = (0, 0) if whole_tiles else (int(rows.min()), int(columns.min()))
        ends = None if whole_tiles else _ends(prediction)
        if ends is not None:
            column = min(column, int((columns - ends.left).min()))
        shape = int(rows.max()) - row + 1, int(columns.max()) + width - column
        if shape[0] * shape[1] > _LARGEST:
            raise InputError(
                f"the array positions of the tiles make a heatmap of {shape[1]:,} × {shape[0]:,}; "
                "are obs['array_row'] and obs['array_col'] those of this prediction?"
            )
        parts = None if whole_tiles else _parts(prediction, shape, width)
        fine = 1 if parts is None else parts.shape[1]
        # A tile's center is that of its array position; the pixels of its cell lie around it.
        first_y, first_x = (float(v) for v in first_center(prediction))
        center = (
            first_y + (row - 0.5 + 0.5 / fine) * step_y,
            first_x + (column - 0.5 * width + 0.5 / fine) * step_x,
        )
        raster = cls(
            (shape[0] * fine, shape[1] * fine),
            center,
            (step_y / fine, step_x / fine),
            (rows - row) * fine,
            (columns - column) * fine,
            fine,
            width * fine,
            parts,
            sharpening=Sharpening.of(prediction),
        )
        if ends is not None:
            raster = raster._reaching(ends, np.asarray(about["slide"]["shape"]))
        if parts is not None and parts.all() and raster.beside is None:
            return raster._of_whole_tiles()
        return raster

    def placement(
        self, mpp: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scale and translation in µm of the raster over its slide.

        Both have their pixel k's center at k times the scale, plus the translation: as in napari
        and in OME-Zarr. The slide's first pixel lies at 0, although its center is at 0.5 in the
        pixels of :attr:`center`: hence the half pixel.

        Parameters
        ----------
        mpp
            (2,) µm per full-resolution pixel, (y, x).
        """
        return np.multiply(self.step, mpp), np.subtract(self.center, 0.5) * mpp

    def image(self, values: NDArray[np.floating], smooth: bool = False) -> NDArray[np.float32]:
        """(n,) values of the tiles → image, NaN where there is no tile, or no tissue.

        Parameters
        ----------
        values
            NaN where a tile has none.
        smooth
            Interpolate between the tiles' centers; where a tile is a pixel, there is nothing in
            between. A tile without a value stays empty, and the map ends where its tiles do.
        """
        image = np.full(self.shape, np.nan, np.float32)
        tiles, pixels, _ = self._covered
        if smooth and self.height > 1:
            image.ravel()[pixels] = self._blend(values)
        else:
            image.ravel()[pixels] = values[tiles]
        return image

    def tile_at(self, row: int, column: int) -> int | None:
        """The tile whose cell a pixel lies in, tissue or not, or that covers it."""
        down, right = row - self.rows, column - self.columns
        is_in = (down >= 0) & (down < self.height) & (right >= 0) & (right < self.width)
        found = np.flatnonzero(is_in)
        if not found.size and self.beside is not None:
            tile = self.beside[:, 0]
            found = tile[(down[tile] == self.beside[:, 1]) & (right[tile] == self.beside[:, 2])]
        return int(found[0]) if found.size else None

    @cached_property
    def _covers(self) -> NDArray[np.bool_]:
        """(n, height, width) which of the pixels in their cells tiles cover."""
        whole = np.ones((len(self.rows), self.height, self.width), bool)
        return whole if self.parts is None else self.parts

    def _reaching(self, ends: "_Ends", slide_shape: NDArray[np.integer]) -> "HeatmapRaster":
        """The raster whose last tiles reach to the edge of the slide.

        A part of a tile at its edge goes on to the edge of the slide.

        Parameters
        ----------
        ends
            Of the tiles.
        slide_shape
            (height, width) of the slide in full-resolution pixels.
        """
        half_down, half_right = np.arange((self.height + 1) // 2), np.arange((self.width + 1) // 2)
        below = self.height + half_down
        found = []
        for is_end, down, right in (
            (ends.left, np.arange(self.height), -1 - half_right),
            (ends.right, np.arange(self.height), self.width + half_right),
            (ends.below, below, np.arange(self.width)),
            (ends.below & ends.left, below, -1 - half_right),
            (ends.below & ends.right, below, self.width + half_right),
        ):
            tiles = np.flatnonzero(is_end)
            grid = np.stack(np.meshgrid(tiles, down, right, indexing="ij"), -1).reshape(-1, 3)
            tile, edge_down, edge_right = self._within_cells(grid).T
            found.append(grid[self._covers[tile, edge_down, edge_right]])
        beside = np.concatenate(found)
        pixels = np.stack([self.rows, self.columns], 1)[beside[:, 0]] + beside[:, 1:]
        at = self.center + pixels * self.step
        is_on_slide = ((at >= 0) & (at < slide_shape)).all(1)
        if not is_on_slide.any():
            return self
        height, width = np.maximum(self.shape, pixels[is_on_slide].max(0) + 1)
        return replace(self, shape=(int(height), int(width)), beside=beside[is_on_slide])

    def _within_cells(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """(m, 3) pixels as :attr:`beside` → the nearest ones in the cells of their tiles."""
        return np.clip(pixels, 0, [len(self.rows), self.height - 1, self.width - 1])

    def _of_whole_tiles(self) -> "HeatmapRaster":
        """The raster with a pixel, or two, in the place of a tile of many pixels."""
        fine = self.height
        step_y, step_x = self.step
        return replace(
            self,
            shape=(self.shape[0] // fine, self.shape[1] // fine),
            center=(
                self.center[0] + (fine - 1) / 2 * step_y,
                self.center[1] + (fine - 1) / 2 * step_x,
            ),
            step=(step_y * fine, step_x * fine),
            rows=self.rows // fine,
            columns=self.columns // fine,
            height=1,
            width=self.width // fine,
            parts=None,
        )

    @cached_property
    def _covered(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
        """Tiles, the flat indices of the pixels that they cover, and where in them these lie."""
        covered = np.argwhere(self._covers)
        if self.beside is not None:
            covered = np.concatenate([covered, self.beside])
        tiles, down, right = covered.T
        pixels = (self.rows[tiles] + down) * self.shape[1] + self.columns[tiles] + right
        # What lies beside a tile has the value that is at its edge.
        return tiles, pixels, self._within_cells(covered)[:, 1:]

    @cached_property
    def _blend(self) -> Blend:
        tiles, _, within = self._covered
        is_hexagonal = self.width > self.height
        # In steps of the array, from the center of the tile at its first position.
        corner = np.stack([self.rows, self.columns], 1)
        middle = np.array([self.height, self.width]) / 2
        places = (corner[tiles] + within + 0.5 - middle) / self.height
        return Blend(corner // self.height, tiles, places, is_hexagonal)

    def sharpened(self, values: NDArray[np.floating], smooth: bool = False) -> NDArray[np.float32]:
        """The image while the prediction fills up: coarse blocks that are refined in place.

        A tile that is still to come has the value of the nearest coarser tile. Parameters are
        those of :meth:`image`.
        """
        filled = values if self.sharpening is None else self.sharpening.fill(values)
        return self.image(filled, smooth)


def robust_limits(
    values: NDArray[np.floating], percentiles: tuple[float, float] = (1, 99)
) -> tuple[float, float]:
    """Contrast limits that a few extreme tiles do not stretch.

    Parameters
    ----------
    values
        Any shape; NaN is left out.
    percentiles
        Lower and upper.

    Returns
    -------
    tuple
        Low below high, also where all values are equal or none is there.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(known, percentiles))
    if high <= low:
        half = max(abs(low) * 1e-3, 1e-6)
        return low - half, low + half
    return low, high


@dataclass(frozen=True)
class _Ends:
    """(n,) tiles beside which no other one follows, although the slide may go on a bit."""

    left: NDArray[np.bool_]
    right: NDArray[np.bool_]
    below: NDArray[np.bool_]


def _ends(prediction: AnnData) -> _Ends | None:
    """The last tiles of the whole array; None where it or the size of the slide is not known."""
    about = notes(prediction)
    if "array_shape" not in about or "shape" not in about.get("slide", {}):
        return None
    n_rows, n_columns = (int(side) for side in np.asarray(about["array_shape"]))
    rows, columns = (prediction.obs[name].to_numpy(np.int64) for name in ARRAY)
    below = rows == n_rows - 1
    if about["layout"] == "hexagonal":
        # The next tile of the row would be two half steps further, and lie beyond the slide.
        return _Ends(columns == 1, columns == n_columns - 2, below)
    return _Ends(np.zeros(len(columns), bool), columns == n_columns - 1, below)


def _parts(prediction: AnnData, shape: tuple[int, int], width: int) -> NDArray[np.bool_] | None:
    """(n, height, width) pixels that each tile covers; None where they are not to be divided."""
    fine = PARTS
    while fine > 1 and shape[0] * shape[1] * fine**2 > _LARGEST_DIVIDED:
        fine //= 2
    parts = parts_of_cells(prediction, fine) if fine > 1 else None
    return None if parts is None else parts.repeat(width, axis=2)
