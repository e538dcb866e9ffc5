"""Events of a running prediction. The widget, the command line and the tests read the same."""

from dataclasses import dataclass

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.tiles import TileGrid


@dataclass(frozen=True)
class Started:
    """The tiles are known; nothing has been predicted in this run yet.

    Parameters
    ----------
    prediction
        The AnnData that fills up; the same object in every event.
    grid
        Its tiles.
    done, total
        Number of tiles that an earlier, stopped run finished, and of all tiles. For a model that
        predicts from the whole slide: tiles of the slide that are encoded, and all its tiles.
    device, precision
        The device and precision chosen.
    notices
        Sentences the user should read, such as that the model is untrained.
    stain_distance
        Distance of the slide's stain from what the model saw, see
        :func:`~napari_nh2st.analysis.stain_distance`; None if unknown.
    seconds
        Expected time for what is left, in seconds; None if the speed of this machine is unknown.
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
        The prediction, not yet filled at these tiles.
    tiles
        (m,) their rows in the prediction. Tiles outside the region, encoded for the model's
        context, are not among them.
    preview
        (m, columns) what the model predicts from each tile alone, to be shown meanwhile, NaN
        for a tile that could not be read; see :mod:`napari_nh2st.prediction.rows`. None if the
        model has no such part.
    done, total
        Number of tiles encoded so far, and of all tiles of the slide.
    tiles_per_s
        Tiles per second in this run.
    seconds_left
        Time left at that rate, in seconds.
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
        The prediction, filled at these tiles.
    tiles
        (m,) their rows in the prediction.
    done, total
        Number of tiles finished so far, and of all tiles.
    tiles_per_s
        Tiles per second in this run.
    seconds_left
        Time left at that rate, in seconds.
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
        The complete prediction.
    n_failed
        Number of tiles without a value; ``obs["status"]`` says why.
    seconds
        Duration of this run in seconds.
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
