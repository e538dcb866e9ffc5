"""Spatial domains of the current prediction: found, drawn, named."""

import threading
import weakref
from dataclasses import dataclass
from typing import Any

from anndata import AnnData
from napari.qt.threading import create_worker
from qtpy.QtCore import QCoreApplication
from qtpy.QtWidgets import (
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.analysis.domains import Domains, find_domains
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.errors import InputError
from napari_nh2st.layers.domains import name_domains
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.domains.legend import DomainLegend
from napari_nh2st.widgets.domains.settings_form import DomainSettingsForm
from napari_nh2st.widgets.frame_model import ColumnHead
from napari_nh2st.widgets.frame_table import FrameTable, with_reliability
from napari_nh2st.widgets.labels import CautionLabel, PlainLabel
from napari_nh2st.widgets.notifications import show_error, show_warning
from napari_nh2st.widgets.scrolled import scroll_within

_HEADS = {
    "gene": ColumnHead("gene", "The genes that mark the domain, the highest score first"),
    "score": ColumnHead(
        "score", "Difference of the means inside and outside the domain, in standard deviations"
    ),
    "mean_in": ColumnHead("inside", "Mean of the predicted values of the domain's tiles"),
    "mean_out": ColumnHead("outside", "Mean of the predicted values of all other domains' tiles"),
}


@dataclass
class _Kept:
    """The domains of one prediction, and those before them."""

    prediction: "weakref.ref[AnnData]"
    now: NamedDomains | None
    former: NamedDomains | None = None


class DomainsPanel(QWidget):
    """Group the tiles into domains, and say which genes mark each.

    Parameters
    ----------
    current
        Whose prediction it is about; its owner follows the viewer.
    parent
        Parent widget.

    Attributes
    ----------
    settings
        What to look for; its ``n_domains`` is here too.
    run, cancel, bar, notice
        Controls of the search.
    legend
        The domains there are.
    markers
        Genes of the chosen one.
    show_layer, restore
        Draw them again; take back the last search.
    """

    def __init__(self, current: CurrentPrediction, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.current = current
        self.viewer = current.viewer
        self._layers = current.session.domains
        self._kept: list[_Kept] = []
        self._following = False
        self._stop: threading.Event | None = None
        self._running: tuple[Heatmap, AnnData] | None = None
        self._make_controls()
        self._lay_out()
        self._enable()

    # --- following ---

    def follow(self) -> None:
        """Follow the current prediction from now on."""
        if not self._following:
            self._following = True
            self.current.changed.connect(self._show)
            self.current.replaced.connect(self._on_replaced)
        self._show()

    def close_down(self) -> None:
        """Stop the search and let go of the viewer; the layers stay."""
        if self._following:
            self._following = False
            self.current.changed.disconnect(self._show)
            self.current.replaced.disconnect(self._on_replaced)
        self.stop()

    def _on_replaced(self, _heatmap: Heatmap, former: AnnData) -> None:
        """End a search in what is gone."""
        if self._running is not None and self._running[1] is former:
            self.stop()
            self._say("Another prediction has come during the search: find its domains again.")

    def set_threshold(self, threshold: float) -> None:
        """Grey the genes whose reliability is below this, and leave them out of the next search.

        The search keeps a limit of its own that the user has chosen.
        """
        self.markers.reliable_from = threshold
        self.legend.reliable_from = threshold
        self.settings.follow_threshold(threshold)
        self._show()

    # --- finding ---

    def start(self) -> None:
        """Find domains with what is chosen; problems are shown as notifications."""
        heatmap = self.current.heatmap
        if self._running is not None:
            return
        if heatmap is None:
            show_error("There is no prediction yet: predict a slide, or open a prediction.")
            return
        self.notice.hide()
        self._stop = threading.Event()
        worker = create_worker(
            find_domains,
            heatmap.prediction,
            self.settings.chosen(),
            self._stop,
            _start_thread=False,
            _ignore_errors=True,
        )
        worker.returned.connect(self._on_found)
        worker.errored.connect(self._on_error)
        worker.finished.connect(self._on_finished)
        self._running = heatmap, heatmap.prediction
        self._stop_when_closed(self._stop, worker)
        self._enable()
        worker.start()

    def stop(self) -> None:
        """Stop the search; the former domains stay."""
        if self._stop is not None:
            self._stop.set()
            self.cancel.setEnabled(False)

    def _stop_when_closed(self, stop: threading.Event, worker: Any) -> None:
        """Stop with the viewer, which destroys the widget, and with the application."""
        application = QCoreApplication.instance()
        assert application is not None
        self.destroyed.connect(stop.set)
        application.aboutToQuit.connect(stop.set)
        worker.finished.connect(lambda: application.aboutToQuit.disconnect(stop.set))

    def _on_found(self, domains: Domains | None) -> None:
        if domains is None or self._running is None or self._stop is None or self._stop.is_set():
            return
        heatmap, prediction = self._running
        if prediction is not heatmap.prediction:  # it came while this panel did not follow
            return
        if domains.notice:
            self._say(domains.notice)
        kept = self._kept_of(heatmap.prediction)
        if kept.now is not None:
            kept.former = kept.now
        self._put(heatmap, kept, NamedDomains.found(domains))

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, InputError):
            show_error(str(error))
        else:
            show_error(f"Domains could not be found: {type(error).__name__}: {error}")
        self._say(str(error))

    def _on_finished(self) -> None:
        self._running = self._stop = None
        self._enable()

    # --- what there is ---

    def restore_former(self) -> None:
        """Exchange the domains with those before the last search."""
        heatmap = self.current.heatmap
        if heatmap is None:
            return
        kept = self._kept_of(heatmap.prediction)
        if kept.former is not None:
            former, kept.former = kept.former, kept.now
            self.notice.hide()
            self._put(heatmap, kept, former)

    def draw(self) -> None:
        """Show the domains in the viewer."""
        heatmap = self.current.heatmap
        domains = None if heatmap is None else self._kept_of(heatmap.prediction).now
        if heatmap is not None and domains is not None:
            self._layers.draw(heatmap, domains)

    def _put(self, heatmap: Heatmap, kept: _Kept, domains: NamedDomains) -> None:
        """Make these the domains of a prediction, in its table, its layer and here."""
        kept.now = domains
        domains.write(heatmap.prediction)
        if heatmap.layer in self.viewer.layers:
            self._layers.draw(heatmap, domains)
        self._show()

    def _kept_of(self, prediction: AnnData) -> _Kept:
        self._kept = [kept for kept in self._kept if kept.prediction() is not None]
        for kept in self._kept:
            if kept.prediction() is prediction:
                return kept
        kept = _Kept(weakref.ref(prediction), NamedDomains.of(prediction))
        self._kept.append(kept)
        return kept

    def _show(self) -> None:
        prediction = self.current.prediction
        domains = None if prediction is None else self._kept_of(prediction).now
        if prediction is None or domains is None:
            self.legend.clear_legend()
        else:
            self.legend.show_legend(domains.legend(), prediction.var.get("reliability"))
        for widget in (self.legend, self.show_layer, self.markers_title, self.markers):
            widget.setVisible(domains is not None)
        self._enable()

    def _on_domain_picked(self, number: int) -> None:
        prediction = self.current.prediction
        domains = None if prediction is None else self._kept_of(prediction).now
        if prediction is None or domains is None or not 1 <= number <= len(domains.names):
            self.markers_title.setText("Marker genes")
            self.markers.show_table(self.markers.table.iloc[:0])
            return
        table = domains.markers_of(number)
        self.markers_title.setText(f"Marker genes of {domains.names[number - 1]}")
        self.markers.show_table(with_reliability(table, prediction))

    def _on_renamed(self, number: int, name: str) -> None:
        heatmap = self.current.heatmap
        kept = None if heatmap is None else self._kept_of(heatmap.prediction)
        if heatmap is None or kept is None or kept.now is None:
            return
        try:
            kept.now = kept.now.renamed(number, name)
        except InputError as error:
            show_warning(str(error))
        else:
            kept.now.write(heatmap.prediction)
            layer = self._layers.layer_of(heatmap)
            if layer is not None:
                name_domains(layer, kept.now.names)
        self._show()

    # --- appearance ---

    def _say(self, words: str) -> None:
        self.notice.setText(words)
        self.notice.show()

    def _enable(self) -> None:
        running = self._running is not None
        prediction = self.current.prediction
        kept = None if prediction is None else self._kept_of(prediction)
        self.run.setEnabled(prediction is not None and not running)
        self.cancel.setEnabled(running)
        self.bar.setVisible(running)
        self.show_layer.setEnabled(kept is not None and kept.now is not None)
        has_former = kept is not None and kept.former is not None
        self.restore.setVisible(has_former)
        self.restore.setEnabled(has_former and not running)

    def _make_controls(self) -> None:
        self.settings = DomainSettingsForm()
        self.n_domains = self.settings.n_domains
        self.run = QPushButton("Find domains")
        self.run.setToolTip("Group the predicted tiles; former domains can be restored")
        self.run.clicked.connect(self.start)
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop the search; the former domains stay")
        self.cancel.clicked.connect(self.stop)
        self.bar = QProgressBar()
        self.bar.setRange(0, 0)
        self.bar.setToolTip("Finding domains")
        self.notice = CautionLabel()
        self.notice.setToolTip("What to mind about these domains")
        self.notice.hide()
        self.legend = DomainLegend()
        self.legend.picked.connect(self._on_domain_picked)
        self.legend.renamed.connect(self._on_renamed)
        self.show_layer = QPushButton("Show on the slide")
        self.show_layer.setToolTip("Draw the domains in the viewer, again if need be")
        self.show_layer.clicked.connect(self.draw)
        self.restore = QPushButton("Restore the former")
        self.restore.setToolTip("Take the last search back; once more to have it again")
        self.restore.clicked.connect(self.restore_former)
        self.markers_title = PlainLabel("Marker genes")
        self.markers = FrameTable("markers", _HEADS)
        self.markers.view.setMinimumHeight(170)
        self.markers.gene_chosen.connect(self.current.show_gene)

    def _lay_out(self) -> None:
        running = QHBoxLayout()
        running.addWidget(self.run)
        running.addWidget(self.cancel)
        content = QWidget()
        column = QVBoxLayout(content)
        column.addWidget(self.settings)
        column.addLayout(running)
        column.addWidget(self.bar)
        column.addWidget(self.notice)
        column.addWidget(self.legend)
        shown = QHBoxLayout()
        shown.addWidget(self.show_layer)
        shown.addWidget(self.restore)
        column.addLayout(shown)
        column.addWidget(self.markers_title)
        column.addWidget(self.markers, 1)
        column.addStretch()
        scroll_within(self, content)
