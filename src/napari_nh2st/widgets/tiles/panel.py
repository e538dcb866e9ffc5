"""Tab of the tile that was clicked: its genes, neighborhood and place in the distribution."""

import html
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from anndata import AnnData
from napari.layers import Image
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import (
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import QSignalThrottler

from napari_nh2st.analysis.tile_lookup import TileFacts, TileView, look_up, tile_name
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.layers.picked_tile import PickedTile
from napari_nh2st.layers.tile_positions import tile_at, tile_side
from napari_nh2st.prediction.lattice import step_um
from napari_nh2st.prediction.reading import (
    GeneReading,
    unfamiliarity_at,
    unfamiliarity_in_words,
)
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.prediction.schema import STATUS, notes, slide_mpp
from napari_nh2st.prediction.values import gene_values
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.slide import Slide
from napari_nh2st.spots.positions import centers
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.frame_model import RELIABILITY_HEAD, ColumnHead
from napari_nh2st.widgets.frame_table import FrameTable
from napari_nh2st.widgets.labels import MarkupLabel, PlainLabel
from napari_nh2st.widgets.notifications import show_error
from napari_nh2st.widgets.scrolled import scroll_within
from napari_nh2st.widgets.tiles.histogram import Histogram
from napari_nh2st.widgets.tiles.pictures import TilePictures

_HINT = "Click a tile in the viewer."
_CLICK_PX = 4
"""Screen pixels that the mouse may move between press and release."""
_MS_BETWEEN_REFRESHES = 500
_ESCAPE = "Escape"
_TABLE_PX = 200
"""Of the genes; the neighborhood below is seen whole in a window 800 high."""
_HOW_FAR = "99 % of the tiles of held-out sections have 1 or less."
_HEADS = {
    "gene": ColumnHead("gene", "The genes that are highest here compared with the section"),
    "reliability": ColumnHead("PCC", RELIABILITY_HEAD.meaning),
    "z": ColumnHead("z", "Standard deviations above the mean of the section's tiles"),
    "value": ColumnHead("value", "Predicted value of the tile"),
    "interval": ColumnHead(
        "±",
        "The measured value was within this of the predicted one at 90 % of held-out spots",
        lambda half: "–" if np.isnan(half) else f"{half:.2f}",
    ),
    "percentile": ColumnHead("% below", "Share of the section's tiles with a lower value"),
}


class TilePanel(QWidget):
    """The top genes, the neighborhood and the place in the distribution of a clicked tile.

    Clicks count while no layer's tool is in use.

    Parameters
    ----------
    session
        A tile of its current prediction is picked.
    connections
        Connections of the dock.

    Attributes
    ----------
    tile
        Row of the picked tile in the prediction; None if there is none.
    genes
        Table of the genes that are highest there, compared with the section.
    pictures
        Pictures of the tile and its neighborhood.
    histogram
        Histogram of the shown gene.
    picked
        Frames in the viewer.
    takes_clicks
        Asked at each click whether it is to pick a tile; while the panel is visible, unless its
        owner says otherwise.
    picked_tile
        Emitted with the row of the tile that a click has picked.
    """

    picked_tile = Signal(int)

    def __init__(self, session: Session, connections: Connections) -> None:
        super().__init__()
        self.session = session
        self.viewer = session.viewer
        self.tile: int | None = None
        self.takes_clicks: Callable[[], bool] = self.isVisible
        self.picked = PickedTile(session.viewer)
        self._picked_in: AnnData | None = None
        self._looking = Background(self)
        self._with_escape: list[Image] = []

        self.summary = MarkupLabel(
            _HINT, wrap=True, tip="The tile: row × column in the array of tiles"
        )
        self.clear_button = QPushButton("Clear")
        self.clear_button.setToolTip("Forget the tile and remove its frame (Escape)")
        self.clear_button.clicked.connect(self.clear)
        self.genes = FrameTable("tile", _HEADS)
        self.genes.view.setMinimumHeight(_TABLE_PX)
        self.genes.gene_chosen.connect(session.show_gene)
        self.gene_title = PlainLabel(wrap=True, tip="The shown gene at the tile")
        self.histogram = Histogram()
        self.histogram.setToolTip("Values of the shown gene over the section; the line is the tile")
        self.pictures = TilePictures()
        self.pictures_caption = PlainLabel(
            wrap=True, tip="What the model sees of the slide to predict one tile"
        )
        self.pictures_notice = PlainLabel(wrap=True, tip="Why there are no pictures")
        escape = self.addAction("Clear")
        assert escape is not None
        escape.setShortcut(QKeySequence(_ESCAPE))
        escape.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        escape.triggered.connect(self.clear)
        self._refreshes = QSignalThrottler(QSignalThrottler.EmissionPolicy.Trailing, self)
        self._refreshes.setTimeout(_MS_BETWEEN_REFRESHES)
        self._refreshes.triggered.connect(self._refresh)
        self._lay_out()
        self._show_nothing()
        connections.add(session.heatmap_changed, self._on_heatmap)
        connections.add(session.gene_changed, self._on_gene)
        connections.add(session.filled, self._on_filled)
        connections.when_opened(self._take_mouse)
        connections.when_closed(self._release_viewer)

    # --- the session and the viewer ---

    def _on_heatmap(self) -> None:
        """The tile stays picked while it is one of the current prediction."""
        if self.tile is not None and self.session.prediction is not self._picked_in:
            self.clear()
        else:
            self._show_histogram()

    def _take_mouse(self) -> None:
        self.viewer.mouse_drag_callbacks.append(self._on_press)
        self.clear()

    def _release_viewer(self) -> None:
        """Leave clicks to others, and remove what marks the tile."""
        self.viewer.mouse_drag_callbacks.remove(self._on_press)
        self.picked.clear()
        self._unbind_escape()

    def set_badges(self, badges: Badges) -> None:
        """Grey the genes below the threshold, and give all of them these badges."""
        self.genes.badges = badges

    # --- picking ---

    def pick(self, tile: int) -> None:
        """Show a tile of the current prediction, and frame it when its neighborhood is known.

        Parameters
        ----------
        tile
            Row of the prediction.
        """
        heatmap = self.session.heatmap
        if heatmap is None:
            return
        self.tile, self._picked_in = tile, heatmap.prediction
        self.clear_button.setEnabled(True)
        self.summary.setText(_summary(heatmap, tile))
        self._show_histogram()
        slides = [la.metadata.get(SLIDE_KEY) for la in self.viewer.layers]
        self._looking.start(
            look_up,
            heatmap.prediction,
            tile,
            tile_side(heatmap),
            [slide for slide in slides if isinstance(slide, Slide)],
            done=self._on_found,
            failed=self._on_error,
        )
        self._bind_escape()

    def clear(self) -> None:
        """Forget the tile."""
        self._looking.stop()
        self.tile = None
        self.picked.clear()
        self._unbind_escape()
        self._show_nothing()

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        """napari's mouse callback: press, moves, release."""
        if not self._takes_clicks(event):
            return
        start = np.array(event.pos)
        farthest = 0.0
        yield
        while event.type == "mouse_move":
            farthest = max(farthest, float(np.abs(np.array(event.pos) - start).max()))
            yield
        end = np.array(event.pos)
        if (
            max(farthest, float(np.abs(end - start).max())) > _CLICK_PX
            or self.session.heatmap is None
        ):
            return
        tile = tile_at(self.session.heatmap, event.position, self.viewer.layers.extent.units)
        if tile is not None:
            self.pick(tile)
            self.picked_tile.emit(tile)

    def _takes_clicks(self, event: Any) -> bool:
        """Whether a press may become the picking of a tile, and is not for another tool."""
        # A hidden heatmap too: under pinned genes, its tiles are the same.
        if not self.takes_clicks() or self.session.heatmap is None:
            return False
        if self.session.heatmap.layer not in self.viewer.layers:
            return False
        active = self.viewer.layers.selection.active
        no_tool = active is None or str(active.mode) == "pan_zoom"
        plain = event.button == 1 and not event.modifiers
        return bool(no_tool and plain and self.viewer.dims.ndisplay == 2)

    def _on_found(self, found: TileFacts | TileView) -> None:
        if self.session.heatmap is None:
            return
        if isinstance(found, TileFacts):
            known = found.genes["interval"].notna().any()
            self.genes.show_table(found.genes, hidden=() if known else ("interval",))
            self.genes.setVisible(len(found.genes) > 0)
            self.picked.mark(self.session.heatmap, found.neighborhood)
        else:
            self.pictures.show_pictures(found.pictures)
            self.pictures.setVisible(bool(found.pictures))
            self.pictures_caption.setText(_seen(self.session.heatmap))
            self.pictures_caption.setVisible(bool(found.pictures))
            self.pictures_notice.setText(found.notice)
            self.pictures_notice.setVisible(bool(found.notice))

    def _on_error(self, error: Exception) -> None:
        show_error(f"The tile could not be looked up: {type(error).__name__}: {error}")

    # --- what is shown ---

    def _on_gene(self, _gene: str) -> None:
        self._show_histogram()

    def _on_filled(self) -> None:
        self._refreshes.throttle()

    def _refresh(self) -> None:
        """Show what has come; the tile itself again if it had no value so far."""
        if self.tile is not None and not len(self.genes.table):
            self.pick(self.tile)
        else:
            self._show_histogram()

    def _show_histogram(self) -> None:
        heatmap = self.session.heatmap
        if heatmap is None:
            self.gene_title.setText("")
            self.histogram.show_values(np.zeros(0))
            return
        values = gene_values(heatmap.prediction, heatmap.gene)
        if self.tile is None:
            self.gene_title.setText(f"{heatmap.gene} over the section")
            self.histogram.show_values(values)
        else:
            reading = GeneReading(heatmap.prediction, heatmap.gene, values)
            self.gene_title.setText(reading.at(self.tile))
            self.histogram.show_values(values, float(values[self.tile]))

    def _show_nothing(self) -> None:
        self.summary.setText(_HINT)
        self.clear_button.setEnabled(False)
        self.genes.show_table(self.genes.table.iloc[:0])
        self.genes.hide()
        self.pictures.show_pictures([])
        self.pictures.hide()
        self.pictures_caption.hide()
        self.pictures_notice.hide()
        self._show_histogram()

    def _bind_escape(self) -> None:
        """Let Escape clear from the viewer too, while an image is the active layer.

        Other layers use the key themselves, to end a drawing.
        """
        self._unbind_escape()
        assert self.session.heatmap is not None
        layers = {self.session.heatmap.layer, self.viewer.layers.selection.active}
        for layer in layers:
            if isinstance(layer, Image):
                layer.bind_key(_ESCAPE, lambda _layer: self.clear(), overwrite=True)
                self._with_escape.append(layer)

    def _unbind_escape(self) -> None:
        for layer in self._with_escape:
            layer.bind_key(_ESCAPE, None)
        self._with_escape = []

    def _lay_out(self) -> None:
        first = QHBoxLayout()
        first.addWidget(self.summary, 1)
        first.addWidget(self.clear_button)
        content = QWidget()
        column = QVBoxLayout(content)
        column.addLayout(first)
        column.addWidget(self.genes)
        column.addWidget(self.gene_title)
        column.addWidget(self.histogram)
        column.addWidget(self.pictures)
        column.addWidget(self.pictures_caption)
        column.addWidget(self.pictures_notice)
        column.addStretch()
        scroll_within(self, content)


def _summary(heatmap: Heatmap, tile: int) -> str:
    prediction = heatmap.prediction
    y, x = centers(prediction)[tile] * slide_mpp(prediction)
    words = (
        f"<b>Tile {html.escape(tile_name(prediction, tile))}</b> (row × column), "
        f"center at x {x:,.0f} µm, y {y:,.0f} µm"
    )
    status = str(prediction.obs[STATUS].iat[tile]) if STATUS in prediction.obs else ""
    if np.isnan(prediction.X[tile]).any():
        words += f"<br>No values: {html.escape(status) or 'not predicted'}"
    far = unfamiliarity_at(prediction, tile)
    if far is not None:
        words += f"<br>{html.escape(unfamiliarity_in_words(far).capitalize())}: {_HOW_FAR}"
    return words


def _seen(heatmap: Heatmap) -> str:
    """What a picture and the thick frame show, and why those of neighbors may be much alike."""
    about = notes(heatmap.prediction)
    side, pitch = float(about["tile_px"]) * float(about["mpp"]), float(about["pitch_um"])
    step = step_um(heatmap.prediction)
    words = (
        f"Each picture, and the thick frame in the viewer, is the {side:.0f} × {side:.0f} µm that "
        "the model sees of a tile. "
    )
    apart = f"neighbors, framed thinly, are {pitch:.0f} µm apart"
    fine = f"The map has a value every {step:.0f} µm, but its {apart}"
    words += fine if step < pitch else f"Its {apart}"
    return words + (": the pictures overlap." if pitch < side - 0.5 else ".")
