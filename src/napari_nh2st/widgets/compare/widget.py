"""The *Compare* widget: measured ST on its slide, beside what a model predicts there."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_nh2st.errors import InputError
from napari_nh2st.jobs.comparison import Compared, Predicting, Reading
from napari_nh2st.model.sources import bundled_models
from napari_nh2st.session.comparison import ComparisonResults
from napari_nh2st.spots.checks import MppProposal
from napari_nh2st.spots.overlap import panel_overlap
from napari_nh2st.widgets.child_jobs import Jobs, JobThread, SharedJobs
from napari_nh2st.widgets.compare.kept import Left, is_left, left_in
from napari_nh2st.widgets.compare.latest_work import LatestWork
from napari_nh2st.widgets.compare.run import ComparisonRun
from napari_nh2st.widgets.compare.shown import ShownComparison
from napari_nh2st.widgets.notifications import show_error, show_info, show_warning

if TYPE_CHECKING:
    import napari


class CompareWidget(ShownComparison):
    """Lay measured ST over a slide layer, predict at its spots, and see how well that fits.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.
    parent
        Of the widget.

    Attributes
    ----------
    section, compared
        See :class:`~napari_nh2st.widgets.compare.shown.ShownComparison`.
    """

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self._process = SharedJobs(self)
        self._thread = JobThread(self)
        self._run: ComparisonRun | None = None
        self._scoring = LatestWork()
        self.source.chosen.connect(self.load)
        self.mpp_box.chosen.connect(self._use_mpp)
        self.mpp_box.refused.connect(self._refuse_mpp)
        # Once the layers that are being added are all there.
        self._look = QTimer(self)
        self._look.setSingleShot(True)
        self._look.timeout.connect(self._take_over)
        self._own_model = self.model.text

        self.section.moved.connect(self._on_moved)
        self.section.removed.connect(self._on_removed)
        self.section.slide_gone.connect(self._on_slide_gone)
        self.section.told.connect(self._on_told)
        self.other_slide.lay_over.clicked.connect(self.section.reload)
        self._thread.event.connect(self._on_event)
        self._thread.failed.connect(self._on_error)
        self._thread.finished.connect(self._on_finished)
        self.slide.mpp.editingFinished.connect(self._on_mpp)
        self.model.chosen.connect(self._on_model)
        self.current.changed.connect(self._take_current_model)
        self.run.clicked.connect(self.start)
        self.cancel.clicked.connect(self.stop)
        self.report.clicked.connect(self._ask_report)
        self._on_model(self.model.config)
        self._follow()
        # Not methods of the widget: Qt calls none of those once the widget is gone.
        self.destroyed.connect(self.connections.close)
        self.destroyed.connect(self.current.close)
        self.destroyed.connect(self.section.abandon)
        self.destroyed.connect(self._scoring.abandon)
        self._show_state()

    # --- the measured ST ---

    def load(self, expression: Path, positions: Path | None = None) -> None:
        """Read ST and lay it over the chosen slide; problems are notifications.

        Parameters
        ----------
        expression, positions
            As :func:`~napari_nh2st.spots.read_spots` takes them.
        """
        self._process.ready()  # its libraries load while the user still looks
        self.beside.setChecked(False)
        self.section.load(expression, positions)

    def remove(self) -> None:
        """Take the ST and its layers away."""
        self.section.remove()

    def _on_moved(self) -> None:
        if self.compared is not None:
            self._on_loaded()
            self.status.setText("The spots were moved: compare again.")
            self.section.follow_panel()
        else:
            self.section.keep(None)

    def _on_removed(self) -> None:
        self.mpp_box.offer(None)
        self._forget_results()
        self._show_state()

    def _on_slide_gone(self) -> None:
        """Results need no slide: table and files stay, and the layers come back with the slide."""
        self.mpp_box.offer(None)
        self.beside.setChecked(False)
        self._show_state()

    def _on_told(self, sentence: str) -> None:
        """What is new takes the place of what was said of a former run."""
        self.status.setText(sentence)
        if not self._thread.is_running:
            self._reset_bar()
        self._show_state()

    def _use_mpp(self, mpp: float) -> None:
        """Take the µm/px that the spots' distance tells, for the slide they lie on."""
        if self.section.lies_on(self.slide.layer):
            self.slide.mpp.setValue(mpp)
            self.section.follow_mpp()

    def _refuse_mpp(self, proposal: MppProposal) -> None:
        self.section.refused_mpp = proposal
        self.section.keep(self.compared)

    def _on_mpp(self) -> None:
        """Another µm/px may tell another scale of the positions."""
        if self.compared is None and not self._thread.is_running:
            self.section.follow_mpp()

    # --- the model ---

    def _take_current_model(self) -> None:
        """Offer the model of the current prediction, unless the user has chosen another."""
        prediction = self.current.prediction
        if prediction is None or self.model.text != self._own_model:
            return
        name = str(prediction.uns["nh2st"]["model"]["name"])
        if name in bundled_models():
            self._own_model = name
            self.offer_model(name)

    def _on_model(self, config: Any) -> None:
        """Measured values are those of the model's panel; results stay until the next run."""
        if config is None:
            return
        if self.compared is None and not self._thread.is_running:
            self.section.set_panel(config.panel)
        else:
            self.section.panel = config.panel

    # --- running ---

    @property
    def is_running(self) -> bool:
        """Whether a comparison runs, or its report is written."""
        return self._thread.is_running

    def idle_jobs(self) -> Jobs | None:
        """What runs jobs, while it runs none."""
        return None if self._thread.is_running else self._process.ready()

    def start(self) -> None:
        """Compare what is chosen; problems are shown as notifications."""
        if self._thread.is_running:
            return
        self._reset_bar()
        try:
            arguments = self._arguments()
        except InputError as error:
            self._refuse(str(error))
            return
        self.section.locked = "A comparison runs: cancel it first."
        self.bar.setRange(0, 0)
        self.status.setText("Starting …")
        self._start("compare", f"Comparing {arguments['slide'].name}", arguments)

    def _arguments(self) -> dict[str, Any]:
        """Of the job :func:`~napari_nh2st.jobs.comparison.compare`, as the controls say."""
        measured = self.section.measured
        if self.section.awaits_choice:
            raise InputError("The measured ST holds several sections: choose one first.")
        if measured is None or self.section.is_reading:
            reading = "It is still being read" if self.section.is_reading else "There is none"
            raise InputError(f"Measured ST is needed: {reading.lower()}.")
        if self.fix_box.is_open:
            raise InputError(
                "The spots seem to lie in the wrong place: choose “Fix it” or “Keep as it is”."
            )
        if not self.section.lies_on(self.slide.layer) and self.section.slide_layer is not None:
            raise InputError(
                f"The measured ST lies on {self.section.slide_layer.name!r}, and another slide is "
                "chosen: choose that one, or lay the ST over the chosen one."
            )
        slide = self.section.chosen_slide()
        model = self.model.checked()
        panel = self.model.config.panel if self.model.config is not None else ()
        overlap = panel_overlap(panel, measured.spots.var_names)
        if overlap.is_refused:
            raise InputError(str(overlap.sentence))
        return {
            "slide": slide.path,
            "mpp": slide.mpp,
            "image": slide.image,
            "expression": measured.expression,
            "positions": measured.positions,
            "fix": self.section.fix,
            "choice": measured.choice,
            "model": model,
            "device": self.device.currentText(),
        }

    def _refuse(self, sentence: str) -> None:
        show_error(sentence)
        self.status.setText(sentence)

    def _reset_bar(self) -> None:
        self.bar.setRange(0, 1)
        self.bar.reset()

    def _start(self, job: str, description: str, arguments: dict[str, Any]) -> None:
        jobs = self._process.ready()
        self._run = ComparisonRun(jobs.job(job, **arguments), can_stop=job == "compare")
        self._thread.start(self._run.events, description)
        self._show_state()

    def stop(self) -> None:
        """Stop the comparison after the batch under way; at once while the model is loaded."""
        if self._thread.is_running and self._run is not None and self._run.can_stop:
            self.cancel.setEnabled(False)
            self.status.setText("Stopping …")
            self._run.stop()

    def write_report(self, folder: Path) -> None:
        """Write the comparison as a folder, beside the viewer; how it ended is a notification."""
        if self.compared is None or self._thread.is_running:
            self._refuse("There is no comparison to write yet.")
            return
        if self.section.is_reading:
            self._refuse("Measured ST is still being read: write the report once it is there.")
            return
        arguments = {"compared": self.compared, "folder": folder}
        self.section.locked = "The report is being written: wait for it."
        self._reset_bar()
        self.status.setText(f"Writing {folder} …")
        self._start("report", f"Writing {folder.name}", arguments)

    def _on_event(self, event: Any) -> None:
        match event:
            case Reading():
                self.status.setText("Loading the model, reading spots and tiles …")
            case Predicting(done, total):
                self.bar.setRange(0, total)
                self.bar.setValue(done)
                self.status.setText(f"{done:,} of {total:,} spots predicted")
                self._thread.show_progress(done, total)
            case Compared():
                self.status.setText("")
                self._on_compared(event)
            case Path():
                self.status.setText("")
                show_info(f"Wrote {event}")

    def _on_compared(self, compared: Compared) -> None:
        self.section.locked = ""
        self._name_slide(compared)
        self.compared = compared
        self.section.check_slide()  # it may have been taken away meanwhile
        self._show_results(ComparisonResults(compared))
        self.section.keep(compared)
        for notice in compared.notices:
            show_warning(notice)

    # --- what was there before ---

    def _on_inserted(self, event: Any) -> None:
        if is_left(event.value) or self.section.is_missing(event.value):
            self._look.start(0)

    def _take_over(self) -> None:
        """Go on with what another dock, or a file, has left, or with what went with its slide."""
        left = self._left()
        if left is None or (left.prediction is None and left.slide_layer is None):
            return
        if left.kept is not None:
            compared = left.kept.compared
            self._go_on(left, None if compared is None else ComparisonResults(compared))
            return
        prediction = left.prediction

        def on_scored(results: ComparisonResults) -> None:
            now = self._left()  # another dock may have been faster
            if now is not None and now.prediction is prediction:
                self._go_on(now, results)

        def on_error(error: Exception) -> None:
            known = isinstance(error, InputError)
            self._refuse(str(error) if known else f"The comparison cannot be shown: {error}")

        # In a thread: a file may have no scores.
        self._scoring.begin(
            lambda: ComparisonResults.of_prediction(prediction), on_scored, on_error
        )

    def _left(self) -> Left | None:
        """What there is to go on with, unless there is something already."""
        busy = self._thread.is_running or self.section.is_reading or self._scoring.is_busy
        if busy or self.section.layers is not None:
            return None
        left = self.section.left_behind()
        if left is None and self.compared is None:
            left = left_in(self.viewer, self.section)
        return left

    def _go_on(self, left: Left, results: ComparisonResults | None) -> None:
        visible = [kind for kind, layer in left.layers.items() if layer.visible]
        if left.slide_layer is not None:
            self.section.take_over(left)
        if results is None:
            self._on_loaded()
            self.section.follow_panel()
            self.section.follow_mpp()
        else:
            self._name_slide(results.compared)
            self._show_results(results, visible[-1] if visible else "predicted")
        self._show_state()

    def _on_error(self, error: Exception) -> None:
        known = isinstance(error, InputError)
        message = str(error) if known else f"The comparison failed: {error}"
        show_error(message)
        self.status.setText(message)

    def _on_finished(self) -> None:
        self.section.locked = ""
        stopped = self._run is not None and self._run.stopped()
        if self.bar.maximum() == 0 or stopped:  # no spot was predicted, or not all
            self._reset_bar()
        if stopped:
            self.status.setText("Stopped.")
            self._process.start_again()
        if self.compared is None:
            self.section.follow_panel()  # another model may have been chosen meanwhile
        self._show_state()
        self.section.check_slide()  # it may have been taken away meanwhile

    def _show_state(self) -> None:
        """Enable what can be done now, and show what there is."""
        running, there = self._thread.is_running, self.section.layers is not None
        done = self.compared is not None
        self.run.setEnabled(not running)
        self.cancel.setEnabled(running and self._run is not None and self._run.can_stop)
        given = there or done or self.section.awaits_choice
        self.source.clear.setEnabled(given and not running)
        self.fix_box.set_enabled(not running)
        self.mpp_box.set_enabled(not running)
        for kind, button in self.kinds.items():
            button.setEnabled(there and (done or kind == "measured"))
        self.beside.setEnabled(there and done)
        self.report.setEnabled(done and not running)
        for part, wanted in (
            (self.scale, there),
            (self.unit, there),
            (self.genes, there or done),
            (self.scatter, done),
            (self.export, done),
            (self.report, done),
        ):
            part.setVisible(wanted)
        self._show_other_slide()

    def _ask_report(self) -> None:
        options = QFileDialog.Option.ShowDirsOnly | QFileDialog.Option.DontConfirmOverwrite
        title = "A new folder for the report"
        name, _ = QFileDialog.getSaveFileName(self, title, "comparison", options=options)
        if name:
            self.write_report(Path(name))

    # --- coming and going ---

    def dragEnterEvent(self, event: Any) -> None:  # Qt's name
        """Files may be dropped anywhere on the dock."""
        self.source.dragEnterEvent(event)

    def dropEvent(self, event: Any) -> None:  # Qt's name
        """Read what was dropped."""
        self.source.dropEvent(event)

    def closeEvent(self, event: Any) -> None:  # Qt's name
        """Stop with the widget."""
        self._end()
        super().closeEvent(event)

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Stop when the widget is taken out of its dock, as napari's × does."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._follow()
            else:
                self._end()

    def _follow(self) -> None:
        self.setAcceptDrops(True)
        self.connections.open()
        self.current.follow()
        self._take_current_model()
        self.viewer.layers.events.inserted.connect(self._on_inserted)
        self.section.follow()
        self._take_over()
        self.viewer.events.theme.connect(self._on_theme)
        self._on_theme()

    def _end(self) -> None:
        """Let go of the viewer and end the process."""
        if self._run is not None:
            self._run.stop()
        self._scoring.abandon()
        self._process.close()
        self.viewer.layers.events.inserted.disconnect(self._on_inserted)
        self.section.close()
        self.beside.setChecked(False)
        self.viewer.events.theme.disconnect(self._on_theme)
        self.connections.close()
        self.current.close()

    def _on_theme(self, _event: Any = None) -> None:
        self.scatter.follow_theme(self.viewer.theme)
