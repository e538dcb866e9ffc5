"""The session of a viewer: its slides and predictions, the current ones, and what is shown."""

import weakref
from typing import Any

from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Image, Layer
from napari.utils.notifications import show_info
from psygnal import Signal

from napari_nh2st.analysis.signatures import Signature
from napari_nh2st.layers.canvas_context import remove_in_own_context
from napari_nh2st.layers.coarse_levels import note_viewer
from napari_nh2st.layers.heatmap import Heatmap, shows_heatmap
from napari_nh2st.layers.slide_below import is_picture
from napari_nh2st.session.cohort_queue import CohortQueue
from napari_nh2st.session.derived_layers import DerivedLayers
from napari_nh2st.session.display import Display
from napari_nh2st.session.domains import PredictionDomains
from napari_nh2st.session.fading import Veils
from napari_nh2st.session.hover import Hover
from napari_nh2st.session.measured import MeasuredSections
from napari_nh2st.session.measured_badges import MeasuredBadges
from napari_nh2st.session.pins import Pins
from napari_nh2st.session.prediction_runs import PredictionRuns
from napari_nh2st.session.shown_layers import ShownLayers
from napari_nh2st.session.signatures import Signatures
from napari_nh2st.session.slide_placement import go_to, lay_in_units
from napari_nh2st.session.tile_columns import TileColumns
from napari_nh2st.session.training_sections import TrainingSections
from napari_nh2st.shown_text import for_qt

_sessions: dict[int, "Session"] = {}
"""By the id of the viewer, as long as that lives: viewers with equal fields count as equal."""


