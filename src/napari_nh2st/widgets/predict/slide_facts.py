"""Facts about the picked slide: vendor, size, µm/px, tissue, and an unusual stain."""

from typing import Any

from psygnal import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_nh2st.inference.notices import scale_notices, slide_notices
from napari_nh2st.inference.slide_facts import TissueFacts, slide_summary, tissue_facts
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.labels import CautionLabel, PlainLabel

_MS_BEFORE_LOOKING = 300


class SlideFacts(QWidget):
    """Two lines about a slide: what it is, and what should be minded.

    Attributes
    ----------
    facts, notice
        The labels.
    known
        Emitted when tissue and stain of the slide shown are known.
    """

    known = Signal(TissueFacts)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.facts = PlainLabel(
            wrap=True,
            tip="Vendor, size, source of the µm/px, and the share of tissue",
            fits=True,
        )
        self.notice = CautionLabel(tip="Mismatches between slide and model", fits=True)
        self.notice.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.facts)
        layout.addWidget(self.notice)
        self._slide: Slide | None = None
        self._config: ModelConfig | None = None
        self._pitch_um: float | None = None
        self._found: TissueFacts | None = None
        self._painted: TissueMask | None = None
        self._asked: tuple[Any, ...] | None = None
        # A box of numbers that is turned gives many values: the last one is looked at.
        self._looking = Background(self, debounce_ms=_MS_BEFORE_LOOKING)

    def show_slide(
        self, slide: Slide | None, config: ModelConfig | None, pitch_um: float | None = None
    ) -> None:
        """Show what is known, and find out the rest in a thread.

        Parameters
        ----------
        slide, config
            The slide and the description of the model; None where there is none.
        pitch_um
            Distance between tiles; None for the model's own.
        """
        asked = None if slide is None else (slide.path, slide.image, slide.mpp, _stain_of(config))
        self._slide, self._config, self._pitch_um = slide, config, pitch_um
        if asked != self._asked:
            self._asked, self._found = asked, None
            self._looking.stop()
            if slide is not None and slide.mpp is not None and slide.brightfield:
                self._looking.start(tissue_facts, slide, config, done=self._on_found)
        self._show()

    @property
    def found(self) -> TissueFacts | None:
        """Tissue and stain of the slide; None until they are known."""
        return self._found

    def show_painted(self, tissue: TissueMask | None) -> None:
        """Say how much tissue was painted, in place of what was found."""
        if tissue is not self._painted:
            self._painted = tissue
            self._show()

    def foreseen(self) -> list[str]:
        """The sentences that a run would say too: they stand here."""
        if self._slide is None:
            return []
        notices = slide_notices(self._slide)
        config = self._config
        if self._slide.mpp is not None and config is not None and not config.takes_features:
            pitch_um = self._pitch_um or config.pitch_um
            notices += scale_notices(self._slide.mpp, pitch_um, config)
        if self._found is not None and self._found.notice:
            notices.append(self._found.notice)
        return notices

    def _on_found(self, found: TissueFacts) -> None:
        self._found = found
        self._show()
        self.known.emit(found)

    def _show(self) -> None:
        if self._slide is None:
            self.facts.setText("")
            notices = []
        else:
            found = self._found or TissueFacts(None, None)
            tissue = "" if found.tissue is None else f" · {found.tissue:.0%} tissue"
            if self._painted is not None:
                tissue = f" · {self._painted.tissue.mean():.0%} tissue, as painted"
            self.facts.setText(slide_summary(self._slide) + tissue)
            notices = self.foreseen()
            if self._slide.mpp is None:
                notices.append("Its µm/px is not recorded: give it above (▾ offers usual values).")
        self.notice.show_text("\n".join(notices))


def _stain_of(config: ModelConfig | None) -> Any:
    """Properties of a model that the notice depends on."""
    return None if config is None else (config.name, config.mpp, config.weights.get("sha256"))
