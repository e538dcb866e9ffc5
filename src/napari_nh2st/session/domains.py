"""Domains of predictions: those there are, those before them, and the layers that show them."""

import weakref
from typing import TYPE_CHECKING

from anndata import AnnData
from napari.layers import Labels
from psygnal import Signal

from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.layers.domains import domains_layer, name_domains, put_domains
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import DOMAINS_KEY
from napari_nh2st.layers.roles import are_own_domains
from napari_nh2st.layers.selection import kept_selection
from napari_nh2st.layers.tile_image import placement_of
from napari_nh2st.prediction.lattice import same_lattice
from napari_nh2st.prediction.schema import of_same_model

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session


class PredictionDomains:
    """Finds, renames, restores and draws the domains stored in predictions.

    They are drawn in place of genes, in one layer for each prediction.

    Parameters
    ----------
    session
        Has viewer and heatmaps.

    Attributes
    ----------
    changed
        Emitted when a prediction gets other domains, or one is renamed.
    """

    changed = Signal()

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._former: dict[int, NamedDomains] = {}

    def former_of(self, prediction: AnnData) -> NamedDomains | None:
        """Domains that a prediction had before its last ones; None if those were the first."""
        return self._former.get(id(prediction))

    def put(self, heatmap: Heatmap, domains: NamedDomains) -> None:
        """Write domains into a heatmap's prediction and draw them; the former can be restored."""
        prediction = heatmap.prediction
        former = NamedDomains.of(prediction)
        if former is not None:
            if id(prediction) not in self._former:
                finalizer = weakref.finalize(prediction, self._former.pop, id(prediction), None)
                finalizer.atexit = False
            self._former[id(prediction)] = former
        domains.write(prediction)
        if heatmap.layer in self._session.viewer.layers:
            self.draw(heatmap, domains)
        self.changed.emit()

    def restore(self, heatmap: Heatmap) -> None:
        """Exchange the domains of a heatmap's prediction for the former ones, if there are any."""
        former = self.former_of(heatmap.prediction)
        if former is not None:
            self.put(heatmap, former)

    def rename(self, heatmap: Heatmap, number: int, name: str) -> None:
        """Give a domain of a heatmap's prediction another name.

        Raises
        ------
        InputError
            As :meth:`~napari_nh2st.analysis.named_domains.NamedDomains.renamed`.
        """
        domains = NamedDomains.of(heatmap.prediction)
        if domains is None:
            return
        domains = domains.renamed(number, name)
        domains.write(heatmap.prediction)
        layer = self.layer_of(heatmap)
        if layer is not None:
            name_domains(layer, domains.names)
        self.changed.emit()

    @property
    def drawn(self) -> list[tuple[Labels, NamedDomains]]:
        """The layers of domains in the viewer, whatever they are called, with what they show."""
        found = [
            (layer, NamedDomains.of(layer.metadata[DOMAINS_KEY]))
            for layer in self._session.viewer.layers
            if isinstance(layer, Labels) and DOMAINS_KEY in layer.metadata
        ]
        return [(layer, domains) for layer, domains in found if domains is not None]

    def layer_of(self, heatmap: Heatmap) -> Labels | None:
        """The layer that shows the domains of a heatmap's prediction and still has its own name."""
        return self._layer_of(heatmap.prediction)

    def draw(self, heatmap: Heatmap, domains: NamedDomains) -> Labels:
        """Show domains, in place of former ones and of the genes shown.

        Parameters
        ----------
        heatmap
            The tiles lie where it shows them.
        domains
            Domains of its prediction.

        Returns
        -------
        Labels
            The layer: a new one, unless there is one that the user has not renamed.
        """
        layer = self.layer_of(heatmap)
        if layer is None:
            placement = placement_of(heatmap.layer)
            data, attributes, _ = domains_layer(
                heatmap.prediction, heatmap.raster, domains, placement
            )
            with kept_selection(self._session.viewer):
                layer = self._session.viewer.add_labels(data, **attributes)
        else:
            put_domains(layer, heatmap, domains)
        # Under a gene's colors those of the legend would not be found again.
        self._session.shown_layers.show(layer)
        return layer

    def take(self, heatmap: Heatmap, former: AnnData) -> None:
        """Give the other prediction that a heatmap has taken the domains of the former one.

        They are drawn in the same layer, and the heatmap is shown instead of them. Where they do
        not fit, the layer stays as it is, a layer like any other.
        """
        carry_domains(former, heatmap.prediction)
        layer = self._layer_of(former)
        if layer is None:
            return
        layer.metadata[DOMAINS_KEY] = heatmap.prediction
        self._session.shown_layers.show(heatmap.layer)
        domains = NamedDomains.of(heatmap.prediction)
        if domains is None:
            del layer.metadata[DOMAINS_KEY]
        else:
            put_domains(layer, heatmap, domains)

    def _layer_of(self, prediction: AnnData) -> Labels | None:
        for layer in self._session.viewer.layers:
            ours = layer.metadata.get(DOMAINS_KEY) is prediction
            if ours and isinstance(layer, Labels) and are_own_domains(layer):
                return layer
        return None


def carry_domains(former: AnnData, prediction: AnnData) -> None:
    """Give a prediction the domains of a former one, tile by tile.

    Nothing is given where the tiles lie elsewhere, or the values are of another model.
    """
    domains = NamedDomains.of(former)
    if domains is None:
        return
    if same_lattice(former, prediction) and of_same_model(former, prediction):
        domains.carried_to(prediction, former).write(prediction)
