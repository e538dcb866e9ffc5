"""The *Predict* widget: choose a slide and a model, run, watch, switch genes, export."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from anndata import AnnData
from napari.layers import Image
from napari.qt.threading import create_worker
from napari.utils import progress
from napari.utils.notifications import show_error, show_warning
from qtpy.QtCore import QCoreApplication, QEvent, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QSearchableComboBox

from napari_nh2st.errors import InputError
from napari_nh2st.model import bundled_models, find_model, read_config
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.export_button import ExportButton
from napari_nh2st.widgets.gene_field import GeneField
from napari_nh2st.widgets.heatmap import Heatmap
from napari_nh2st.widgets.number_box import number_box
from napari_nh2st.widgets.slide_choice import SlideChoice
from napari_nh2st.widgets.workers import RunControl, prediction_events

if TYPE_CHECKING:
    import napari

_SECONDS_BETWEEN_REFRESHES = 0.1
_MS_BETWEEN_LOOKS = 300


class PredictWidget(QWidget):
    """Predict expression over a slide layer and show it while it is computed.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.prediction: AnnData | None = None
        self.heatmap: Heatmap | None = None
        self._control: RunControl | None = None
        self._slide_layer: Image | None = None
        self._worker: Any = None
        self._activity: Any = None
        self._last_refresh = 0.0

        self._heatmaps: WeakKeyDictionary[Image, Heatmap] = WeakKeyDictionary()

        self.slide = SlideChoice(napari_viewer)
        self.model = QComboBox()
        self.model.setEditable(True)
        self.model.addItems(list(bundled_models()))
        self.model.setToolTip(
            "A bundled model, a model folder, or Hugging Face owner/name@REVISION"
        )
        self.browse = QPushButton("Folder…")
        self.browse.setToolTip("Choose a model folder")
        self.model_note = QLabel()
        self.model_note.setWordWrap(True)
        self.device = DevicePicker()
        self.genes = GeneField()
        self.pitch = number_box(0.0, 1000.0, 1, " µm", "as in training")
        self.pitch.setToolTip("Distance between tiles")
        self.run = QPushButton("Run")
        self.run.setToolTip("Predict the slide, what is in view first")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop after the batch under way; what is done stays")
        self.bar = QProgressBar()
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.gene = QSearchableComboBox()
        self.gene.setToolTip("Gene to show; type to search")
        self.export = ExportButton()
        self._lay_out()

        self.model.currentTextChanged.connect(self._on_model_changed)
        self.browse.clicked.connect(self._on_browse)
        self.run.clicked.connect(self.start)
        self.cancel.clicked.connect(self.stop)
        self.gene.currentTextChanged.connect(self._on_gene_chosen)
        self._look_timer = QTimer(self)
        self._look_timer.setInterval(_MS_BETWEEN_LOOKS)
        self._look_timer.timeout.connect(self._look)
        self.slide.follow()
        # Not a method of the widget: Qt calls none of those once the widget is gone.
        self.destroyed.connect(self.slide.close)
        self._on_model_changed()
        self._show_running(False)

    # --- what was chosen ---

    def chosen_settings(self) -> dict[str, Any]:
        """Fields of :class:`~napari_nh2st.inference.PredictSettings`, as the controls say."""
        return {
            "genes": self.genes.names or None,
            "pitch_um": self.pitch.value() or None,
            "device": self.device.currentText(),
            "order": "coarse-to-fine",
        }

    # --- running ---

    def start(self) -> None:
        """Predict with what is chosen; problems are shown as notifications."""
        if self._control is not None:
            return
        model = self.model.currentText().strip()
        try:
            slide = self.slide.chosen()
            if not model:
                raise InputError("Choose a model: a folder, or a Hugging Face owner/name@REVISION.")
            find_model(model) if not _is_hub_id(model) else None
        except InputError as error:
            show_error(str(error))
            return
        self._slide_layer = self.slide.layer
        assert self._slide_layer is not None
        self.slide.in_use = slide
        self._control = RunControl()
        self._show_running(True)
        self.status.setText("Loading the model and looking for tissue …")
        self._activity = progress(total=0, desc=f"Predicting {self._slide_layer.name}")
        self._worker = create_worker(
            prediction_events,
            slide,
            model,
            self.chosen_settings(),
            self._view_box(),
            self._control,
            _connect={
                "yielded": self._on_event,
                "errored": self._on_error,
                "finished": [self._on_finished, self._activity.close],
            },
            _ignore_errors=True,
        )
        self._stop_when_closed(self._control)
        self._look_timer.start()

    def stop(self) -> None:
        """Stop the run after the batch under way."""
        if self._control is not None:
            self._control.stop()
            self.cancel.setEnabled(False)
            self.status.setText("Stopping …")

    def closeEvent(self, event: Any) -> None:  # Qt's name
        """Stop the run with the widget."""
        self.stop()
        super().closeEvent(event)

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Stop the run when the widget is taken out of its dock, as napari's × does.

        A dock that is hidden, floating or behind another tab keeps its widget and its run.
        """
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self.slide.follow()
            else:
                self.stop()
                self.slide.close()

    def _stop_when_closed(self, control: RunControl) -> None:
        """Stop a run with the viewer, which destroys the widget, and with the application."""
        application = QCoreApplication.instance()
        assert application is not None
        self.destroyed.connect(control.stop)
        application.aboutToQuit.connect(control.stop)
        self._worker.finished.connect(lambda: application.aboutToQuit.disconnect(control.stop))

    def _on_event(self, event: Any) -> None:
        from napari_nh2st.inference import Finished, Started, TilesDone

        match event:
            case Started():
                self._on_started(event)
            case TilesDone():
                self.bar.setValue(event.done)
                self.status.setText(
                    f"{event.done:,} of {event.total:,} tiles, {event.tiles_per_s:.1f} tiles/s, "
                    f"{_duration(event.seconds_left)} left"
                )
                if time.monotonic() - self._last_refresh > _SECONDS_BETWEEN_REFRESHES:
                    self._refresh()
                # Last: napari's bar handles waiting events, the next of ours among them.
                self._activity.update(event.done - self._activity.n)
            case Finished():
                self._refresh()
                failed = f", {event.n_failed} could not be read" if event.n_failed else ""
                self.status.setText(
                    f"{event.prediction.n_obs:,} tiles in {_duration(event.seconds)}{failed}"
                )
                if event.n_failed:
                    show_warning(f"{event.n_failed} tiles could not be read and have no value.")

    def _on_started(self, event: Any) -> None:
        assert self._slide_layer is not None
        self.prediction = event.prediction
        self.heatmap = None
        self.export.offer(event.prediction, self._slide_layer.name)
        self.bar.setRange(0, event.total)
        self.bar.setValue(event.done)
        for notice in event.notices:
            show_warning(notice)
        genes = list(event.prediction.var_names)
        shown = self.gene.currentText() if self.gene.currentText() in genes else genes[0]
        self.gene.blockSignals(True)
        self.gene.clear()
        self.gene.addItems(genes)
        self.gene.setCurrentText(shown)
        self.gene.blockSignals(False)
        if self._slide_layer in self.viewer.layers:
            self._remove_former_heatmap(self._slide_layer)
            self.heatmap = Heatmap.add(self.viewer, self._slide_layer, event.prediction, shown)
            self._heatmaps[self._slide_layer] = self.heatmap
        self.status.setText(f"{event.total:,} tiles on {event.device} in {event.precision}")
        self._activity.total = event.total

    def _remove_former_heatmap(self, slide_layer: Image) -> None:
        """Remove what an earlier run shows on the slide, unless the user named it to keep it."""
        former = self._heatmaps.pop(slide_layer, None)
        if former is not None and former.layer in self.viewer.layers and not former.renamed:
            self.viewer.layers.remove(former.layer)

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, InputError):
            show_error(str(error))
        else:
            show_error(f"The prediction failed: {type(error).__name__}: {error}")
        self.status.setText(str(error))

    def _on_finished(self) -> None:
        stopped = self._control is not None and self._control.stopped
        self._control = self._worker = None
        self.slide.release()
        self._look_timer.stop()
        self._show_running(False)
        if self.bar.maximum() == 0:  # neither tiles nor their number came
            self.bar.setRange(0, 1)
            self.bar.reset()
        if stopped:
            self._refresh()
            done, total = self.bar.value(), self.bar.maximum()
            self.status.setText(
                f"Stopped at {done:,} of {total:,} tiles."
                if done > 0
                else "Stopped before the first tile."
            )

    def _refresh(self) -> None:
        self._last_refresh = time.monotonic()
        if self.heatmap is not None and self.heatmap.layer in self.viewer.layers:
            self.heatmap.refresh()

    def _look(self) -> None:
        box = self._view_box()
        if self._control is not None and box is not None:
            self._control.look_at(box)

    def _view_box(self) -> tuple[float, float, float, float] | None:
        """What of the slide is in view, (y0, x0, y1, x1) in full-resolution pixels."""
        layer = self._slide_layer or self.slide.layer
        if layer is None or layer not in self.viewer.layers:
            return None
        factor = layer.downsample_factors[layer.data_level][-2:] if layer.multiscale else (1, 1)
        (y0, x0), (y1, x1) = layer.corner_pixels[:, -2:] * factor
        return (float(y0), float(x0), float(y1), float(x1)) if y1 > y0 and x1 > x0 else None

    # --- what the controls do ---

    def _on_model_changed(self) -> None:
        name = self.model.currentText().strip()
        note = "" if name else "No model is bundled with this version: choose a folder."
        panel: tuple[str, ...] = ()
        if name and not _is_hub_id(name):
            try:
                config = read_config(find_model(name))
            except InputError as error:
                note = str(error)
            else:
                panel = config.panel
                note = f"{len(panel)} genes, {config.mpp:g} µm/px, context {config.context}"
                if not config.trained:
                    note = f"<b style='color:#d9534f'>UNTRAINED</b>: values mean nothing. {note}"
        self.model_note.setText(note)
        self.genes.set_panel(panel)

    def _on_browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a model folder")
        if folder:
            self.model.setCurrentText(folder)

    def _on_gene_chosen(self, gene: str) -> None:
        if self.heatmap is not None and gene in self.heatmap.prediction.var_names:
            self.heatmap.show(gene)

    # --- appearance ---

    def _show_running(self, running: bool) -> None:
        self.run.setEnabled(not running)
        self.cancel.setEnabled(running)
        self.export.set_filling(running)
        if running:
            self.bar.setRange(0, 0)

    def _lay_out(self) -> None:
        model = QHBoxLayout()
        model.addWidget(self.model, 1)
        model.addWidget(self.browse)
        form = QFormLayout()
        form.addRow("Slide", self.slide.picker.native)
        form.addRow("µm/px", self.slide.mpp)
        form.addRow("Model", model)
        form.addRow(self.model_note)
        form.addRow("Device", self.device)
        form.addRow("Genes", self.genes)
        form.addRow("Pitch", self.pitch)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run)
        buttons.addWidget(self.cancel)
        shown = QFormLayout()
        shown.addRow("Show gene", self.gene)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        layout.addLayout(shown)
        layout.addWidget(self.export)
        layout.addStretch()


def _is_hub_id(name: str) -> bool:
    return "@" in name and not Path(name).is_dir()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
