"""Result of a prediction: the current heatmap, its shown gene, and what to do with it next."""

from anndata import AnnData
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QPushButton, QWidget
from superqt import QSearchableComboBox
from superqt.utils import signals_blocked

from napari_nh2st.analysis.signatures import GeneMatch, match_genes
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.prediction.schema import reliability
from napari_nh2st.prediction.values import genes_by_reliability
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.shown_text import for_qt
from napari_nh2st.widgets.dock import open_dock
from napari_nh2st.widgets.export_button import PredictionExport
from napari_nh2st.widgets.heatmap_picker import HeatmapPicker
from napari_nh2st.widgets.labels import CautionLabel
from napari_nh2st.widgets.notifications import show_warning


class PredictionResult(QWidget):
    """Shows genes of the current prediction, and exports it.

    Parameters
    ----------
    session
        Has the prediction.
    connections
        Connections of the dock.

    Attributes
    ----------
    heatmap
        Picker of the current heatmap.
    gene
        The gene that the heatmap shows; best first.
    note
        What is wrong with the gene that was typed; hidden without.
    undo
        Takes the last run out of the heatmap again; hidden where there is nothing to go back to.
    open_genes, export
        Opens the Genes dock; writes the prediction.
    """

    def __init__(
        self, session: Session, connections: Connections, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.session = session
        self.heatmap = HeatmapPicker(session, connections)
        self.gene = QSearchableComboBox()
        self.gene.setToolTip("Gene to show; type to search. The Genes dock has more")
        self.note = CautionLabel()
        self.note.hide()
        self.open_genes = QPushButton("Genes…")
        self.open_genes.setToolTip("Open the Genes dock: table, signatures, domains, regions")
        self.export = PredictionExport(session, connections)
        self.undo = QPushButton("Undo run")
        self.undo.setToolTip(
            "Show the map as it was before the last run; press again to see the run's map"
        )
        self.undo.clicked.connect(self._undo)
        of_heatmap = QHBoxLayout()
        of_heatmap.addWidget(self.heatmap, 1)
        of_heatmap.addWidget(self.undo)
        shown = QHBoxLayout()
        shown.addWidget(self.gene, 1)
        shown.addWidget(self.open_genes)
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        layout.addRow("Heatmap", of_heatmap)
        layout.addRow("Show gene", shown)
        layout.addRow(self.note)
        layout.addRow(self.export)
        self.open_genes.clicked.connect(lambda: open_dock(session.viewer, "Genes"))
        self.gene.currentTextChanged.connect(self._on_chosen)
        line = self.gene.lineEdit()
        assert line is not None
        line.editingFinished.connect(self._on_typed)
        connections.add(session.heatmap_changed, self._show_genes)
        connections.add(session.gene_changed, self._show_gene)
        connections.add(session.heatmap_changed, self._offer_undo)
        connections.add(session.filling_changed, self._offer_undo)
        connections.add(session.runs.changed, self._offer_undo)
        connections.when_opened(self._show_genes)
        connections.when_opened(self._offer_undo)

    def gene_for(self, prediction: AnnData) -> str:
        """The gene to show of a new prediction: the one in the box if it has it, else its best."""
        genes = genes_by_reliability(prediction)
        wanted = self.gene.currentText().strip()
        if not wanted:
            return genes[0]
        match = match_genes([wanted], genes)
        if match.unknown:
            show_warning(f"{_unknown(match)} {genes[0]} is shown.")
        return match.found[0] if match.found else genes[0]

    def _offer_undo(self) -> None:
        self.undo.setVisible(self.session.runs.can_undo(self.session.heatmap))

    def _undo(self) -> None:
        if self.session.heatmap is not None:
            self.session.runs.undo(self.session.heatmap)

    def _show_genes(self) -> None:
        heatmap = self.session.heatmap
        self.note.show_text("")
        with signals_blocked(self.gene):
            self.gene.clear()
            if heatmap is not None:
                genes = genes_by_reliability(heatmap.prediction)
                self.gene.addItems(genes)
                badges = Badges.of_prediction(heatmap.prediction)
                for row, known in enumerate(reliability(heatmap.prediction)[genes]):
                    text = for_qt(badges.short(float(known)))
                    self.gene.setItemData(row, text, Qt.ItemDataRole.ToolTipRole)
                self.gene.setCurrentText(heatmap.gene)

    def _show_gene(self, gene: str) -> None:
        """The gene was switched, here or elsewhere."""
        self.note.show_text("")
        with signals_blocked(self.gene):
            self.gene.setCurrentText(gene)

    def _on_chosen(self, gene: str) -> None:
        prediction = self.session.prediction
        if prediction is not None and gene in prediction.var_names:
            self.note.show_text("")
            self.session.show_gene(gene)

    def _on_typed(self) -> None:
        """Take what was typed as a gene of the prediction, or say why it is none."""
        heatmap, typed = self.session.heatmap, self.gene.currentText().strip()
        if heatmap is None or typed in heatmap.prediction.var_names:
            return
        match = match_genes([typed] if typed else [], list(heatmap.prediction.var_names))
        self.gene.setCurrentText(match.found[0] if match.found else heatmap.gene)
        if match.unknown:
            self.note.show_text(_unknown(match))


def _unknown(match: GeneMatch) -> str:
    """A gene that the prediction does not have, and the nearest that it has."""
    ((gene, nearest),) = match.unknown.items()
    hint = f" Nearest: {', '.join(nearest)}." if nearest else ""
    return f"{gene} is not in this prediction.{hint}"
