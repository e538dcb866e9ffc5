"""*Genes* tab: a prediction's genes to search, show, pin, score and draw."""

import pandas as pd
from anndata import AnnData
from psygnal import Signal
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_nh2st.analysis import match_genes
from napari_nh2st.analysis.gene_statistics import gene_statistics
from napari_nh2st.analysis.signatures import unknown_text
from napari_nh2st.names import parse_genes
from napari_nh2st.prediction.fading import can_fade
from napari_nh2st.prediction.reading import limits_in_words
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.prediction.schema import (
    UNFAMILIAR,
    held_out_pcc,
    notes,
    notices,
    reliability,
)
from napari_nh2st.session import Session
from napari_nh2st.session.caption import GeneCaption
from napari_nh2st.session.connections import Connections
from napari_nh2st.session.remembered import ONLY_RELIABLE, RELIABLE_FROM
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.export_button import PredictionExport
from napari_nh2st.widgets.folded import Folded
from napari_nh2st.widgets.genes.column_choice import ColumnChoice, column_colors, column_line
from napari_nh2st.widgets.genes.display_panel import DisplayPanel
from napari_nh2st.widgets.genes.pins import PinsPanel
from napari_nh2st.widgets.genes.signature_panel import SignaturePanel
from napari_nh2st.widgets.genes.table import GeneTable
from napari_nh2st.widgets.heatmap_picker import HeatmapPicker
from napari_nh2st.widgets.labels import CautionLabel, MarkupLabel, PlainLabel
from napari_nh2st.widgets.measured_badges import MeasuredBadgesBox
from napari_nh2st.widgets.notifications import show_error, show_info
from napari_nh2st.widgets.scrolled import UprightArea
from napari_nh2st.widgets.setting_controls import control_for

_NO_PREDICTION = "No prediction yet: run Predict, or open one."
_NO_FADING = (
    "Pinned genes and composites do not fade: their colors add up, and darker would read as "
    "lower. Untick Show these to fade the heatmap."
)
_MIN_TABLE_HEIGHT = 220
_MS_BETWEEN_STATISTICS = 3000


