"""Comparison of architectures in the *Train* dock: chosen, run, and its table and figure."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from psygnal import Signal
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices, QPixmap
from qtpy.QtWidgets import QCheckBox, QFormLayout, QGridLayout, QPushButton, QVBoxLayout, QWidget

from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.settings import CompareSettings
from napari_nh2st.files import make_folder
from napari_nh2st.jobs import JobFailed
from napari_nh2st.jobs.architecture_comparison import Compared, Comparing
from napari_nh2st.jobs.stoppable import StoppableJob
from napari_nh2st.jobs.training import Reading
from napari_nh2st.model.catalogue import CATALOGUE, GUIDES
from napari_nh2st.model.config import CONTEXTS
from napari_nh2st.options import settings_of
from napari_nh2st.training.checks import section_donors
from napari_nh2st.training.record import RunRecord
from napari_nh2st.training.split import folds
from napari_nh2st.widgets.child_jobs import JobThread, SharedJobs
from napari_nh2st.widgets.folded import Folded
from napari_nh2st.widgets.frame_model import ColumnHead
from napari_nh2st.widgets.frame_table import FrameTable
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.notifications import show_error, show_info
from napari_nh2st.widgets.run_controls import RunControls
from napari_nh2st.widgets.setting_controls import control_for

_FIRST_CHOICE = ("linear", "nh2st:neighborhood", "sepal")
_TIP = "Find out which architecture predicts left-out parts of these sections best"
_PARTS = 1000
"""Steps of a training, for the bar."""

_TABLE_HEIGHT = 190
_HEADS = {
    "architecture": ColumnHead("architecture", "With its context or guides after the colon"),
    "mean_pcc": ColumnHead(
        "PCC", "Mean Pearson correlation over all genes, averaged over the parts left out"
    ),
    "difference": ColumnHead("difference", "Mean difference from the reference, fold by fold"),
    "difference_low": ColumnHead("from", "Lower end of the difference's 95 % interval"),
    "difference_high": ColumnHead(
        "to", "Upper end; an interval that contains 0 shows no difference"
    ),
    "better_folds": ColumnHead(
        "better",
        "Folds in which it is above the reference",
        lambda count: "–" if math.isnan(count) else f"{count:.0f}",
    ),
    "top50_pcc": ColumnHead("top 50", "Mean PCC of the 50 genes that did best in training"),
    "mse": ColumnHead("MSE", "Mean squared error"),
    "mse_baseline": ColumnHead("MSE of mean", "Error of predicting each gene's mean in training"),
    "seconds": ColumnHead("seconds", "Time of all trainings, without reading and encoding tiles"),
    "trained_parameters": ColumnHead("trained", "Weights that are trained"),
    "parameters": ColumnHead("weights", "All weights of the network"),
}


class ArchitectureComparisonPanel(QWidget):
    """Cross-validate several architectures on the dock's sections, with its settings.

    Parameters
    ----------
    chosen_record
        Gives sections and settings; raises InputError where they cannot be used.
    model_folder
        Gives the folder of the training; the comparison's is beside it.
    process
        Runs the job.

    Attributes
    ----------
    folded
        Holds the choices; the buttons are seen while it is open.
    choices
        A box for each architecture, by its name.
    leave
        What is left out at a time.
    controls
        Buttons, bar and status.
    table, figure, notes, open_folder
        The result; hidden while there is none.
    running_changed
        Emitted when a comparison begins and ends.
    """

    running_changed = Signal(bool)

    def __init__(
        self,
        chosen_record: Callable[[], RunRecord],
        model_folder: Callable[[], Path],
        process: SharedJobs,
    ) -> None:
        super().__init__()
        self._chosen_record, self._model_folder, self._process = (
            chosen_record,
            model_folder,
            process,
        )
        self._job: StoppableJob | None = None
        self._compared: Compared | None = None
        self._ending = ""
        self._folder = Path()
        self._thread = JobThread(self)
        self.choices = _choices()
        self.leave = control_for(settings_of(CompareSettings)["leave"])
        self.controls = RunControls("Compare", "Stop")
        self.controls.run.setToolTip(
            "Train each of the chosen architectures without each donor or section in turn, and "
            "score it there; held-out sections are not used"
        )
        self.controls.cancel.setToolTip(
            "Stop; finished work stays, and Compare continues from there"
        )
        self.notes = PlainLabel(wrap=True, tip="What to know about these numbers")
        self.table = FrameTable("comparison", _HEADS)
        self.table.view.setMinimumHeight(_TABLE_HEIGHT)
        self.figure = _Picture()
        self.open_folder = QPushButton("Open folder")
        self.open_folder.setToolTip("Tables, figure, and the cross-validation of each architecture")
        self._lay_out()
        self.controls.run.clicked.connect(self.start)
        self.controls.cancel.clicked.connect(self.stop)
        self.open_folder.clicked.connect(self._on_open)
        self._thread.event.connect(self._on_event)
        self._thread.failed.connect(self._on_error)
        self._thread.finished.connect(self._on_finished)
        self._show_running(False)
        self._show_result(None)

    @property
    def is_running(self) -> bool:
        """Whether a comparison runs."""
        return self._job is not None

    @property
    def folder(self) -> Path:
        """What the next comparison writes to."""
        beside = self._model_folder()
        return beside.with_name(f"{beside.name}-comparison")

    def chosen(self) -> CompareSettings:
        """What is to be compared.

        Raises
        ------
        InputError
            Fewer than two are chosen.
        """
        names = tuple(name for name, box in self.choices.items() if box.isChecked())
        return CompareSettings(names, self.leave.value())

    def start(self) -> None:
        """Compare; problems are shown as notifications."""
        if self.is_running:
            return
        try:
            plan, record = self.chosen(), self._chosen_record()
            compared = [s for s in record.sections if s.section_id not in record.held_out]
            folds(section_donors(compared), plan.leave)
            folder = self.folder
            make_folder(folder)
        except InputError as error:
            show_error(str(error))
            return
        self._folder, self._ending = folder, ""
        self._show_result(None)
        job = self._process.ready().job(
            "compare_architectures", record=record, plan=plan, folder=folder
        )
        job.is_last = True  # gives the memory of a GPU back
        self._job = StoppableJob(job)
        self.controls.status.setText("Starting …")
        self._show_running(True)
        self._thread.start(self._job.job_events, f"Comparing {', '.join(plan.architectures)}")

    def stop(self) -> None:
        """Stop after the step under way, or at once where it still loads."""
        if self._job is not None:
            self._job.stop()
            self.controls.cancel.setEnabled(False)
            self.controls.status.setText("Stopping …")

    def close_job(self) -> None:
        """End it with the dock; what is done stays."""
        if self._job is not None:
            self._job.abort()

    # --- events ---

    def _on_event(self, event: Any) -> None:
        if self._job is None:
            return
        self._job.is_loading = False
        is_stopping = self._job.stopped()
        match event:
            case Reading():
                text = f"Reading {event.section} …"
                self.controls.show_progress(event.done, event.total, None if is_stopping else text)
            case Comparing():
                text = (
                    f"{event.architecture} without {event.left_out}, "
                    f"{int(event.done) + 1} of {event.total}: {event.what}"
                )
                done, total = int(event.done * _PARTS), event.total * _PARTS
                self.controls.show_progress(done, total, None if is_stopping else text)
                self._thread.show_progress(done, total)
            case Compared():
                self._compared = event

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, InputError):
            self._ending = f"{error}"
        elif isinstance(error, JobFailed):
            self._ending = f"The comparison failed. {error}"
        else:
            self._ending = f"The comparison failed: {type(error).__name__}: {error}"
        show_error(self._ending)

    def _on_finished(self) -> None:
        self._job = None
        self._process.start_again()  # the comparison's own ended with it
        if self._compared is not None:
            self._show_result(self._compared)
            best = self._compared.table.set_index("architecture")["mean_pcc"].idxmax()
            self._ending = f"Highest mean PCC: {best}. Tables and figure are in {self._folder}"
            show_info(f"Compared: {self._ending}")
        self._compared = None
        self.controls.status.setText(
            self._ending
            or f"Stopped. Finished work is in {self._folder}; Compare continues from there."
        )
        self._show_running(False)

    # --- what is shown ---

    def _show_running(self, running: bool) -> None:
        self.controls.show_running(running)
        self.controls.bar.setVisible(running)
        for part in (*self.choices.values(), self.leave):
            part.setEnabled(not running)
        self.running_changed.emit(running)

    def _show_result(self, result: Compared | None) -> None:
        for part in (self.table, self.figure, self.notes, self.open_folder):
            part.setVisible(result is not None)
        if result is None:
            return
        self.table.show_table(result.table)
        self.figure.show_file(result.figure)
        text = [f"Differences are from {result.reference}, with 95 % intervals.", *result.notices]
        self.notes.setText("\n".join(f"• {sentence}" for sentence in text))

    def _on_open(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder)))

    def _lay_out(self) -> None:
        asked = QWidget()
        inside = QVBoxLayout(asked)
        inside.setContentsMargins(0, 0, 0, 0)
        grid = QGridLayout()
        for number, box in enumerate(self.choices.values()):
            grid.addWidget(box, number // 2, number % 2)
        form = QFormLayout()
        form.addRow("Leave out", self.leave)
        inside.addLayout(grid)
        inside.addLayout(form)
        self.folded = Folded("Compare architectures", asked, _TIP)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.folded)
        # What changes its height is not within: what is folded keeps the height it has at first.
        self.controls.hide()
        self.folded.toggled.connect(self.controls.setVisible)
        for part in (self.controls, self.table, self.figure, self.notes, self.open_folder):
            column.addWidget(part)


class _Picture(PlainLabel):
    """A picture as wide as there is place, no wider than it is."""

    def __init__(self) -> None:
        self._whole = QPixmap()
        super().__init__()
        self.setMinimumWidth(1)

    def show_file(self, path: Path) -> None:
        """Show the picture in a file; its place in words where it cannot be read."""
        self._whole = QPixmap(str(path))
        if self._whole.isNull():
            self.setText(f"The figure is in {path}")
        self._fit()

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Draw it in the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if self._whole.isNull():
            return
        ratio = self.devicePixelRatioF()
        width = min(self._whole.width(), max(1, round(self.width() * ratio)))
        fitted = self._whole.scaledToWidth(width, Qt.TransformationMode.SmoothTransformation)
        fitted.setDevicePixelRatio(ratio)
        self.setPixmap(fitted)


def _choices() -> dict[str, QCheckBox]:
    """A box for each architecture; of one with contexts, for each of them; with guides, if any."""
    found = {}
    for key, entry in CATALOGUE.items():
        names = [key] if entry.reach is not None else [f"{key}:{context}" for context in CONTEXTS]
        names += [f"{key}:{each}" for each in GUIDES if entry.guides and each != "none"]
        for name in names:
            box = QCheckBox(name)
            box.setToolTip(entry.description)
            box.setChecked(name in _FIRST_CHOICE)
            found[name] = box
    return found
