"""Measured ST on a slide layer: read in a thread, shown, moved where it belongs, taken away."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Image
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_warning
from numpy.typing import NDArray
from psygnal import Signal

from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide
from napari_nh2st.spots.placement import Fix, apply_fix
from napari_nh2st.widgets.compare.fix import FixBox
from napari_nh2st.widgets.compare.layers import (
    POSITIONS_PATH_KEY,
    SPOTS_PATH_KEY,
    MeasuredLayers,
)
from napari_nh2st.widgets.compare.source import (
    MeasuredSource,
    MeasuredST,
    read_measured,
    shares_no_gene,
    target_of,
)
from napari_nh2st.widgets.slide_choice import SlideChoice

_LEAST_ON_TISSUE = 0.05
_NOTHING = "Drop a file here, or choose one."


class MeasuredOnSlide:
    """The ST that is loaded, if any, and where it lies.

    Parameters
    ----------
    viewer
        Shows it.
    slide
        It is laid over the slide chosen here, and follows to another.
    source
        Asks for files, and tells what was read.
    fix_box
        Asks whether spots shall be moved.

    Attributes
    ----------
    measured
        What was read; None without.
    layers
        Its layers; None without.
    target
        Spots × genes of what is measured, as a model would learn it.
    panel
        Genes of the model; the target has those of them that were measured.
    locked
        A sentence that says why nothing can be changed now; empty if it can.
    loaded
        Emitted when ST was read, or its target was computed anew; its layers are still to be given
        their values.
    moved
        Emitted when its spots lie elsewhere.
    removed
        Emitted when it is gone.
    """

    loaded = Signal()
    moved = Signal()
    removed = Signal()

    def __init__(
        self, viewer: ViewerModel, slide: SlideChoice, source: MeasuredSource, fix_box: FixBox
    ) -> None:
        self.viewer = viewer
        self.measured: MeasuredST | None = None
        self.layers: MeasuredLayers | None = None
        self.target = pd.DataFrame()
        self.panel: tuple[str, ...] = ()
        self.locked = ""
        self._slide = slide
        self._source = source
        self._fix_box = fix_box
        self._slide_layer: Image | None = None
        self._slide_shape = (0, 0)
        self._mpp_is_known = False
        self._fixed = False
        self._reader: Any = None
        source.chosen.connect(self.load)
        source.cleared.connect(self.remove)
        source.refused.connect(_tell_refused)
        fix_box.changed.connect(self._on_fix)
        slide.picker.changed.connect(self.follow_slide)

    # --- where it is ---

    @property
    def is_reading(self) -> bool:
        """Whether ST is being read, or a target computed."""
        return self._reader is not None

    @property
    def slide_layer(self) -> Image | None:
        """The layer it lies on, while that is in the viewer."""
        return self._slide_layer if self._slide_layer in self.viewer.layers else None

    @property
    def fix(self) -> Fix | None:
        """What was done to the positions in the file; None for nothing."""
        proposal = self.measured.proposal if self.measured is not None else None
        return proposal.fix if proposal is not None and self._fixed else None

    @property
    def places(self) -> NDArray[np.float64]:
        """(spots, 2) (x, y) in full-resolution pixels, where they lie now."""
        return self._places(self.fix)

    @property
    def pitch_px(self) -> float:
        """Distance between spots, in full-resolution pixels."""
        return self._pitch_px(self.fix)

    def chosen_slide(self) -> Slide:
        """The chosen slide; its µm/px may be unknown, since the spots' distance tells it.

        Raises
        ------
        InputError
            As :meth:`~napari_nh2st.widgets.slide_choice.SlideChoice.chosen`.
        """
        slide = self._slide.peek()
        pictures = [
            layer
            for layer in self.viewer.layers.selection
            if isinstance(layer, Image) and layer.rgb
        ]
        if slide is None or slide.mpp is not None or len(pictures) > 1:
            return self._slide.chosen()
        return slide

    # --- coming and going ---

    def load(self, expression: Path, positions: Path | None = None) -> None:
        """Read ST in a thread and lay it over the chosen slide; problems are notifications.

        Parameters
        ----------
        expression, positions
            As :func:`~napari_nh2st.spots.read_spots` takes them.
        """
        if self.locked:
            show_error(self.locked)
            return
        try:
            slide = self.chosen_slide()
        except InputError as error:
            show_error(str(error))
            return
        layer, panel = self._slide.layer, self.panel
        self._slide.in_use = slide
        self._source.summary.setText(f"Reading {expression.name} …")

        def read() -> tuple[MeasuredST, pd.DataFrame]:
            measured = read_measured(expression, positions, slide)
            return measured, target_of(measured.spots, panel)

        reader: Any = create_worker(
            read,
            _connect={
                "returned": lambda result: self._on_read(reader, layer, slide, *result),
                "errored": lambda error: self._on_unread(reader, expression, error),
            },
            _start_thread=False,
            _ignore_errors=True,
        )
        self._reader = reader
        reader.start()

    def reload(self) -> None:
        """Look again where it lies: the slide, or its µm/px, is another."""
        if self.measured is not None:
            self.load(self.measured.expression, self.measured.positions)

    def remove(self) -> None:
        """Take the ST and its layers away."""
        if self.locked:
            show_error(self.locked)
            return
        self._reader = None
        if self.layers is not None:
            self.layers.remove()
        self.measured = self.layers = self._slide_layer = None
        self._fixed = False
        self._fix_box.offer(None)
        self._tell()
        self.removed.emit()

    def abandon(self) -> None:
        """Nothing that is still read arrives."""
        self._reader = None

    def close(self) -> None:
        """Nothing that is still read arrives; what only this widget can take away goes."""
        self.abandon()
        self._slide.release()
        if self.layers is not None:
            self.layers.show_beside(False)
            self.layers.propose(None)

    def follow_slide(self, layer: Image | None) -> None:
        """Go to the slide chosen now; away, if its own is gone and there is no other."""
        if self.layers is None or self.locked or self.layers.lie_on(layer):
            return
        if layer is not None:
            self.reload()
        elif self.slide_layer is None:
            self.remove()

    def set_panel(self, panel: Sequence[str]) -> None:
        """Compute the target of another model's genes, in a thread."""
        self.panel = tuple(panel)
        if self.measured is None:
            return
        reader: Any = create_worker(
            target_of,
            self.measured.spots,
            self.panel,
            _connect={"returned": lambda target: self._on_target(reader, target)},
            _start_thread=False,
            _ignore_errors=True,
        )
        self._reader = reader
        reader.start()

    # --- inside ---

    def _on_read(
        self,
        reader: Any,
        layer: Image,
        slide: Slide,
        measured: MeasuredST,
        target: pd.DataFrame,
    ) -> None:
        if reader is not self._reader:  # other ST was chosen meanwhile, or this taken away
            return
        self._slide.release()
        self.remove()
        if layer not in self.viewer.layers:
            return
        self.measured, self.target = measured, target
        self._slide_layer, self._slide_shape = layer, slide.shape
        self._mpp_is_known = slide.mpp is not None
        paths = {SPOTS_PATH_KEY: measured.expression, POSITIONS_PATH_KEY: measured.positions}
        self.layers = MeasuredLayers(
            self.viewer, layer, {key: str(path) for key, path in paths.items() if path is not None}
        )
        self._tell()
        self.loaded.emit()
        self._fix_box.offer(measured.proposal)
        self._show_proposed()
        if measured.proposal is None and measured.on_tissue < _LEAST_ON_TISSUE:
            show_warning(
                f"{measured.expression.name}: {measured.on_tissue:.0%} of the spots' area is "
                f"tissue; is {layer.name} the slide they were measured on?"
            )
        if problem := shares_no_gene(measured.spots, self.panel):
            show_warning(f"{problem} Its own genes with the most counts are shown.")

    def _on_unread(self, reader: Any, expression: Path, error: Exception) -> None:
        if reader is not self._reader:
            return
        self._reader = None
        self._slide.release()
        known = isinstance(error, InputError)
        show_error(str(error) if known else f"{expression.name} cannot be read: {error}")
        self._tell()

    def _on_target(self, reader: Any, target: pd.DataFrame) -> None:
        if reader is self._reader:
            self._reader = None
            self.target = target
            self.loaded.emit()

    def _on_fix(self, fixed: bool) -> None:
        if self.layers is not None:
            self._fixed = fixed
            self.layers.move(self.places, self.pitch_px)
            self._show_proposed()
            self._tell()
            self.moved.emit()

    def _tell(self) -> None:
        """What was read, where it lies, and what it tells of the slide."""
        measured = self.measured
        if measured is None or self._slide_layer is None:
            self._source.summary.setText(_NOTHING)
            return
        text = f"{measured.report}. On {self._slide_layer.name}."
        if measured.pitch_um is not None and not self._mpp_is_known:
            text += f" {measured.pitch_um / self.pitch_px:.3g} µm/px by the spots' distance."
        self._source.summary.setText(text)

    def _show_proposed(self) -> None:
        if self.layers is None or self.measured is None:
            return
        proposal = self.measured.proposal
        if proposal is not None and self._fix_box.is_open:
            self.layers.propose(self._places(proposal.fix), self._pitch_px(proposal.fix))
        else:
            self.layers.propose(None)

    def _places(self, fix: Fix | None) -> NDArray[np.float64]:
        assert self.measured is not None
        spots = self.measured.spots
        if fix is not None:
            spots = apply_fix(spots, fix, self._slide_shape)
        return np.asarray(spots.obsm["spatial"], np.float64)

    def _pitch_px(self, fix: Fix | None) -> float:
        assert self.measured is not None
        return self.measured.pitch_px * (fix.factor if fix is not None else 1.0)


def _tell_refused(sentence: str) -> None:
    show_error(sentence)
