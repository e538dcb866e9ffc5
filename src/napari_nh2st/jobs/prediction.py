"""Jobs of the Predict dock: predict a slide, and list the devices."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.inference.events import Finished, Started, TilesDone, TilesEncoded
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.inference.store import forget_oldest
from napari_nh2st.jobs.child import Inbox
from napari_nh2st.model.config import CONFIG_FILE, HEADS_FILE, WEIGHTS_FILE
from napari_nh2st.model.sources import find_model
from napari_nh2st.prediction.rows import RowLayout, rows_of, without_values
from napari_nh2st.prediction.schema import STATUS
from napari_nh2st.prediction.value_arrays import has_value
from napari_nh2st.slide import open_slide
from napari_nh2st.tiles import TissueMask

if TYPE_CHECKING:
    from napari_nh2st.model.folder import Model


@dataclass(frozen=True)
class Loading:
    """A model is being loaded, and the tissue looked for."""

    model: str


@dataclass(frozen=True)
class Begun:
    """A :class:`~napari_nh2st.inference.Started`, light enough to arrive at once.

    Parameters
    ----------
    started
        Its prediction has no room for values, which would all be NaN.
    layout
        What rows hold.
    tiles, rows
        (m,) tiles that an earlier run had finished, and (m, columns) their rows.
    """

    started: Started
    layout: RowLayout
    tiles: NDArray[np.int64]
    rows: NDArray[np.float32]


@dataclass(frozen=True)
class Values:
    """Values of some tiles: a :class:`~napari_nh2st.inference.TilesDone` without the prediction,
    of which viewer and child process have one each.

    Parameters
    ----------
    tiles
        (m,) rows.
    rows
        (m, columns) float32, see :mod:`napari_nh2st.prediction.rows`.
    done, total, tiles_per_s, seconds_left
        As in :class:`~napari_nh2st.inference.TilesDone`.
    preview
        Whether they are of a :class:`~napari_nh2st.inference.TilesEncoded`, whose rows are shown
        until the values come, and empty where it has none.
    """

    tiles: NDArray[np.int64]
    rows: NDArray[np.float32]
    done: int
    total: int
    tiles_per_s: float
    seconds_left: float
    preview: bool = False


@dataclass(frozen=True)
class Ended:
    """All tiles are done.

    Parameters
    ----------
    status
        (n,) of every tile, as in ``obs["status"]``.
    n_failed, seconds, notices
        As in :class:`~napari_nh2st.inference.Finished`.
    """

    status: NDArray[np.object_]
    n_failed: int
    seconds: float
    notices: tuple[str, ...] = ()


def predict(
    inbox: Inbox,
    *,
    slide: Path,
    mpp: tuple[float, float] | None,
    model: str,
    settings: PredictSettings,
    look_at: tuple[float, float, float, float] | None,
    kept: Path | None,
    most_kept_bytes: float = 4e9,
    image: int | None = None,
    tissue: TissueMask | None = None,
) -> Iterator[Loading | Begun | Values | Ended]:
    """Predict a slide.

    Parameters
    ----------
    inbox
        A box (y0, x0, y1, x1) that is sent to it is where the user looks now.
    slide, mpp
        Its path, and the µm/px (y, x) to take; None for its own.
    model
        Name, folder or Hub id.
    settings
        Settings of the prediction.
    look_at
        Where the user looks at first.
    kept
        See :func:`~napari_nh2st.inference.predict_events`; None keeps nothing.
    most_kept_bytes
        Size of that folder beyond which the oldest results are deleted.
    image
        Number of the image in the slide's file.
    tissue
        Tissue as the user painted it; None to look for it.
    """
    from napari_nh2st.inference import Focus, predict_events

    focus = Focus(look_at)
    inbox.listen(focus.move)
    yield Loading(model)
    with open_slide(slide, mpp=mpp, image=image) as opened:
        loaded = load(model)
        if inbox.stopped():
            return
        events = predict_events(opened, loaded, settings, tissue=tissue, focus=focus, kept=kept)
        with closing(events):
            for event in events:
                match event:
                    case Started():
                        # Now that it holds its own, which may be the oldest.
                        if kept is not None:
                            forget_oldest(kept, most_kept_bytes)
                        yield _begun(event)
                    case TilesDone(prediction, tiles, done, total, rate, left):
                        rows = rows_of(prediction, tiles)
                        yield Values(tiles, rows, done, total, rate, left)
                    case TilesEncoded(prediction, tiles, preview, done, total, rate, left):
                        tiles = tiles[:0] if preview is None else tiles
                        rows = rows_of(prediction, tiles) if preview is None else preview
                        yield Values(tiles, rows, done, total, rate, left, preview=True)
                    case Finished(prediction, n_failed, seconds, notices):
                        status = prediction.obs[STATUS].to_numpy(object)
                        yield Ended(status, n_failed, seconds, notices)
                if inbox.stopped():
                    return


def _begun(event: Started) -> Begun:
    prediction = event.prediction
    tiles = np.flatnonzero(has_value(prediction.X))
    light = replace(event, prediction=without_values(prediction))
    return Begun(light, RowLayout.of(prediction), tiles, rows_of(prediction, tiles))


def devices(_inbox: Inbox) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """The devices of this machine, name → what it is, and those it lacks, name → why."""
    from napari_nh2st.inference.device import available_devices, missing_devices

    yield available_devices(), missing_devices()


def load(name: str) -> "Model":
    """Load a model, or take the one loaded last if it is the same."""
    folder = find_model(name)
    files = [folder / name for name in (CONFIG_FILE, WEIGHTS_FILE, HEADS_FILE)]
    changed = tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files)
    return _loaded(name, folder, changed)


@lru_cache(maxsize=1)
def _loaded(name: str, folder: Path, _changed: tuple[int, ...]) -> "Model":
    from napari_nh2st.jobs.prepared_model import PreparedModel
    from napari_nh2st.model.folder import load_model_folder

    model = load_model_folder(folder, name)
    return PreparedModel(model.config, model.network, model.source, model.heads)
