"""The *Genes* dock: the genes of a prediction, and what can be asked of them."""

import contextlib
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QTabWidget, QWidget

from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.domains.panel import DomainsPanel
from napari_nh2st.widgets.genes.session import GeneSession
from napari_nh2st.widgets.genes.tab import GenesTab
from napari_nh2st.widgets.regions.panel import RegionsPanel
from napari_nh2st.widgets.remembered import Remembered
from napari_nh2st.widgets.tiles.panel import TilePanel

if TYPE_CHECKING:
    import napari


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
        self._steps = {
            "Control-Down": lambda _viewer: self.next_gene(),
            "Control-Up": lambda _viewer: self.previous_gene(),
        }
        self.current = CurrentPrediction(napari_viewer)
        self.session = GeneSession(napari_viewer, self.current)
        self.genes = GenesTab(self.session)
        self.tile = TilePanel(self.current)
        self.domains = DomainsPanel(self.current)
        self.regions = RegionsPanel(self.current)
        self.addTab(self.genes, "Genes")
        self.addTab(self.tile, "Tile")
        self.addTab(self.domains, "Domains")
        self.addTab(self.regions, "Regions")
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

    def _set_threshold(self, threshold: float) -> None:
        """What is not reliable is grey in every tab, and in the next session."""
        self._remembered.set(reliable_from=round(threshold, 3))
        for panel in (self.tile, self.domains, self.regions):
            panel.set_threshold(threshold)

    def follow(self) -> None:
        """Follow the viewer from now on."""
        for key, step in self._steps.items():
            # Where the canvas has the focus, the dock's own shortcuts do not reach.
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
        for key, step in self._steps.items():
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
