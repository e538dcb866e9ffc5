"""The *Train* widget: sections, settings, a run that can be watched, stopped and resumed."""

import csv
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QWidget

from napari_nh2st.durations import duration
from napari_nh2st.errors import InputError
from napari_nh2st.jobs import JobFailed
from napari_nh2st.jobs.training import HeldOut, Notice, Reading, Scoring, Trained
from napari_nh2st.shown_text import for_qt
from napari_nh2st.training.events import EpochDone, Preparing, StepDone, TrainStarted
from napari_nh2st.training.known_models import remember_model, remember_run, unfinished_runs
from napari_nh2st.training.record import RunRecord, is_unfinished, read_record
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.widgets.child_jobs import Jobs, JobThread, SharedJobs
from napari_nh2st.widgets.notifications import show_error, show_info
from napari_nh2st.widgets.remembered import Remembered
from napari_nh2st.widgets.train.controls import STOP_KEY, TRAIN_KEY, TrainControls, goes_on
from napari_nh2st.widgets.train.curves import epochs_of
from napari_nh2st.widgets.train.ending import NO_RELIABILITY, how_it_ended, validation_in_words
from napari_nh2st.widgets.train.run import TrainingRun

if TYPE_CHECKING:
    import napari

_PARTS = 1000
"""Of an epoch, for the bar."""


