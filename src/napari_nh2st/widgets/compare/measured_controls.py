"""Measured ST in the *Compare* dock: files are read, laid over a slide, and asked about."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from napari.layers import Image
from psygnal import Signal
from qtpy.QtWidgets import QFormLayout

from napari_nh2st.errors import InputError
from napari_nh2st.jobs.comparison import ANOTHER_SLIDE_BELOW
from napari_nh2st.layers.slide_below import is_picture
from napari_nh2st.session import Session
from napari_nh2st.session.measured_section import MeasuredSection
from napari_nh2st.slide import Slide
from napari_nh2st.spots import ChoiceNeeded, SpotChoice
from napari_nh2st.spots.choice import Parts
from napari_nh2st.spots.measured import MeasuredST, read_measured, target_of
from napari_nh2st.spots.overlap import panel_overlap
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.compare.measured_source import MeasuredSource
from napari_nh2st.widgets.compare.notice_boxes import FixBox, MppBox, OtherSlideBox
from napari_nh2st.widgets.notifications import show_error, show_warning
from napari_nh2st.widgets.slide_choice import SlideChoice

_NOTHING = "Drop a file here, or choose one."


class MeasuredControls:
    """Controls of measured ST: it is laid over the chosen slide, and stays there.

    Parameters
    ----------
    session
        Holds what was read.
    slide
        Where the slide is chosen.

    Attributes
    ----------
    source
        Asks for files, and shows what was read.
    fix_box, mpp_box, other_slide
        Notices about positions and µm/px, and that another slide is chosen.
    config
        Description of the model whose genes are shown; None while there is none.
    status_changed
        Emitted with a sentence when something is refused or fails; empty when reading begins.
    """

    status_changed = Signal(str)

    def __init__(self, session: Session, slide: SlideChoice) -> None:
        self._session = session
        self._sections = session.measured
        self._slide = slide
        self.config: Any = None
        self.source = MeasuredSource()
        self.fix_box = FixBox()
        self.mpp_box = MppBox()
        self.other_slide = OtherSlideBox()
        self._reader = Background(self.source)
        self._reader.busy_changed.connect(self._on_busy)
        self._is_loading = False
        # Files of several sections, of which one is still to be chosen.
        self._asked: tuple[Path, Path | None, SpotChoice, ChoiceNeeded] | None = None
        self.source.chosen.connect(self.load)
        self.source.cleared.connect(self.remove)
        self.source.refused.connect(self._refuse)
        self.source.parts.chosen.connect(self._on_part)
        self.fix_box.answered.connect(self._on_answer)
        self.mpp_box.chosen.connect(self._use_mpp)
        self.mpp_box.refused.connect(self._refuse_mpp)
        self.other_slide.lay_over.clicked.connect(self.reload)

    def add_to(self, form: QFormLayout) -> None:
        """Add them to a form."""
        form.addRow("Measured", self.source)
        for row in (
            self.source.summary,
            self.source.parts,
            self.other_slide,
            self.mpp_box,
            self.fix_box,
        ):
            form.addRow(row)

    @property
    def is_reading(self) -> bool:
        """Whether ST is being read, or values of another model's genes computed."""
        return self._reader.is_busy

    @property
    def awaits_choice(self) -> bool:
        """Whether a file was given of which one section is still to be chosen."""
        return self._asked is not None

    def chosen_slide(self) -> Slide:
        """The chosen slide; its µm/px may be unknown, since the spots' distance tells it.

        Raises
        ------
        InputError
            As :meth:`~napari_nh2st.widgets.slide_choice.SlideChoice.chosen`.
        """
        slide = self._slide.peek()
        selected = filter(is_picture, self._session.viewer.layers.selection)
        if slide is None or slide.mpp is not None or len(list(selected)) > 1:
            return self._slide.chosen()
        return slide

    # --- reading ---

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
        self.status_changed.emit("")
        section = self._sections.current
        if section is not None and section.locked:
            self._refuse(section.locked)
            return
        try:
            slide = self.chosen_slide()
        except InputError as error:
            self._refuse(str(error))
            return
        layer, config = self._slide.layer, self.config
        assert layer is not None
        self._slide.in_use = slide
        if section is not None and section.layers.lie_on(layer):
            section.asked_mpp = slide.mpp
        self.source.summary.setText(f"Reading {expression.name} …")
        self._is_loading = True

        def on_error(error: Exception) -> None:
            if isinstance(error, ChoiceNeeded):
                self._asked = expression, positions, choice or SpotChoice(), error
                self.status_changed.emit("")
            else:
                self._show_failure(f"{expression.name} cannot be read", error)

        self._reader.start(
            _read,
            expression,
            positions,
            slide,
            choice,
            _panel(config),
            done=partial(self._on_read, layer, slide, config),
            failed=on_error,
        )

    def reload(self) -> None:
        """Read it for the chosen slide: that, or its µm/px, is another."""
        section = self._sections.current
        if section is not None and section.measured is not None:
            measured = section.measured
            self.load(measured.expression, measured.positions, measured.choice)

    def remove(self) -> None:
        """Take the current section and its layers away."""
        section = self._sections.current
        if section is not None and section.locked:
            self._refuse(section.locked)
            return
        self._asked = None
        self._reader.stop()
        self._sections.remove()
        self.status_changed.emit("")

    def follow_mpp(self) -> None:
        """Read it anew if its slide is chosen by another µm/px than it was read by."""
        section = self._open_section()
        if section is None or not section.layers.lie_on(self._slide.layer):
            return
        slide = self._slide.peek()
        if slide is not None and slide.mpp != section.asked_mpp:
            self.reload()

    # --- the model's genes ---

    def set_model(self, config: Any) -> None:
        """Show the genes of a model, unless a comparison with another is shown."""
        self.config = config
        self.follow_model()

    def follow_model(self) -> None:
        """Compute values of the model's genes if those of another are shown, in a thread."""
        section = self._open_section()
        if section is None or section.measured is None or self._is_loading:
            return
        config = self.config
        if _panel(config) == section.panel:
            self._reader.stop()  # for a model that was chosen in between
            return
        problem = f"{section.measured.expression.name} cannot be shown for this model"

        def on_target(target: pd.DataFrame) -> None:
            section.set_target(target, _panel(config), _reliability(config))
            self._warn_of_overlap(section)

        self._reader.start(
            target_of,
            section.measured.spots,
            _panel(config),
            done=on_target,
            failed=partial(self._show_failure, problem),
        )

    def _open_section(self) -> MeasuredSection | None:
        """The current section, where it has no comparison, and nothing is computed of it."""
        section = self._sections.current
        if section is None or section.measured is None or section.slide_layer is None:
            return None
        return None if section.results is not None or section.locked else section

    # --- what is shown ---

    def show(self) -> None:
        """Show what was read, where it lies, and what is to be answered."""
        section, chosen = self._sections.current, self._slide.layer
        is_free = section is None or not section.locked
        self.source.clear.setEnabled(is_free and (section is not None or self.awaits_choice))
        self._show_source(section)
        of_chosen = section is not None and section.layers.lie_on(chosen)
        self.fix_box.show_section(section)
        self.mpp_box.offer(
            section.mpp_proposal if section is not None and of_chosen else None,
            section.slide_name if section is not None else "",
        )
        self.other_slide.show_section(section, None if chosen is None or of_chosen else chosen.name)
        for box in (self.fix_box, self.mpp_box, self.other_slide):
            box.set_enabled(is_free)

    def _show_source(self, section: MeasuredSection | None) -> None:
        if self._is_loading:
            return
        if self._asked is not None:
            expression, _, choice, needed = self._asked
            names = len(needed.names)
            self.source.summary.setText(f"{expression.name} holds {names} sections: choose one.")
            self.source.parts.offer(needed.parts, choice)
            return
        measured = section.measured if section is not None else None
        if section is None or measured is None or section.slide_layer is None:
            self.source.parts.offer(Parts(), SpotChoice())
            self.source.summary.setText(_NOTHING)
            return
        self.source.parts.offer(measured.parts, measured.choice)
        text = f"{measured.report}. On {section.slide_name}."
        if measured.pitch_um is not None and section.mpp is None:
            text += f" {measured.pitch_um / section.pitch_px:.3g} µm/px by the spots' distance."
        self.source.summary.setText(text)

    # --- inside ---

    def _on_read(
        self, layer: Image, slide: Slide, config: Any, read: tuple[MeasuredST, pd.DataFrame]
    ) -> None:
        self._is_loading = False
        if layer not in self._session.viewer.layers:
            return
        self._asked = None
        measured, target = read
        former = self._sections.current
        section = MeasuredSection.of_spots(self._session, slide, measured, former=former)
        section.set_target(target, _panel(config), _reliability(config))
        self._sections.add(section, layer)
        if measured.proposal is None and measured.on_tissue < ANOTHER_SLIDE_BELOW:
            show_warning(
                f"{measured.expression.name}: {measured.on_tissue:.0%} of the spots' area is "
                f"tissue; is {layer.name} the slide they were measured on?"
            )
        if _panel(config) == _panel(self.config):
            self._warn_of_overlap(section)
        self.follow_model()  # another one may have been chosen meanwhile

    def _on_busy(self, is_busy: bool) -> None:
        if is_busy:
            return
        self._is_loading = False
        self._slide.release()
        section = self._sections.current
        if section is not None:
            section.asked_mpp = section.mpp
        self.show()

    def _on_part(self, choice: SpotChoice) -> None:
        section = self._sections.current
        if self._asked is not None:
            self.load(self._asked[0], self._asked[1], choice)
        elif section is not None and section.measured is not None:
            self.load(section.measured.expression, section.measured.positions, choice)

    def _on_answer(self, answer: bool | None) -> None:
        section = self._sections.current
        if section is not None:
            had_results = section.results is not None
            section.choice = answer
            if had_results:
                self.status_changed.emit("The spots were moved: compare again.")
                self.follow_model()

    def _use_mpp(self, mpp: float) -> None:
        """Take the µm/px that the spots' distance gives, for the slide they lie on."""
        section = self._sections.current
        if section is not None and section.layers.lie_on(self._slide.layer):
            self._slide.mpp.setValue(mpp)
            self.follow_mpp()

    def _refuse_mpp(self) -> None:
        if self._sections.current is not None:
            self._sections.current.refuse_mpp()

    def _warn_of_overlap(self, section: MeasuredSection) -> None:
        assert section.measured is not None
        overlap = panel_overlap(section.panel, section.measured.spots.var_names)
        if overlap.is_refused:
            show_warning(f"{overlap.sentence} Its own genes with the most counts are shown.")
        elif overlap.sentence is not None:
            show_warning(overlap.sentence)

    def _show_failure(self, problem: str, error: Exception) -> None:
        known = isinstance(error, InputError)
        self._refuse(str(error) if known else f"{problem}: {error}")

    def _refuse(self, sentence: str) -> None:
        show_error(sentence)
        self.status_changed.emit(sentence)


def _read(
    expression: Path,
    positions: Path | None,
    slide: Slide,
    choice: SpotChoice | None,
    panel: tuple[str, ...],
) -> tuple[MeasuredST, pd.DataFrame]:
    """The spots, and their values of a model's genes."""
    measured = read_measured(expression, positions, slide, choice)
    return measured, target_of(measured.spots, panel)


def _panel(config: Any) -> tuple[str, ...]:
    return tuple(config.panel) if config is not None else ()


def _reliability(config: Any) -> dict[str, float] | None:
    known: dict[str, float] | None = config.reliability if config is not None else None
    return known
