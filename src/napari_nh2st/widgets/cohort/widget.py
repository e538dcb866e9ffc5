"""*Cohort* dock: a queue of slides, predicted one after another into one folder."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import (
    QFormLayout,
    QPushButton,
    QSizePolicy,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.cohort.events import (
    CohortStarted,
    SlideEnded,
    SlideProgress,
    WaitingForWorkers,
)
from napari_nh2st.cohort.progress import progress_in_words, slide_count
from napari_nh2st.errors import InputError
from napari_nh2st.jobs import JobFailed
from napari_nh2st.jobs.cohort_run import CohortChoice, CohortRun
from napari_nh2st.model.sources import whole_path
from napari_nh2st.session import Session
from napari_nh2st.session.cohort_queue import QueuedSlide
from napari_nh2st.session.cohort_result import read_result, show_result
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.child_jobs import JobThread
from napari_nh2st.widgets.cohort.means import MeansTable
from napari_nh2st.widgets.cohort.queue_table import QueueTable
from napari_nh2st.widgets.cohort.settings_form import CohortSettingsForm
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.dock import Dock
from napari_nh2st.widgets.folded import Folded
from napari_nh2st.widgets.model_picker import ModelPicker
from napari_nh2st.widgets.notifications import show_error, show_info
from napari_nh2st.widgets.remembered_controls import RememberedControls
from napari_nh2st.widgets.run_controls import RunControls
from napari_nh2st.widgets.scrolled import scroll_within
from napari_nh2st.widgets.setting_controls import FileLine

if TYPE_CHECKING:
    import napari

_STEPS = 1000
"""Of the progress bar."""

_MS_BEFORE_SAVING = 500


class CohortWidget(Dock):
    """Predict many slides in a child process, and compare them in one table.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.

    Attributes
    ----------
    queue, table
        The slides, of the session, and their table.
    model, folder, settings
        Of the next run.
    run_button, pause, cancel, bar, status
        Controls of the run; the first resumes one that is paused.
    means
        Table of the results.
    run
        The job under way; None while none runs.
    is_paused
        Whether a run was begun, and waits to be resumed.
    """

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, "cohort", has_jobs=True, parent=parent)
        self.session = Session.of(napari_viewer)
        self.queue = self.session.cohort
        self.run: CohortRun | None = None
        self.is_paused = False
        self._choice: CohortChoice | None = None
        self._wants_more = self._is_edited = self._has_failed = False
        self.thread_of_job = JobThread(self)
        self._opening = Background(self)
        self._saving = Background(self, debounce_ms=_MS_BEFORE_SAVING)
        self.table = QueueTable(self.session, self.connections)
        self.model = ModelPicker()
        self.folder = FileLine("Folder of the results", "choose a folder", folder=True)
        self.folder.setToolTip("Folder for the prediction of each slide, and summary.csv")
        self.settings = CohortSettingsForm(DevicePicker(self.idle_jobs))
        self.controls = RunControls()
        self.run_button, self.cancel = self.controls.run, self.controls.cancel
        self.bar, self.status = self.controls.bar, self.controls.status
        self.pause = QPushButton("Pause")
        self.means = MeansTable(self.session, self.connections)
        self._lay_out()

        self.thread_of_job.event.connect(self._on_event)
        self.thread_of_job.failed.connect(self._on_error)
        self.thread_of_job.finished.connect(self._on_finished)
        self.run_button.clicked.connect(self.start)
        self.pause.clicked.connect(self.pause_run)
        self.cancel.clicked.connect(self.stop)
        self.table.edited.connect(self._on_edited)
        for part in (self.table, self.means):
            part.opened.connect(self.open_result)
        self.model.changed.connect(self._on_model)
        self.settings.reset.clicked.connect(self.reset_settings)
        controls = {"model": self.model, "folder": self.folder, **self.settings.controls}
        del controls["features"]  # those of another cohort are of no use
        self._remembered_controls = RememberedControls(self.remembered, controls)
        self.folder.changed.connect(self._on_folder)
        self._on_model(self.model.config)
        self.connections.when_opened(self._on_opened)
        self._show_running()
        self.open()

    # --- running ---

    @property
    def is_running(self) -> bool:
        """Whether slides are being predicted."""
        return self.run is not None

    def start(self) -> None:
        """Predict the queue, or go on after a pause; problems are shown as notifications."""
        if self.is_running:
            return
        if not self.is_paused:
            try:
                self._choice = self._chosen()
            except InputError as error:
                show_error(str(error))
                self.status.setText(str(error))
                return
            self.queue.begin()
        self.is_paused = False
        self._start_job()

    def pause_run(self) -> None:
        """Stop after the batch under way; *Resume* goes on from there."""
        if self.run is not None:
            self.is_paused = True
            self._stop_job("Pausing after this batch …")

    def stop(self) -> None:
        """End the run after the batch under way; results stay."""
        self.is_paused = False
        if self.run is not None:
            self._stop_job("Stopping after this batch …")
        else:
            self._end_run()

    def end_jobs(self) -> None:
        """Stop the run with the dock; the next goes on from there."""
        if self.run is not None:
            self._wants_more = False
            self.run.stop()

    def _chosen(self) -> CohortChoice:
        folder = self.folder.value()
        if not self.queue.rows:
            raise InputError("The queue is empty: add slides, a folder or a table of slides.")
        if folder is None:
            raise InputError("Choose the folder of the results.")
        predict, cohort = self.settings.chosen()
        overwrite = self.settings.overwrite.isChecked()
        model = whole_path(self.model.value())
        return CohortChoice(Path(folder), model, predict, cohort, overwrite)

    def _start_job(self) -> None:
        assert self._choice is not None
        self._saving.stop()  # the job writes the summary
        slides = self.queue.send()
        if not slides:  # all that was left has been removed
            self._end_run()
            return
        self._wants_more, self._is_edited, self._has_failed = True, False, False
        self.run = CohortRun(self.process.ready(), slides, self._choice)
        self._show_running()
        self.status.setText("Loading the model …")
        self.thread_of_job.start(self.run.events, f"Predicting {slide_count(len(slides))}")

    def _stop_job(self, text: str) -> None:
        assert self.run is not None
        self._wants_more = False
        self.run.stop()
        self.pause.setEnabled(False)
        self.status.setText(text)

    def _on_event(self, event: Any) -> None:
        self.queue.show_event(event)
        if isinstance(event, CohortStarted):
            for notice in event.notices:
                show_info(notice)
        if isinstance(event, SlideProgress | SlideEnded):
            self._show_progress(event)
        if isinstance(event, WaitingForWorkers) and self.run is not None and not self.run.stopped():
            self.status.setText(f"{event}; Cancel stops.")

    def _show_progress(self, event: SlideProgress | SlideEnded) -> None:
        """Show how far all slides are, those of earlier jobs of this run among them."""
        rows, progress = len(self.queue.rows), event.progress
        before = rows - progress.slides - self._n_new()
        done = before + progress.slides_done
        share = (before + progress.share * progress.slides) / max(rows, 1)
        if self.run is not None and not self.run.stopped():
            whole = replace(progress, slides_done=done, slides=rows)
            self.controls.show_progress(round(share * _STEPS), _STEPS, progress_in_words(whole))
        self.thread_of_job.show_progress(round(share * _STEPS), _STEPS)

    def _n_new(self) -> int:
        """Slides that were added since the job began."""
        return sum(row not in self.queue.sent for row in self.queue.waiting)

    def _on_error(self, error: Exception) -> None:
        self._has_failed = True
        if isinstance(error, InputError):
            text = str(error)
        elif isinstance(error, JobFailed):
            text = f"The run stopped. {error} Run continues with the remaining slides."
        else:
            text = f"The run stopped: {type(error).__name__}: {error}"
        show_error(text)
        self.status.setText(text)

    def _on_finished(self) -> None:
        run, self.run = self.run, None
        self.queue.show_ended()
        if run is not None and run.is_aborted:
            self.process.start_again()
        if self._wants_more and not self._has_failed and self.queue.waiting:
            self._start_job()  # slides were added, or put into another order
            return
        self._save_queue()
        if self.is_paused and not self.queue.waiting:
            self.is_paused = False
        if self.is_paused:
            left = len(self.queue.waiting)
            self.status.setText(f"Paused: {slide_count(left)} left. Resume continues from there.")
            self._show_running()
        else:
            self._end_run()

    def _end_run(self) -> None:
        """Say how the run ended."""
        self._choice = None
        self.queue.end()
        if not self._has_failed:
            rows = self.queue.rows
            done = sum(row.state == "done" for row in rows)
            failed = sum(row.state == "failed" for row in rows)
            text = f"{slide_count(done, len(rows))} done"
            if failed:
                text += f", {failed} failed: select one to read why"
            if done + failed < len(rows):
                text += "; Run continues with the others"
            self.status.setText(f"{text}.")
        self._show_running()

    # --- choices ---

    def reset_settings(self) -> None:
        """All controls as they were at first; the queue stays."""
        folder = self.folder.value()
        self._remembered_controls.reset()
        self.folder.show_value(folder)
        self.settings.reset_unremembered()

    def _on_edited(self) -> None:
        """The queue was edited: a job that has it otherwise ends with its slide."""
        if self.run is not None and not self._is_edited:
            self._is_edited = True
            self.run.finish_slide()
        elif self.run is None:
            self._save_queue()

    def _save_queue(self) -> None:
        folder = self.queue.folder
        if folder is not None:
            self._saving.start(self.queue.save, failed=lambda error: show_error(str(error)))

    def _on_folder(self, _text: str = "") -> None:
        folder = self.folder.value()
        if self.is_running or (folder and Path(folder)) == self.queue.folder:
            return
        try:
            self.queue.open_folder(Path(folder) if folder else None)
        except InputError as error:
            show_error(str(error))
        self._show_running()

    def _on_opened(self) -> None:
        self._on_folder()
        self._show_running()

    def _on_model(self, config: Any) -> None:
        self.settings.show_for(config, self.form)

    def open_result(self, row: QueuedSlide) -> None:
        """Show the slide and the map of a row in the viewer, also while others are predicted."""
        if row.state != "done" or row.output is None:
            show_info(f"{row.slide.name} has no result yet{': ' * bool(row.failure)}{row.failure}")
            return
        self._opening.start(
            read_result,
            row.slide,
            row.output,
            done=lambda loaded: show_result(self.session, loaded),
            failed=lambda error: show_error(f"{row.slide.name} could not be opened: {error}"),
        )

    # --- appearance ---

    def _show_running(self) -> None:
        running = self.is_running
        begun = running or self.is_paused
        self.controls.show_running(running)
        self.run_button.setText("Resume" if self.is_paused else "Run")
        self.cancel.setEnabled(begun)
        self.pause.setEnabled(running)
        for part in (self.model, self.folder, self.settings):
            part.setEnabled(not begun)

    def _lay_out(self) -> None:
        self.run_button.setToolTip("Predict the slides from top to bottom; those done are skipped")
        self.pause.setToolTip("Stop after the batch under way; Resume continues from there")
        self.cancel.setToolTip("End the run after the batch under way; results stay")
        self.bar.setToolTip("All slides of the queue")
        self.controls.add_button(self.pause)
        self.form = form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.addRow("Model", self.model)
        form.addRow("Features", self.settings.features)
        form.addRow("Results", self.folder)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.addWidget(self.table, 1)
        layout.addLayout(form)
        layout.addWidget(
            Folded("More", self.settings, "Step, genes, tissue, device, format, workers")
        )
        queue = QWidget()
        scroll_within(queue, content, below=self.controls)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        for panel, title, tip in (
            (queue, "Slides", "Queue of slides, with the status of each"),
            (self.means, "Table", "Means of genes and signatures in each slide and region"),
        ):
            self.tabs.setTabToolTip(self.tabs.addTab(panel, title), tip)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.tabs)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
