"""The *Compare* dock: measured ST on its slide, beside the predictions of a model there."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anndata import AnnData
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.errors import InputError
from napari_nh2st.jobs.comparison import Compared, Predicting, Reading
from napari_nh2st.jobs.stoppable import StoppableJob
from napari_nh2st.session import Session
from napari_nh2st.session.comparison import ComparisonResults
from napari_nh2st.session.measured_layers import Kind
from napari_nh2st.session.measured_section import MeasuredSection
from napari_nh2st.spots.overlap import panel_overlap
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.child_jobs import JobThread
from napari_nh2st.widgets.compare.comparison_view import ComparisonView
from napari_nh2st.widgets.compare.measured_controls import MeasuredControls
from napari_nh2st.widgets.compare.model_choice import ModelChoice
from napari_nh2st.widgets.dock import Dock
from napari_nh2st.widgets.measured_badges import MeasuredBadgesBox
from napari_nh2st.widgets.notifications import show_error, show_info, show_warning
from napari_nh2st.widgets.run_controls import RunControls
from napari_nh2st.widgets.scrolled import scroll_within
from napari_nh2st.widgets.slide_choice import SlideChoice

if TYPE_CHECKING:
    import napari


class CompareWidget(Dock):
    """Lay measured ST over a slide layer, predict at its spots, and see how well that fits.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.
    parent
        Parent widget.

    Attributes
    ----------
    sections
        Measured ST of the session, whose current section is shown.
    slide, measured, choice
        Choices of the slide, of measured ST, and of model and device.
    model, device
        Pickers of the latter.
    controls
        Run and Cancel, with bar and status.
    view
        What was measured, or compared.
    """

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, "compare", has_jobs=True, parent=parent)
        self.session = Session.of(napari_viewer)
        self.sections = self.session.measured
        self.slide = SlideChoice(napari_viewer, self.connections)
        self.measured = MeasuredControls(self.session, self.slide)
        self.choice = ModelChoice(self.session, self.connections, self.remembered, self.idle_jobs)
        self.model, self.device = self.choice.model, self.choice.device
        self.controls = RunControls("Compare")
        self.controls.run.setToolTip("Predict the section at its spots and score every gene (F6)")
        self.controls.cancel.setToolTip("Stop after the batch under way (Shift+F6)")
        self.controls.bar.setToolTip("Spots predicted")
        self.view = ComparisonView(self.session)
        self.measured_badges = MeasuredBadgesBox(self.session, self.connections)
        self._thread = JobThread(self)
        self._run: StoppableJob | None = None  # of a comparison; a report is not stopped
        self._compared: MeasuredSection | None = None  # by the run
        self._scoring = Background(self)
        self._scored: AnnData | None = None
        self._lay_out()
        self._connect()
        self.open()

    def _connect(self) -> None:
        self._thread.event.connect(self._on_event)
        self._thread.failed.connect(self._on_error)
        self._thread.finished.connect(self._on_finished)
        self.measured.status_changed.connect(self._on_status)
        self.measured.source.chosen.connect(self._prepare, unique=True)
        self.slide.picker.changed.connect(self._show)
        self.slide.mpp.editingFinished.connect(self.measured.follow_mpp)
        # Results stay until the next run.
        self.choice.chosen.connect(self.measured.set_model)
        self.controls.run.clicked.connect(self.start)
        self.controls.cancel.clicked.connect(self.stop)
        self.view.report.clicked.connect(self._ask_report)
        self.bind_key("F6", self.controls.run)
        self.bind_key("Shift+F6", self.controls.cancel)
        self.connect_to(self.sections.changed, self._show)
        self.connect_to(self.sections.display_changed, self.view.show_display)
        self.connect_to(self.viewer.events.theme, self._on_theme)
        self.connections.when_opened(self._on_opened)
        self.connections.when_closed(self.sections.detach)
        self.connections.when_closed(self._unlock)
        self.measured.set_model(self.model.config)

    def _on_opened(self) -> None:
        self._scored = None
        self.sections.attach()
        self._on_theme()
        self._show()
        self.measured.follow_mpp()

    # --- what is shown ---

    @property
    def section(self) -> MeasuredSection | None:
        """The section that is shown; None without."""
        return self.sections.current

    @property
    def compared(self) -> Compared | None:
        """The comparison that is shown; None without."""
        results = self.section.results if self.section is not None else None
        return results.compared if results is not None else None

    def load(self, expression: Path, positions: Path | None = None) -> None:
        """Read ST and lay it over the chosen slide; problems are notifications.

        Parameters
        ----------
        expression, positions
            As :func:`~napari_nh2st.spots.read_spots` takes them.
        """
        self._prepare()
        self.measured.load(expression, positions)

    def remove(self) -> None:
        """Take the ST and its layers away."""
        self.measured.remove()

    def show_gene(self, gene: str) -> None:
        """Show a gene in all layers and in the plot."""
        self.view.show_gene(gene)

    def show_kind(self, kind: Kind) -> None:
        """Show measured, predicted or the residual."""
        self.view.show_kind(kind)

    def _prepare(self, *_files: object) -> None:
        """Have the child process load its libraries while the user still looks."""
        self.process.ready()

    def _show(self, _what: object = None) -> None:
        self.measured.show()
        self.view.show_section()
        self._score()

    def _score(self) -> None:
        """Compute what a comparison from a file does not hold, in a thread."""
        section = self.section
        if section is None or section.results is not None or section.prediction is None:
            return
        if section.prediction is self._scored:
            return

        def on_scored(results: ComparisonResults) -> None:
            if section.results is None:  # another dock may have been faster
                section.set_results(results)

        self._scored = section.prediction
        self._scoring.start(
            ComparisonResults.of_prediction,
            section.prediction,
            done=on_scored,
            failed=lambda error: self._refuse(_in_words("The comparison cannot be shown", error)),
        )

    def _on_status(self, sentence: str) -> None:
        """What is new takes the place of what was said of a former run."""
        self.controls.status.setText(sentence)
        if not self.is_running:
            self.controls.reset_bar()
        self._show()

    def _on_theme(self, _event: Any = None) -> None:
        self.view.scatter.follow_theme(self.viewer.theme)

    # --- running ---

    @property
    def is_running(self) -> bool:
        """Whether a comparison runs, or its report is written."""
        return self._thread.is_running

    def start(self) -> None:
        """Compare what is chosen; problems are shown as notifications."""
        if self.is_running:
            return
        self.controls.reset_bar()
        try:
            section, arguments = self._arguments()
        except InputError as error:
            self._refuse(str(error))
            return
        section.locked = "A comparison is running: cancel it first."
        self.controls.status.setText("Starting …")
        self._run = StoppableJob(self.process.ready().job("compare", **arguments))
        self._start(section, self._run.job_events, f"Comparing {arguments['slide'].name}")

    def _arguments(self) -> tuple[MeasuredSection, dict[str, Any]]:
        """Arguments of :func:`~napari_nh2st.jobs.comparison.compare`, by the controls."""
        section = self.section
        if self.measured.awaits_choice:
            raise InputError("The measured ST holds several sections: choose one first.")
        if self.measured.is_reading:
            raise InputError("Measured ST is needed: it is still being read.")
        if section is None or section.measured is None or section.slide_layer is None:
            raise InputError("Measured ST is needed: there is none.")
        if section.locked:
            raise InputError(section.locked)
        if section.is_asking:
            raise InputError(
                "The spots seem to lie in the wrong place: choose “Fix it” or “Keep as it is”."
            )
        if not section.layers.lie_on(self.slide.layer):
            raise InputError(
                f"The measured ST lies on {section.slide_name!r}, and another slide is "
                "chosen: choose that one, or lay the ST over the chosen one."
            )
        slide = self.measured.chosen_slide()
        model = self.model.value()
        panel = self.model.config.panel if self.model.config is not None else ()
        overlap = panel_overlap(panel, section.measured.spots.var_names)
        if overlap.is_refused:
            raise InputError(str(overlap.sentence))
        return section, {
            "slide": slide.path,
            "mpp": slide.mpp,
            "image": slide.image,
            "expression": section.measured.expression,
            "positions": section.measured.positions,
            "fix": section.fix,
            "choice": section.measured.choice,
            "model": model,
            "device": self.device.currentText(),
        }

    def stop(self) -> None:
        """Stop the comparison after the batch under way; at once while the model is loaded."""
        if self.is_running and self._run is not None:
            self.controls.cancel.setEnabled(False)
            self.controls.status.setText("Stopping …")
            self._run.stop()

    def write_report(self, folder: Path) -> None:
        """Write the comparison as a folder, beside the viewer; how it ended is a notification."""
        section, compared = self.section, self.compared
        if section is None or compared is None or self.is_running:
            self._refuse("There is no comparison to write yet.")
            return
        if self.measured.is_reading:
            self._refuse("Measured ST is still being read: write the report once it is there.")
            return
        section.locked = "The report is being written: wait for it."
        self.controls.status.setText(f"Writing {folder} …")
        self._run = None
        job = self.process.ready().job("report", compared=compared, folder=folder)
        self._start(section, job.events, f"Writing {folder.name}")
        self.controls.cancel.setEnabled(False)  # half a folder is of no use
        self.controls.reset_bar()

    def end_jobs(self) -> None:
        """Stop the comparison with the dock."""
        if self._run is not None:
            self._run.stop()

    def _start(
        self, section: MeasuredSection, events: Callable[[], Iterator[object]], description: str
    ) -> None:
        self._compared = section
        self._thread.start(events, description)
        self.controls.show_running(True)
        section.changed.emit()

    def _on_event(self, event: Any) -> None:
        if self._run is not None and self._run.stopped():
            return
        match event:
            case Reading():
                self.controls.status.setText("Loading the model, reading spots and tiles …")
            case Predicting(done, total):
                assert self._run is not None
                self._run.is_loading = False
                text = f"{done:,} of {total:,} spots predicted"
                self.controls.show_progress(done, total, text)
                self._thread.show_progress(done, total)
            case Compared():
                self.controls.status.setText("")
                self._on_compared(event)
            case Path():
                self.controls.status.setText("")
                show_info(f"Wrote {event}")

    def _on_compared(self, compared: Compared) -> None:
        section = self._compared
        assert section is not None
        section.locked = ""
        section.set_results(ComparisonResults(compared))
        self.sections.current = section
        for notice in compared.notices:
            show_warning(notice)

    def _on_error(self, error: Exception) -> None:
        self._refuse(_in_words("The comparison failed", error))

    def _refuse(self, sentence: str) -> None:
        show_error(sentence)
        self.controls.status.setText(sentence)

    def _on_finished(self) -> None:
        stopped = self._run is not None and self._run.stopped()
        self.controls.show_running(False)
        if stopped:
            self.controls.reset_bar()
            self.controls.status.setText("Stopped.")
            self.process.start_again()
        self._unlock()
        self.measured.follow_model()  # another one may have been chosen meanwhile

    def _unlock(self) -> None:
        """The section can be changed again."""
        section, self._compared = self._compared, None
        if section is not None:
            section.locked = ""
            section.changed.emit()

    def _ask_report(self) -> None:
        options = QFileDialog.Option.ShowDirsOnly | QFileDialog.Option.DontConfirmOverwrite
        title = "A new folder for the report"
        name, _ = QFileDialog.getSaveFileName(self, title, "comparison", options=options)
        if name:
            self.write_report(Path(name))

    # --- appearance ---

    def dragEnterEvent(self, event: Any) -> None:  # Qt's name
        """Files may be dropped anywhere on the dock."""
        self.measured.source.dragEnterEvent(event)

    def dropEvent(self, event: Any) -> None:  # Qt's name
        """Read what was dropped."""
        self.measured.source.dropEvent(event)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Slide", self.slide.picker)
        form.addRow("µm/px", self.slide.mpp)
        self.measured.add_to(form)
        self.choice.add_to(form)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.addLayout(form)
        layout.addWidget(self.measured_badges)
        layout.addWidget(self.view)
        layout.addStretch()
        area = scroll_within(self, content, below=self.controls)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.setMinimumWidth(360)  # a gene's name beside its scores
        self.setAcceptDrops(True)


def _in_words(problem: str, error: Exception) -> str:
    """An error of the user's as it is; any other after the problem that it causes."""
    return str(error) if isinstance(error, InputError) else f"{problem}: {error}"
