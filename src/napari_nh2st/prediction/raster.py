"""A prediction's genes as small images, one value per tile."""

from dataclasses import dataclass
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
    as bricks in a wall.

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
        shape = int(rows.max()) - row + 1, int(columns.max()) - column + width
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
        return cls(
            (shape[0] * fine, shape[1] * fine),
            center,
            (step_y / fine, step_x / fine),
            (rows - row) * fine,
            (columns - column) * fine,
            fine,
            width * fine,
            parts,
            Sharpening.of(prediction),
        )

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
        tiles, pixels = self._covered
        if smooth and self.height > 1:
            image.ravel()[pixels] = self._blend(values)
        else:
            image.ravel()[pixels] = values[tiles]
        return image

    @cached_property
    def _covered(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Tiles, and the flat indices of the pixels that they cover."""
        down, right = np.arange(self.height)[:, None], np.arange(self.width)
        pixels = (self.rows[:, None, None] + down) * self.shape[1]
        pixels = pixels + self.columns[:, None, None] + right
        covered = np.ones(pixels.shape, bool) if self.parts is None else self.parts
        return np.nonzero(covered)[0], pixels[covered]

    @cached_property
    def _blend(self) -> Blend:
        tiles, pixels = self._covered
        row, column = np.divmod(pixels, self.shape[1])
        is_hexagonal = self.width > self.height
        # In steps of the array, from the center of the tile at its first position.
        array = np.stack([self.rows, self.columns], 1) // self.height
        places = [row + 0.5 - self.height / 2, column + 0.5 - self.width / 2]
        return Blend(array, tiles, np.stack(places, 1) / self.height, is_hexagonal)

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


def _parts(prediction: AnnData, shape: tuple[int, int], width: int) -> NDArray[np.bool_] | None:
    """(n, height, width) pixels that each tile covers; None where they are not to be divided."""
    fine = PARTS
    while fine > 1 and shape[0] * shape[1] * fine**2 > _LARGEST_DIVIDED:
        fine //= 2
    parts = parts_of_cells(prediction, fine) if fine > 1 else None
    return None if parts is None or parts.all() else parts.repeat(width, axis=2)
