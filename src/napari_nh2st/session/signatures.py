"""Signatures as layers: the mean z-score of their genes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from anndata import AnnData
from napari.components import ViewerModel
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_nh2st.analysis import signature_score
from napari_nh2st.layers.heatmap import Heatmap, heatmap_of
from napari_nh2st.layers.keys import SIGNATURE_KEY, made_over
from napari_nh2st.layers.tile_image import TileImage, place, placement_of
from napari_nh2st.prediction.raster import robust_limits
from napari_nh2st.session.contrast_limits import PERCENTILES
from napari_nh2st.session.same_slide import of_same_slide
from napari_nh2st.session.shown_layers import ShownLayers
from napari_nh2st.shown_text import for_qt
from napari_nh2st.widgets.genes.statistics import RepeatedWork

COLORMAP = "PiYG"
_SECONDS_BETWEEN = 2.0


@dataclass(frozen=True)
class Signature:
    """Genes that are scored together.

    Parameters
    ----------
    name
        For the layer.
    genes
        Those that the prediction has.
    listed
        How many there were before those it lacks were left out.
    """

    name: str
    genes: tuple[str, ...]
    listed: int

    @property
    def title(self) -> str:
        """Name, and how many genes were found."""
        return f"{self.name} ({len(self.genes)} of {self.listed})"


@dataclass(frozen=True, eq=False)
class _Shown:
    signature: Signature
    source: Heatmap
    image: TileImage
    own_name: str


_Wanted = tuple[Heatmap, AnnData, Signature]
"""The prediction is the one that the heatmap has when the score is asked for."""


class SignatureLayers:
    """Shows signatures of predictions, and follows what is predicted further.

    Parameters
    ----------
    viewer
        Gets the layers.

    Attributes
    ----------
    changed
        Emitted when there are other signatures, or one has other genes.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.percentiles = PERCENTILES
        self.interpolation = "nearest"
        self._shown: list[_Shown] = []
        self._new: list[tuple[Heatmap, Signature]] = []
        self._shown_layers = ShownLayers.of(viewer)
        self._following = False
        self.work = RepeatedWork(_scores, _SECONDS_BETWEEN)
        self.work.done.connect(self._show_scores)

    @property
    def shown(self) -> list[tuple[Signature, TileImage]]:
        """Signatures that have a layer, and the layer."""
        return [(shown.signature, shown.image) for shown in self._shown]

    @property
    def images(self) -> list[TileImage]:
        """Layers of the signatures that are shown."""
        return [shown.image for shown in self._shown]

    def follow(self) -> None:
        """Notice removed layers from now on, and catch up with what happened before."""
        if not self._following:
            self._following = True
            self.viewer.layers.events.removed.connect(self._on_removed)
            for shown in list(self._shown):
                if shown.image.layer not in self.viewer.layers:
                    self._forget(shown)
            for source in {s.source for s in self._shown if s.image.raster is not s.source.raster}:
                self.take(source)

    def close(self) -> None:
        """Let go of the viewer, and stop computing; the layers stay."""
        self.work.close()
        if self._following:
            self._following = False
            self.viewer.layers.events.removed.disconnect(self._on_removed)

    def show(self, source: Heatmap, signature: Signature) -> None:
        """Score a signature in a thread, then show it.

        Parameters
        ----------
        source
            Heatmap of the prediction.
        signature
            A layer of the same prediction and name is replaced.
        """
        self._new.append((source, signature))
        self.work.request(self._wanted_of(source), now=True)

    def refresh(self, source: Heatmap) -> None:
        """Score a prediction's signatures again: values have come."""
        if wanted := self._wanted_of(source):
            self.work.request(wanted)

    def take(self, heatmap: Heatmap) -> list[str]:
        """Score the other prediction that a heatmap has taken, in the same layers.

        Returns
        -------
        list of str
            Names of the signatures that it has no gene of; their layers are removed.
        """
        lost = []
        for shown in [each for each in self._shown if each.source is heatmap]:
            signature = _restricted(shown.signature, heatmap)
            if signature is None:
                lost.append(shown.signature.name)
                self._remove(shown)
                continue
            image, layer = shown.image, shown.image.layer
            own_name = shown.own_name
            if layer.name == own_name:
                layer.name = _layer_name(signature, heatmap)
                own_name = layer.name
            layer.metadata[SIGNATURE_KEY] = _metadata(signature)
            moved = replace(shown, signature=signature, own_name=own_name)
            self._shown = [moved if each is shown else each for each in self._shown]
            image.raster = heatmap.raster
            image.follow_values()
            image.show(np.full(heatmap.prediction.n_obs, np.nan))  # until the score comes
            place(layer, placement_of(heatmap.layer))
        new = [(source, _restricted(signature, source)) for source, signature in self._new]
        self._new = [(source, signature) for source, signature in new if signature is not None]
        if wanted := self._wanted_of(heatmap):
            self.work.request(wanted, now=True)
            self.changed.emit()
        return lost

    def move_to(self, heatmap: Heatmap) -> list[str]:
        """Take the signatures of a slide whose heatmap was removed over to another one of it.

        The return is that of :meth:`take`.
        """
        lost = []
        for shown in list(self._shown):
            replaced = shown.source.layer not in self.viewer.layers
            if not replaced or not of_same_slide(shown.source, heatmap):
                continue
            self._remove(shown)
            signature = _restricted(shown.signature, heatmap)
            if signature is not None:
                self.show(heatmap, signature)
            else:
                lost.append(shown.signature.name)
        return lost

    def set_percentiles(self, percentiles: tuple[float, float]) -> None:
        """Take the limits from other percentiles, also where they were set by hand."""
        self.percentiles = percentiles
        for image in self.images:
            image.limits = partial(symmetric_limits, percentiles=percentiles)
            image.renew_limits()

    def _wanted_of(self, source: Heatmap) -> list[_Wanted]:
        """What is shown of a prediction, and all that is new: a request replaces one that waits."""
        shown = [(s.source, s.signature) for s in self._shown if s.source is source]
        wanted = dict.fromkeys(shown + self._new)
        return [(source, source.prediction, signature) for source, signature in wanted]

    def _show_scores(self, scores: list[tuple[_Wanted, NDArray[np.float64]]]) -> None:
        for (source, prediction, signature), values in scores:
            if prediction is not source.prediction:
                continue  # replaced meanwhile; that of the new one is asked for
            shown = [
                each
                for each in self._shown
                if each.source is source and each.signature.name == signature.name
            ]
            if shown and shown[0].signature == signature:
                shown[0].image.show(values)
            elif (source, signature) in self._new and source.layer in self.viewer.layers:
                for former in shown:
                    self._remove(former)
                self._add(source, signature, values)
            self._new = [new for new in self._new if new != (source, signature)]

    def _add(self, source: Heatmap, signature: Signature, values: NDArray[np.float64]) -> None:
        selected = set(self.viewer.layers.selection)
        layer = self.viewer.add_image(
            source.raster.image(values),
            name=_layer_name(signature, source),
            colormap=COLORMAP,
            contrast_limits=(-1.0, 1.0),
            opacity=source.layer.opacity,
            blending="translucent_no_depth",
            interpolation2d=self.interpolation,
            metadata={SIGNATURE_KEY: _metadata(signature)} | made_over(source.layer),
            **placement_of(source.layer),
        )
        self.viewer.layers.selection = selected  # the heatmap stays the one that is worked on
        limits = partial(symmetric_limits, percentiles=self.percentiles)
        image = TileImage(layer, source.raster, limits)
        image.show(values)
        if hasattr(layer, "colorbar"):  # since napari 0.7
            layer.colorbar.visible = True
        self._shown.append(_Shown(signature, source, image, layer.name))
        self._shown_layers.show(layer)
        self.changed.emit()

    def _remove(self, shown: _Shown) -> None:
        if shown.image.layer in self.viewer.layers:
            self.viewer.layers.remove(shown.image.layer)

    def _on_removed(self, event: Any) -> None:
        # Equal, not identical: to a plugin's widget napari gives its layers wrapped.
        for shown in [shown for shown in self._shown if shown.image.layer == event.value]:
            self._forget(shown)
        self._new = [(source, new) for source, new in self._new if source.layer != event.value]
        if any(shown.source.layer == event.value for shown in self._shown):
            # By itself: several layers may be under way.
            QTimer.singleShot(0, self._move_orphans)

    def _forget(self, shown: _Shown) -> None:
        self._shown = [each for each in self._shown if each is not shown]
        self.changed.emit()

    def _move_orphans(self) -> None:
        """Take those whose heatmap was removed over to another one of the same slide."""
        if self._following:
            heatmaps = [heatmap_of(layer) for layer in self.viewer.layers]
            for heatmap in reversed([each for each in heatmaps if each is not None]):
                self.move_to(heatmap)


def symmetric_limits(
    values: NDArray[np.floating], percentiles: tuple[float, float] = PERCENTILES
) -> tuple[float, float]:
    """Robust contrast limits around 0, whose color then means the section's mean.

    Parameters
    ----------
    values
        Any shape; NaN is left out.
    percentiles
        Lower and upper; the one that is farther from 0 decides.
    """
    reach = max(map(abs, robust_limits(values, percentiles)))
    return -reach, reach


def _scores(wanted: Sequence[_Wanted]) -> list[tuple[_Wanted, NDArray[np.float64]]]:
    return [(each, signature_score(each[1], each[2].genes)) for each in wanted]


def _restricted(signature: Signature, heatmap: Heatmap) -> Signature | None:
    """The signature with the genes that a prediction has; None if it has none of them."""
    genes = tuple(gene for gene in signature.genes if gene in heatmap.prediction.var_names)
    return replace(signature, genes=genes) if genes else None


def _layer_name(signature: Signature, source: Heatmap) -> str:
    return for_qt(f"signature {signature.title} · {source.slide_name}")


def _metadata(signature: Signature) -> dict[str, Any]:
    return {"name": signature.name, "genes": list(signature.genes)}
