"""Measured ST as it is compared on a slide: read, checked against the slide, and its target."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_nh2st.slide import Slide
from napari_nh2st.spots import (
    SpotChoice,
    check_counts,
    check_enough_spots,
    expression_target,
    read_spots,
    spot_array,
)
from napari_nh2st.spots.assembly import INFO
from napari_nh2st.spots.checks import MppProposal, pitch_of, propose_mpp
from napari_nh2st.spots.choice import NO_CHOICE, Parts
from napari_nh2st.spots.overlap import panel_overlap
from napari_nh2st.spots.placement import Proposal, on_tissue, propose_fix

MOST_GENES = 250
"""Genes shown of a section that no model's panel chooses from: those with the most counts."""


@dataclass(frozen=True, eq=False)
class MeasuredST:
    """Measured ST of a section, and how its spots lie on a slide.

    Parameters
    ----------
    expression, positions
        The files.
    spots
        Raw counts at the positions in the file.
    pitch_px, pitch_um
        Distance between spots: in pixels of the file's positions, and by the kind of array, None
        where that is not known.
    proposal
        Correction of the positions; None where they seem right.
    mpp_proposal
        Another µm/px for the slide, where the spots' distance gives one and their own scale seems
        right.
    on_tissue
        Share of the spots' area that is tissue, at the positions in the file.
    choice
        The part of the file that was asked for.
    """

    expression: Path
    positions: Path | None
    spots: AnnData
    pitch_px: float
    pitch_um: float | None
    proposal: Proposal | None
    mpp_proposal: MppProposal | None
    on_tissue: float
    choice: SpotChoice = NO_CHOICE

    @property
    def parts(self) -> Parts:
        """Sections and bins that the file holds, and which of them this is."""
        return Parts.of(self.spots.uns.get(INFO, {}))

    @property
    def report(self) -> str:
        """What was read, left out and added up, in one line."""
        return str(self.spots.uns.get(INFO, {}).get("report", self.expression.name))


def read_measured(
    expression: Path, positions: Path | None, slide: Slide, choice: SpotChoice | None = None
) -> MeasuredST:
    """Read ST and check how it lies on a slide; takes seconds.

    Raises
    ------
    ChoiceNeeded
        The file holds several sections, and none is chosen.
    InputError
        It cannot be read, holds no raw counts, or too few spots.
    """
    choice = choice or NO_CHOICE
    spots = read_spots(expression, positions, **asdict(choice))
    check_counts(spots, expression.name)
    check_enough_spots(spots, expression.name)
    array = spot_array(spots)
    proposal = propose_fix(spots, slide)
    is_scaled = proposal is not None and proposal.fix.factor != 1
    return MeasuredST(
        expression,
        positions,
        spots,
        array.pitch_px,
        pitch_of(spots, array),
        proposal,
        None if is_scaled else propose_mpp(spots, slide),
        on_tissue(spots, slide),
        choice,
    )


def target_of(spots: AnnData, panel: Sequence[str]) -> pd.DataFrame:
    """Spots × genes of what a model learns to predict.

    Parameters
    ----------
    spots
        Raw counts.
    panel
        Genes of the model. Where the section has next to none of them, its own 250 genes of
        the most counts.
    """
    genes = [gene for gene in panel if gene in spots.var_names]
    if not genes or panel_overlap(panel, spots.var_names).is_refused:
        total = np.asarray(spots.X.sum(0)).ravel()
        most = np.sort(np.argsort(-total, kind="stable")[:MOST_GENES])
        genes = spots.var_names[most].tolist()
    return pd.DataFrame(expression_target(spots, genes), columns=genes)
