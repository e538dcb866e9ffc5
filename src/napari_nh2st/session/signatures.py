"""Signatures as layers: the mean z-score of their genes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from napari.layers import Image, Layer
from napari.utils.notifications import show_error
from numpy.typing import NDArray

from napari_nh2st.analysis.signatures import (
    Signature,
    kept_signatures,
    put_signature,
    remove_signature,
    signature_score,
)
from napari_nh2st.errors import InputError
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import SIGNATURE_KEY, SIGNATURE_OF_KEY, signature_metadata
from napari_nh2st.layers.signatures import COLORMAP, signature_layer_name, symmetric_limits
from napari_nh2st.layers.tile_image import TileImage
from napari_nh2st.session.contrast_limits import PERCENTILES
from napari_nh2st.session.derived_layers import DerivedLayer, DerivedLayers
from napari_nh2st.session.latest_call import LatestCall
from napari_nh2st.shown_text import for_qt

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session

_SECONDS_BETWEEN = 2.0


@dataclass(eq=False)
class ShownSignature(DerivedLayer):
    """A signature in a layer.

    Parameters
    ----------
    signature
        With the genes that the prediction has.
    """

    signature: Signature

    @property
    def label(self) -> str:
        """Name of the signature."""
        return self.signature.name

    @property
    def layer_name(self) -> str:
        """Signature and slide."""
        return signature_layer_name(self.signature, self.source.slide_name)

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of the layer."""
        return signature_metadata(self.signature.name, self.signature.genes, self.source.layer)

    def restrict(self, prediction: AnnData) -> bool:
        """Keep the genes that a prediction has; whether it has any."""
        signature = self.signature.within(prediction)
        if signature is not None:
            self.signature = signature
        return signature is not None

    def refresh(self) -> None:
        """Show nothing until the score comes."""
        self.image.show(np.full(self.source.prediction.n_obs, np.nan))


_Wanted = tuple[Heatmap, AnnData, Signature, int]
"""The prediction is the one that the heatmap has when the score is asked for, the number that of
the times that values had come by then."""


