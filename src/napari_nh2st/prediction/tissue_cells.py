"""Which parts of the area that a tile stands for are tissue: what a map of values may cover.

A tile's cell is the rectangle of one step around its center. It may reach over glass, and at the
edge of the slide beyond it.
"""

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.slide import Slide
from napari_nh2st.tiles.grid import TileGrid
from napari_nh2st.tiles.mask import TissueMask

TISSUE_CELLS = "tissue_cells"
"""Key of ``obsm``: (n, 8) uint8, the rows of 8 × 8 parts of each tile's cell; a bit is 1 where its
part is tissue, the highest bit on the left."""

PARTS = 8

_TILES_AT_ONCE = 10_000


def tissue_cells(slide: Slide, grid: TileGrid, mask: TissueMask | None) -> NDArray[np.uint8]:
    """Look up the parts of the cells of a grid's tiles.

    Parameters
    ----------
    slide
        Beyond it is no tissue.
    grid
        n tiles.
    mask
        The tissue; None for the whole slide.

    Returns
    -------
    ndarray
        As :data:`TISSUE_CELLS`.
    """
    wide = 2 if grid.layout == "hexagonal" else 1  # columns count half steps
    cell = np.array([grid.step_px[0], grid.step_px[1] * wide])
    within = (np.arange(PARTS) + 0.5) / PARTS - 0.5
    found = np.empty((len(grid), PARTS), np.uint8)
    for first in range(0, len(grid), _TILES_AT_ONCE):
        centers = grid.centers[first : first + _TILES_AT_ONCE]
        y, x = (centers[:, axis, None] + within * cell[axis] for axis in (0, 1))
        on_slide = [(at >= 0) & (at < side) for at, side in zip((y, x), slide.shape, strict=True)]
        parts = on_slide[0][:, :, None] & on_slide[1][:, None, :]
        if mask is not None:
            row, column = (
                np.clip((at / scale).astype(np.intp), 0, side - 1)
                for at, scale, side in zip((y, x), mask.downsample, mask.tissue.shape, strict=True)
            )
            parts &= mask.tissue[row[:, :, None], column[:, None, :]]
        found[first : first + len(centers)] = np.packbits(parts, axis=2)[:, :, 0]
    return found


def parts_of_cells(prediction: AnnData, divisions: int) -> NDArray[np.bool_] | None:
    """Which parts of the tiles' cells are tissue, in so many parts along each side.

    Parameters
    ----------
    prediction
        At n tiles.
    divisions
        A divisor of 8.

    Returns
    -------
    ndarray or None
        (n, divisions, divisions); a part is tissue where half of it is. None where that is not
        known, as of files of former versions.
    """
    cells = prediction.obsm.get(TISSUE_CELLS)
    if getattr(cells, "shape", ()) != (prediction.n_obs, PARTS):
        return None
    cells = np.asarray(cells)
    if cells.dtype != np.uint8:
        return None
    parts = np.unpackbits(cells[:, :, None], axis=2)
    block = PARTS // divisions
    blocks = parts.reshape(prediction.n_obs, divisions, block, divisions, block)
    # Many times faster than numpy's sum over two short axes; at most 64.
    of_tissue = np.zeros((prediction.n_obs, divisions, divisions), np.uint8)
    for row in range(block):
        for column in range(block):
            of_tissue += blocks[:, :, row, :, column]
    return of_tissue >= block**2 / 2
