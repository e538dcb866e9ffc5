"""Choice of the step of a prediction, with what each costs before it starts."""

from contextlib import suppress

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from napari_nh2st.errors import InputError
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.inference.step_costs import StepCosts, step_costs
from napari_nh2st.inference.steps import Detail, divisions_of, offered_divisions
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.setting_controls import without_wheel

_SAME = 1e-6
_MINUTES = PredictSettings().detail_seconds / 60


class DetailChoice(QComboBox):
    """Offers the automatic step, and those that divide the pitch, with their tiles and times.

    A control of ``step_um``. A step that does not divide the pitch of another model is not
    taken, and comes back with a pitch that it divides.

    Attributes
    ----------
    changed
        Emitted when the user chooses another one.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._wanted: float | None = None
        self._pitch_um: float | None = None
        self._costs: StepCosts | None = None
        self._counting = Background(self)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setToolTip(
            "Step: distance between values. A finer map takes longer; the model's neighborhoods "
            "do not change. Automatic takes the finest step that needs at most about "
            f"{_MINUTES:.0f} minutes"
        )
        without_wheel(self)
        self._show()
        self.currentIndexChanged.connect(self._on_chosen)

    def value(self) -> float | None:
        """The chosen step in µm; None for the automatic one."""
        step: float | None = self.currentData()
        return step

    def show_value(self, step_um: float | None) -> None:
        """Choose a step."""
        before, self._wanted = self.value(), step_um
        self._show()
        if self.value() != before:
            self.changed.emit()

    def show_pitch(self, pitch_um: float | None) -> None:
        """Offer the steps of a pitch; None where it is not known."""
        if pitch_um != self._pitch_um:
            self._pitch_um = pitch_um
            self.forget_costs()

    def estimate(
        self,
        slide: Slide,
        config: ModelConfig,
        settings: PredictSettings,
        tissue: TissueMask | None,
    ) -> None:
        """Show what each step costs, once it was found out in a thread.

        Parameters
        ----------
        slide, config, settings, tissue
            As for :func:`~napari_nh2st.inference.step_costs.step_costs`.
        """
        self._counting.start(step_costs, slide, config, settings, tissue, done=self._on_costs)

    def forget_costs(self) -> None:
        """Show the steps alone: what they cost is not known."""
        self._counting.stop()
        self._costs = None
        self._show()

    def _on_costs(self, costs: StepCosts) -> None:
        self._costs = costs
        self._show()

    def _on_chosen(self, _index: int) -> None:
        self._wanted = self.value()
        self.changed.emit()

    def _show(self) -> None:
        """Fill the list; the chosen step stays chosen."""
        with signals_blocked(self):
            self.clear()
            self.addItem(self._automatic_text(), None)
            for step_um in self._steps():
                self.addItem(self._text_of(step_um), step_um)
                if self._wanted is not None and _are_same(step_um, self._wanted):
                    self.setCurrentIndex(self.count() - 1)
            for row in range(self.count()):
                self.setItemData(row, self.itemText(row), Qt.ItemDataRole.ToolTipRole)

    def _steps(self) -> list[float]:
        """Steps to offer, the coarsest first: those worth it, and what was chosen."""
        if self._pitch_um is None:
            return [] if self._wanted is None else [self._wanted]
        divisions = set(offered_divisions(self._pitch_um))
        if self._wanted is not None:
            with suppress(InputError):  # it is of another model
                divisions.add(divisions_of(self._pitch_um, self._wanted))
        return [self._pitch_um / n for n in sorted(divisions)]

    def _automatic_text(self) -> str:
        if self._costs is None:
            return "Automatic"
        if self._costs.automatic is None:
            return f"Automatic: within {_MINUTES:.0f} min"
        return f"Automatic: {_in_words(self._costs.automatic)}"

    def _text_of(self, step_um: float) -> str:
        for detail in () if self._costs is None else self._costs.details:
            if _are_same(detail.step_um, step_um):
                return _in_words(detail)
        return f"{step_um:.4g} µm"


def _are_same(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME * other


def _in_words(detail: Detail) -> str:
    return str(detail) if detail.n_tiles else f"{detail.step_um:.4g} µm · no tile"
