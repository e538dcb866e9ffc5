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
    as bricks in a wall; every other row would end half a brick before the edge of the slide, and
    its last tiles reach there.

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
        last = int(columns.max()) + width
        ends = None if whole_tiles else _row_ends(prediction, columns)
        if ends is not None:
            column = min(column, int((columns - ends[0]).min()))
            last = max(last, int((columns + ends[1]).max()) + width)
        shape = int(rows.max()) - row + 1, last - column
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
        if ends is None:
            return raster
        on_slide = float(np.asarray(about["slide"]["shape"])[1])
        return replace(raster, beside=raster._pixels_beside(ends, on_slide))

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

    def _pixels_beside(
        self, ends: tuple[NDArray[np.bool_], NDArray[np.bool_]], on_slide: float
    ) -> NDArray[np.int64]:
        """Pixels beside tiles at the ends of rows, as :attr:`beside`.

        A part of a tile at its edge goes on to the edge of the slide.

        Parameters
        ----------
        ends
            (n,) tiles to whose left, and to whose right, half a tile is missing.
        on_slide
            Width of the slide in full-resolution pixels.
        """
        found = [np.empty((0, 3), np.int64)]
        half = np.arange(self.width // 2)
        for is_end, edge, further in (
            (ends[0], 0, -1 - half),
            (ends[1], self.width - 1, self.width + half),
        ):
            tile, down = np.nonzero(self._covers[:, :, edge] & is_end[:, None])
            x = self.center[1] + (self.columns[tile, None] + further) * self.step[1]
            each, more = np.nonzero((x >= 0) & (x < on_slide))
            found.append(np.stack([tile[each], down[each], further[more]], 1))
        return np.concatenate(found)

    @cached_property
    def _covered(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
        """Tiles, the flat indices of the pixels that they cover, and where in them these lie."""
        tiles, down, right = np.nonzero(self._covers)
        if self.beside is not None:
            every = np.concatenate([np.stack([tiles, down, right], 1), self.beside])
            tiles, down, right = every.T
        pixels = (self.rows[tiles] + down) * self.shape[1] + self.columns[tiles] + right
        # What lies beside a tile has the value that is at its edge.
        return tiles, pixels, np.stack([down, np.clip(right, 0, self.width - 1)], 1)

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


def _row_ends(
    prediction: AnnData, columns: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """(n,) tiles that end a row half a tile before the edge of the slide, at the left and right.

    None where the array is not hexagonal, or the size of the slide was not recorded.
    """
    about = notes(prediction)
    known = "array_shape" in about and "shape" in about.get("slide", {})
    if about["layout"] != "hexagonal" or not known:
        return None
    # The next tile of the row would be two half steps further, and lie beyond the slide.
    return columns == 1, columns == int(np.asarray(about["array_shape"])[1]) - 2


def _parts(prediction: AnnData, shape: tuple[int, int], width: int) -> NDArray[np.bool_] | None:
    """(n, height, width) pixels that each tile covers; None where they are not to be divided."""
    fine = PARTS
    while fine > 1 and shape[0] * shape[1] * fine**2 > _LARGEST_DIVIDED:
        fine //= 2
    parts = parts_of_cells(prediction, fine) if fine > 1 else None
    return None if parts is None or parts.all() else parts.repeat(width, axis=2)
