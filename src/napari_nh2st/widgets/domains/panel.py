"""Tab of the spatial domains of the current prediction: found, drawn, named."""

from functools import partial

from anndata import AnnData
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
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.labels_compilation import then_compiled
from napari_nh2st.prediction.reliability import Badges, with_reliability
from napari_nh2st.prediction.schema import IMAGE_FEATURES
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.widgets.background import STOP, Background
from napari_nh2st.widgets.domains.legend import DomainLegend
from napari_nh2st.widgets.domains.settings_form import DomainSettingsForm
from napari_nh2st.widgets.frame_model import ColumnHead
from napari_nh2st.widgets.frame_table import FrameTable
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


class DomainsPanel(QWidget):
    """Group the tiles into domains, and say which genes mark each.

    Parameters
    ----------
    session
        Its current prediction is grouped.
    connections
        Connections of the dock.

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

    def __init__(self, session: Session, connections: Connections) -> None:
        super().__init__()
        self.session = session
        self._finding = Background(self)
        self._finding.busy_changed.connect(self._on_busy)
        self._searched: AnnData | None = None
        self._make_controls()
        self._lay_out()
        connections.add(session.prediction_replaced, self._on_replaced)
        connections.add(session.heatmap_changed, self._show)
        connections.add(session.domains.changed, self._show)
        connections.when_opened(self._show)
        self._show()

    def set_badges(self, badges: Badges) -> None:
        """Grey the genes below the threshold, and leave them out of the next search.

        The search keeps a limit of its own that the user has chosen.
        """
        self.markers.badges = badges
        self.legend.badges = badges
        self.settings.follow_threshold(badges.reliable_from)
        self._show()

    # --- finding ---

    def start(self) -> None:
        """Find domains with what is chosen; problems are shown as notifications."""
        heatmap = self.session.heatmap
        if self._finding.is_busy:
            return
        if heatmap is None:
            show_error("There is no prediction yet: predict a slide, or open a prediction.")
            return
        self.notice.hide()
        self._searched = prediction = heatmap.prediction
        self._finding.start(
            then_compiled(find_domains),
            prediction,
            self.settings.chosen(),
            STOP,
            done=partial(self._on_found, heatmap, prediction),
            failed=self._on_error,
        )

    def stop(self) -> None:
        """Stop the search; the former domains stay."""
        self._finding.stop()

    def _on_found(self, heatmap: Heatmap, prediction: AnnData, domains: Domains | None) -> None:
        if domains is None or prediction is not heatmap.prediction:
            return
        lost = NamedDomains.what_is_lost(prediction)
        if said := " ".join(filter(None, (domains.notice, lost))):
            self._say(said)
        former = NamedDomains.of(prediction)
        self.session.domains.put(heatmap, NamedDomains.found(domains, former))

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, InputError):
            show_error(str(error))
        else:
            show_error(f"Domains could not be found: {type(error).__name__}: {error}")
        self._say(str(error))

    def _on_replaced(self, _heatmap: Heatmap, former: AnnData) -> None:
        """End a search in what is gone."""
        if self._finding.is_busy and self._searched is former:
            self.stop()
            self._say("Another prediction has come during the search: find its domains again.")

    # --- what there is ---

    def restore_former(self) -> None:
        """Exchange the domains with those before the last search."""
        if self.session.heatmap is not None:
            self.notice.hide()
            self.session.domains.restore(self.session.heatmap)

    def draw(self) -> None:
        """Show the domains in the viewer."""
        heatmap, domains = self.session.heatmap, self._domains
        if heatmap is not None and domains is not None:
            self.session.domains.draw(heatmap, domains)

    @property
    def _domains(self) -> NamedDomains | None:
        prediction = self.session.prediction
        return None if prediction is None else NamedDomains.of(prediction)

    def _show(self) -> None:
        prediction, domains = self.session.prediction, self._domains
        if prediction is None or domains is None:
            self.legend.clear_legend()
        else:
            self.legend.show_legend(domains, prediction.var.get("reliability"))
        for widget in (self.legend, self.show_layer, self.markers_title, self.markers):
            widget.setVisible(domains is not None)
        known = prediction is not None and IMAGE_FEATURES in prediction.obsm
        self.settings.offer_image(known)
        self._enable()

    def _on_domain_picked(self, number: int) -> None:
        prediction, domains = self.session.prediction, self._domains
        if prediction is None or domains is None or not 1 <= number <= len(domains.names):
            self.markers_title.setText("Marker genes")
            self.markers.show_table(self.markers.table.iloc[:0])
            return
        table = domains.markers_of(number)
        self.markers_title.setText(f"Marker genes of {domains.names[number - 1]}")
        self.markers.show_table(with_reliability(table, prediction))

    def _on_renamed(self, row: int, name: str) -> None:
        if self.session.heatmap is None:
            return
        try:
            self.session.domains.rename(self.session.heatmap, row + 1, name)
        except InputError as error:
            show_warning(str(error))
            self._show()

    # --- appearance ---

    def _on_busy(self, _busy: bool) -> None:
        self._enable()

    def _say(self, words: str) -> None:
        self.notice.setText(words)
        self.notice.show()

    def _enable(self) -> None:
        running, prediction = self._finding.is_busy, self.session.prediction
        has_former = (
            prediction is not None and self.session.domains.former_of(prediction) is not None
        )
        self.run.setEnabled(prediction is not None and not running)
        self.cancel.setEnabled(running)
        self.bar.setVisible(running)
        self.show_layer.setEnabled(self._domains is not None)
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
        self.notice = CautionLabel(tip="Cautions about these domains")
        self.notice.hide()
        self.legend = DomainLegend()
        self.legend.picked.connect(self._on_domain_picked)
        self.legend.renamed.connect(self._on_renamed)
        self.show_layer = QPushButton("Show on the slide")
        self.show_layer.setToolTip("Draw the domains in the viewer, again if they were removed")
        self.show_layer.clicked.connect(self.draw)
        self.restore = QPushButton("Restore the former")
        self.restore.setToolTip("Undo the last search; press again to redo it")
        self.restore.clicked.connect(self.restore_former)
        self.markers_title = PlainLabel("Marker genes")
        self.markers = FrameTable("markers", _HEADS)
        self.markers.view.setMinimumHeight(170)
        self.markers.gene_chosen.connect(self.session.show_gene)

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