class TrainWidget(TrainControls):
    """Train or fine-tune a model on measured sections, in a process of its own.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.

    Attributes
    ----------
    model_folder
        Of the model that was trained last; None before.
    predict_with
        Emitted with that folder when the user wants to predict with it.
    """

    predict_with = Signal(str)

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        self._run: TrainingRun | None = None
        super().__init__(napari_viewer, parent)
        self._process = SharedJobs(self)
        self._thread = JobThread(self)
        self.model_folder: Path | None = None
        self._offered: Path | None = None
        self._trained: Trained | None = None
        self._remembered = Remembered("train")

        self._thread.event.connect(self._on_event)
        self._thread.failed.connect(self._on_error)
        self._thread.finished.connect(self._on_finished)
        self.train.clicked.connect(self.start)
        self.stop_button.clicked.connect(self.stop)
        self.predict.clicked.connect(self._on_predict)
        self.take_over.clicked.connect(self._on_take_over)
        self.dismiss.clicked.connect(lambda: self._offer(None))
        self.sections.changed.connect(self._on_sections)
        self.settings.changed.connect(self._show_what_starts)
        self.settings.reset.clicked.connect(self._remembered.reset)
        self.outlook.wanted.connect(self.hold_out)
        self.settings.trust_positions.toggled.connect(self.sections.set_trust_positions)
        self.name.textChanged.connect(self._show_what_starts)
        self.folder.changed.connect(self._show_what_starts)
        self.predict_with.connect(self._open_predict)
        self._offer(next(iter(unfinished_runs()), None))
        self.settings.restore(self._remembered.get)
        self._show_running(False)
        self._show_what_starts()

    # --- what was chosen ---

    def chosen_settings(self) -> TrainSettings:
        """The settings as the controls say.

        Raises
        ------
        InputError
            Something typed cannot be used.
        """
        return self.settings.chosen()

    # --- running ---

    @property
    def is_running(self) -> bool:
        """Whether a training runs."""
        return self._run is not None

    def start(self) -> None:
        """Train with what is chosen; problems are shown as notifications."""
        if self._run is not None:
            return
        folder = self.chosen_folder()
        try:
            record = self.chosen_record()
            self._check(folder, record)
        except InputError as error:
            show_error(str(error))
            return
        self._remembered.set(**self.settings.to_remember())
        self._run = TrainingRun(self._process.ready(), record, folder)
        remember_run(folder)
        self._offer(None)
        self.scores.clear()
        self.curves.clear_epochs()
        self.model_folder = self._trained = None
        self._show_running(True)
        self.status.setText("Starting …")
        name = record.name or folder.name
        self._thread.start(self._run.events, f"Training {name}")

    def stop(self) -> None:
        """Stop after the step under way, keeping the best; pressed again, or early, end at once."""
        run = self._run
        if run is None:
            return
        if run.is_loading:
            run.stop()
            self.status.setText("Stopping …")
            self.stop_button.setEnabled(False)
        elif not run.stopped():
            run.stop()
            self.status.setText("Stopping after this step; the best so far is kept …")
            self.stop_button.setText("Abort")
            self.stop_button.setToolTip(f"End at once; the last checkpoint stays ({STOP_KEY})")
        elif not run.is_aborted:
            run.abort()
            self.stop_button.setEnabled(False)

    def closeEvent(self, event: Any) -> None:  # Qt's name
        """End the training with the widget; its checkpoint stays."""
        self._close_down()
        super().closeEvent(event)

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """End the training when the widget is taken out of its dock, as napari's × does."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._close_down()

    def hold_out(self, name: str) -> None:
        """Give a section the role *hold out*; the table's undo takes it back."""
        rows = self.sections.rows
        numbers = [number for number, row in enumerate(rows.all) if row.name == name]
        self.sections.model.update(lambda: rows.change(numbers, role="hold out"))

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Have the child process load its libraries while the user still chooses."""
        super().showEvent(event)
        self._process.ready()

    def idle_jobs(self) -> Jobs | None:
        """What tells which devices there are; None while a training runs."""
        return None if self._run is not None else self._process.ready()

    def _check(self, folder: Path, record: RunRecord) -> None:
        """Refuse what the training would refuse only after it has read everything."""
        if goes_on(folder, record):
            return  # it was begun with these: what they are worth was seen then
        if is_unfinished(folder):
            self._offer(folder)
            self.scroll_to_top()
            raise InputError(
                f"{folder} holds an unfinished training of other sections or settings: take "
                "them over (above) to resume it, or give another folder."
            )
        self.check_new(record, folder)

    def _close_down(self) -> None:
        if self._run is not None:
            self._run.close()
        self._process.close()
        self.sections.close_down()
        self.settings.close_down()

    # --- what it tells ---

    def _on_event(self, event: Any) -> None:
        match event:
            case Reading():
                self._show_progress(event.done, event.total, f"Reading {event.section} …")
            case Preparing():
                what = f"{event.what[0].upper()}{event.what[1:]}: {event.done:,} of {event.total:,}"
                self._show_progress(event.done, event.total, what)
            case TrainStarted():
                self._on_started(event)
            case StepDone():
                done = (event.epoch - 1) * _PARTS + _PARTS * event.step // event.steps
                self._show_progress(done, self.bar_epochs * _PARTS)
                if self._run is not None and not self._run.stopped():
                    self.status.setText(
                        f"Epoch {event.epoch} of {self.bar_epochs}, step {event.step} of "
                        f"{event.steps}, {event.spots_per_s:.0f} spots/s, at most "
                        f"{duration(event.seconds_left)} left"
                    )
            case EpochDone():
                self.curves.add(event)
                self._thread.show_progress(event.epoch, event.epochs)
            case Scoring():
                by = "the start model" if event.when == "before" else "the new model"
                text = f"Scoring {by} on {event.section}: {event.done:,} of {event.total:,} spots"
                self._show_progress(event.done, event.total, text)
            case HeldOut():
                self.scores.show_scores(event)
                self.show_notes(*event.notices)
            case Notice():
                self.show_notes(event.text)
            case Trained():
                self._trained = event
                self.model_folder = event.folder
                remember_model(event.folder)

    def _on_started(self, event: TrainStarted) -> None:
        self.bar_epochs = event.epochs
        self.show_notes(*event.notices)
        if event.epoch and self._run is not None:
            self.curves.add(*_earlier_epochs(self._run.folder, event.epoch))
        validated = f", validated on {', '.join(event.validation)}" if event.validation else ""
        self._show_progress(
            event.epoch * _PARTS,
            event.epochs * _PARTS,
            f"{event.n_spots:,} spots of {', '.join(event.training)}, {len(event.panel)} genes"
            f"{validated}, on {event.device} in {event.precision}",
        )
        self._thread.show_progress(event.epoch, event.epochs)

    def _end_in_words(self, run: TrainingRun, trained: Trained) -> str:
        """What came of a training; a notification says the most important of it."""
        how = how_it_ended(trained, run.seconds)
        validation = validation_in_words(trained, self.curves.epochs)
        scores = self.scores.in_short()
        if not scores and not run.record.held_out:
            scores = NO_RELIABILITY
        name = run.record.name or run.folder.name
        show_info(" ".join(filter(None, (f"Training {name}: {how}", scores or validation))))
        told = (how, validation, scores, f"The model is in {trained.folder}")
        return "\n".join(filter(None, told))

    def _on_error(self, error: Exception) -> None:
        assert self._run is not None
        if isinstance(error, InputError):
            text = str(error)
        elif isinstance(error, JobFailed):
            text = f"The training failed. {error}"
        else:
            text = f"The training failed: {type(error).__name__}: {error}"
        if is_unfinished(self._run.folder):
            text += f" It can be resumed from its last checkpoint in {self._run.folder}."
        show_error(text)
        self._ending = text

    def _on_finished(self) -> None:
        run, self._run = self._run, None
        assert run is not None
        self._process.start_again()  # the training's own ended with it
        resumable = is_unfinished(run.folder)
        if not self._ending:
            self._ending = (
                self._end_in_words(run, self._trained)
                if self._trained is not None
                else _end_without_model(run, resumable)
            )
        self.status.setText(self._ending)
        if resumable:  # the next press of the button is to find it, wherever it was put
            self.folder.show_value(str(run.folder))
        elif self.model_folder is not None:  # its folder is taken now
            self.folder.show_value(None)
            self.name.clear()
            self.take_next_name()
        self._show_running(False)
        self._show_what_starts()

    # --- what the controls do ---

    def _on_sections(self) -> None:
        self.settings.set_validated(self.sections.names("validate"))
        self.settings.set_sections(self.sections.genes())
        self._show_what_starts()

    def _show_what_starts(self) -> None:
        """*Resume* where the next run would go on with one that was not finished."""
        self.refresh_place()
        folder = self.chosen_folder()
        resumes = False
        if is_unfinished(folder):
            with suppress(InputError):  # something is still to be corrected
                resumes = goes_on(folder, self.chosen_record())
        self.train.setText("Resume" if resumes else "Train")
        what = (
            f"Go on with the unfinished training in {folder}"
            if resumes
            else f"Train with these sections and settings; the model goes into {folder}"
        )
        self.train.setToolTip(f"{what} ({TRAIN_KEY})")
        self.show_outlook()

    def _offer(self, folder: Path | None) -> None:
        """Offer to go on with a training of an earlier session."""
        self._offered = folder
        self.offer.setVisible(folder is not None)
        if folder is not None:
            self.unfinished.setText(f"A training in {folder.name} was not finished.")
            self.unfinished.setToolTip(for_qt(str(folder)))

    def _on_take_over(self) -> None:
        if self._offered is None:
            return
        folder = self._offered
        try:
            record = read_record(folder)
        except InputError as error:
            show_error(str(error))
            return
        self.show_record(record, folder)
        self._offer(None)

    def _on_predict(self) -> None:
        if self.model_folder is not None:
            self.predict_with.emit(str(self.model_folder))

    def _open_predict(self, folder: str) -> None:
        window = getattr(self.viewer, "window", None)
        if window is None:
            return
        dock, widget = window.add_plugin_dock_widget("napari-nh2st", "Predict", tabify=True)
        widget.model.choose(folder)
        dock.show()
        dock.raise_()

    # --- appearance ---

    def _show_progress(self, done: int, total: int, text: str = "") -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        if text and self._run is not None and not self._run.stopped():
            self.status.setText(text)

    def _show_running(self, running: bool) -> None:
        self.train.setEnabled(not running)
        self.sections.setEnabled(not running)
        self.settings.setEnabled(not running)
        self.name.setEnabled(not running)
        self.folder.setEnabled(not running)
        self.stop_button.setEnabled(running)
        self.stop_button.setText("Stop")
        self.stop_button.setToolTip(
            f"Stop after the step under way and keep the best so far ({STOP_KEY})"
        )
        self.bar.setVisible(running)
        self.outlook.setEnabled(not running)
        self.predict.setVisible(not running and self.model_folder is not None)
        if running:
            self.clear_notes()
            self._ending = ""
            self.bar_epochs = 1
            self.bar.setRange(0, 0)


def _end_without_model(run: TrainingRun, resumable: bool) -> str:
    """What is said of a training that was ended before it had a model."""
    was_begun = run.is_aborted and not run.is_loading
    how = "Aborted" if was_begun else "Stopped"
    if resumable:
        return f"{how}; Resume goes on from the last checkpoint."
    return f"{how} before the first {'checkpoint' if was_begun else 'step'}."


def _earlier_epochs(folder: Path, done: int) -> list[EpochDone]:
    """What the earlier runs told of their epochs."""
    try:
        with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
            epochs = epochs_of(list(csv.DictReader(file)))
    except (OSError, ValueError, TypeError):
        return []
    return [epoch for epoch in epochs if epoch.epoch <= done]
