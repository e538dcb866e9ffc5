"""The *Genes* dock: the genes of a prediction, and what can be asked of them."""

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QAction, QKeySequence  # type: ignore[attr-defined]  # qtpy re-exports
from qtpy.QtWidgets import QTabWidget, QWidget

from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.domains.panel import DomainsPanel
from napari_nh2st.widgets.genes.remembered_display import remember_display, remembered_display
from napari_nh2st.widgets.genes.session import GeneSession
from napari_nh2st.widgets.genes.tab import GenesTab
from napari_nh2st.widgets.regions.panel import RegionsPanel
from napari_nh2st.widgets.reliability import THRESHOLD
from napari_nh2st.widgets.remembered import Remembered
from napari_nh2st.widgets.tiles.panel import TilePanel

if TYPE_CHECKING:
    import napari


_NEXT = ("N", "Control-Down")
_PREVIOUS = ("P", "Control-Up")
"""By napari's names."""


class GenesWidget(QTabWidget):
    """Explore a prediction: its genes, tiles, domains and regions.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.

    Attributes
    ----------
    current
        The prediction that all tabs are about.
    session
        What the *Genes* tab shows in the viewer.
    genes
        The *Genes* tab.
    tile, domains, regions
        The other tabs.
    """

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self._canvas_keys: dict[str, Callable[[Any], None]] = {
            key: lambda _viewer, step=step: step()  # type: ignore[misc]
            for keys, step in ((_NEXT, self.next_gene), (_PREVIOUS, self.previous_gene))
            for key in keys
        }
        self.current = CurrentPrediction(napari_viewer)
        self.session = GeneSession(napari_viewer, self.current)
        self.genes = GenesTab(self.session)
        self.tile = TilePanel(self.current)
        self.domains = DomainsPanel(self.current)
        self.regions = RegionsPanel(self.current)
        for panel, title, tooltip in (
            (self.genes, "Genes", "Table of genes: show, pin, combine and draw them"),
            (self.tile, "Tile", "What is predicted for the tile that you click in the viewer"),
            (self.domains, "Domains", "Cluster the tiles, and name what the clusters are"),
            (self.regions, "Regions", "Measure genes in regions that you draw, and compare two"),
        ):
            self.setTabToolTip(self.addTab(panel, title), tooltip)
        self.setDocumentMode(True)
        self._remembered = Remembered("genes")
        threshold = self._remembered.get("reliable_from", self.genes.threshold.value())
        self.genes.threshold.setValue(float(threshold))
        self.genes.only_reliable.setChecked(bool(self._remembered.get("only_reliable", False)))
        self.genes.threshold.valueChanged.connect(self._set_threshold)
        self.genes.only_reliable.toggled.connect(
            lambda only: self._remembered.set(only_reliable=bool(only))
        )
        self._set_threshold(self.genes.threshold.value())
        self.session.display.apply(remembered_display(self._remembered))
        self.session.display.chosen.connect(partial(remember_display, self._remembered))
        self.genes.display.reset.clicked.connect(self._reset)
        self._bind("Next gene", self.next_gene, *_NEXT)
        self._bind("Previous gene", self.previous_gene, *_PREVIOUS)
        self._bind("Pin", self.genes.pins.pin_selected, "Shift+P")
        self.tile.takes_clicks = self.isVisible
        self.tile.picked_tile.connect(self._show_tile)
        self.follow()
        # Not methods of the widget: Qt calls none of those once the widget is gone.
        self.destroyed.connect(self.session.close)
        self.destroyed.connect(self.current.close)

    def next_gene(self) -> None:
        """Show the gene below in the table."""
        self.genes.next_gene()

    def previous_gene(self) -> None:
        """Show the gene above in the table."""
        self.genes.previous_gene()

    def _bind(self, title: str, method: Callable[[], None], *keys: str) -> None:
        """Keys that work wherever the focus is in the dock, but for text that is typed."""
        action = QAction(title, self)
        action.setShortcuts([QKeySequence(key.replace("Control-", "Ctrl+")) for key in keys])
        action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        action.triggered.connect(method)
        self.addAction(action)

    def _show_tile(self, _tile: int) -> None:
        """A tile was clicked: its tab comes to the front."""
        self.setCurrentWidget(self.tile)

    def _reset(self) -> None:
        """The threshold, with the display that resets itself."""
        self.genes.threshold.setValue(THRESHOLD)
        self.genes.only_reliable.setChecked(False)

    def _set_threshold(self, threshold: float) -> None:
        """What is not reliable is grey in every tab, and in the next session."""
        self._remembered.set(reliable_from=round(threshold, 3))
        for panel in (self.tile, self.domains, self.regions):
            panel.set_threshold(threshold)

    def follow(self) -> None:
        """Follow the viewer from now on."""
        for key, step in self._canvas_keys.items():
            # Where the canvas has the focus, the dock's own shortcuts do not reach. A layer's own
            # keys come first: P draws points and polygons.
            with contextlib.suppress(ValueError):  # another widget has taken the key
                self.viewer.bind_key(key, step)
        self.current.follow()
        self.session.follow()
        for panel in (self.tile, self.domains, self.regions):
            panel.follow()

    def close_down(self) -> None:
        """Let go of the viewer and stop computing; the layers stay."""
        for panel in (self.tile, self.domains, self.regions):
            panel.close_down()
        self.session.close()
        self.current.close()
        for key, step in self._canvas_keys.items():
            if step in self.viewer.keymap.values():
                self.viewer.bind_key(key, None)

    def closeEvent(self, event: Any) -> None:  # Qt's name
        """Stop with the widget."""
        self.close_down()
        super().closeEvent(event)

    def changeEvent(self, event: Any) -> None:  # Qt's name
        """Let go when the widget is taken out of its dock, as napari's × does."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self.follow()
            else:
                self.close_down()
