"""The *Predict* widget: choose a slide and a model, run, watch, stop, go on."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from napari.layers import Image
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QWidget

from napari_nh2st.cache import cache_folder
from napari_nh2st.durations import duration
from napari_nh2st.errors import InputError
from napari_nh2st.inference.events import Finished, Started, TilesDone
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.jobs import JobFailed
from napari_nh2st.jobs.prediction import Loading
from napari_nh2st.layers.domains import carry_domains, move_domains
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import STOPPED_KEY, id_of
from napari_nh2st.widgets.child_jobs import Jobs, JobThread, SharedJobs
from napari_nh2st.widgets.notifications import show_error, show_warning
from napari_nh2st.widgets.predict.controls import PredictControls
from napari_nh2st.widgets.predict.run import Box, PredictionRun
from napari_nh2st.widgets.remembered import Remembered

if TYPE_CHECKING:
    import napari

_SECONDS_BETWEEN_REFRESHES = 0.25
_MS_BETWEEN_LOOKS = 300

_Choice = tuple[Path, int, tuple[float, float] | None, str, PredictSettings]
"""Slide, its µm/px, model and settings: what makes a run the same as another."""


class PredictWidget(PredictControls):
    """Predict expression over a slide layer and show it while it is computed.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self._process = SharedJobs(self)
        self._thread = JobThread(self)
        self._run: PredictionRun | None = None
        self._slide_layer: Image | None = None
        self._status_of = ""  # which slide layer status and bar are about
        self._filled: Heatmap | None = None
        self._keeps = True
        self._choice: _Choice | None = None
        self._foreseen: list[str] = []
        self._last_refresh = 0.0
        self._remembered = Remembered("predict")

        self._thread.event.connect(self._on_event)
        self._thread.failed.connect(self._on_error)
        self._thread.finished.connect(self._on_finished)
        self.run.clicked.connect(self.start)
        self.cancel.clicked.connect(self.stop)
        self.settings.forget.forgotten.connect(self._on_forgotten)
        self.settings.reset.clicked.connect(self.reset_settings)
        self.choice_changed.connect(self._on_choice)
        self.current.changed.connect(self._name_run_button)
        self._look_timer = QTimer(self)
        self._look_timer.setInterval(_MS_BETWEEN_LOOKS)
        self._look_timer.timeout.connect(self._look)
        self.follow()
        # Not methods of the widget: Qt calls none of those once the widget is gone.
        self.destroyed.connect(self.slide.close)
        self.destroyed.connect(self.region.close_down)
        self.destroyed.connect(self.current.close)
        self.restore(self._remembered.get)
        self.choice_changed.connect(lambda: self._remembered.set(**self.to_remember()))
        self._show_running(False)

    # --- running ---

    @property
    def heatmap(self) -> Heatmap | None:
        """The heatmap that is selected, or the last."""
        return self.current.heatmap

    @property
    def prediction(self) -> AnnData | None:
        """Its prediction."""
        return self.current.prediction

    @property
    def is_running(self) -> bool:
        """Whether a prediction runs."""
        return self._run is not None

    def start(self) -> None:
        """Predict with what is chosen; problems are shown as notifications."""
        if self._run is not None:
            return
        self.slide.mpp.interpretText()  # F5 comes before what was typed is taken
        self._status_of = self._picked_slide()
        try:
            slide = self.slide.chosen()
            model = self.model.checked()
            layer = self.slide.layer
            assert layer is not None
            settings = self.chosen_settings(layer, self._view_box())
        except InputError as error:
            show_error(str(error))
            self.status.setText(str(error))
            return
        self._slide_layer, self._filled = layer, None
        self.slide.in_use = slide
        self._choice = (slide.path, slide.image, slide.mpp, model, settings)
        self._keeps = self.settings.keep.isChecked()
        self._foreseen = self.facts.foreseen()
        self._run = PredictionRun(
            self._process.ready(),
            slide,
            model,
            settings,
            self._view_box(),
            cache_folder("predictions") if self._keeps else None,
            self.settings.keep_gb.value() * 1e9,
        )
        self._show_running(True)
        self.status.setText("Starting …")
        self._thread.start(self._run.events, f"Predicting {layer.name}")
        self._look_timer.start()

    def stop(self) -> None:
        """Stop the run after the batch under way."""
        if self._run is not None:
            self._run.stop()
            self.cancel.setEnabled(False)
            self.status.setText("Stopping …")

    def _on_forgotten(self) -> None:
        for layer in self.viewer.layers:
            layer.metadata.pop(STOPPED_KEY, None)
        self._name_run_button()

    def reset_settings(self) -> None:
        """All controls as they were at first."""
        self._remembered.reset()
        self.restore(lambda _name, default: default)

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Have the child process load its libraries while the user still chooses."""
        super().showEvent(event)
        self._process.ready()

    def closeEvent(self, event: Any) -> None:  # Qt's name
        """Stop the run with the widget."""
        self._end_jobs()
        super().closeEvent(event)

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Stop the run when the widget is taken out of its dock, as napari's × does.

        A dock that is hidden, floating or behind another tab keeps its widget and its run.
        """
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self.follow()
            else:
                self._end_jobs()
                self.close_down()

    def idle_jobs(self) -> Jobs | None:
        """What runs jobs, while it runs none."""
        return None if self._run is not None else self._process.ready()

    def _end_jobs(self) -> None:
        if self._run is not None:
            self._run.stop()
        self._process.close()
        self.slide.release()
        if self._filled is not None:  # whoever else shows it waits for its end
            self._filled.set_filling(False)

    def _on_event(self, event: Any) -> None:
        match event:
            case Loading():
                self.status.setText("Loading the model and looking for tissue …")
            case Started():
                self._on_started(event)
            case TilesDone():
                # Each of these makes Qt paint the whole window again.
                if time.monotonic() - self._last_refresh > _SECONDS_BETWEEN_REFRESHES:
                    self._show_progress(event)
            case Finished():
                self._refresh()
                if self._filled is not None:
                    self._filled.layer.metadata.pop(STOPPED_KEY, None)
                self.bar.setValue(self.bar.maximum())
                failed = f", {event.n_failed} could not be read" if event.n_failed else ""
                self.status.setText(
                    f"{event.prediction.n_obs:,} tiles in {duration(event.seconds)}{failed}"
                )
                if event.n_failed:
                    show_warning(f"{event.n_failed} tiles could not be read and have no value.")

    def _on_started(self, event: Started) -> None:
        assert self._slide_layer is not None
        self.bar.setRange(0, event.total)
        self.bar.setValue(event.done)
        # After the layer is there: a notification takes its time to be drawn as well.
        notices = [notice for notice in event.notices if notice not in self._foreseen]
        QTimer.singleShot(0, lambda: _warn(notices))
        if self._slide_layer in self.viewer.layers:
            self._filled = self._show_on(self._slide_layer, event.prediction)
            self._filled.set_filling(True)
            self._filled.layer.metadata[STOPPED_KEY] = self._choice
            self.current.choose(self._filled)
        before = f"; {event.done:,} of them were computed before" if event.done else ""
        self.status.setText(f"{event.total:,} tiles on {event.device} in {event.precision}{before}")
        self._thread.show_progress(event.done, event.total)

    def _show_progress(self, event: TilesDone) -> None:
        self.bar.setValue(event.done)
        self.status.setText(
            f"{event.done:,} of {event.total:,} tiles, {event.tiles_per_s:.1f} tiles/s, "
            f"{duration(event.seconds_left)} left"
        )
        self._refresh(filling=True)
        # By itself: napari's bar lets Qt paint at once.
        QTimer.singleShot(0, lambda: self._thread.show_progress(event.done, event.total))

    def _show_on(self, slide_layer: Image, prediction: AnnData) -> Heatmap:
        """Show a prediction in the layer of the former run, or in a new one.

        It is new where there is no former one, or where the user named that to keep it.
        """
        heatmap = self.current.made_for(slide_layer)
        if heatmap is None:
            gene = self.result.gene_for(prediction)
            heatmap = Heatmap.add(self.viewer, slide_layer, prediction, gene)
            if not _canvas(self.viewer).grid.enabled:
                self.current.hide_below(heatmap)
            return heatmap
        former = heatmap.prediction
        carry_domains(former, prediction)
        heatmap.take(prediction, slide_layer)
        move_domains(self.viewer, heatmap, former)
        if not heatmap.layer.visible:  # hidden since, by Compare or by hand: Run is to be seen
            heatmap.layer.visible = True
        return heatmap

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, InputError):
            message = str(error)
        else:
            what = (
                str(error) if isinstance(error, JobFailed) else f"{type(error).__name__}: {error}"
            )
            message = f"The prediction failed: {what.rstrip('.')}."
            if self._keeps and self.bar.value() > 0:
                message += " What was done is kept: Run goes on from there."
        show_error(message)
        self.status.setText(message)

    def _on_finished(self) -> None:
        stopped = self._run is not None and self._run.stopped()
        self._run = None
        self.slide.release()
        self._look_timer.stop()
        self._show_running(False)
        if self.bar.maximum() == 0:  # neither tiles nor their number came
            self.bar.setRange(0, 1)
            self.bar.reset()
        if stopped:
            self._refresh()
            if self._filled is not None:
                self.bar.setValue(_n_done(self._filled))
            done, total = self.bar.value(), self.bar.maximum()
            kept = "what is done is kept" if self._keeps else "what is done is shown, but not kept"
            self.status.setText(
                f"Stopped at {done:,} of {total:,} tiles; {kept}."
                if done > 0
                else "Stopped before the first tile."
            )
            self._process.start_again()
        if self._filled is not None:
            self._filled.set_filling(False)
        if self._slide_layer is not None and self._picked_slide() != self._status_of:
            self.status.setText(f"{self._slide_layer.name}: {self.status.text()}")
            self._status_of = self._picked_slide()  # it says itself whose it is
        self._name_run_button()

    def _refresh(self, filling: bool = False) -> None:
        self._last_refresh = time.monotonic()
        if self._filled is not None and self._filled.layer in self.viewer.layers:
            self._filled.refresh(filling=filling)
            self._filled.filled.emit()

    def _look(self) -> None:
        box = self._view_box()
        if self._run is not None and box is not None:
            self._run.look_at(box)

    def _view_box(self) -> Box | None:
        """What of the slide is in view, (y0, x0, y1, x1) in full-resolution pixels."""
        layer = self._slide_layer if self.is_running else self.slide.layer
        if layer is None or layer not in self.viewer.layers:
            return None
        factor = layer.downsample_factors[layer.data_level][-2:] if layer.multiscale else (1, 1)
        (y0, x0), (y1, x1) = layer.corner_pixels[:, -2:] * factor
        return (float(y0), float(x0), float(y1), float(x1)) if y1 > y0 and x1 > x0 else None

    # --- what the controls do ---

    def _picked_slide(self) -> str:
        return "" if self.slide.layer is None else id_of(self.slide.layer)

    def _on_choice(self) -> None:
        if not self.is_running and self._picked_slide() != self._status_of:
            self._status_of = self._picked_slide()
            self.status.setText("")
            self.bar.setRange(0, 1)
            self.bar.reset()
        self._name_run_button()

    def _current_choice(self) -> _Choice | None:
        try:
            slide, layer = self.slide.chosen(), self.slide.layer
            assert layer is not None
            settings = self.chosen_settings(layer, self._view_box())
            return slide.path, slide.image, slide.mpp, self.model.text, settings
        except InputError:
            return None

    def _name_run_button(self) -> None:
        """*Continue* where the next run would go on with the one that was stopped."""
        layer = self.slide.layer
        heatmap = self.current.made_for(layer) if layer is not None else None
        stopped = heatmap.layer.metadata.get(STOPPED_KEY) if heatmap is not None else None
        goes_on = stopped is not None and not self.is_running and self.settings.keep.isChecked()
        goes_on = goes_on and stopped == self._current_choice()
        goes_on = goes_on and heatmap is not None and _n_done(heatmap) > 0
        self.run.setText("Continue" if goes_on else "Run")

    def _show_running(self, running: bool) -> None:
        self.run.setEnabled(not running)
        self.cancel.setEnabled(running)
        self.settings.forget.allow(not running)
        if running:
            self.bar.setRange(0, 0)


def _n_done(heatmap: Heatmap) -> int:
    """How many tiles have values."""
    return int(np.isfinite(heatmap.values_of(heatmap.gene)).sum())


def _canvas(viewer: Any) -> Any:
    """What has the grid: it has moved into the canvas with napari 0.9."""
    return getattr(viewer, "canvas", viewer)


def _warn(notices: Iterable[str]) -> None:
    for notice in notices:
        show_warning(notice)
