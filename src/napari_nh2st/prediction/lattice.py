"""Lattice that the tiles of a prediction lie on: its step, its first center, its phases."""

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.prediction.schema import is_on_grid, notes
from napari_nh2st.spots.positions import ARRAY
from napari_nh2st.tiles.grid import phases_of


def step_um(prediction: AnnData) -> float:
    """Distance between values in µm; files written before there were steps have the pitch's."""
    about = notes(prediction)
    return float(about.get("step_um", about["pitch_um"]))


def step_px(prediction: AnnData) -> NDArray[np.float64]:
    """(2,) full-resolution pixels from one array index to the next, (y, x)."""
    return np.asarray(notes(prediction)["step_px_fullres"], np.float64)


def first_center(prediction: AnnData) -> NDArray[np.float64]:
    """(2,) center (y, x) of array position (0, 0) in full-resolution pixels."""
    known = notes(prediction).get("first_center_px_fullres")
    return step_px(prediction) / 2 if known is None else np.asarray(known, np.float64)


def same_lattice(one: AnnData, other: AnnData) -> bool:
    """Whether the tiles of two predictions lie on one lattice: equal array positions, one place."""
    return (
        is_on_grid(one)
        and is_on_grid(other)
        and np.allclose(step_px(one), step_px(other))
        and np.allclose(first_center(one), first_center(other))
        and notes(one)["layout"] == notes(other)["layout"]
    )


def divisions(prediction: AnnData) -> int:
    """Steps in a pitch."""
    return max(1, round(float(notes(prediction)["pitch_um"]) / step_um(prediction)))


def phases(prediction: AnnData) -> NDArray[np.int64]:
    """(n,) phase of each tile of a grid, see :func:`~napari_nh2st.tiles.grid.phases_of`."""
    array = prediction.obs[list(ARRAY)].to_numpy(np.int64)
    return phases_of(array, str(notes(prediction)["layout"]), divisions(prediction))
