"""Progress of a training: its bar, its curves, its scores, and what to know about them."""

from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_nh2st.durations import duration
from napari_nh2st.evaluation.events import HeldOut, Notice, Scoring
from napari_nh2st.jobs.training import Reading, Trained
from napari_nh2st.training.curves import earlier_epochs
from napari_nh2st.training.events import EpochDone, Preparing, StepDone, TrainStarted
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.run_controls import RunControls
from napari_nh2st.widgets.train.curves import TrainCurves
from napari_nh2st.widgets.train.scores import HeldOutScores

_PARTS = 1000
"""Steps of an epoch, for the bar."""


class TrainingProgress(QWidget):
    """Shows the events of a training.

    Attributes
    ----------
    controls
        Buttons, bar and status line, for the dock to lay out where they stay in sight.
    notes
        Notices on the training and its numbers; hidden while there is none.
    curves, scores
        Curves of the epochs, and scores of the held-out sections before and after.
    epochs
        That the training under way will have.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.epochs = 1
        self.controls = RunControls("Train", "Stop")
        self.controls.bar.setToolTip("Epochs done, or the preparation before them")
        self.notes = PlainLabel(wrap=True, tip="What to know about this training and its numbers")
        self.curves = TrainCurves()
        self.scores = HeldOutScores()
        self._notes: list[str] = []
        self._is_stopping = False
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (self.notes, self.curves, self.scores):
            layout.addWidget(part)
        self.show_running(False)
        self._show_notes()

    def begin(self) -> None:
        """Show a training of which nothing is known yet."""
        self.epochs = 1
        self._notes = []
        self._show_notes()
        self.scores.clear()
        self.curves.clear_epochs()
        self.controls.status.setText("Starting …")

    def show_running(self, running: bool) -> None:
        """Enable one of the buttons; there is a bar while a training runs."""
        self._is_stopping = False
        self.controls.show_running(running)
        self.controls.bar.setVisible(running)

    def show_stopping(self, status: str) -> None:
        """Say how it is stopped, instead of how far it is."""
        self._is_stopping = True
        self.controls.status.setText(status)

    def show_event(self, event: Any, folder: Path) -> None:
        """Show an event.

        Parameters
        ----------
        event
            Of :data:`~napari_nh2st.jobs.training.TrainingEvent`.
        folder
            Folder of the training, for what earlier runs in it have done.
        """
        match event:
            case Reading():
                self._show(event.done, event.total, f"Reading {event.section} …")
            case Preparing():
                what = f"{event.what[0].upper()}{event.what[1:]}"
                text = f"{what}: {event.done:,} of {event.total:,}"
                self._show(event.done, event.total, text)
            case TrainStarted():
                self._show_started(event, folder)
            case StepDone():
                done = (event.epoch - 1) * _PARTS + _PARTS * event.step // event.steps
                text = (
                    f"Epoch {event.epoch} of {self.epochs}, step {event.step} of {event.steps}, "
                    f"{event.spots_per_s:.0f} spots/s, at most {duration(event.seconds_left)} left"
                )
                self._show(done, self.epochs * _PARTS, text)
            case EpochDone():
                self.curves.add(event)
            case Scoring():
                by = "the start model" if event.when == "before" else "the new model"
                text = f"Scoring {by} on {event.section}: {event.done:,} of {event.total:,} spots"
                self._show(event.done, event.total, text)
            case HeldOut():
                self.scores.show_scores(event)
                self._show_notes(*event.notices)
            case Notice():
                self._show_notes(event.text)
            case Trained():
                self._is_stopping = False  # what follows takes a while, and is to be seen
                self.controls.status.setText("The model is saved.")

    def _show_started(self, event: TrainStarted, folder: Path) -> None:
        self.epochs = event.epochs
        self._show_notes(*event.notices)
        if event.epoch:
            self.curves.add(*earlier_epochs(folder, event.epoch))
        validated = f", validated on {', '.join(event.validation)}" if event.validation else ""
        self._show(
            event.epoch * _PARTS,
            event.epochs * _PARTS,
            f"{event.n_spots:,} spots of {', '.join(event.training)}, {len(event.panel)} genes"
            f"{validated}, on {event.device} in {event.precision}",
        )

    def _show(self, done: int, total: int, status: str) -> None:
        self.controls.show_progress(done, total, None if self._is_stopping else status)

    def _show_notes(self, *sentences: str) -> None:
        """Keep what the user should read below the status: notifications would pass by."""
        self._notes = list(dict.fromkeys([*self._notes, *sentences]))
        self.notes.setText("\n".join(f"• {sentence}" for sentence in self._notes))
        self.notes.setVisible(bool(self._notes))
