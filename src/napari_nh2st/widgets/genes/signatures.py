"""Signatures as layers: the mean z-score of their genes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from napari.components import ViewerModel
from numpy.typing import NDArray

from napari_nh2st.analysis import signature_score
from napari_nh2st.export.heatmap import robust_limits
from napari_nh2st.widgets.genes.limits import PERCENTILES
from napari_nh2st.widgets.genes.statistics import RepeatedWork
from napari_nh2st.widgets.heatmap import Heatmap
from napari_nh2st.widgets.tile_image import TileImage, placement_of

SIGNATURE_KEY = "nh2st_signature"
"""Key of a signature layer's metadata under which its name and its genes lie."""

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


class SignatureLayers:
    """Shows signatures of predictions, and follows what is predicted further.

    Parameters
    ----------
    viewer
        Gets the layers.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self.viewer = viewer
        self.percentiles = PERCENTILES
        self.interpolation = "nearest"
        self._shown: list[_Shown] = []
        self._new: list[tuple[Heatmap, Signature]] = []
        self._hidden: list[Heatmap] = []
        self._following = False
        self.work = RepeatedWork(_scores, _SECONDS_BETWEEN)
        self.work.done.connect(self._show_scores)

    @property
    def images(self) -> list[TileImage]:
        """Layers of the signatures that are shown."""
        return [shown.image for shown in self._shown]

    def follow(self) -> None:
        """Notice removed layers from now on."""
        if not self._following:
            self._following = True
            self.viewer.layers.events.removed.connect(self._on_removed)

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

    def show_instead(self, source: Heatmap) -> None:
        """Show a heatmap that a signature hid, and hide its signatures."""
        if source in self._hidden:
            self._hidden.remove(source)
            for shown in self._shown:
                if shown.source is source:
                    shown.image.layer.visible = False
            source.layer.visible = True

    def refresh(self, source: Heatmap) -> None:
        """Score a prediction's signatures again: values have come."""
        if wanted := self._wanted_of(source):
            self.work.request(wanted)

    def move_to(self, heatmap: Heatmap) -> None:
        """Take the signatures of a slide whose heatmap was replaced over to the new one."""
        for shown in list(self._shown):
            replaced = shown.source.layer not in self.viewer.layers
            if not replaced or shown.source.slide_name != heatmap.slide_name:
                continue
            self.viewer.layers.remove(shown.image.layer)
            genes = tuple(g for g in shown.signature.genes if g in heatmap.prediction.var_names)
            if genes:
                self.show(heatmap, replace(shown.signature, genes=genes))

    def set_percentiles(self, percentiles: tuple[float, float]) -> None:
        """Take the limits from other percentiles, also where they were set by hand."""
        self.percentiles = percentiles
        for image in self.images:
            image.limits = partial(symmetric_limits, percentiles=percentiles)
            image.renew_limits()

    def _wanted_of(self, source: Heatmap) -> list[tuple[Heatmap, Signature]]:
        """What is shown of a prediction, and all that is new: a request replaces one that waits."""
        shown = [(s.source, s.signature) for s in self._shown if s.source is source]
        return shown + self._new

    def _show_scores(self, scores: list[tuple[Heatmap, Signature, NDArray[np.float64]]]) -> None:
        for source, signature, values in scores:
            shown = [
                each
                for each in self._shown
                if each.source is source and each.signature.name == signature.name
            ]
            if shown and shown[0].signature == signature:
                shown[0].image.show(values)
            elif (source, signature) in self._new and source.layer in self.viewer.layers:
                for former in shown:
                    self.viewer.layers.remove(former.image.layer)
                self._add(source, signature, values)
            self._new = [new for new in self._new if new != (source, signature)]

    def _add(self, source: Heatmap, signature: Signature, values: NDArray[np.float64]) -> None:
        selected = set(self.viewer.layers.selection)
        layer = self.viewer.add_image(
            source.raster.image(values),
            name=f"signature {signature.title} · {source.slide_name}",
            colormap=COLORMAP,
            contrast_limits=(-1.0, 1.0),
            opacity=source.layer.opacity,
            blending="translucent_no_depth",
            interpolation2d=self.interpolation,
            metadata={
                SIGNATURE_KEY: {"name": signature.name, "genes": list(signature.genes)},
            },
            **placement_of(source.layer),
        )
        self.viewer.layers.selection = selected  # the heatmap stays the one that is worked on
        limits = partial(symmetric_limits, percentiles=self.percentiles)
        image = TileImage(layer, source.raster, limits)
        image.show(values)
        if hasattr(layer, "colorbar"):  # since napari 0.7
            layer.colorbar.visible = True
        self._shown.append(_Shown(signature, source, image))
        if source.layer.visible:  # the colors of both, mixed, would mean neither
            source.layer.visible = False
            self._hidden.append(source)

    def _on_removed(self, event: Any) -> None:
        gone = [shown for shown in self._shown if shown.image.layer is event.value]
        self._shown = [shown for shown in self._shown if shown not in gone]
        for shown in gone:
            if not any(other.source is shown.source for other in self._shown):
                self.show_instead(shown.source)


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


def _scores(
    wanted: Sequence[tuple[Heatmap, Signature]],
) -> list[tuple[Heatmap, Signature, NDArray[np.float64]]]:
    return [
        (source, signature, signature_score(source.prediction, signature.genes))
        for source, signature in wanted
    ]
