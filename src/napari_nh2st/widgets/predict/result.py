"""Result of a prediction: the current heatmap, its shown gene, and what to do with it next."""

from typing import TYPE_CHECKING

from anndata import AnnData
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QPushButton, QWidget
from superqt import QSearchableComboBox
from superqt.utils import signals_blocked

from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.dock import open_dock
from napari_nh2st.widgets.prediction_export import PredictionExport

if TYPE_CHECKING:
    import napari

_NOT_KNOWN = "reliability not known"


class PredictionResult(QWidget):
    """Shows genes of the current prediction, and exports it.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.
    current
        The prediction; whoever made it calls its ``follow`` and ``close``.

    Attributes
    ----------
    gene
        The gene that the heatmap shows; best first.
    open_genes, export
        What else there is.
    """

    def __init__(
        self,
        napari_viewer: "napari.Viewer",
        current: CurrentPrediction,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.current = current
        self.gene = QSearchableComboBox()
        self.gene.setToolTip("Gene to show; type to search. The Genes widget has more")
        self.open_genes = QPushButton("Genes…")
        self.open_genes.setToolTip("Open the Genes widget: table, signatures, domains, regions")
        self.export = PredictionExport(current.session, current.connections)
        shown = QHBoxLayout()
        shown.addWidget(self.gene, 1)
        shown.addWidget(self.open_genes)
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        layout.addRow("Heatmap", current.picker)
        layout.addRow("Show gene", shown)
        layout.addRow(self.export)
        self.open_genes.clicked.connect(lambda: open_dock(self.viewer, "Genes"))
        self.gene.currentTextChanged.connect(self._on_chosen)
        current.changed.connect(self._on_current)
        current.shown.connect(self._on_shown)
        self._on_current()

    def gene_for(self, prediction: AnnData) -> str:
        """The gene to show of a new prediction: the one shown now if it has it, else its best."""
        chosen = self.gene.currentText()
        return chosen if chosen in prediction.var_names else _best_first(prediction)[0]

    def _on_current(self) -> None:
        heatmap = self.current.heatmap
        with signals_blocked(self.gene):
            self.gene.clear()
            if heatmap is not None:
                genes = _best_first(heatmap.prediction)
                self.gene.addItems(genes)
                for row, known in enumerate(heatmap.prediction.var["reliability"][genes]):
                    text = f"held-out PCC {known:.2f}" if known == known else _NOT_KNOWN
                    self.gene.setItemData(row, text, Qt.ItemDataRole.ToolTipRole)
                self.gene.setCurrentText(heatmap.gene)

    def _on_shown(self, gene: str) -> None:
        """The gene was switched elsewhere."""
        with signals_blocked(self.gene):
            self.gene.setCurrentText(gene)

    def _on_chosen(self, gene: str) -> None:
        heatmap = self.current.heatmap
        if heatmap is not None and gene in heatmap.prediction.var_names:
            self.current.show_gene(gene)


def _best_first(prediction: AnnData) -> list[str]:
    order = prediction.var["reliability"].sort_values(ascending=False, kind="stable").index
    return [str(gene) for gene in order]
