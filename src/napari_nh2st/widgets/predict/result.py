"""What was predicted: which prediction, its shown gene, and what to do with it next."""

from typing import TYPE_CHECKING

from anndata import AnnData
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QPushButton, QWidget
from superqt import QSearchableComboBox

from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.notifications import show_error
from napari_nh2st.widgets.prediction_export import PredictionExport

if TYPE_CHECKING:
    import napari

_MIN_CHARACTERS = 20


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
        self.export = PredictionExport(current)
        current.picker.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        current.picker.setMinimumContentsLength(_MIN_CHARACTERS)
        shown = QHBoxLayout()
        shown.addWidget(self.gene, 1)
        shown.addWidget(self.open_genes)
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        layout.addRow("Heatmap", current.picker)
        layout.addRow("Show gene", shown)
        layout.addRow(self.export)
        self.open_genes.clicked.connect(self._open_genes)
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
        self.gene.blockSignals(True)
        self.gene.clear()
        if heatmap is not None:
            genes = _best_first(heatmap.prediction)
            self.gene.addItems(genes)
            for row, known in enumerate(heatmap.prediction.var["reliability"][genes]):
                words = f"held-out PCC {known:.2f}" if known == known else "reliability not known"
                self.gene.setItemData(row, words, Qt.ItemDataRole.ToolTipRole)
            self.gene.setCurrentText(heatmap.gene)
        self.gene.blockSignals(False)

    def _on_shown(self, gene: str) -> None:
        """The gene was switched elsewhere."""
        self.gene.blockSignals(True)
        self.gene.setCurrentText(gene)
        self.gene.blockSignals(False)

    def _on_chosen(self, gene: str) -> None:
        heatmap = self.current.heatmap
        if heatmap is not None and gene in heatmap.prediction.var_names:
            self.current.show_gene(gene)

    def _open_genes(self) -> None:
        window = getattr(self.viewer, "window", None)
        if window is None:
            return
        try:
            window.add_plugin_dock_widget("napari-nh2st", "Genes", tabify=True)
        except Exception as error:  # napari's own, when a dock cannot be made
            show_error(f"The Genes widget could not be opened: {error}")


def _best_first(prediction: AnnData) -> list[str]:
    order = prediction.var["reliability"].sort_values(ascending=False, kind="stable").index
    return [str(gene) for gene in order]