class Session:
    """State of one viewer: its slides, predictions, and what is shown of them.

    Docks read it, set it, and connect to its signals. It follows the viewer's layers as long as the
    viewer lives, whichever docks are open, and needs no window. Get it by :meth:`of`.

    Attributes
    ----------
    shown_layers
        Shows and hides the layers of predictions.
    pins
        Layers of pinned genes and composites.
    signatures
        Layers of signatures.
    tile_columns
        Layers of columns of ``obs``, such as how unfamiliar tiles are.
    veils
        Layers that fade heatmaps where values are uncertain, if the display says so.
    domains
        Domains of predictions, and their layers.
    runs
        Heatmaps of new runs, and the former ones to go back to.
    measured
        Sections with measured ST, and their comparisons.
    cohort
        Slides that are predicted one after another.
    display
        How genes are drawn.
    measured_badges
        Scores measured on a slide, as the reliability of its genes.
    hover
        Shows the values under the mouse.
    slides_changed
        Emitted when slides are added or removed.
    slide_changed
        Emitted when the current slide changes, also to none.
    mpp_given
        Emitted with a slide's layer when a µm/px is given for it, or withdrawn.
    heatmaps_changed
        Emitted when heatmaps are added or removed, or one is renamed or shows another gene.
    heatmap_changed
        Emitted when the current heatmap changes, also to none, or shows another prediction.
    prediction_replaced
        Emitted with a heatmap, current or not, and its former prediction when it shows another
        prediction; before ``heatmap_changed``.
    gene_changed
        Emitted with the gene when the current heatmap shows another gene.
    filled
        Emitted when the current prediction gets new values.
    filling_changed
        Emitted when a run begins or stops filling the current prediction.

    Examples
    --------
    .. code-block:: python

        session = Session.of(viewer)
        session.heatmap.gene = "ERBB2"
        session.pins.pin("CD74")
    """

    slides_changed = Signal()
    slide_changed = Signal()
    mpp_given = Signal(object)
    heatmaps_changed = Signal()
    heatmap_changed = Signal()
    prediction_replaced = Signal(object, object)
    gene_changed = Signal(str)
    filled = Signal()
    filling_changed = Signal()

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = weakref.ref(viewer)
        note_viewer(viewer)
        remove_in_own_context(viewer)
        self._heatmaps: dict[Layer, Heatmap] = {}
        self._heatmap: Heatmap | None = None
        self._slide: Image | None = None
        self.shown_layers = ShownLayers(self)
        layers = viewer.layers
        # Before napari draws a layer: it warns of units that do not convert.
        layers.events.inserted.connect(self._on_new, position="first")
        layers.events.inserted.connect(self._on_inserted)
        # After napari itself has taken note of a layer.
        layers.events.inserted.connect(self._on_placed, position="last")
        layers.events.removed.connect(self._on_removed)
        layers.selection.events.active.connect(self._on_active)
        self.display = Display(self)
        self.pins = Pins(self)
        self.signatures = Signatures(self)
        self.veils = Veils(self)
        self.domains = PredictionDomains(self)
        self.tile_columns = TileColumns(self)
        self.runs = PredictionRuns(self)
        self.measured = MeasuredSections(self)
        self.training_sections, self.cohort = TrainingSections(), CohortQueue()
        self.measured_badges = MeasuredBadges(self)
        self.hover = Hover(self)
        for layer in layers:
            self._watch(layer)
        for layer in layers:
            self._adopt(layer)
        self.slide = self.slides[-1] if self.slides else None
        self.heatmap = self.heatmaps[-1] if self._heatmaps else None
        self._on_active()

    @classmethod
    def of(cls, viewer: ViewerModel) -> "Session":
        """The session of a viewer, which all its docks share."""
        viewer = getattr(viewer, "__wrapped__", viewer)  # napari gives docks the viewer wrapped
        session = _sessions.get(id(viewer))
        if session is None:
            session = _sessions[id(viewer)] = cls(viewer)
            weakref.finalize(viewer, _end, id(viewer)).atexit = False
        return session

    @property
    def viewer(self) -> ViewerModel:
        """The viewer, which the session does not keep alive."""
        viewer = self._viewer()
        if viewer is None:
            raise RuntimeError("the viewer of this session was closed")
        return viewer

    @property
    def derived_layers(self) -> "tuple[DerivedLayers[Any], ...]":
        """Layers that show more of the heatmaps' predictions: pins, signatures, tile columns."""
        return self.pins, self.signatures, self.tile_columns

    # --- slides ---

    @property
    def slides(self) -> tuple[Image, ...]:
        """Layers of slides, in the viewer's order."""
        return tuple(layer for layer in self.viewer.layers if is_picture(layer))

    @property
    def slide(self) -> Image | None:
        """Layer of the current slide: the one last selected in the viewer or assigned here."""
        return self._slide

    @slide.setter
    def slide(self, layer: Image | None) -> None:
        if layer != self._slide:
            self._slide = layer
            self.slide_changed.emit()

    # --- predictions ---

    @property
    def heatmaps(self) -> tuple[Heatmap, ...]:
        """Predictions at tiles, each with its layer and the gene shown; in the viewer's order."""
        found = (self._heatmaps.get(layer) for layer in self.viewer.layers)
        return tuple(heatmap for heatmap in found if heatmap is not None)

    @property
    def heatmap(self) -> Heatmap | None:
        """The current heatmap: the one last selected in the viewer or assigned here."""
        return self._heatmap

    @heatmap.setter
    def heatmap(self, heatmap: Heatmap | None) -> None:
        if heatmap is self._heatmap:
            return
        self._leave_heatmap()
        self._heatmap = heatmap
        if heatmap is not None:
            heatmap.gene_changed.connect(self._on_gene)
            _show_lost(self.pins.move_to(heatmap) + self.signatures.move_to(heatmap))
        self.display.update()
        self.heatmap_changed.emit()

    def _leave_heatmap(self) -> None:
        if self._heatmap is not None:
            self._heatmap.gene_changed.disconnect(self._on_gene)

    @property
    def prediction(self) -> AnnData | None:
        """AnnData of the current prediction."""
        return None if self._heatmap is None else self._heatmap.prediction

    @property
    def is_filling(self) -> bool:
        """Whether a run fills the current prediction."""
        return self._heatmap is not None and self._heatmap.is_filling

    def add_heatmap(
        self, slide_layer: Image, prediction: AnnData, gene: str, detail: str = ""
    ) -> Heatmap:
        """Add the layer of a prediction to the viewer.

        Parameters
        ----------
        slide_layer
            The slide's layer: the heatmap lies where its tiles are on it, whatever its transform.
        prediction
            Prediction at tiles; it may still fill up.
        gene
            Gene shown first.
        detail
            Text in the layer's name that tells it from other heatmaps of the slide.
        """
        heatmap = Heatmap.made_on(slide_layer, prediction, gene, detail)
        # Before it is in the viewer: whoever hears of the layer there asks for its heatmap.
        self._heatmaps[heatmap.layer] = heatmap
        self._connect(heatmap)
        self.viewer.add_layer(heatmap.layer)
        return heatmap

    def heatmap_of(self, layer: Layer) -> Heatmap | None:
        """The heatmap of a layer in the viewer; None if it shows no prediction at tiles."""
        if layer not in self._heatmaps and layer in self.viewer.layers:
            self._watch(layer)
        return self._heatmaps.get(layer)

    def made_for(self, slide_layer: Layer) -> tuple[Heatmap, ...]:
        """Heatmaps made for this slide's layer that the user has not renamed, the newest last."""
        made = (each for each in self.heatmaps if each.is_of(slide_layer))
        return tuple(each for each in made if not each.renamed)

    def showing(self, prediction: AnnData) -> tuple[Heatmap, ...]:
        """The heatmaps of a prediction; several if the user has duplicated its layer."""
        return tuple(each for each in self.heatmaps if each.prediction is prediction)

    def show_gene(self, gene: str) -> None:
        """Show a gene in the current heatmap, and show that heatmap instead of what hides it.

        Assigning another gene to the heatmap does the same.
        """
        if self._heatmap is not None:
            self._heatmap.gene = gene
            self.shown_layers.show(self._heatmap.layer)

    def show_signature(self, signature: Signature) -> None:
        """Score a signature of the current prediction, and show it on the slide."""
        if self._heatmap is not None:
            self.pins.show_slide()
            self.signatures.show(self._heatmap, signature)

    # --- the viewer ---

    def _watch(self, layer: Layer) -> None:
        if layer not in self._heatmaps and shows_heatmap(layer):
            heatmap = Heatmap(getattr(layer, "__wrapped__", layer))
            # napari's “Duplicate” while a run fills the prediction.
            heatmap.is_filling = any(each.is_filling for each in self.showing(heatmap.prediction))
            self._heatmaps[layer] = heatmap
            self._connect(heatmap)

    def _connect(self, heatmap: Heatmap) -> None:
        heatmap.replaced.connect(self._on_replaced)
        heatmap.filling_changed.connect(self._on_filling)
        heatmap.filled.connect(self._on_filled)
        heatmap.gene_changed.connect(self._on_heatmaps)
        heatmap.layer.events.name.connect(self._on_heatmaps)

    def _disconnect(self, heatmap: Heatmap) -> None:
        heatmap.replaced.disconnect(self._on_replaced)
        heatmap.filling_changed.disconnect(self._on_filling)
        heatmap.filled.disconnect(self._on_filled)
        heatmap.gene_changed.disconnect(self._on_heatmaps)
        heatmap.layer.events.name.disconnect(self._on_heatmaps)

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        self._watch(layer)
        if layer in self._heatmaps:
            if self._heatmap is None:
                self.heatmap = self._heatmaps[layer]
            self.heatmaps_changed.emit()
        elif is_picture(layer):
            if self._slide is None:
                self.slide = layer
            self.slides_changed.emit()
        else:
            self._adopt(layer)

    def _adopt(self, layer: Layer) -> None:
        """Go on with what came from a file with its heatmap."""
        self.signatures.adopt(layer)
        self.tile_columns.adopt(layer)

    def _on_new(self, event: Any) -> None:
        lay_in_units(self.viewer, event.value)

    def _on_placed(self, event: Any) -> None:
        go_to(self.viewer, event.value)

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        heatmap = self._heatmaps.pop(layer, None)
        if heatmap is not None:
            self._disconnect(heatmap)
            if heatmap is self._heatmap:
                left = self.heatmaps
                self.heatmap = left[-1] if left else None
            self.heatmaps_changed.emit()
        elif is_picture(layer):
            if layer == self._slide:
                slides = self.slides
                self.slide = slides[-1] if slides else None
            self.slides_changed.emit()

    def _on_active(self, _event: Any = None) -> None:
        layer = self.viewer.layers.selection.active
        if layer is None:
            return
        heatmap = self.heatmap_of(layer)
        if heatmap is not None:
            self.heatmap = heatmap
        elif is_picture(layer):
            self.slide = layer

    def _on_heatmaps(self, _change: Any = None) -> None:
        self.heatmaps_changed.emit()

    # --- the heatmaps ---

    def _on_gene(self, gene: str) -> None:
        if self._heatmap is not None:  # whoever shows another gene wants to see it
            self.shown_layers.show(self._heatmap.layer)
        self.gene_changed.emit(gene)

    def _on_filled(self, heatmap: Heatmap) -> None:
        for each in self.showing(heatmap.prediction):
            if each is not heatmap:
                each.refresh(filling=heatmap.is_filling)
            for layers in (self.pins, self.tile_columns, self.veils):
                layers.refresh(each)
        self.signatures.refresh()
        if heatmap.prediction is self.prediction:
            self.filled.emit()

    def _on_filling(self, heatmap: Heatmap) -> None:
        for each in self.showing(heatmap.prediction):
            if each.is_filling != heatmap.is_filling:
                each.is_filling = heatmap.is_filling
                each.refresh(filling=heatmap.is_filling)
        if heatmap is self._heatmap:
            self.filling_changed.emit()

    def _on_replaced(self, heatmap: Heatmap, former: AnnData) -> None:
        self.domains.take(heatmap, former)
        lost = [layers.take(heatmap, former) for layers in self.derived_layers]
        self.veils.take(heatmap, former)
        _show_lost([name for names in lost for name in names])
        self.prediction_replaced.emit(heatmap, former)
        if heatmap is self._heatmap:
            self.heatmap_changed.emit()


def _end(viewer_id: int) -> None:
    """Let go of what outlives a viewer that is gone."""
    session = _sessions.pop(viewer_id)
    session._leave_heatmap()
    for heatmap in session._heatmaps.values():
        session._disconnect(heatmap)


def _show_lost(names: list[str]) -> None:
    if names:
        text = f"Not in the new prediction, and no longer shown: {', '.join(names)}."
        show_info(for_qt(text))
