"""*Genes* dock: the genes, tiles, domains and regions of a prediction."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.utils.colormaps import AVAILABLE_COLORMAPS
from qtpy.QtCore import Qt
from qtpy.QtGui import QAction, QKeySequence  # type: ignore[attr-defined]  # qtpy re-exports
from qtpy.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from napari_nh2st.options import settings_of
from napari_nh2st.prediction.reliability import THRESHOLD, Badges
from napari_nh2st.session import Session
from napari_nh2st.session.display_settings import DisplaySettings
from napari_nh2st.session.remembered import remembered_values, restored_values
from napari_nh2st.widgets.canvas_picture import CanvasPicture
from napari_nh2st.widgets.dock import Dock
from napari_nh2st.widgets.domains.panel import DomainsPanel
from napari_nh2st.widgets.genes.tab import GenesTab
from napari_nh2st.widgets.regions.panel import RegionsPanel
from napari_nh2st.widgets.tiles.panel import TilePanel

if TYPE_CHECKING:
    import napari


_NEXT = ("N", "Control-Down")
_PREVIOUS = ("P", "Control-Up")
"""By napari's names."""


class GenesWidget(Dock):
    """Explore a prediction: its genes, tiles, domains and regions.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.

    Attributes
    ----------
    session
        What the viewer holds.
    tabs
        The tabs.
    genes, tile, domains, regions
        What is in them.
    picture
        Buttons that save or copy what the canvas shows.
    """

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, "genes", parent=parent)
        self.session = Session.of(napari_viewer)
        kept = restored_values("genes", self.remembered.get)
        if kept["colormap"] not in AVAILABLE_COLORMAPS:
            del kept["colormap"]
        names = settings_of(DisplaySettings).keys() & kept.keys()
        self.session.display.restore(DisplaySettings(**{name: kept[name] for name in names}))
        self.genes = GenesTab(self.session, self.connections)
        self.tile = TilePanel(self.session, self.connections)
        self.domains = DomainsPanel(self.session, self.connections)
        self.regions = RegionsPanel(self.session, self.connections)
        self.picture = CanvasPicture(self.session)
        self._make_tabs()
        self._remember()
        self._bind_keys()
        self.tile.takes_clicks = self.isVisible
        self.tile.picked_tile.connect(self._show_tile)
        self.open()

    def _make_tabs(self) -> None:
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        for panel, title, tooltip in (
            (self.genes, "Genes", "Table of genes: show, pin, combine and draw them"),
            (self.tile, "Tile", "What is predicted for the tile that you click in the viewer"),
            (self.domains, "Domains", "Cluster the tiles, and name what the clusters are"),
            (self.regions, "Regions", "Measure genes in regions that you draw, and compare two"),
        ):
            self.tabs.setTabToolTip(self.tabs.addTab(panel, title), tooltip)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.tabs)
        below = QVBoxLayout()
        below.setContentsMargins(10, 0, 10, 4)
        below.addWidget(self.picture)
        layout.addLayout(below)

    def _remember(self) -> None:
        """Begin with what was set in the last session of napari, and keep what is set now."""
        threshold, only_reliable = self.genes.threshold, self.genes.only_reliable
        kept = restored_values("genes", self.remembered.get)
        threshold.setValue(kept["reliable_from"])
        only_reliable.setChecked(kept["only_reliable"])
        threshold.valueChanged.connect(self._remember_threshold)
        only_reliable.toggled.connect(lambda only: self.remembered.set(only_reliable=bool(only)))
        self._set_badges(self.genes.badges)
        self.genes.badges_changed.connect(self._set_badges)
        self.connect_to(self.session.display.chosen, self._remember_display)
        self.genes.display.reset.clicked.connect(self._reset)

    def _bind_keys(self) -> None:
        self._bind("Next gene", self.next_gene, *_NEXT)
        self._bind("Previous gene", self.previous_gene, *_PREVIOUS)
        self._bind("Pin", self.genes.pins.pin_selected, "Shift+P")
        self._canvas_keys: dict[str, Callable[[Any], None]] = {
            key: lambda _viewer, step=step: step()  # type: ignore[misc]
            for keys, step in ((_NEXT, self.next_gene), (_PREVIOUS, self.previous_gene))
            for key in keys
        }
        self.connections.when_opened(self._take_canvas_keys)
        self.connections.when_closed(self._release_canvas_keys)

    def next_gene(self) -> None:
        """Show the gene below in the table."""
        self.genes.table.step(1)

    def previous_gene(self) -> None:
        """Show the gene above in the table."""
        self.genes.table.step(-1)

    def _bind(self, title: str, method: Callable[[], None], *keys: str) -> None:
        """Keys that work wherever the focus is in the dock, but for text that is typed."""
        action = QAction(title, self)
        action.setShortcuts([QKeySequence(key.replace("Control-", "Ctrl+")) for key in keys])
        action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        action.triggered.connect(method)
        self.addAction(action)

    def _show_tile(self, _tile: int) -> None:
        """A tile was clicked: its tab comes to the front."""
        self.tabs.setCurrentWidget(self.tile)

    def _reset(self) -> None:
        """The threshold, with the display that resets itself."""
        self.genes.threshold.setValue(THRESHOLD)
        self.genes.only_reliable.setChecked(False)

    def _remember_display(self, settings: DisplaySettings) -> None:
        rounded = replace(settings, opacity=round(settings.opacity, 3))
        self.remembered.set(**remembered_values("genes", vars(rounded)))

    def _remember_threshold(self, threshold: float) -> None:
        self.remembered.set(reliable_from=round(threshold, 3))

    def _set_badges(self, badges: Badges) -> None:
        """What is not reliable is grey in every tab."""
        for panel in (self.tile, self.domains, self.regions):
            panel.set_badges(badges)

    def _take_canvas_keys(self) -> None:
        """Where the canvas has the focus, the dock's own shortcuts do not reach."""
        for key, step in self._canvas_keys.items():
            # A layer's own keys come first: P draws points and polygons.
            with contextlib.suppress(ValueError):  # another widget has taken the key
                self.viewer.bind_key(key, step)

    def _release_canvas_keys(self) -> None:
        for key, step in self._canvas_keys.items():
            if step in self.viewer.keymap.values():
                self.viewer.bind_key(key, None)
