"""Measured ST on a slide layer: read in a thread, shown, moved where it belongs, taken away."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Image, Layer
from numpy.typing import NDArray
from psygnal import Signal

from napari_nh2st.errors import InputError
from napari_nh2st.jobs.comparison import ANOTHER_SLIDE_BELOW, Compared
from napari_nh2st.layers.keys import (
    BESIDE_KEY,
    COMPARISON_KEY,
    FIX_KEY,
    FOLLOWER_KEY,
    MEASURED_SLIDE_KEY,
    PART_KEY,
    POSITIONS_PATH_KEY,
    PREDICTION_KEY,
    SPOTS_PATH_KEY,
)
from napari_nh2st.session.measured_layers import MeasuredLayers
from napari_nh2st.slide import Slide
from napari_nh2st.spots import ChoiceNeeded, SpotChoice
from napari_nh2st.spots.checks import MppProposal
from napari_nh2st.spots.choice import Parts
from napari_nh2st.spots.measured import MeasuredST, read_measured, target_of
from napari_nh2st.spots.overlap import panel_overlap
from napari_nh2st.spots.position_fix import Fix, apply_fix
from napari_nh2st.widgets.compare.fix import FixBox
from napari_nh2st.widgets.compare.kept import Kept, Left, is_of_slide, shown_gene, slide_layer_of
from napari_nh2st.widgets.compare.latest_work import LatestWork
from napari_nh2st.widgets.compare.measured_source import MeasuredSource
from napari_nh2st.widgets.notifications import show_error, show_warning
from napari_nh2st.widgets.slide_choice import SlideChoice

_NOTHING = "Drop a file here, or choose one."


class MeasuredOnSlide:
    """The ST that is loaded, if any, and where it lies.

    Parameters
    ----------
    viewer
        Shows it.
    slide
        It is laid over the slide chosen here, and stays there when another is chosen.
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
    target_panel
        Genes of the model that the target was computed for; another one may be chosen since.
    refused_mpp
        What was proposed for the slide's µm/px and not taken; None for nothing.
    locked
        A sentence that says why nothing can be changed now; empty if it can.
    loaded
        Emitted when ST was read, or its target was computed anew; its layers are still to be given
        their values.
    moved
        Emitted when its spots lie elsewhere.
    removed
        Emitted when it was taken away.
    slide_gone
        Emitted when it is gone because its slide was removed from the viewer: with the slide it
        can be had again, see :meth:`left_behind`.
    told
        Emitted with a sentence when something is refused or fails; empty when reading begins.
    """

    loaded = Signal()
    moved = Signal()
    removed = Signal()
    slide_gone = Signal()
    told = Signal(str)

    def __init__(
        self, viewer: ViewerModel, slide: SlideChoice, source: MeasuredSource, fix_box: FixBox
    ) -> None:
        self.viewer = viewer
        self.measured: MeasuredST | None = None
        self.layers: MeasuredLayers | None = None
        self.target = pd.DataFrame()
        self.panel: tuple[str, ...] = ()
        self.target_panel: tuple[str, ...] = ()
        self.refused_mpp: MppProposal | None = None
        self.locked = ""
        self._slide = slide
        self._source = source
        self._fix_box = fix_box
        self._slide_layer: Image | None = None
        self._slide_path = Path()
        self._slide_shape = (0, 0)
        self._mpp: tuple[float, float] | None = None  # it was read by
        self._asked_mpp: tuple[float, float] | None = None
        self._reader = LatestWork()
        self._reader.idle.connect(self._on_idle)
        self._is_loading = False
        self._following = False
        self._compared: Compared | None = None
        self._gone: Kept | None = None  # with its slide
        # What was to be read, and the part of it that is still to be chosen.
        self._asked: tuple[Path, Path | None, SpotChoice, ChoiceNeeded] | None = None
        source.cleared.connect(self.remove)
        source.parts.chosen.connect(self._on_part)
        source.refused.connect(self._refuse)
        fix_box.changed.connect(self._on_fix)

    # --- where it is ---

    @property
    def is_reading(self) -> bool:
        """Whether ST is being read, or a target computed."""
        return self._reader.is_busy

    @property
    def awaits_choice(self) -> bool:
        """Whether a file was given of which one section is still to be chosen."""
        return self._asked is not None

    @property
    def is_following(self) -> bool:
        """Whether it follows the viewer, and with that its layers."""
        return self._following

    @property
    def slide_layer(self) -> Image | None:
        """The layer it lies on, while that is in the viewer."""
        return self._slide_layer if self._slide_layer in self.viewer.layers else None

    @property
    def fix(self) -> Fix | None:
        """What was done to the positions in the file; None for nothing."""
        proposal = self.measured.proposal if self.measured is not None else None
        return proposal.fix if proposal is not None and self._fix_box.choice else None

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
            if isinstance(layer, Image) and layer.rgb and BESIDE_KEY not in layer.metadata
        ]
        if slide is None or slide.mpp is not None or len(pictures) > 1:
            return self._slide.chosen()
        return slide

    # --- coming and going ---

    def load(
        self, expression: Path, positions: Path | None = None, choice: SpotChoice | None = None
    ) -> None:
        """Read ST in a thread and lay it over the chosen slide; problems are notifications.

        Parameters
        ----------
        expression, positions
            As :func:`~napari_nh2st.spots.read_spots` takes them.
        choice
            Which part of it; where it holds several sections and none is chosen, the list is shown.
        """
        self.told.emit("")
        self._asked = None
        if self.locked:
            self._refuse(self.locked)
            return
        try:
            slide = self.chosen_slide()
        except InputError as error:
            self._refuse(str(error))
            return
        layer, panel = self._slide.layer, self.panel
        self._slide.in_use = slide
        self._asked_mpp = slide.mpp
        self._source.summary.setText(f"Reading {expression.name} …")

        def read() -> tuple[MeasuredST, pd.DataFrame]:
            measured = read_measured(expression, positions, slide, choice)
            return measured, target_of(measured.spots, panel)

        def on_read(result: tuple[MeasuredST, pd.DataFrame]) -> None:
            self._on_read(layer, slide, panel, *result)
            self.follow_panel()  # another model may have been chosen meanwhile

        def on_choice(needed: ChoiceNeeded) -> None:
            self._asked = expression, positions, choice or SpotChoice(), needed
            self.told.emit("")

        self._is_loading = True
        self._work(read, on_read, f"{expression.name} cannot be read", on_choice)

    def reload(self) -> None:
        """Lay it over the chosen slide: that, or its µm/px, is another."""
        if self.measured is not None:
            self.load(self.measured.expression, self.measured.positions, self.measured.choice)

    def follow_mpp(self) -> None:
        """Look again where it lies if its slide is chosen by another µm/px than it was read by."""
        slide = self._slide.peek() if self.lies_on(self._slide.layer) else None
        if slide is not None and slide.mpp != self._asked_mpp:
            self.reload()

    def remove(self) -> None:
        """Take the ST and its layers away."""
        if self.locked:
            self._refuse(self.locked)
        else:
            self._take_away()

    def take_over(self, left: Left) -> None:
        """Go on with layers that are in the viewer, and with what was kept of them.

        Parameters
        ----------
        left
            Their slide must be in the viewer. It is for the caller to show values in the layers.
        """
        assert left.slide_layer is not None
        self._slide_layer, kept = left.slide_layer, left.kept
        self._gone = None
        self.layers = MeasuredLayers(self.viewer, left.slide_layer, found=left.layers)
        self.layers.gene = shown_gene(left.layers)
        if kept is not None:
            self.measured, self.target = kept.measured, kept.target
            self.target_panel, self.refused_mpp = kept.panel, kept.refused_mpp
            self._slide_path, self._slide_shape = kept.slide, kept.shape
            self._mpp = self._asked_mpp = kept.mpp
            self._fix_box.offer(kept.measured.proposal, kept.choice)
            self._note(kept)
        else:
            self.layers.note({COMPARISON_KEY: left.prediction, PREDICTION_KEY: left.prediction})
            self.layers.note({FOLLOWER_KEY: weakref.ref(self)})
        self._tell()
        self._show_proposed()

    def left_behind(self) -> Left | None:
        """What went with its slide, if that is in the viewer again: for :meth:`take_over`."""
        gone = self._gone
        layer = slide_layer_of(self.viewer, gone.slide) if gone is not None else None
        if gone is None or layer is None:
            return None
        return Left({}, layer, gone, gone.compared.prediction if gone.compared else None)

    def is_missing(self, layer: Layer) -> bool:
        """Whether a layer shows the slide that :meth:`left_behind` waits for."""
        return self._gone is not None and is_of_slide(layer, self._gone.slide)

    def keep(self, compared: Compared | None) -> None:
        """Leave what there is in the layers, for a dock that is opened later.

        Parameters
        ----------
        compared
            What came out of a comparison; None without.
        """
        kept = self._kept(compared)
        if kept is not None:
            self._note(kept)
        elif self._gone is not None:
            self._gone = replace(self._gone, compared=compared)

    def abandon(self) -> None:
        """Nothing that is still read arrives."""
        self._reader.abandon()
        self._is_loading = False

    def follow(self) -> None:
        """Follow the viewer from now on."""
        if not self._following:
            self._following = True
            self.viewer.layers.events.removed.connect(self.check_slide)
        self.check_slide()
        if self.layers is not None:
            self.layers.follow()
            self.layers.note({FOLLOWER_KEY: weakref.ref(self)})
            self._show_proposed()

    def close(self) -> None:
        """Nothing that is still read arrives; what only this widget can take away goes."""
        self.abandon()
        self._slide.release()
        if self._following:
            self._following = False
            self.viewer.layers.events.removed.disconnect(self.check_slide)
        if self.layers is not None:
            self.layers.show_beside(False)
            self.layers.propose(None)
            self.layers.let_go()

    def check_slide(self, _event: Any = None) -> None:
        """Let go of its slide, and of the spots there, if that is in the viewer no more."""
        if self._slide_layer is not None and self.slide_layer is None and not self.locked:
            gone = self._kept(self._compared)
            self._clear()
            self._gone = gone
            self.slide_gone.emit()

    def lies_on(self, layer: Image | None) -> bool:
        """Whether it lies on this layer."""
        return self.layers is not None and self.layers.lie_on(layer)

    def set_panel(self, panel: Sequence[str]) -> None:
        """Compute the target of another model's genes, in a thread."""
        self.panel = tuple(panel)
        self.follow_panel()

    def follow_panel(self) -> None:
        """Compute the target anew if it is that of another model's genes."""
        if self.measured is None or self._is_loading:
            return
        if self.panel == self.target_panel:
            self.abandon()  # what is being computed for a model that was chosen in between
            return
        spots, panel = self.measured.spots, self.panel
        problem = f"{self.measured.expression.name} cannot be shown for this model"
        self._work(
            lambda: target_of(spots, panel), lambda target: self._on_target(target, panel), problem
        )

    # --- inside ---

    def _kept(self, compared: Compared | None) -> Kept | None:
        """What there is; None while there is nothing."""
        if self.layers is None or self.measured is None:
            return None
        return Kept(
            self._slide_path,
            self._slide_shape,
            self._mpp,
            self.measured,
            self.target,
            self.target_panel,
            self._fix_box.choice,
            self.refused_mpp,
            compared,
        )

    def _note(self, kept: Kept) -> None:
        assert self.layers is not None
        self._compared = kept.compared
        self.layers.note(self._files() | kept.metadata | {FOLLOWER_KEY: weakref.ref(self)})

    def _work(
        self,
        work: Callable[[], Any],
        on_done: Callable[[Any], None],
        problem: str,
        on_choice: Callable[[ChoiceNeeded], None] | None = None,
    ) -> None:
        """Do something in a thread; `problem` stands before an error that is not the user's."""

        def on_error(error: Exception) -> None:
            known = isinstance(error, InputError)
            if on_choice is not None and isinstance(error, ChoiceNeeded):
                on_choice(error)
            else:
                self._refuse(str(error) if known else f"{problem}: {error}")
            self._asked_mpp = self._mpp
            self._tell()

        self._reader.begin(work, on_done, on_error)

    def _on_idle(self) -> None:
        self._is_loading = False
        self._slide.release()

    def _refuse(self, sentence: str) -> None:
        show_error(sentence)
        self.told.emit(sentence)

    def _take_away(self) -> None:
        self._asked = None
        self._clear()
        self._gone = None
        self.removed.emit()

    def _clear(self) -> None:
        self.abandon()
        # Known no more before its layers go: this is called again for each of them.
        layers, self.layers = self.layers, None
        self.measured = self._slide_layer = self._compared = None
        if layers is not None:
            layers.remove()
        self._fix_box.offer(None)
        self._tell()

    def _on_read(
        self,
        layer: Image,
        slide: Slide,
        panel: tuple[str, ...],
        measured: MeasuredST,
        target: pd.DataFrame,
    ) -> None:
        if layer not in self.viewer.layers:
            self._tell()
            return
        choice = self._choice_for(measured, layer)
        former = self.measured.expression if self.measured is not None else None
        if (slide.path, measured.expression) != (self._slide_path, former):
            self.refused_mpp = None
        self._take_away()
        self.measured, self.target, self.target_panel = measured, target, panel
        self._slide_layer, self._slide_shape = layer, slide.shape
        self._slide_path = slide.path
        self._mpp = slide.mpp
        self._fix_box.offer(measured.proposal, choice)
        self.layers = MeasuredLayers(self.viewer, layer, self._files())
        self._tell()
        self.loaded.emit()
        self._show_proposed()
        if measured.proposal is None and measured.on_tissue < ANOTHER_SLIDE_BELOW:
            show_warning(
                f"{measured.expression.name}: {measured.on_tissue:.0%} of the spots' area is "
                f"tissue; is {layer.name} the slide they were measured on?"
            )
        if panel == self.panel:
            self._warn_of_overlap()

    def _warn_of_overlap(self) -> None:
        assert self.measured is not None
        overlap = panel_overlap(self.target_panel, self.measured.spots.var_names)
        if overlap.is_refused:
            show_warning(f"{overlap.sentence} Its own genes with the most counts are shown.")
        elif overlap.sentence is not None:
            show_warning(overlap.sentence)

    def _files(self) -> dict[str, Any]:
        """Where the spots are from and where they lie, for the layers' metadata."""
        assert self.measured is not None
        positions = self.measured.positions
        return {
            SPOTS_PATH_KEY: str(self.measured.expression),
            MEASURED_SLIDE_KEY: str(self._slide_path),
            FIX_KEY: self._decided_fix(),
        } | {
            key: value
            for key, value in (
                (POSITIONS_PATH_KEY, None if positions is None else str(positions)),
                (PART_KEY, self.measured.choice if self.measured.parts.offered else None),
            )
            if value is not None
        }

    def _decided_fix(self) -> str | None:
        """How the positions are taken, spelled; None while a proposal waits for an answer."""
        if self._fix_box.is_open:
            return None
        return self.fix.spelled() if self.fix is not None else ""

    def _choice_for(self, measured: MeasuredST, layer: Image) -> bool | None:
        """What the user chose when the same was proposed for the same ST on the same slide."""
        former = self.measured
        if former is None or former.proposal is None or measured.proposal is None:
            return None
        same = (
            layer == self._slide_layer
            and (former.expression, former.positions) == (measured.expression, measured.positions)
            and former.choice == measured.choice
            and former.proposal.fix == measured.proposal.fix
        )
        return self._fix_box.choice if same else None

    def _on_target(self, target: pd.DataFrame, panel: tuple[str, ...]) -> None:
        self.target, self.target_panel = target, panel
        self.loaded.emit()
        self._warn_of_overlap()

    def _on_part(self, choice: SpotChoice) -> None:
        if self._asked is not None:
            self.load(self._asked[0], self._asked[1], choice)
        elif self.measured is not None:
            self.load(self.measured.expression, self.measured.positions, choice)

    def _on_fix(self, _fixed: bool) -> None:
        if self.layers is not None:
            self.layers.move(self.places, self.pitch_px)
            self._show_proposed()
            self._tell()
            self.moved.emit()

    def _tell(self) -> None:
        """What was read, where it lies, and what it tells of the slide; or what is to be chosen."""
        measured = self.measured
        if self._asked is not None:
            expression, _, choice, needed = self._asked
            names = len(needed.names)
            self._source.summary.setText(f"{expression.name} holds {names} sections: choose one.")
            self._source.parts.offer(needed.parts, choice)
            return
        if measured is None:
            self._source.parts.offer(Parts(), SpotChoice())
        else:
            self._source.parts.offer(measured.parts, measured.choice)
        if measured is None or self._slide_layer is None:
            self._source.summary.setText(_NOTHING)
            return
        text = f"{measured.report}. On {self._slide_layer.name}."
        if measured.pitch_um is not None and self._mpp is None:
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