class Signatures(DerivedLayers[ShownSignature]):
    """Shows signatures of predictions, and scores them again when there are new values.

    As long as the layer exists, the scores are also in the prediction, see
    :func:`~napari_nh2st.analysis.signatures.put_signature`, and exported with it.

    Parameters
    ----------
    session
        Has viewer and heatmaps.

    Attributes
    ----------
    work
        Scores in a thread.
    """

    def __init__(self, session: "Session") -> None:
        super().__init__(session)
        self.percentiles = PERCENTILES
        self._new: list[tuple[Heatmap, Signature]] = []
        self._n_filled = 0
        self.work = LatestCall(_scores, _SECONDS_BETWEEN)
        self.work.done.connect(self._show_scores)

    def show(self, source: Heatmap, signature: Signature) -> None:
        """Score a signature in a thread, then show it.

        Parameters
        ----------
        source
            Heatmap of the prediction.
        signature
            The signature; a layer of the same prediction and name is replaced.
        """
        self._new.append((source, signature))
        self._request(now=True)

    def refresh(self) -> None:
        """Score all signatures again, with the new values."""
        self._n_filled += 1
        for item in self.items:  # nobody is to export scores of former values
            remove_signature(item.source.prediction, item.label)
        self._request()

    def adopt(self, layer: Layer) -> None:
        """Go on with a layer that came from a file with its heatmap; nothing for other layers."""
        prediction = layer.metadata.get(SIGNATURE_OF_KEY)
        source = next((e for e in self.session.heatmaps if e.prediction is prediction), None)
        if not isinstance(layer, Image) or source is None:
            return
        if any(item.layer == layer for item in self.items):
            return
        name = str(layer.metadata[SIGNATURE_KEY]["name"])
        for column, signature in kept_signatures(source.prediction).items():
            if signature.name == name:
                layer = getattr(layer, "__wrapped__", layer)
                image = TileImage(layer, source.raster)
                image.values = source.prediction.obs[column].to_numpy(np.float64)
                image.limits = partial(symmetric_limits, percentiles=self.percentiles)
                image.renew_limits()
                self.items.append(ShownSignature(source, image, layer.name, signature))
                self.changed.emit()

    def move(
        self, items: Sequence[ShownSignature], heatmap: Heatmap, keep_limits: bool
    ) -> list[str]:
        """Score signatures in a heatmap's prediction; limits follow the new scores."""
        new = [(source, signature.within(source.prediction)) for source, signature in self._new]
        self._new = [(source, signature) for source, signature in new if signature is not None]
        lost = super().move(items, heatmap, keep_limits=False)
        self._request(now=True)
        return lost

    def set_percentiles(self, percentiles: tuple[float, float]) -> None:
        """Take the limits from other percentiles, also where they were set by hand."""
        self.percentiles = percentiles
        for item in self.items:
            item.image.limits = partial(symmetric_limits, percentiles=percentiles)
            item.image.renew_limits()

    def _request(self, now: bool = False) -> None:
        """Ask for all that is shown or new: it replaces what waits, of whichever heatmap."""
        shown = [(item.source, item.signature) for item in self.items]
        wanted = dict.fromkeys(shown + self._new)
        if wanted:
            count = self._n_filled
            asked = [(each, each.prediction, signature, count) for each, signature in wanted]
            self.work.request(asked, now=now)

    def _show_scores(self, scores: list[tuple[_Wanted, NDArray[np.float64] | InputError]]) -> None:
        for (source, prediction, signature, n_filled), values in scores:
            if prediction is not source.prediction:
                continue  # replaced meanwhile; that of the new one is asked for
            if isinstance(values, InputError):
                if (source, signature) in self._new:  # else said: it was in two requests
                    self._new.remove((source, signature))
                    name = signature.name
                    show_error(for_qt(f"The signature {name} could not be scored: {values}"))
                continue
            is_new = (source, signature) in self._new
            shown = [
                item
                for item in self.items
                if item.source is source and item.signature.name == signature.name
            ]
            if shown and shown[0].signature == signature:
                shown[0].image.show(values)
            elif is_new and source.layer in self.session.viewer.layers:
                for former in shown:
                    self.remove_layer(former)
                self._add(source, signature, values)
            if n_filled == self._n_filled and any(
                item.source is source and item.signature == signature for item in self.items
            ):
                self._put(prediction, signature, values, is_new)
            self._new = [new for new in self._new if new != (source, signature)]

    def _put(
        self,
        prediction: AnnData,
        signature: Signature,
        scores: NDArray[np.float64],
        is_new: bool,
    ) -> None:
        try:
            put_signature(prediction, signature, scores)
        except InputError as error:
            if is_new:
                show_error(for_qt(f"{error}: it is shown, but will not be exported."))

    def forget(self, item: ShownSignature) -> None:
        """Forget a layer that was removed, and its scores."""
        super().forget(item)
        names = [each.label for each in self.items if each.source is item.source]
        if item.label not in names and item.source.layer in self.session.viewer.layers:
            remove_signature(item.source.prediction, item.label)

    def _add(self, source: Heatmap, signature: Signature, values: NDArray[np.float64]) -> None:
        name = signature_layer_name(signature, source.slide_name)
        image = self.add_layer(
            source,
            values,
            name=name,
            colormap=COLORMAP,
            contrast_limits=(-1.0, 1.0),
            opacity=source.layer.opacity,
            blending="translucent_no_depth",
            metadata=signature_metadata(signature.name, signature.genes, source.layer),
        )
        image.limits = partial(symmetric_limits, percentiles=self.percentiles)
        image.renew_limits()
        image.layer.colorbar.visible = True
        self.items.append(ShownSignature(source, image, name, signature))
        self.session.shown_layers.show(image.layer)
        self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        super()._on_removed(event)
        self._new = [(source, new) for source, new in self._new if source.layer != event.value]


def _scores(
    wanted: Sequence[_Wanted],
) -> list[tuple[_Wanted, NDArray[np.float64] | InputError]]:
    """The scores of each, or why there are none."""
    scores: list[tuple[_Wanted, NDArray[np.float64] | InputError]] = []
    for each in wanted:
        try:
            scores.append((each, signature_score(each[1], each[2].genes)))
        except InputError as error:
            scores.append((each, error))
    return scores
