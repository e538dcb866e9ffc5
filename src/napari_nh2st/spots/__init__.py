"""Measured spatial transcriptomics: reading, checking, and the values a model is trained on."""

from napari_nh2st.spots.anndata_files import spot_picture
from napari_nh2st.spots.array import ArrayLayout, SpotArray, spot_array
from napari_nh2st.spots.autocorrelation import morans_i
from napari_nh2st.spots.checks import (
    SectionCheck,
    check_counts,
    check_enough_spots,
    check_on_slide,
    check_resolution,
    check_section,
)
from napari_nh2st.spots.orientation import Orientation, orient
from napari_nh2st.spots.panel import Panel, PanelRule, PanelSettings, choose_panel
from napari_nh2st.spots.placement import Fix, Proposal, apply_fix, on_tissue, propose_fix
from napari_nh2st.spots.read import read_spots
from napari_nh2st.spots.sections import Section, read_sections, write_sections
from napari_nh2st.spots.target import expression_target, normalize, panel_counts, smooth

__all__ = [
    "ArrayLayout",
    "Fix",
    "Orientation",
    "Panel",
    "PanelRule",
    "PanelSettings",
    "Proposal",
    "Section",
    "SectionCheck",
    "SpotArray",
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
    "propose_fix",
    "read_sections",
    "read_spots",
    "smooth",
    "spot_array",
    "spot_picture",
    "write_sections",
]
