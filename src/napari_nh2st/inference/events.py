"""Events of a running prediction. The widget, the command line and the tests read the same."""

from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.tiles import TileGrid


@dataclass(frozen=True)
class Started:
    """The tiles are known; nothing has been predicted in this run.

    Parameters
    ----------
    prediction
        The AnnData that fills up; the same object in every event.
    grid
        Its tiles.
    done, total
        Tiles that an earlier, stopped run had finished, and all tiles; where the model predicts
        from the whole slide, tiles of the slide that are encoded, and all of them.
    device, precision
        What was chosen.
    notices
        Sentences the user should read, such as that the model is untrained.
    stain_distance
        Distance of the slide's stain from what the model saw, see
        :func:`~napari_nh2st.analysis.stain_distance`; None where it is not known.
    seconds
        Expected duration of what is left; None where the speed of this machine is not known.
    """

    prediction: AnnData
    grid: TileGrid
    done: int
    total: int
    device: str
    precision: str
    notices: tuple[str, ...]
    stain_distance: float | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class TilesEncoded:
    """Some tiles of a whole slide are encoded; their values come when all of them are.

    Parameters
    ----------
    prediction
        Not filled at these tiles yet.
    tiles
        (m,) their rows. Tiles outside of the region, which its context needs, are not among them.
    preview
        (m, columns) what the model predicts of each tile for itself, to be shown meanwhile, NaN
        where a tile could not be read; see :mod:`napari_nh2st.prediction.rows`. None where the
        model has no such part.
    done, total
        Tiles encoded so far, and all of the slide.
    tiles_per_s
        Rate of this run.
    seconds_left
        At that rate.
    """

    prediction: AnnData
    tiles: NDArray[np.int64]
    preview: NDArray[np.float32] | None
    done: int
    total: int
    tiles_per_s: float
    seconds_left: float


@dataclass(frozen=True)
class TilesDone:
    """Some tiles have values.

    Parameters
    ----------
    prediction
        Filled at these tiles.
    tiles
        (m,) their rows.
    done, total
        Tiles finished so far, and all.
    tiles_per_s
        Rate of this run.
    seconds_left
        At that rate.
    """

    prediction: AnnData
    tiles: NDArray[np.int64]
    done: int
    total: int
    tiles_per_s: float
    seconds_left: float


@dataclass(frozen=True)
class Finished:
    """All tiles are done, and the output is written if one was asked for.

    Parameters
    ----------
    prediction
        Complete.
    n_failed
        Tiles without a value; ``obs["status"]`` says why.
    seconds
        Duration of this run.
    notices
        Sentences the user should read that were not known at the start.
    """

    prediction: AnnData
    n_failed: int
    seconds: float
    notices: tuple[str, ...] = ()


Event = Started | TilesEncoded | TilesDone | Finished
"""Started once, TilesEncoded any number of times where a model predicts from the whole slide,
TilesDone any number of times, Finished once."""
