"""Scores measured on a slide itself, as the reliability of its genes instead of the model's."""

from typing import TYPE_CHECKING

from anndata import AnnData
from psygnal import Signal

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.prediction.reliability import has_measured, undo_measured, use_measured
from napari_nh2st.prediction.schema import (
    notes,
    of_same_model,
    reliability,
    reliability_of,
    slide_fingerprint,
)
from napari_nh2st.session.comparison import ComparisonResults

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session


class MeasuredBadges:
    """Offers the scores of a comparison as the badges of the current heatmap's genes.

    They are stored in the prediction, also in its file. A run that replaces it takes them over.

    Parameters
    ----------
    session
        Has the heatmap, and the comparisons of its sections.

    Attributes
    ----------
    changed
        Emitted when there may be another offer, or when it was accepted or withdrawn.
    used
        Emitted when the current prediction's reliability has changed.
    """

    changed = Signal()
    used = Signal()

    def __init__(self, session: "Session") -> None:
        self._session = session
        session.measured.changed.connect(self._on_change)
        session.heatmap_changed.connect(self._on_change)
        session.prediction_replaced.connect(self._on_replaced)

    @property
    def offer(self) -> ComparisonResults | None:
        """A comparison with the current heatmap's model on its slide; None if there is none."""
        prediction = self._session.prediction
        sections = [] if prediction is None else list(self._session.measured)
        for section in reversed(sections):
            results = section.results
            if results is not None and _is_of(results.compared.prediction, prediction):
                return results
        return None

    @property
    def n_spots(self) -> int:
        """Spots of the comparison on offer; 0 without."""
        results = self.offer
        return 0 if results is None else results.compared.prediction.n_obs

    @property
    def are_used(self) -> bool:
        """Whether the badges are what was measured on the slide."""
        prediction = self._session.prediction
        return prediction is not None and has_measured(prediction)

    def use(self, wanted: bool) -> None:
        """Use the scores measured on the slide as badges, or the model's again."""
        prediction, results = self._session.prediction, self.offer
        if prediction is None:
            return
        if not wanted:
            undo_measured(prediction)
        elif results is not None:
            pcc = results.table.set_index("gene")["PCC"]
            use_measured(prediction, pcc, f"this slide ({self.n_spots:,} spots)")
        self.used.emit()
        self.changed.emit()

    def _on_change(self) -> None:
        self.changed.emit()

    def _on_replaced(self, heatmap: Heatmap, former: AnnData) -> None:
        """What was chosen holds for the other prediction too, a new one or one gone back to."""
        prediction = heatmap.prediction
        if not _is_of(former, prediction):
            return
        if has_measured(former):
            use_measured(prediction, reliability(former), reliability_of(former))
        else:
            undo_measured(prediction)


def _is_of(one: AnnData, other: AnnData | None) -> bool:
    """Whether two predictions are of one slide, by one model."""
    if other is None or not of_same_model(one, other):
        return False
    first, second = slide_fingerprint(one), slide_fingerprint(other)
    if first is None or second is None:
        first, second = (notes(each).get("slide", {}).get("name") for each in (one, other))
    return first == second
