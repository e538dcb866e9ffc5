"""Pinned genes and composite: buttons, and a list with the colors."""

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_nh2st.prediction.reliability import (
    reliability_number,
)
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.session.pins import COMPOSITE_COLORMAPS, Pin
from napari_nh2st.shown_text import for_qt
from napari_nh2st.widgets.genes.table import GeneTable
from napari_nh2st.widgets.icons import swatch_icon
from napari_nh2st.widgets.notifications import show_warning
from napari_nh2st.widgets.text_colors import TEXT_ROLE, TextDelegate

_ROWS_SHOWN = 4


class PinsPanel(QWidget):
    """Pins the table's genes and lists what is pinned, with each gene's badge.

    Parameters
    ----------
    session
        Has the pins.
    table
        Its selected genes are meant.
    connections
        Connections of the dock.
    """

    def __init__(self, session: Session, table: GeneTable, connections: Connections) -> None:
        super().__init__()
        self._session = session
        self._pins = session.pins
        self._table = table
        self.pin = QPushButton("Pin")
        self.pin.setToolTip("Give the selected genes layers of their own (double click, Shift+P)")
        self.unpin = QPushButton("Unpin")
        self.unpin.setToolTip("Remove the layers of the genes chosen in the list below")
        self.restore = QPushButton("Undo unpin")
        self.restore.setToolTip("Bring back the genes that were unpinned last, in their colors")
        self.compose = QPushButton("Composite")
        self.compose.setToolTip(
            "Show the selected genes (up to four) together in red, green, blue and yellow on "
            "black; hides the other images"
        )
        self.undo = QPushButton("Leave composite")
        self.undo.setToolTip("Remove the composite and show again what it hid")
        self.show_these = QCheckBox("Show these")
        self.show_these.setToolTip(
            "If unticked, slide and heatmap are shown instead, as when you go to a gene in the "
            "table"
        )
        self.ground = QComboBox()
        self.ground.addItems(["on black", "over the slide"])
        self.ground.setToolTip(
            "On black, colors add up and can be compared; over the slide, low values are "
            "transparent, so that the tissue is seen"
        )
        self.list = QListWidget()
        self.list.setToolTip(
            "Genes with layers of their own, with color and reliability; the box shows or hides "
            "the layer"
        )
        self.list.setItemDelegate(TextDelegate(self.list))
        self.list.setIconSize(QSize(32, 16))
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setSelectionMode(QListWidget.SelectionMode.ExtendedSelection)
        self.list.setFixedHeight(_ROWS_SHOWN * (self.fontMetrics().height() + 6))
        buttons = QHBoxLayout()
        for button in (self.pin, self.unpin, self.compose, self.undo):
            buttons.addWidget(button)
        buttons.setSpacing(4)
        view = QHBoxLayout()
        view.addWidget(self.show_these)
        view.addWidget(self.ground, 1)
        view.addWidget(self.restore)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(buttons)
        layout.addLayout(view)
        layout.addWidget(self.list)
        for later in (self.undo, self.show_these, self.ground, self.restore, self.list):
            later.hide()  # from the start: a dock that opens wide stays so
        self.pin.clicked.connect(self.pin_selected)
        self.unpin.clicked.connect(self.unpin_chosen)
        self.compose.clicked.connect(self.compose_selected)
        self.restore.clicked.connect(self._pins.restore)
        self.undo.clicked.connect(self._pins.undo_composite)
        self.show_these.clicked.connect(self._on_view)
        self.ground.activated.connect(self._on_ground)
        self.list.itemChanged.connect(self._on_box)
        self.list.itemSelectionChanged.connect(self._enable)
        connections.add(self._pins.changed, self.update_list)
        connections.add(self._pins.visibility_changed, self.update_boxes)
        connections.when_opened(self.update_list)

    def pin_selected(self) -> None:
        """Pin the table's selected genes."""
        genes = self._table.selected_genes
        if not genes or self._session.heatmap is None:
            show_warning("Select a gene in the table to pin it.")
            return
        for gene in genes:
            self._pins.pin(gene)

    def unpin_chosen(self) -> None:
        """Remove the genes that are chosen in the list."""
        rows = sorted(index.row() for index in self.list.selectedIndexes())
        self._pins.remove([self._pins.items[row] for row in rows])

    def compose_selected(self) -> None:
        """Show the table's selected genes as a composite."""
        genes = self._table.selected_genes
        most = len(COMPOSITE_COLORMAPS)
        if self._session.heatmap is None or not 1 <= len(genes) <= most:
            show_warning(
                f"A composite takes one to {most} genes, and {len(genes)} are selected: select "
                "them in the table with Ctrl."
            )
            return
        self._pins.compose(genes)

    def update_list(self) -> None:
        """Show the pins that there are now."""
        with signals_blocked(self.list):
            self.list.clear()
            for pin in self._pins.items:
                self.list.addItem(self._item(pin))
        self.update_boxes()
        self.list.setVisible(bool(self._pins.items))
        self.show_these.setVisible(bool(self._pins.items))
        self.ground.setVisible(bool(self._pins.items))
        self.restore.setVisible(self._pins.can_restore)
        self._enable()

    def update_boxes(self) -> None:
        """Show which of the pins' layers are visible."""
        with signals_blocked(self.list):
            for row, pin in enumerate(self._pins.items):
                item = self.list.item(row)
                if item is not None:
                    shown = Qt.CheckState.Checked if pin.layer.visible else Qt.CheckState.Unchecked
                    item.setCheckState(shown)
        self.show_these.setChecked(self._pins.are_shown)
        self.ground.setCurrentIndex(int(self._pins.over_slide))

    def _item(self, pin: Pin) -> QListWidgetItem:
        pcc, badges = pin.reliability, self._table.frame.badges
        icon = swatch_icon(pin.color, badges.color(pcc))
        words = [pin.gene, reliability_number(pcc), pin.source.slide_name]
        item = QListWidgetItem(icon, " · ".join(words + ["composite"] * pin.in_composite))
        item.setToolTip(for_qt(f"{pin.gene}: {badges.reason(pcc)}"))
        if not badges.is_reliable(pcc):
            item.setData(TEXT_ROLE, "greyed")
        item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
        return item

    def _enable(self) -> None:
        self.unpin.setEnabled(bool(self.list.selectedIndexes()))
        # Hidden without one: the four buttons side by side make the dock wide.
        self.undo.setVisible(self._pins.has_composite)

    def _on_ground(self, row: int) -> None:
        self._pins.over_slide = bool(row)
        self._pins.show_pins()

    def _on_view(self, wanted: bool) -> None:
        if wanted:
            self._pins.show_pins()
        else:
            self._pins.show_slide()

    def _on_box(self, item: QListWidgetItem) -> None:
        shown = item.checkState() == Qt.CheckState.Checked
        self._pins.items[self.list.row(item)].layer.visible = shown
