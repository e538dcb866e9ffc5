"""*Train* dock: sections, settings, a run that can be watched, stopped and resumed."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget
from superqt.utils import qdebounced

from napari_nh2st.errors import InputError
from napari_nh2st.jobs import JobFailed
from napari_nh2st.jobs.training import Trained
from napari_nh2st.jobs.training_report import (
    NO_RELIABILITY,
    NOT_SCORED,
    how_it_ended,
    how_it_was_cut_short,
    validation_summary,
)
from napari_nh2st.jobs.training_run import TrainingRun
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.session import Session
from napari_nh2st.training.checks import check_folder, check_record
from napari_nh2st.training.events import EpochDone, TrainStarted
from napari_nh2st.training.known_models import remember_run, unfinished_runs
from napari_nh2st.training.notices import check_overlaps
from napari_nh2st.training.record import RunRecord, is_unfinished, read_record
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.widgets.child_jobs import JobThread
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.dock import Dock, open_dock
from napari_nh2st.widgets.labels import MarkupLabel
from napari_nh2st.widgets.model_picker import add_model
from napari_nh2st.widgets.notifications import show_error, show_info
from napari_nh2st.widgets.scrolled import scroll_within
from napari_nh2st.widgets.train.comparison import ArchitectureComparisonPanel
from napari_nh2st.widgets.train.model_place import ModelPlace
from napari_nh2st.widgets.train.progress import TrainingProgress
from napari_nh2st.widgets.train.sections import SectionsTable
from napari_nh2st.widgets.train.settings_form import TrainSettingsForm
from napari_nh2st.widgets.train.start_notices import StartNotices
from napari_nh2st.widgets.train.unfinished_offer import UnfinishedOffer

if TYPE_CHECKING:
    import napari

_CHECK_MS = 500
_TRAIN_KEY, _STOP_KEY = "F7", "Shift+F7"


class TrainWidget(Dock):
    """Train or fine-tune a model on measured sections, in a process of its own.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.

    Attributes
    ----------
    offer
        A training that was not finished, offered to be resumed.
    sections, table
        Sections to train on, of the session, and their table.
    settings, place
        Settings, and name and folder of the model.
    start_notices
        Notices on the training before it begins.
    comparison
        Comparison of architectures on the same sections.
    progress, train, stop_button, bar, status, notes, curves, scores
        Progress and results, and the parts of that.
    predict
        Opens the Predict dock with the new model.
    model_folder
        Folder of the model that was trained last; None before.
    predict_with
        Emitted with that folder when the user wants to predict with it.
    """

    predict_with = Signal(str)

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, "train", has_jobs=True, parent=parent)
        self.run: TrainingRun | None = None
        self.thread_of_job = JobThread(self)
        self.model_folder: Path | None = None
        self._trained: Trained | None = None
        self._ending = ""
        self.offer = UnfinishedOffer()
        session = Session.of(napari_viewer)
        self.sections = session.training_sections
        self.table = SectionsTable(session, self.connections)
        self.settings = TrainSettingsForm(DevicePicker(self.idle_jobs))
        self.place = ModelPlace()
        self.start_notices = StartNotices()
        self.comparison = ArchitectureComparisonPanel(
            self._chosen_record, lambda: self.place.chosen_folder, self.process
        )
        self.progress = TrainingProgress()
        controls = self.progress.controls
        self.train, self.stop_button = controls.run, controls.cancel
        self.bar, self.status, self.notes = controls.bar, controls.status, self.progress.notes
        self.curves, self.scores = self.progress.curves, self.progress.scores
        self.predict = QPushButton("Predict with it")
        self.predict.setToolTip("Open the Predict dock with the new model")
        self._lay_out()

        self.thread_of_job.event.connect(self._on_event)
        self.thread_of_job.failed.connect(self._on_error)
        self.thread_of_job.finished.connect(self._on_finished)
        self.comparison.running_changed.connect(self._on_comparing)
        self.train.clicked.connect(self.start)
        self.stop_button.clicked.connect(self.stop)
        self.bind_key(_TRAIN_KEY, self.train)
        self.bind_key(_STOP_KEY, self.stop_button)
        self.predict.clicked.connect(lambda: self.predict_with.emit(str(self.model_folder)))
        self.offer.take_over.clicked.connect(self._on_take_over)
        self.connect_to(self.sections.changed, self._on_sections)
        self.settings.changed.connect(self._show_what_starts)
        self._check_soon = qdebounced(self._check_features, _CHECK_MS, parent=self)
        self.settings.changed.connect(self._check_soon)
        self.settings.reset.clicked.connect(self.remembered.reset)
        self.settings.trust_positions.toggled.connect(self._on_trust_positions)
        self.place.changed.connect(self._show_what_starts)
        self.start_notices.wanted.connect(self.sections.hold_out)
        self.predict_with.connect(self._open_predict)
        self.offer.offer(next(iter(unfinished_runs()), None))
        self.settings.restore(self.remembered.get)
        self._check_features()
        self._show_running(False)
        self._show_what_starts()
        self.open()

    # --- choices ---

    def chosen_settings(self) -> TrainSettings:
        """The settings as the controls say.

        Raises
        ------
        InputError
            Something typed cannot be used.
        """
        return self.settings.chosen()

    def _chosen_record(self) -> RunRecord:
        """The training that the controls stand for.

        Raises
        ------
        InputError
            Sections or settings cannot be used.
        """
        return RunRecord(
            self.sections.chosen(),
            self.settings.chosen(),
            self.place.chosen_name,
            self.sections.names("hold out"),
            self.settings.trust_positions.isChecked(),
        )

    def _start_config(self) -> ModelConfig | None:
        """Description of the start model; None without one, or where it is still to be fetched."""
        return None if self.settings.from_random.isChecked() else self.settings.start.config

    def _check(self, folder: Path, record: RunRecord) -> None:
        """Refuse what the training would refuse only after it has read everything."""
        if record.resumes(folder):
            return  # it was begun with these: what they are worth was seen then
        if is_unfinished(folder):
            self.offer.offer(folder)
            self._scroll_to_top()
            raise InputError(
                f"{folder} holds an unfinished training with other sections or settings: take "
                "them over (above) to resume it, or give another folder."
            )
        check_folder(folder, record)
        start, panel = self._start_config(), record.settings.panel
        check_record(record, start)
        if panel is None and start is not None:
            check_overlaps(start.panel, self.sections.genes())
        elif panel is not None and panel.rule == "given":
            self.settings.genes.show_match()
            if problem := self.settings.genes.problem():
                raise InputError(problem)

    # --- running ---

    @property
    def is_running(self) -> bool:
        """Whether a training or a comparison runs."""
        return self.run is not None or self.comparison.is_running

    def start(self) -> None:
        """Train with what is chosen; problems are shown as notifications."""
        if self.is_running:
            return
        folder = self.place.chosen_folder
        self._check_features()
        try:
            record = self._chosen_record()
            self._check(folder, record)
        except InputError as error:
            show_error(str(error))
            return
        self.remembered.set(**self.settings.to_remember())
        self.run = TrainingRun(self.process.ready(), record, folder)
        remember_run(folder)
        self.offer.offer(None)
        self.model_folder = self._trained = None
        self._ending = ""
        self.progress.begin()
        self._show_running(True)
        self.thread_of_job.start(self.run.events, f"Training {record.name or folder.name}")

    def stop(self) -> None:
        """Stop after the step under way, keeping the best.

        Pressed again, before the first step, or once the model is written, it ends at once.
        """
        run = self.run
        if run is None:
            return
        if run.is_loading:
            run.stop()
            self.progress.show_stopping("Stopping …")
            self.stop_button.setEnabled(False)
        elif not run.stopped() and self._trained is None:
            run.stop()
            self.progress.show_stopping("Stopping after this step; the best so far is kept …")
            self.stop_button.setText("Abort")
            self.stop_button.setToolTip(f"End at once; the last checkpoint is kept ({_STOP_KEY})")
        elif not run.is_aborted:
            run.abort()
            self.stop_button.setEnabled(False)

    def end_jobs(self) -> None:
        """End the training with the dock; its checkpoint stays. A comparison ends likewise."""
        self.comparison.close_job()
        if self.run is not None:
            self.run.close()

    def _on_event(self, event: Any) -> None:
        if self.run is None:
            return
        if isinstance(event, Trained):
            self._trained = event
            self.model_folder = event.folder
            add_model(event.folder)
            self.stop_button.setText("Skip")  # it is only scored now
            self.stop_button.setToolTip(f"End without the scores; the model is kept ({_STOP_KEY})")
        self.progress.show_event(event, self.run.folder)
        if isinstance(event, TrainStarted | EpochDone):
            self.thread_of_job.show_progress(event.epoch, event.epochs)

    def _on_error(self, error: Exception) -> None:
        assert self.run is not None
        if isinstance(error, InputError):
            text = str(error)
        elif isinstance(error, JobFailed):
            text = f"The training failed. {error}"
        else:
            text = f"The training failed: {type(error).__name__}: {error}"
        if is_unfinished(self.run.folder):
            text += f" It can be resumed from its last checkpoint in {self.run.folder}."
        show_error(text)
        self._ending = text

    def _on_finished(self) -> None:
        run, self.run = self.run, None
        assert run is not None
        self.process.start_again()  # the training's own ended with it
        resumable = is_unfinished(run.folder)
        if not self._ending:
            trained = self._trained
            self._ending = (
                how_it_was_cut_short(run.is_aborted and not run.is_loading, resumable)
                if trained is None
                else self._report(run, trained)
            )
        self.status.setText(self._ending)
        if resumable:  # the next press of the button is to find it, wherever it was put
            self.place.folder.show_value(str(run.folder))
        elif self.model_folder is not None:  # its folder is taken now
            self.place.show_place(None, None)
            self.place.take_next_name()
        self._show_running(False)
        self._show_what_starts()

    def _report(self, run: TrainingRun, trained: Trained) -> str:
        """Report of a training in lines; a notification says the most important of it."""
        how = how_it_ended(trained, run.seconds)
        validation = validation_summary(trained, self.progress.curves.epochs)
        scores = self.progress.scores.change.summary()
        if not scores:
            scores = NOT_SCORED if run.record.held_out else NO_RELIABILITY
        name = run.record.name or run.folder.name
        show_info(" ".join(filter(None, (f"Training {name}: {how}", scores or validation))))
        place = f"The model is in {trained.folder}"
        return "\n".join(filter(None, (how, validation, scores, place)))

    # --- what is shown ---

    def _on_sections(self) -> None:
        self.settings.set_validated(self.sections.names("validate"))
        self.settings.set_sections(self.sections.genes())
        self._show_what_starts()

    def _check_features(self) -> None:
        self.sections.features = self.settings.features

    def _on_trust_positions(self, trust: bool) -> None:
        self.sections.trust_positions = trust

    def _show_what_starts(self) -> None:
        """*Resume* where the next run would go on with one that was not finished."""
        folder = self.place.chosen_folder
        resumes = False
        if is_unfinished(folder):
            with suppress(InputError):  # something is still to be corrected
                resumes = self._chosen_record().resumes(folder)
        self.train.setText("Resume" if resumes else "Train")
        what = (
            f"Resume the unfinished training in {folder}"
            if resumes
            else f"Train with these sections and settings; the model goes into {folder}"
        )
        self.train.setToolTip(f"{what} ({_TRAIN_KEY})")
        self._show_start_notices()

    def _show_start_notices(self) -> None:
        """Show what to know before the training begins."""
        genes = None if self.settings.panel.value() is not None else self.sections.genes()
        self.start_notices.show_what_to_know(self.sections, self._start_config(), genes)

    def _show_running(self, running: bool) -> None:
        for part in (self.table, self.settings, self.place, self.start_notices, self.comparison):
            part.setEnabled(not running)
        self.progress.show_running(running)
        self.stop_button.setText("Stop")
        self.stop_button.setToolTip(
            f"Stop after the step under way and keep the best so far ({_STOP_KEY})"
        )
        self.predict.setVisible(not running and self.model_folder is not None)

    def _on_comparing(self, running: bool) -> None:
        for part in (self.table, self.settings, self.place, self.start_notices, self.train):
            part.setEnabled(not running)

    def _on_take_over(self) -> None:
        """Show the sections and settings of the training that is offered."""
        folder = self.offer.folder
        if folder is None:
            return
        try:
            record = read_record(folder)
        except InputError as error:
            show_error(str(error))
            return
        validated = record.settings.validation_sections
        self.sections.show(record.sections, record.held_out, validated)
        self.settings.show_settings(record.settings)
        self.settings.trust_positions.setChecked(record.trust_positions)
        self.place.show_place(record.name, folder)
        self.offer.offer(None)

    def _open_predict(self, folder: str) -> None:
        if (widget := open_dock(self.viewer, "Predict")) is not None:
            widget.model.choose(folder)

    # --- appearance ---

    def _scroll_to_top(self) -> None:
        bar = self.scroll_area.verticalScrollBar()
        if bar is not None:
            bar.setValue(bar.minimum())

    def _lay_out(self) -> None:
        inside = QWidget()
        content = QVBoxLayout(inside)
        for part in (
            self.offer,
            MarkupLabel("<b>Sections</b>"),
            self.table,
            MarkupLabel("<b>Settings</b>"),
            self.settings,
            self.place,
            self.start_notices,
            self.comparison,
            self.progress,
        ):
            content.addWidget(part)
        content.addStretch()
        self.progress.controls.add_below(self.predict)  # in sight, however long the scores
        self.scroll_area = scroll_within(self, inside, below=self.progress.controls)
        self.scroll_area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
