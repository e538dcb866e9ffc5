"""A prediction's genes as small images, one value per tile."""

from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.lattice import first_center, step_px
from napari_nh2st.prediction.schema import notes
from napari_nh2st.prediction.sharpening import Sharpening
from napari_nh2st.spots.positions import ARRAY

_LARGEST = 2**28
"""Pixels; a slide of 25 mm at a pitch of 2 µm has 2**27."""


@dataclass(frozen=True)
class HeatmapRaster:
    """Where the tiles of a prediction lie in an image of one value per tile.

    Tiles of a hexagonal array are two pixels wide, as bricks in a wall.

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
    width
        Pixels that a tile is wide.
    sharpening
        Lets a prediction that fills up look complete; None where it has one refinement alone.
    """

    shape: tuple[int, int]
    center: tuple[float, float]
    step: tuple[float, float]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    width: int
    sharpening: Sharpening | None = None

    @classmethod
    def of(cls, prediction: AnnData, from_corner: bool = False) -> "HeatmapRaster":
        """The raster of a prediction.

        Parameters
        ----------
        prediction
            At the tiles of a grid.
        from_corner
            It begins at the first array position; else it is no larger than its tiles need.

        Raises
        ------
        InputError
            Its tiles are so far apart that their image would fill the memory.
        """
        about = notes(prediction)
        step_y, step_x = (float(v) for v in step_px(prediction))
        width = 2 if about["layout"] == "hexagonal" else 1
        rows, columns = (prediction.obs[name].to_numpy(np.int64) for name in ARRAY)
        row, column = (0, 0) if from_corner else (int(rows.min()), int(columns.min()))
        # A tile's center is that of its array position; two pixels meet there if it is two wide.
        first_y, first_x = (float(v) for v in first_center(prediction))
        center = first_y + row * step_y, first_x + (column - (width - 1) / 2) * step_x
        shape = int(rows.max()) - row + 1, int(columns.max()) - column + width
        if shape[0] * shape[1] > _LARGEST:
            raise InputError(
                f"the array positions of the tiles make a heatmap of {shape[1]:,} × {shape[0]:,}; "
                "are obs['array_row'] and obs['array_col'] those of this prediction?"
            )
        return cls(
            shape,
            center,
            (step_y, step_x),
            rows - row,
            columns - column,
            width,
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

    def image(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """(n,) values of the tiles → image, NaN where there is no tile."""
        image = np.full(self.shape, np.nan, np.float32)
        for offset in range(self.width):
            image[self.rows, self.columns + offset] = values
        return image

    def sharpened(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """The image while the prediction fills up: coarse blocks that are refined in place.

        A tile that is still to come has the value of the nearest coarser tile.
        """
        return self.image(values if self.sharpening is None else self.sharpening.fill(values))


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
