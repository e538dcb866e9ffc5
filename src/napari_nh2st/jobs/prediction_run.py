"""Job of a prediction in a child process, and the viewer's copy of its values."""

from collections.abc import Iterator
from pathlib import Path

from anndata import AnnData

from napari_nh2st.inference.events import Event, Finished, TilesDone, TilesEncoded
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.jobs.prediction import Begun, Ended, Loading, Values
from napari_nh2st.jobs.stoppable import PATIENCE_S, Jobs, StoppableJob
from napari_nh2st.prediction.preview import end_preview, settle, show_preview
from napari_nh2st.prediction.rows import fill_rows, make_room
from napari_nh2st.prediction.schema import PREDICTED, STATUS, add_notices
from napari_nh2st.prediction.value_arrays import has_value
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask

Box = tuple[float, float, float, float]
"""(y0, x0, y1, x1) in full-resolution pixels."""


class PredictionRun(StoppableJob):
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
        Bytes of all that is kept, at most.
    patience_s
        As for :class:`StoppableJob`.
    tissue
        Tissue as the user painted it; None to look for it.
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
        patience_s: float | None = PATIENCE_S,
        tissue: TissueMask | None = None,
    ) -> None:
        super().__init__(
            jobs.job(
                "predict",
                slide=slide.path,
                mpp=slide.mpp,
                image=slide.image,
                model=model,
                settings=settings,
                look_at=look_at,
                kept=kept,
                most_kept_bytes=most_kept_bytes,
                tissue=tissue,
            ),
            patience_s,
        )

    def look_at(self, box: Box) -> None:
        """Tell where the user looks now."""
        self.send(box)

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
            for event in self.job_events():
                match event:
                    case Loading():
                        yield event
                    case Begun(started):
                        self.is_loading = False
                        prediction = started.prediction
                        make_room(prediction, event.layout)
                        fill_rows(prediction, event.tiles, event.rows)
                        yield started
                    case Values(preview=True) if prediction is not None:
                        show_preview(prediction, event.tiles, event.rows)
                        yield TilesEncoded(
                            prediction,
                            event.tiles,
                            event.rows,
                            event.done,
                            event.total,
                            event.tiles_per_s,
                            event.seconds_left,
                        )
                    case Values() if prediction is not None:
                        fill_rows(prediction, event.tiles, event.rows)
                        settle(prediction, event.tiles)
                        yield TilesDone(
                            prediction,
                            event.tiles,
                            event.done,
                            event.total,
                            event.tiles_per_s,
                            event.seconds_left,
                        )
                    case Ended() if prediction is not None:
                        end_preview(prediction)
                        prediction.obs[STATUS] = event.status
                        add_notices(prediction, event.notices)
                        finished = True
                        yield Finished(prediction, event.n_failed, event.seconds, event.notices)
        finally:
            if prediction is not None and not finished:
                end_preview(prediction)
                mark_predicted(prediction)


def mark_predicted(prediction: AnnData) -> None:
    """Say in ``obs["status"]`` which tiles of a run that was stopped, or failed, have values."""
    status = prediction.obs[STATUS].to_numpy(object).copy()
    status[has_value(prediction.X)] = PREDICTED
    prediction.obs[STATUS] = status
