"""The *Compare* widget: measured ST on its slide, beside what a model predicts there."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_nh2st.errors import InputError
from napari_nh2st.jobs import JobProcess
from napari_nh2st.jobs.comparison import Compared, Predicting, Reading
from napari_nh2st.model.sources import bundled_models
from napari_nh2st.widgets.child_jobs import ChildProcess, Jobs, JobThread
from napari_nh2st.widgets.compare.controls import CompareControls
from napari_nh2st.widgets.compare.layers import COLORMAPS, Kind
from napari_nh2st.widgets.compare.on_slide import MeasuredOnSlide
from napari_nh2st.widgets.compare.results import ComparisonResults
from napari_nh2st.widgets.compare.run import ComparisonRun
from napari_nh2st.widgets.compare.source import shares_no_gene
from napari_nh2st.widgets.compare.table import comparison_columns
from napari_nh2st.widgets.compare.words import unit_in_words

if TYPE_CHECKING:
    import napari

_WARM_UP = ("napari_nh2st.training.evaluation", "napari_nh2st.model.folder")

new_jobs = JobProcess
"""Makes what runs comparisons."""


class CompareWidget(CompareControls):
    """Lay measured ST over a slide layer, predict at its spots, and see how well that fits.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.
    parent
        Of the widget.

    Attributes
    ----------
    section
        The ST that is loaded, and where it lies.
    compared
        What came out of the last comparison; None before it, and once its spots are elsewhere.
    """

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self._process = ChildProcess(self, lambda: new_jobs(_WARM_UP))
        self._thread = JobThread(self)
        self._run: ComparisonRun | None = None
        self.section = MeasuredOnSlide(napari_viewer, self.slide, self.source, self.fix_box)
        self.compared: Compared | None = None
        self._results: ComparisonResults | None = None
        self._own_model = self.model.text

        self.section.loaded.connect(self._on_loaded)
        self.section.moved.connect(self._on_moved)
        self.section.removed.connect(self._on_removed)
        self._thread.event.connect(self._on_event)
        self._thread.failed.connect(self._on_error)
        self._thread.finished.connect(self._on_finished)
        self.slide.mpp.editingFinished.connect(self._on_mpp)
        self.model.chosen.connect(self._on_model)
        self.current.changed.connect(self._take_current_model)
        self.run.clicked.connect(self.start)
        self.cancel.clicked.connect(self.stop)
        self.genes.gene_chosen.connect(self.show_gene)
        for kind, button in self.kinds.items():
            button.clicked.connect(lambda _checked, kind=kind: self.show_kind(kind))
        self.beside.toggled.connect(self._on_beside)
        self.report.clicked.connect(self._ask_report)
        self._on_model(self.model.config)
        self._follow()
        # Not methods of the widget: Qt calls none of those once the widget is gone.
        self.destroyed.connect(self.slide.close)
        self.destroyed.connect(self.current.close)
        self.destroyed.connect(self.section.abandon)
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
        self.section.load(expression, positions)

    def remove(self) -> None:
        """Take the ST and its layers away."""
        self.section.remove()

    def _on_loaded(self) -> None:
        """Measured values alone, where the spots are now."""
        layers = self.section.layers
        assert layers is not None
        self._forget_results()
        config = self.model.config
        known = dict((config.reliability if config is not None else None) or {})
        table = comparison_columns(
            list(self.section.target.columns), pd.Series(known, dtype=np.float64), None
        )
        if layers.gene not in self.section.target:
            kept = self.genes.gene in self.section.target
            layers.gene = self.genes.gene if kept else str(table["gene"].iloc[0])
        layers.kind = "measured"
        layers.set_values(
            {"measured": self.section.target}, self.section.places, self.section.pitch_px
        )
        self.genes.show_table(table)
        self.genes.choose(layers.gene)
        self._show_colors()
        self._show_state()

    def _on_moved(self) -> None:
        if self.compared is not None:
            self._on_loaded()
            self.status.setText("The spots were moved: compare again.")

    def _on_removed(self) -> None:
        self._forget_results()
        self._show_state()

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
            self.model.choose(name)

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
        try:
            arguments = self._arguments()
        except InputError as error:
            show_error(str(error))
            return
        self.section.locked = "A comparison runs: cancel it first."
        self.bar.setRange(0, 0)
        self.status.setText("Starting …")
        self._start("compare", f"Comparing {arguments['slide'].name}", arguments)

    def _arguments(self) -> dict[str, Any]:
        """Of the job :func:`~napari_nh2st.jobs.comparison.compare`, as the controls say."""
        measured = self.section.measured
        if measured is None or self.section.is_reading:
            reading = "It is still being read" if self.section.is_reading else "There is none"
            raise InputError(f"Measured ST is needed: {reading.lower()}.")
        if self.fix_box.is_open:
            raise InputError(
                "The spots seem to lie in the wrong place: choose “Fix it” or “Keep as it is”."
            )
        slide = self.section.chosen_slide()
        model = self.model.checked()
        panel = self.model.config.panel if self.model.config is not None else ()
        if problem := shares_no_gene(measured.spots, panel):
            raise InputError(problem)
        return {
            "slide": slide.path,
            "mpp": slide.mpp,
            "expression": measured.expression,
            "positions": measured.positions,
            "fix": self.section.fix,
            "model": model,
            "device": self.device.currentText(),
        }

    def _start(self, job: str, description: str, arguments: dict[str, Any]) -> None:
        self._run = ComparisonRun(self._process.ready().job(job, **arguments))
        self._thread.start(self._run.events, description)
        self._show_state()

    def stop(self) -> None:
        """Stop the comparison after the batch under way; at once while the model is loaded."""
        if self._thread.is_running and self._run is not None:
            self.cancel.setEnabled(False)
            self.status.setText("Stopping …")
            self._run.stop()

    def write_report(self, folder: Path) -> None:
        """Write the comparison as a folder, beside the viewer; how it ended is a notification."""
        if self.compared is None or self._thread.is_running:
            show_error("There is no comparison to write yet.")
            return
        if self.section.is_reading:
            show_error("Measured ST is still being read: write the report once it is there.")
            return
        arguments = {"compared": self.compared, "folder": folder}
        self.section.locked = "The report is being written: wait for it."
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
        if self.section.slide_layer is None:  # it was taken away meanwhile, and its ST goes with it
            self.section.locked = ""
            self.section.remove()
            self.status.setText(
                "The slide is not in the viewer any more: results are shown without layers."
            )
        self.compared = compared
        self._results = results = ComparisonResults(compared)
        gene = self.genes.gene
        if (layers := self.section.layers) is not None:
            layers.kind = "predicted"
            layers.set_values(results.values, results.positions, self.section.pitch_px)
            gene = layers.gene
        self.genes.show_table(results.table)
        self.genes.choose(
            gene if gene in results.values["measured"] else results.table["gene"].iloc[0]
        )
        self.summary.setText(results.summary)
        self.notices.setText("\n".join(f"⚠ {notice}" for notice in results.notices))
        for notice in compared.notices:
            show_warning(notice)
        self.export.offer(compared.prediction, results.name)
        self._show_gene()

    def _on_error(self, error: Exception) -> None:
        known = isinstance(error, InputError)
        message = str(error) if known else f"The comparison failed: {error}"
        show_error(message)
        self.status.setText(message)

    def _on_finished(self) -> None:
        self.section.locked = ""
        if self.bar.maximum() == 0:  # no spot was predicted
            self.bar.setRange(0, 1)
            self.bar.reset()
        if self._run is not None and self._run.stopped():
            self.status.setText("Stopped.")
            self._process.start_again()
        self._show_state()
        self.section.follow_slide(self.slide.layer)  # it may be another one since

    # --- what is shown ---

    def show_gene(self, gene: str) -> None:
        """Show a gene in all layers and in the plot."""
        if self.section.layers is not None:
            self.section.layers.show_gene(gene)
        if self.section.layers is not None or self._results is not None:
            self.genes.choose(gene)
            self._show_gene()

    def show_kind(self, kind: Kind) -> None:
        """Show measured, predicted or the residual."""
        if self.section.layers is not None:
            self.section.layers.show_kind(kind)
            self._show_colors()

    def _on_beside(self, beside: bool) -> None:
        if self.section.layers is not None:
            self.section.layers.show_beside(beside)
            self._show_colors()

    def _show_gene(self) -> None:
        self._show_colors()
        if self._results is not None:
            gene = self.genes.gene
            self.scatter.show_gene(gene, *self._results.of_gene(gene))

    def _show_colors(self) -> None:
        layers = self.section.layers
        if layers is None:
            return
        self.kinds[layers.kind].setChecked(True)
        self.scale.show_limits(COLORMAPS[layers.kind], layers.limits[layers.kind])
        standardized = self._results is not None and self._results.is_standardized
        unit = unit_in_words(layers.kind, standardized=standardized)
        self.unit.setText(f"{layers.gene}: {unit}")

    def _forget_results(self) -> None:
        self.compared = self._results = None
        self.summary.setText("")
        self.notices.setText("")
        self.beside.setChecked(False)

    def _show_state(self) -> None:
        """Enable what can be done now, and show what there is."""
        running, there = self._thread.is_running, self.section.measured is not None
        done = self.compared is not None
        self.run.setEnabled(not running)
        self.cancel.setEnabled(running)
        self.source.clear.setEnabled((there or done) and not running)
        self.fix_box.set_enabled(not running)
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
        self.slide.follow()
        self.current.follow()
        self._take_current_model()
        self.viewer.events.theme.connect(self._on_theme)
        self._on_theme()

    def _end(self) -> None:
        """Let go of the viewer and end the process."""
        if self._run is not None:
            self._run.stop()
        self._process.close()
        self.section.close()
        self.viewer.events.theme.disconnect(self._on_theme)
        self.slide.close()
        self.current.close()

    def _on_theme(self, _event: Any = None) -> None:
        self.scatter.follow_theme(self.viewer.theme)
