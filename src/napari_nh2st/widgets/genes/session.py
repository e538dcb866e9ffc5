"""What the *Genes* dock shows in the viewer: one heatmap's genes, pins, signatures, display."""

from contextlib import suppress
from typing import Any

import pandas as pd
from anndata import AnnData
from napari.components import ViewerModel
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.session.caption import GeneCaption
from napari_nh2st.session.contrast_limits import ContrastLimits
from napari_nh2st.session.display import GeneDisplay
from napari_nh2st.session.pins import GeneLayers
from napari_nh2st.session.signatures import Signature, SignatureLayers
from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.genes.statistics import RepeatedWork, gene_statistics
from napari_nh2st.widgets.notifications import show_info

_SECONDS_BETWEEN_STATISTICS = 3.0
_MS_BETWEEN_REFRESHES = 500


class GeneSession:
    """Follows the current prediction as it is chosen, filled and looked at gene by gene.

    It is no QObject: when the viewer destroys the dock, :meth:`close` can still be called.

    Parameters
    ----------
    viewer
        Shows the layers.
    current
        The prediction; whoever made it calls its ``follow`` and ``close``.

    Attributes
    ----------
    pins, signatures, display
        The layers, and how they are drawn.
    caption
        Says on the canvas what they show.
    statistics
        Of the current prediction's genes, see :func:`gene_statistics`; None until computed.
    heatmap_changed
        Emitted when another heatmap is the current one, or none any more, or when it shows another
        prediction.
    shown
        Emitted with the gene when the current heatmap shows another.
    statistics_changed
        Emitted when there are statistics, or newer ones.
    """

    heatmap_changed = Signal()
    shown = Signal(str)
    statistics_changed = Signal()

    def __init__(self, viewer: ViewerModel, current: CurrentPrediction) -> None:
        self.current = current
        self.limits = ContrastLimits()
        self.pins = GeneLayers(viewer, current, self.limits)
        self.signatures = SignatureLayers(viewer)
        self.display = GeneDisplay(current, self.limits, self.pins, self.signatures)
        self.caption = GeneCaption(current, self.pins, self.signatures)
        self.statistics: pd.DataFrame | None = None
        self._heatmap: Heatmap | None = None
        self._prediction: AnnData | None = None
        self._following = False
        self._work = RepeatedWork(_statistics_of, _SECONDS_BETWEEN_STATISTICS)
        self._work.done.connect(self._on_statistics)
        self._refresh_timer = QTimer()
        self._refresh_timer.setSingleShot(True)
        self._refresh_timer.setInterval(_MS_BETWEEN_REFRESHES)
        self._refresh_timer.timeout.connect(self._refresh)

    @property
    def heatmap(self) -> Heatmap | None:
        """The current heatmap."""
        return self._heatmap

    def show(self, gene: str) -> None:
        """Show a gene in the current heatmap, instead of pins, signatures and domains."""
        self.current.show_gene(gene)

    def show_signature(self, signature: Signature) -> None:
        """Score a signature of the current prediction, and show it on the slide."""
        if self._heatmap is not None:
            self.pins.show_slide()
            self.signatures.show(self._heatmap, signature)

    def follow(self) -> None:
        """Follow the viewer and the current prediction from now on."""
        if not self._following:
            self._following = True
            self.pins.follow()
            self.signatures.follow()
            self.current.replaced.connect(self._on_replaced)
            self.current.changed.connect(self._on_current)
        self._on_current()
        self.caption.follow()

    def close(self) -> None:
        """Let go of both, and stop computing; the layers stay, the pinned ones hidden."""
        if self._following:
            self._following = False
            self.current.replaced.disconnect(self._on_replaced)
            self.current.changed.disconnect(self._on_current)
        self.caption.close()
        self._let_go()
        self.display.close()
        self.pins.close()
        self.signatures.close()

    def _let_go(self) -> None:
        self._work.close()
        with suppress(RuntimeError):  # when the application ends, Qt may have deleted it first
            self._refresh_timer.stop()
        if self._heatmap is not None:
            self._heatmap.shown.disconnect(self._on_shown)
            self._heatmap.filled.disconnect(self._on_filled)
        self._heatmap = self._prediction = None

    def _on_replaced(self, heatmap: Heatmap, former: AnnData) -> None:
        _say_lost(self.pins.take(heatmap, former) + self.signatures.take(heatmap))

    def _on_current(self) -> None:
        heatmap = self.current.heatmap
        if heatmap is self._heatmap and self.current.prediction is self._prediction:
            return
        self._let_go()
        self._heatmap, self._prediction = heatmap, self.current.prediction
        self.statistics = None
        if heatmap is not None:
            heatmap.shown.connect(self._on_shown)
            heatmap.filled.connect(self._on_filled)
            _say_lost(self.pins.move_to(heatmap) + self.signatures.move_to(heatmap))
            self._refresh()
            self._work.request(heatmap.prediction, now=True)
        self.display.update()
        self.caption.update()
        self.heatmap_changed.emit()

    def _on_shown(self, gene: str) -> None:
        self.caption.update()
        self.shown.emit(gene)

    def _on_filled(self) -> None:
        assert self._heatmap is not None
        self._work.request(self._heatmap.prediction)
        if not self._refresh_timer.isActive():
            self._refresh_timer.start()

    def _refresh(self) -> None:
        if self._heatmap is not None:
            self.pins.refresh(self._heatmap)
            self.signatures.refresh(self._heatmap)

    def _on_statistics(self, result: tuple[AnnData, pd.DataFrame]) -> None:
        prediction, statistics = result
        if self._heatmap is not None and prediction is self._heatmap.prediction:
            self.statistics = statistics
            self.statistics_changed.emit()


def _say_lost(names: list[str]) -> None:
    if names:
        show_info(f"Not in the new prediction, and no longer shown: {', '.join(names)}.")


def _statistics_of(prediction: AnnData) -> tuple[AnnData, Any]:
    return prediction, gene_statistics(prediction)
