"""Runner of predictions: fills a heatmap with the values, and the dock with the progress."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from anndata import AnnData
from napari.layers import Image
from psygnal import Signal
from qtpy.QtCore import QObject, QTimer

from napari_nh2st.cache import cache_folder
from napari_nh2st.durations import duration
from napari_nh2st.errors import InputError
from napari_nh2st.inference.events import Finished, Started, TilesDone, TilesEncoded
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.jobs import JobFailed
from napari_nh2st.jobs.prediction import Loading
from napari_nh2st.jobs.prediction_run import Box, PredictionRun
from napari_nh2st.jobs.stoppable import Jobs
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import STOPPED_KEY
from napari_nh2st.layers.view_on_slide import view_on_slide
from napari_nh2st.prediction.schema import tissue_left_out
from napari_nh2st.remote import SlidePath
from napari_nh2st.session import Session
from napari_nh2st.session.prediction_runs import PredictionRunMap
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask
from napari_nh2st.widgets.child_jobs import JobThread
from napari_nh2st.widgets.dock import Dock
from napari_nh2st.widgets.notifications import show_error, show_warning
from napari_nh2st.widgets.run_controls import RunControls

_SECONDS_BETWEEN_REFRESHES = 0.25
_MS_BETWEEN_LOOKS = 300


class Choice(NamedTuple):
    """Slide, model and settings of a run: one that was stopped is continued by an equal one.

    ``tissue`` is the digest of a mask that was painted; None where it is looked for.
    """

    path: SlidePath
    image: int
    mpp: tuple[float, float] | None
    model: str
    settings: PredictSettings
    tissue: str | None = None


class PredictionRunner(QObject):
    """Runs one prediction at a time in the child process.

    Parameters
    ----------
    session
        Session of the viewer: the new prediction becomes its current one.
    controls
        Shows how far it is.
    first_gene
        Gives the gene to show of a new prediction.
    dock
        Runs it for as long as it is open.

    Attributes
    ----------
    slide_layer
        Layer of the slide that is, or was last, predicted.
    ended
        Emitted with whether it was stopped, when a run has ended.
    """

    ended = Signal(bool)

    def __init__(
        self,
        session: Session,
        controls: RunControls,
        first_gene: Callable[[AnnData], str],
        dock: Dock,
    ) -> None:
        super().__init__(dock)
        self.slide_layer: Image | None = None
        self.run: PredictionRun | None = None
        self.thread_of_job = JobThread(self)
        self._session = session
        self._controls = controls
        self._first_gene = first_gene
        self._map: PredictionRunMap | None = None
        self._choice: Choice | None = None
        self._foreseen: list[str] = []
        self._keeps = True
        self._is_encoding = False
        self._refreshed = 0.0
        self.thread_of_job.event.connect(self._on_event)
        self.thread_of_job.failed.connect(self._on_error)
        self.thread_of_job.finished.connect(self._on_finished)
        dock.connect_to(session.heatmaps_changed, self._on_heatmaps)
        self._look_timer = QTimer(self)
        self._look_timer.setInterval(_MS_BETWEEN_LOOKS)
        self._look_timer.timeout.connect(self._look)

    @property
    def is_running(self) -> bool:
        """Whether a prediction runs."""
        return self.run is not None

    def start(
        self,
        jobs: Jobs,
        layer: Image,
        slide: Slide,
        choice: Choice,
        keep_bytes: float | None,
        foreseen: list[str],
        tissue: TissueMask | None = None,
    ) -> None:
        """Predict.

        Parameters
        ----------
        jobs
            Runs it.
        layer, slide
            The slide.
        choice
            Model and settings.
        keep_bytes
            Most that is kept of all results; None keeps none.
        foreseen
            Notices that the user has read already.
        tissue
            As the user painted it; None to look for it.
        """
        self.slide_layer, self._map = layer, None
        self._is_encoding = False
        self._choice, self._foreseen = choice, foreseen
        self._keeps = keep_bytes is not None
        self.run = PredictionRun(
            jobs,
            slide,
            choice.model,
            choice.settings,
            self._view_box(),
            cache_folder("predictions") if self._keeps else None,
            **({} if keep_bytes is None else {"most_kept_bytes": keep_bytes}),
            tissue=tissue,
        )
        self._controls.show_running(True)
        self._controls.status.setText("Starting …")
        self.thread_of_job.start(self.run.events, f"Predicting {layer.name}")
        self._look_timer.start()

    def stop(self) -> None:
        """Stop after the batch under way."""
        if self.run is not None:
            self.run.stop()
            self._controls.cancel.setEnabled(False)
            self._controls.status.setText("Stopping …")

    def end(self) -> None:
        """Stop with the dock; whoever else shows the prediction waits for its end."""
        if self.run is not None:
            self.run.stop()
        if self._filled is not None:
            self._filled.is_filling = False

    def continues(self, heatmap: Heatmap, choice: Choice | None) -> bool:
        """Whether a run of this choice would go on with the one that was stopped in a heatmap."""
        return bool(heatmap.layer.metadata.get(STOPPED_KEY) == choice)

    @property
    def _filled(self) -> Heatmap | None:
        return None if self._map is None else self._map.heatmap

    def _on_heatmaps(self) -> None:
        """Nobody sees what fills a heatmap that was removed: the run is stopped.

        A duplicate of its layer goes on.
        """
        if self.run is None or self._map is None or self.run.stopped():
            return
        heatmap = self._map.heatmap
        if heatmap.layer not in self._session.viewer.layers:
            duplicates = self._session.showing(heatmap.prediction)
            if duplicates:
                self._map = replace(self._map, heatmap=duplicates[-1])
            else:
                self.stop()

    def _on_event(self, event: Any) -> None:
        match event:
            case Loading():
                self._controls.status.setText("Loading the model and looking for tissue …")
            case Started():
                self._on_started(event)
            case TilesDone() | TilesEncoded():
                self._note_done(event)
                # Each of these makes Qt paint the whole window again.
                if time.monotonic() - self._refreshed > _SECONDS_BETWEEN_REFRESHES:
                    self._show_progress(event)
            case Finished():
                if self._filled is not None:
                    self._filled.layer.metadata.pop(STOPPED_KEY, None)
                self._controls.bar.setValue(self._controls.bar.maximum())
                failed = f", {event.n_failed} could not be read" if event.n_failed else ""
                without = tissue_left_out(event.prediction)
                self._controls.status.setText(
                    f"{event.prediction.n_obs:,} tiles in {duration(event.seconds)}{failed}"
                    + (f". {without}" if without else "")
                )
                _warn(event.notices)
                if event.n_failed:
                    show_warning(f"{event.n_failed} tiles could not be read and have no value.")

    def _on_started(self, event: Started) -> None:
        assert self.slide_layer is not None
        # First: a bar paints the window at once, which takes longer with a new layer in it.
        before = f"; {event.done:,} of them were computed before" if event.done else ""
        self._controls.show_progress(
            event.done,
            event.total,
            f"{event.total:,} tiles on {event.device} in {event.precision}{before}",
        )
        # After the layer is there: a notification takes its time to be drawn as well.
        notices = [notice for notice in event.notices if notice not in self._foreseen]
        QTimer.singleShot(0, lambda: _warn(notices))
        if self.slide_layer in self._session.viewer.layers:
            heatmap = self._show_on(self.slide_layer, event.prediction)
            heatmap.is_filling = True
            self._session.heatmap = heatmap
        else:  # the slide was removed meanwhile
            self.stop()
        self._show_in_napari(event.done, event.total)

    def _show_in_napari(self, done: int, total: int) -> None:
        """Move napari's own bar, by itself: it lets Qt paint at once."""
        QTimer.singleShot(0, lambda: self.thread_of_job.show_progress(done, total))

    def _show_on(self, slide_layer: Image, prediction: AnnData) -> Heatmap:
        session = self._session
        before = session.made_for(slide_layer)
        goes_on = any(self.continues(each, self._choice) for each in before)
        gene = self._first_gene(prediction)
        self._map = session.runs.show(slide_layer, prediction, gene, goes_on)
        heatmap = self._map.heatmap
        heatmap.layer.metadata.pop(STOPPED_KEY, None)
        if self._map.n_done:
            heatmap.layer.metadata[STOPPED_KEY] = self._choice
        if heatmap in before and heatmap.layer.visible:
            return heatmap
        # Hidden since, by Compare or by hand, or under what is shown: Run is to be seen.
        if session.viewer.canvas.grid.enabled:
            heatmap.layer.visible = True
        else:
            session.shown_layers.show(heatmap.layer)
        return heatmap

    def _note_done(self, event: TilesDone | TilesEncoded) -> None:
        """Take what has come into the map: from the first on, the run can be continued."""
        self._is_encoding = isinstance(event, TilesEncoded)
        if self._map is not None:
            if isinstance(event, TilesEncoded):
                self._map.show_preview(event.tiles)
            else:
                self._map.bring(event.tiles)
            self._map.heatmap.layer.metadata[STOPPED_KEY] = self._choice

    def _show_progress(self, event: TilesDone | TilesEncoded) -> None:
        self._controls.bar.setValue(event.done)
        words = (
            f"{event.done:,} of {event.total:,} tiles, {event.tiles_per_s:.1f} tiles/s, "
            f"{duration(event.seconds_left)} left"
        )
        if isinstance(event, TilesEncoded):
            shown = "" if event.preview is None else " What is shown is a preview."
            words += f". This model predicts once the whole slide is encoded.{shown}"
        self._controls.status.setText(words)
        self._refresh(filling=True)
        self._show_in_napari(event.done, event.total)

    def _refresh(self, filling: bool = False) -> None:
        self._refreshed = time.monotonic()
        if self._filled is not None and self._filled.layer in self._session.viewer.layers:
            self._filled.refresh(filling=filling)
            self._filled.filled.emit(self._filled)

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, InputError):
            message = str(error)
        else:
            known = isinstance(error, JobFailed)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            message = f"The prediction failed: {reason.rstrip('.')}."
            if self._keeps and self._controls.bar.value() > 0:
                message += " The results are kept: Run continues from there."
        show_error(message)
        self._controls.status.setText(message)

    def _on_finished(self) -> None:
        stopped = self.run is not None and self.run.stopped()
        self.run = None
        self._look_timer.stop()
        self._controls.show_running(False)
        if self._map is not None:
            self._map.finish()
            self._refresh()
        if stopped:
            self._say_stopped()
        if self._filled is not None:
            self._filled.is_filling = False
        self.ended.emit(stopped)

    def _say_stopped(self) -> None:
        bar = self._controls.bar
        if self._map is not None and not self._is_encoding:
            bar.setValue(self._map.n_done)
        layers = self._session.viewer.layers
        removed = self._filled is not None and self._filled.layer not in layers
        why = "The heatmap was removed. " if removed else ""
        preview = " The preview is removed." if self._is_encoding else ""
        kept = "the results are kept" if self._keeps else "the results are shown, but not kept"
        self._controls.status.setText(
            f"{why}Stopped at {bar.value():,} of {bar.maximum():,} tiles; {kept}.{preview}"
            if bar.value() > 0
            else "Stopped before the first tile."
        )

    def _look(self) -> None:
        box = self._view_box()
        if self.run is not None and box is not None:
            self.run.look_at(box)

    def _view_box(self) -> Box | None:
        """Box around what is in view of the slide."""
        layer, viewer = self.slide_layer, self._session.viewer
        view = view_on_slide(viewer, layer) if layer in viewer.layers else None
        return None if view is None else (*view.min(0).tolist(), *view.max(0).tolist())


def _warn(notices: Iterable[str]) -> None:
    for notice in notices:
        show_warning(notice)
