"""How much of a slide's tissue has a tile."""

import numpy as np

from napari_nh2st.tiles.grid import TileGrid
from napari_nh2st.tiles.mask import TissueMask

_ROWS_AT_ONCE = 256


def share_without_tile(grid: TileGrid, mask: TissueMask) -> float:
    """Share of the tissue for which no tile stands: pieces and edges that fill too little of one.

    Parameters
    ----------
    grid
        Each tile stands for the rectangle of one step around its center.
    mask
        The tissue that it was laid over.

    Returns
    -------
    float
        0–1; 0 where there is no tissue.
    """
    rows, columns = grid.array_shape
    has_tile = np.zeros((rows + 1, columns + 2), bool)  # the last ones are beyond the array
    has_tile[grid.array[:, 0], grid.array[:, 1]] = True
    if grid.layout == "hexagonal":  # columns count half steps: a tile stands for two of them
        has_tile[:, 1:] |= has_tile[:, :-1].copy()
    total = without = 0
    for first in range(0, len(mask.tissue), _ROWS_AT_ONCE):
        y, x = np.nonzero(mask.tissue[first : first + _ROWS_AT_ONCE])
        if not len(y):
            continue
        place = np.stack([y + first, x], 1) + 0.5
        steps = (place * mask.downsample - grid.origin) / grid.step_px
        row = np.clip(np.rint(steps[:, 0]).astype(np.intp), 0, rows)
        if grid.layout == "hexagonal":
            column = np.clip(np.floor(steps[:, 1]).astype(np.intp) + 1, 0, columns + 1)
        else:
            column = np.clip(np.rint(steps[:, 1]).astype(np.intp), 0, columns)
        total += len(y)
        without += int((~has_tile[row, column]).sum())
    return without / total if total else 0.0
