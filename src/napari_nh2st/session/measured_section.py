"""A section with measured ST on its slide, and its comparison with a prediction."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from napari.layers import Image
from numpy.typing import NDArray
from psygnal import Signal

from napari_nh2st.layers.keys import (
    COMPARISON_KEY,
    FIX_KEY,
    MEASURED_SLIDE_KEY,
    PART_KEY,
    POSITIONS_PATH_KEY,
    PREDICTION_KEY,
    SPOTS_PATH_KEY,
)
from napari_nh2st.prediction.schema import is_trained, slide_name
from napari_nh2st.remote import SlidePath
from napari_nh2st.session.comparison import ComparisonResults, gene_table
from napari_nh2st.session.measured_layers import Kind, MeasuredLayers
from napari_nh2st.slide import Slide
from napari_nh2st.spots.checks import MppProposal
from napari_nh2st.spots.measured import MeasuredST
from napari_nh2st.spots.orientation import Fix, apply_fix
from napari_nh2st.spots.placement import Proposal
from napari_nh2st.spots.positions import positions

if TYPE_CHECKING:
    from napari_nh2st.session.session import Session


class MeasuredSection:
    """Measured ST that was read, or a comparison from a file.

    Parameters
    ----------
    session
        Its viewer shows the section.
    slide
        Path of the slide that the spots lie on, or its name where that is all that is known.

    Attributes
    ----------
    layers
        Its layers, with the gene and the kind of values shown.
    measured
        The spots; None of a comparison from a file.
    mpp
        µm/px (y, x) of the slide by which they were read; None where that was not known.
    asked_mpp
        The same of a reading under way.
    target
        Spots × genes of measured values, as a model would learn them.
    panel
        Genes of the model for which that is.
    prediction
        AnnData of the comparison; None without.
    results
        The comparison; None without, or while a file's is not computed yet.
    refused_mpp
        What was proposed for the slide's µm/px and not taken; None for nothing.
    locked
        Why the section cannot be changed now; empty if it can.
    changed
        Emitted when its values or places have changed.
    """

    changed = Signal()

    def __init__(self, session: "Session", slide: SlidePath) -> None:
        self.slide = slide
        self.layers = MeasuredLayers(session)
        self.measured: MeasuredST | None = None
        self.mpp: tuple[float, float] | None = None
        self.asked_mpp: tuple[float, float] | None = None
        self.target = pd.DataFrame()
        self.panel: tuple[str, ...] = ()
        self.prediction: AnnData | None = None
        self.results: ComparisonResults | None = None
        self.refused_mpp: MppProposal | None = None
        self.locked = ""
        self._slide_shape = (0, 0)
        self._reliability: pd.Series = pd.Series(dtype=np.float64)
        self._choice: bool | None = None

    @classmethod
    def of_spots(
        cls,
        session: "Session",
        slide: Slide,
        measured: MeasuredST,
        *,
        former: "MeasuredSection | None" = None,
    ) -> "MeasuredSection":
        """Measured ST that was read; it has a target as soon as :meth:`set_target` was called.

        Parameters
        ----------
        session
            As above.
        slide
            By which it was read.
        measured
            The spots.
        former
            The section whose place it takes: the gene shown stays, and the same spots keep what
            the user has decided.
        """
        section = cls(session, slide.path)
        section.measured = measured
        section.mpp = section.asked_mpp = slide.mpp
        section._slide_shape = slide.shape
        if former is not None:
            section.layers.gene = former.layers.gene
            before = former.measured
            if before is not None and former.slide == slide.path:
                if before.expression == measured.expression:
                    section.refused_mpp = former.refused_mpp
                if _is_same(before, measured):
                    section._choice = former._choice
        return section

    @classmethod
    def of_prediction(cls, session: "Session", prediction: AnnData) -> "MeasuredSection":
        """A comparison from a file: spots × genes with ``layers["measured"]``."""
        section = cls(session, Path(slide_name(prediction)))
        section.prediction = prediction
        section.layers.kind = "predicted"
        return section

    # --- where it lies ---

    @property
    def slide_layer(self) -> Image | None:
        """The layer it lies on; None while that is not in the viewer."""
        return self.layers.slide_layer

    @property
    def slide_name(self) -> str:
        """Name of the layer that it lies on, else as it was recorded."""
        if self.slide_layer is not None:
            return str(self.slide_layer.name)
        return self.layers.slide_name or self.slide.name

    @property
    def proposal(self) -> Proposal | None:
        """Correction of the positions that is proposed, or was decided on; None for none."""
        return self.measured.proposal if self.measured is not None else None

    @property
    def choice(self) -> bool | None:
        """Whether the user wants that correction; None while there is no answer, or no proposal."""
        return self._choice if self.proposal is not None else None

    @choice.setter
    def choice(self, choice: bool | None) -> None:
        """Correct the positions, leave them, or take the answer back; a comparison is dropped."""
        self._choice = choice
        self.results = self.prediction = None
        self.show()
        self.changed.emit()

    @property
    def is_asking(self) -> bool:
        """Whether a proposed correction waits for an answer."""
        return self.proposal is not None and self._choice is None

    @property
    def fix(self) -> Fix | None:
        """Correction of the positions in the file; None for nothing."""
        return self.proposal.fix if self.proposal is not None and self._choice else None

    @property
    def positions(self) -> NDArray[np.float64]:
        """(spots, 2) (x, y) in full-resolution pixels, where they lie now."""
        return self._positions(self.fix)

    @property
    def pitch_px(self) -> float:
        """Distance between spots, in full-resolution pixels."""
        return self._pitch_px(self.fix)

    @property
    def mpp_proposal(self) -> MppProposal | None:
        """Another µm/px for the slide, unless that was refused."""
        proposal = self.measured.mpp_proposal if self.measured is not None else None
        return None if proposal == self.refused_mpp else proposal

    def refuse_mpp(self) -> None:
        """Keep the slide's µm/px as it is."""
        self.refused_mpp = self.mpp_proposal
        self.changed.emit()

    # --- values ---

    def set_target(
        self, target: pd.DataFrame, panel: Sequence[str], reliability: Mapping[str, float] | None
    ) -> None:
        """Show measured values of a model's genes; a comparison is dropped.

        Parameters
        ----------
        target
            Spots × genes.
        panel
            Genes of the model.
        reliability
            PCC of the model's genes on held-out sections, where it is known.
        """
        self.target, self.panel = target, tuple(panel)
        self._reliability = pd.Series(dict(reliability or {}), dtype=np.float64)
        self.results = self.prediction = None
        self.show()
        self.changed.emit()

    def set_results(self, results: ComparisonResults) -> None:
        """Show a comparison."""
        kind = self.layers.kind if self.measured is None else "predicted"
        self.results, self.prediction = results, results.compared.prediction
        self.show(kind)
        self.changed.emit()

    @property
    def table(self) -> pd.DataFrame:
        """Genes, see :func:`~napari_nh2st.session.comparison.gene_table`."""
        if self.results is not None:
            return self.results.table
        return gene_table(list(self.target.columns), self._reliability, None)

    def show(self, kind: Kind = "measured") -> None:
        """Show in its layers what it has now, where it lies now."""
        results = self.results
        values: dict[Kind, pd.DataFrame] = {"measured": self.target}
        if results is not None:
            values = results.values
            self.layers.is_trained = is_trained(results.compared.prediction)
        genes = values["measured"].columns
        gene = self.layers.gene if self.layers.gene in genes else str(self.table["gene"].iloc[0])
        self.layers.update_metadata(self._metadata())
        if results is not None:
            places, pitch_px = results.positions, results.pitch_px
        else:
            places, pitch_px = self.positions, self.pitch_px
        self.layers.set_values(values, places, pitch_px, gene=gene, kind=kind)

    def show_rings(self, wanted: bool) -> None:
        """Show as rings where spots lie by the correction that is proposed."""
        if wanted and self.is_asking and self.proposal is not None:
            fix = self.proposal.fix
            self.layers.show_rings(self._positions(fix), self._pitch_px(fix))
        else:
            self.layers.show_rings(None)

    # --- inside ---

    def _metadata(self) -> dict[str, Any]:
        """Metadata of its layers: the comparison, and where the spots are from."""
        metadata: dict[str, Any] = {
            COMPARISON_KEY: self.prediction,
            PREDICTION_KEY: self.prediction,
        }
        measured = self.measured
        if measured is None:
            return metadata
        decided = None if self.is_asking else self.fix.spelled() if self.fix is not None else ""
        metadata |= {
            SPOTS_PATH_KEY: str(measured.expression),
            MEASURED_SLIDE_KEY: str(self.slide),
            FIX_KEY: decided,
        }
        if measured.positions is not None:
            metadata[POSITIONS_PATH_KEY] = str(measured.positions)
        if measured.parts.offered:
            metadata[PART_KEY] = measured.choice
        return metadata

    def _positions(self, fix: Fix | None) -> NDArray[np.float64]:
        assert self.measured is not None
        spots = self.measured.spots
        if fix is not None:
            spots = apply_fix(spots, fix, self._slide_shape)
        return positions(spots)

    def _pitch_px(self, fix: Fix | None) -> float:
        assert self.measured is not None
        return self.measured.pitch_px * (fix.factor if fix is not None else 1.0)


def _is_same(before: MeasuredST, now: MeasuredST) -> bool:
    """Whether the same spots are proposed to be corrected in the same way."""
    return (
        before.proposal is not None
        and now.proposal is not None
        and before.proposal.fix == now.proposal.fix
        and (before.expression, before.positions, before.choice)
        == (now.expression, now.positions, now.choice)
    )
