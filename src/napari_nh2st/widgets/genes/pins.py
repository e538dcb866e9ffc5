"""The pinned genes and the composite: buttons, and a list with the colors."""

from napari.utils import Colormap
from napari.utils.notifications import show_warning
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import (
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.widgets.genes.layers import COMPOSITE_COLORMAPS, GeneLayers
from napari_nh2st.widgets.genes.table import GeneTable
from napari_nh2st.widgets.reliability import dot_icon

_ROWS_SHOWN = 4


class PinsPanel(QWidget):
    """Pins the table's genes and lists what is pinned.

    Parameters
    ----------
    layers
        Pins and composites.
    table
        Its selected genes are meant.
    """

    def __init__(self, layers: GeneLayers, table: GeneTable, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers = layers
        self._table = table
        self.pin = QPushButton("Pin")
        self.pin.setToolTip("Give the selected genes layers of their own (double click, Shift+P)")
        self.unpin = QPushButton("Unpin")
        self.unpin.setToolTip("Remove the layers of the genes chosen in the list below")
        self.compose = QPushButton("Composite")
        self.compose.setToolTip(
            "Show the selected genes (up to four) together in red, green, blue and yellow on "
            "black; hides the other images"
        )
        self.undo = QPushButton("Undo")
        self.undo.setToolTip("Remove the composite and show again what it hid")
        self.list = QListWidget()
        self.list.setToolTip("Genes with layers of their own; the box shows or hides the layer")
        self.list.setSelectionMode(QListWidget.SelectionMode.ExtendedSelection)
        self.list.setFixedHeight(_ROWS_SHOWN * (self.fontMetrics().height() + 6))
        buttons = QHBoxLayout()
        for button in (self.pin, self.unpin, self.compose, self.undo):
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addWidget(self.list)
        self.pin.clicked.connect(self.pin_selected)
        self.unpin.clicked.connect(self.unpin_chosen)
        self.compose.clicked.connect(self.compose_selected)
        self.undo.clicked.connect(layers.undo_composite)
        self.list.itemChanged.connect(self._on_box)
        self.list.itemSelectionChanged.connect(self._enable)
        self.update_list()

    def pin_selected(self) -> None:
        """Pin the table's selected genes."""
        genes = self._table.selected_genes
        if not genes or self._layers.current.heatmap is None:
            show_warning("Select a gene in the table to pin it.")
            return
        for gene in genes:
            self._layers.pin(gene)

    def unpin_chosen(self) -> None:
        """Remove the genes that are chosen in the list."""
        for row in sorted((i.row() for i in self.list.selectedIndexes()), reverse=True):
            self._layers.unpin(self._layers.pins[row])

    def compose_selected(self) -> None:
        """Show the table's selected genes as a composite."""
        genes = self._table.selected_genes
        most = len(COMPOSITE_COLORMAPS)
        if self._layers.current.heatmap is None or not 1 <= len(genes) <= most:
            show_warning(
                f"A composite is of one to {most} genes, and {len(genes)} are selected: select "
                "them in the table with Ctrl."
            )
            return
        self._layers.compose(genes)

    def update_list(self) -> None:
        """Show the pins that there are now."""
        self.list.blockSignals(True)
        self.list.clear()
        for pin in self._layers.pins:
            item = QListWidgetItem(
                dot_icon(_brightest(pin.layer.colormap)),
                f"{pin.gene} · {pin.source.slide_name}" + (" · composite" * pin.in_composite),
            )
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            self.list.addItem(item)
        self.list.blockSignals(False)
        self.update_boxes()
        self.list.setVisible(bool(self._layers.pins))
        self._enable()

    def update_boxes(self) -> None:
        """Show which of the pins' layers are visible."""
        self.list.blockSignals(True)
        for row, pin in enumerate(self._layers.pins):
            item = self.list.item(row)
            if item is not None:
                shown = Qt.CheckState.Checked if pin.layer.visible else Qt.CheckState.Unchecked
                item.setCheckState(shown)
        self.list.blockSignals(False)

    def _enable(self) -> None:
        self.unpin.setEnabled(bool(self.list.selectedIndexes()))
        self.undo.setEnabled(self._layers.has_composite)

    def _on_box(self, item: QListWidgetItem) -> None:
        shown = item.checkState() == Qt.CheckState.Checked
        self._layers.pins[self.list.row(item)].layer.visible = shown


def _brightest(colormap: Colormap) -> str:
    red, green, blue = (float(v) for v in colormap.map([1.0])[0][:3])
    return str(QColor.fromRgbF(red, green, blue).name())
