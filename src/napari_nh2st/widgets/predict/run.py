"""One run of a prediction in a child process, and the viewer's copy of what it computes."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from anndata import AnnData

from napari_nh2st.inference.events import Event, Finished, Started, TilesDone
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.jobs import JobFailed
from napari_nh2st.jobs.prediction import Ended, Loading, Values
from napari_nh2st.slide import Slide

Box = tuple[float, float, float, float]
"""(y0, x0, y1, x1) in full-resolution pixels."""


class Job(Protocol):
    """A job that is run once: a :class:`napari_nh2st.jobs.Job`."""

    def events(self) -> Iterator[object]: ...  # noqa: D102
    def tell(self, what: object) -> None: ...  # noqa: D102
    def stop(self) -> None: ...  # noqa: D102
    def kill(self) -> None: ...  # noqa: D102


class Jobs(Protocol):
    """What runs jobs: a :class:`~napari_nh2st.jobs.JobProcess`."""

    def start(self) -> None: ...  # noqa: D102
    def job(self, name: str, /, **arguments: object) -> Job: ...  # noqa: D102
    def run(self, name: str, /, **arguments: object) -> Iterator[object]: ...  # noqa: D102
    def close(self, patience_s: float = 5.0) -> None: ...  # noqa: D102


class PredictionRun:
    """Runs a prediction elsewhere and fills a prediction here with what comes.

    Parameters
    ----------
    jobs
        Runs it.
    slide
        Its path and µm/px are sent.
    model
        Name, folder or Hub id.
    settings
        Sent as they are.
    look_at
        Where the user looks at first; None for nowhere.
    kept
        Folder of kept results; None keeps nothing.
    most_kept_bytes
        Of all that is kept.
    """

    def __init__(
        self,
        jobs: Jobs,
        slide: Slide,
        model: str,
        settings: PredictSettings,
        look_at: Box | None,
        kept: Path | None,
        most_kept_bytes: float = 4e9,
    ) -> None:
        self._job = jobs.job(
            "predict",
            slide=slide.path,
            mpp=slide.mpp,
            model=model,
            settings=settings,
            look_at=look_at,
            kept=kept,
            most_kept_bytes=most_kept_bytes,
        )
        self._stop = threading.Event()
        self._loading = True

    def stopped(self) -> bool:
        """Whether it was asked to end."""
        return self._stop.is_set()

    def stop(self) -> None:
        """End after the batch under way; at once while the model is still being loaded."""
        self._stop.set()
        if self._loading:  # importing torch and reading weights cannot be interrupted otherwise
            self._job.kill()
        else:
            self._job.stop()

    def look_at(self, box: Box) -> None:
        """Tell where the user looks now."""
        self._job.tell(box)

    def events(self) -> Iterator[Loading | Event]:
        """Run it, in the thread that asks for the events.

        Yields
        ------
        Loading or Event
            Loading, then those of :func:`~napari_nh2st.inference.predict_events`. After
            :meth:`stop` they end without :class:`~napari_nh2st.inference.Finished`.

        Raises
        ------
        InputError
            As :func:`~napari_nh2st.inference.predict_events`.
        JobFailed
            It failed otherwise.
        """
        prediction: AnnData | None = None
        finished = False
        try:
            for event in self._job.events():
                match event:
                    case Loading():
                        yield event
                    case Started():
                        self._loading = False
                        prediction = event.prediction
                        yield event
                    case Values() if prediction is not None:
                        prediction.X[event.tiles] = event.values
                        yield TilesDone(
                            prediction,
                            event.tiles,
                            event.done,
                            event.total,
                            event.tiles_per_s,
                            event.seconds_left,
                        )
                    case Ended() if prediction is not None:
                        prediction.obs["status"] = event.status
                        finished = True
                        yield Finished(prediction, event.n_failed, event.seconds)
        except JobFailed:
            if not self.stopped():
                raise
        if prediction is not None and not finished:
            mark_predicted(prediction)


def mark_predicted(prediction: AnnData) -> None:
    """Say in ``obs["status"]`` which tiles of a run that was stopped have values."""
    status = prediction.obs["status"].to_numpy(object).copy()
    status[np.isfinite(np.asarray(prediction.X)).any(1)] = "predicted"
    prediction.obs["status"] = status
