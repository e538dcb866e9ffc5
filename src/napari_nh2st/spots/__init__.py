"""Measured spatial transcriptomics: reading, checking, and the values a model is trained on."""

from napari_nh2st.spots.array import ArrayLayout, SpotArray, morans_i, spot_array
from napari_nh2st.spots.checks import (
    MppProposal,
    SectionCheck,
    check_counts,
    check_enough_spots,
    check_on_slide,
    check_resolution,
    check_section,
    propose_mpp,
)
from napari_nh2st.spots.choice import ChoiceNeeded, SpotChoice
from napari_nh2st.spots.libraries import spot_picture
from napari_nh2st.spots.orientation import Fix, Orientation, apply_fix, orient
from napari_nh2st.spots.overlap import PanelOverlap, panel_overlap
from napari_nh2st.spots.panel import Panel, PanelRule, PanelSettings, choose_panel
from napari_nh2st.spots.placement import Proposal, on_tissue, propose_fix
from napari_nh2st.spots.read import read_spots
from napari_nh2st.spots.sections import Section, read_sections, section_spots, write_sections
from napari_nh2st.spots.spcs import spcs_target
from napari_nh2st.spots.target import expression_target, normalize, panel_counts, smooth

__all__ = [
    "ArrayLayout",
    "ChoiceNeeded",
    "Fix",
    "MppProposal",
    "Orientation",
    "Panel",
    "PanelOverlap",
    "PanelRule",
    "PanelSettings",
    "Proposal",
    "Section",
    "SectionCheck",
    "SpotArray",
    "SpotChoice",
    "apply_fix",
    "check_counts",
    "check_enough_spots",
    "check_on_slide",
    "check_resolution",
    "check_section",
    "choose_panel",
    "expression_target",
    "morans_i",
    "normalize",
    "on_tissue",
    "orient",
    "panel_counts",
    "panel_overlap",
    "propose_fix",
    "propose_mpp",
    "read_sections",
    "read_spots",
    "section_spots",
    "smooth",
    "spcs_target",
    "spot_array",
    "spot_picture",
    "write_sections",
]