class GenesTab(UprightArea):
    """Shows the genes of a session's current prediction.

    Parameters
    ----------
    session
        Has the prediction, and what is shown of it.
    connections
        Connections of the dock.

    Attributes
    ----------
    statistics
        Statistics of the prediction's genes, see
        :func:`~napari_nh2st.analysis.gene_statistics`; None until computed.
    badges
        Colors and words of the genes' reliability.
    badges_changed
        Emitted with them when they are others.
    """

    badges_changed = Signal(object)

    def __init__(self, session: Session, connections: Connections) -> None:
        super().__init__()
        self.session = session
        self.statistics: pd.DataFrame | None = None
        self.badges = Badges()
        self._computing = Background(self, throttle_ms=_MS_BETWEEN_STATISTICS)
        self.picker = HeatmapPicker(session, connections)
        self.header = MarkupLabel(
            wrap=True, tip="Gene that is shown, and how far its map can be trusted"
        )
        self.value_name = PlainLabel(wrap=True, tip="What the values and the colorbar show")
        self.notices = CautionLabel(tip="Cautions about the values", fits=True)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search, or paste a list of genes")
        self.search.setClearButtonEnabled(True)
        self.search.setToolTip("Part of a gene's name, or names of genes; Enter shows the first")
        self.search_note = PlainLabel(wrap=True, tip="Names that the panel does not have")
        self.threshold = control_for(RELIABLE_FROM)
        self.only_reliable = control_for(ONLY_RELIABLE)
        self.only_stable = QCheckBox("Only in every fold")
        self.only_stable.setToolTip(
            "Hide genes whose correlation was below that threshold in any fold of the model's "
            "cross-validation, on the sections left out"
        )
        self.measured_badges = MeasuredBadgesBox(session, connections)
        self.table = GeneTable()
        self.table.setMinimumHeight(_MIN_TABLE_HEIGHT)
        self.pins = PinsPanel(session, self.table, connections)
        self.signature = SignaturePanel(session)
        self.display = DisplayPanel(session.display, connections)
        self._fade_tip = self.display.fade.toolTip()
        self.unfamiliar = QCheckBox("Unfamiliar places")
        self.unfamiliar.setToolTip(
            "Show, instead of a gene, which places of the slide are unlike what the model was "
            "trained on"
        )
        self.column = ColumnChoice()
        self.caption = GeneCaption(session, connections)
        self.export = PredictionExport(session, connections)
        self._lay_out()
        self._connect(connections)
        self._give_badges()

    # --- what the viewer does ---

    def _on_heatmap(self) -> None:
        heatmap = self.session.heatmap
        if heatmap is None:
            self.table.set_genes((), ())
            self.value_name.setText("")
            by_fold = None
        else:
            prediction = heatmap.prediction
            self.table.set_genes(prediction.var_names, reliability(prediction))
            self._show_value_name()
            by_fold = held_out_pcc(prediction)
        self.table.set_held_out(by_fold)
        self.only_stable.setVisible(by_fold is not None)
        self._show_notices()
        self._offer_doubts()
        self._renew_badges()
        self.statistics = None
        self._compute_statistics(now=True)
        self._on_search()
        self.signature.check()
        self._show_gene()

    def _show_gene(self, _gene: str = "") -> None:
        """The shown gene's row and badge, or what is shown in its place."""
        heatmap = self.session.heatmap
        if heatmap is None:
            self.header.setText(_NO_PREDICTION)
            return
        self.table.go_to(heatmap.gene)
        column = self.session.tile_columns.seen
        pcc = float(reliability(heatmap.prediction)[heatmap.gene])
        line = self.badges.line(heatmap.gene, pcc)
        self.header.setText(line if column is None else column_line(column.about))

    def _show_notices(self) -> None:
        """The cautions on the prediction: some come when its run ends."""
        prediction = self.session.prediction
        self.notices.show_text("" if prediction is None else "\n".join(notices(prediction)))

    def _show_value_name(self) -> None:
        """What the values are, and what the ends of the colors stand for."""
        heatmap, column = self.session.heatmap, self.session.tile_columns.seen
        if column is not None:
            self.value_name.setText(column_colors(column.layer.contrast_limits))
        elif heatmap is not None:
            described = notes(heatmap.prediction)["target"].get("description", "not recorded")
            limits = heatmap.layer.contrast_limits
            colors = limits_in_words(heatmap.prediction, heatmap.gene, limits)
            said = f"Value: {described}"
            self.value_name.setText(f"{said}. Colors: {colors}" if colors else said)

    def _compute_statistics(self, now: bool = False) -> None:
        prediction = self.session.prediction
        if prediction is None:
            self._computing.stop()
        else:
            self._computing.start(
                _statistics_of, prediction, done=self._on_statistics, failed=_show_failure, now=now
            )

    def _on_statistics(self, result: tuple[AnnData, pd.DataFrame]) -> None:
        prediction, statistics = result
        if prediction is self.session.prediction:
            self.statistics = statistics
            self.table.set_statistics(statistics)

    # --- what the user does ---

    def _on_search(self) -> None:
        names = parse_genes(self.search.text())
        panel = self.table.genes
        text, note = "", ""
        listed: frozenset[str] | None = None
        if len(names) > 1:
            match = match_genes(names, panel)
            unknown = dict(match.unknown)
            # The last name may be under way: it is searched for as long as a gene contains it.
            if names[-1] in unknown and _in_any(names[-1], panel):
                text = names[-1]
                del unknown[text]
            listed = frozenset(match.found)
            note = f"Not in the panel: {unknown_text(unknown)}" if unknown else ""
        elif names:
            text = names[0]
            if panel and not _in_any(text, panel):
                note = f"Not in the panel: {unknown_text(match_genes(names, panel).unknown)}"
        self.table.search(text, listed)
        self.search_note.setText(note)
        self._after_filter()

    def _on_enter(self) -> None:
        shown = self.table.shown_genes
        if shown:
            self.session.show_gene(shown[0])
        else:
            show_info("No gene of the prediction has this name.")

    def _offer_doubts(self) -> None:
        """Offer what the prediction says of where it is unsure."""
        prediction, columns = self.session.prediction, self.session.tile_columns
        self.display.fade.setVisible(prediction is not None and can_fade(prediction))
        self._offer_fading()
        self.unfamiliar.setVisible(UNFAMILIAR in columns.offered)
        with signals_blocked(self.unfamiliar):
            self.unfamiliar.setChecked(columns.shown == UNFAMILIAR)
        self.column.offer(columns.offered, columns.shown)

    def _on_column(self) -> None:
        self._offer_doubts()
        self._show_gene()
        self._show_value_name()

    def _show_unfamiliar(self, wanted: bool) -> None:
        self.session.tile_columns.show(UNFAMILIAR if wanted else None)

    def _offer_fading(self) -> None:
        """Offer what only the heatmap can do while it is shown, or say why it is not."""
        pins = self.session.pins.are_shown
        self.display.fade.setEnabled(not pins)
        self.display.fade.setToolTip(_NO_FADING if pins else self._fade_tip)

    def _renew_badges(self) -> None:
        """Take threshold, reliability, and how far the slide is from the training, as now."""
        prediction, threshold = self.session.prediction, self.threshold.value()
        badges = Badges(threshold)
        if prediction is not None:
            badges = Badges.of_prediction(prediction, threshold)
        if badges != self.badges:
            self.badges = badges
            self._give_badges()

    def _give_badges(self) -> None:
        for part in (self.table, self.signature, self.caption):
            part.set_badges(self.badges)
        self.pins.update_list()
        self._after_filter()
        self.badges_changed.emit(self.badges)

    def _on_measured_badges(self) -> None:
        """The reliability is another, but for the genes all is as it was."""
        prediction = self.session.prediction
        if prediction is not None:
            self.table.set_reliability(reliability(prediction))
            self._renew_badges()

    def _on_only_reliable(self, only: bool) -> None:
        self.table.set_only_reliable(only)
        self._after_filter()

    def _on_only_stable(self, only: bool) -> None:
        self.table.set_only_stable(only)
        self._after_filter()

    def _after_filter(self) -> None:
        self._show_gene()
        shown, there = self.table.filter.rowCount(), len(self.table.genes)
        self.count.setText(f"{shown} of {there}" if there else "")
        self.search_note.setVisible(bool(self.search_note.text()))

    def _offer_menu(self, where: QPoint) -> None:
        menu = QMenu(self)
        menu.addAction("Pin", self.pins.pin_selected)
        menu.addAction("Composite", self.pins.compose_selected)
        menu.addAction("Use as signature", self._take_as_signature)
        viewport = self.table.viewport()
        assert viewport is not None
        menu.exec(viewport.mapToGlobal(where))

    def _take_as_signature(self) -> None:
        self.signature.genes.setPlainText(", ".join(self.table.selected_genes))
        self.signature_section.expand(animate=False)

    # --- construction ---

    def _connect(self, connections: Connections) -> None:
        session = self.session
        connections.add(session.heatmap_changed, self._on_heatmap)
        connections.add(session.gene_changed, self._show_gene)
        connections.add(session.filling_changed, self._show_notices)
        connections.add(session.filled, self._compute_statistics)
        connections.add(session.filled, self._renew_badges)
        connections.add(session.filled, self._offer_doubts)
        connections.add(session.tile_columns.changed, self._on_column)
        connections.add(session.pins.visibility_changed, self._offer_fading)
        connections.add(session.pins.changed, self._offer_fading)
        connections.add(session.tile_columns.visibility_changed, self._on_column)
        connections.add(session.measured_badges.used, self._on_measured_badges)
        self.caption.updated.connect(self._show_value_name)
        connections.when_opened(self._on_heatmap)
        # Their colors add up, which only this tab says and changes.
        connections.when_closed(session.pins.show_slide)
        self.table.gene_entered.connect(session.show_gene)
        self.table.gene_chosen.connect(session.pins.pin)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._offer_menu)
        self.search.textChanged.connect(self._on_search)
        self.search.returnPressed.connect(self._on_enter)
        self.threshold.valueChanged.connect(self._renew_badges)
        self.only_reliable.toggled.connect(self._on_only_reliable)
        self.only_stable.toggled.connect(self._on_only_stable)
        self.unfamiliar.toggled.connect(self._show_unfamiliar)
        self.column.changed.connect(session.tile_columns.show)

    def _lay_out(self) -> None:
        self.count = PlainLabel(tip="Genes in the table")
        reliable = QHBoxLayout()
        reliable.addWidget(PlainLabel("reliable from"))
        reliable.addWidget(self.threshold)
        reliable.addWidget(self.only_reliable)
        reliable.addStretch()
        search = QHBoxLayout()
        search.addWidget(self.search, 1)
        search.addWidget(self.count)
        content = _Column()
        layout = QVBoxLayout(content)
        layout.addWidget(self.picker)
        layout.addWidget(self.header)
        layout.addLayout(search)
        layout.addWidget(self.search_note)
        layout.addLayout(reliable)
        layout.addWidget(self.only_stable)
        doubts = QHBoxLayout()
        doubts.addWidget(self.display.fade)
        doubts.addWidget(self.unfamiliar)
        doubts.addStretch()
        layout.addLayout(doubts)
        layout.addWidget(self.column)
        layout.addWidget(self.measured_badges)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.value_name)
        layout.addWidget(self.notices)
        layout.addWidget(self.pins)
        self.signature_section = Folded(
            "Signature", self.signature, "Show the mean z-score of several genes as a layer"
        )
        self.display_section = Folded(
            "Display", self.display, "Contrast limits, colors and opacity of the layers"
        )
        layout.addWidget(self.signature_section)
        layout.addWidget(self.display_section)
        layout.addWidget(self.export)
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)


class _Column(QWidget):
    """As high as its words need when they are wrapped: the scroll area notices that too late."""

    def event(self, event: QEvent | None) -> bool:  # Qt's name
        """Grow with what it holds."""
        handled = super().event(event)
        layout = self.layout()
        resized = event is not None and event.type() in (
            QEvent.Type.LayoutRequest,
            QEvent.Type.Resize,
        )
        if resized and layout is not None:
            self.setMinimumHeight(layout.totalHeightForWidth(self.width()))
        return bool(handled)


def _in_any(part: str, panel: tuple[str, ...]) -> bool:
    return any(part.casefold() in gene.casefold() for gene in panel)


def _statistics_of(prediction: AnnData) -> tuple[AnnData, pd.DataFrame]:
    return prediction, gene_statistics(prediction)


def _show_failure(error: Exception) -> None:
    show_error(f"The genes' numbers could not be computed: {type(error).__name__}: {error}")
