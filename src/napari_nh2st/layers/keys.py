"""Keys of layer metadata, and what a layer's metadata must hold.

A layer leads to what it shows by one of these: a slide by :data:`SLIDE_KEY`, a prediction by
:data:`PREDICTION_KEY`, measured spots by :data:`SPOTS_KEY`. The rest says how it shows it. The
functions make the metadata of a new layer, from which a file is written and a
:class:`~napari_nh2st.session.Session` knows the layer again.
"""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anndata import AnnData
    from napari.layers import Layer

    from napari_nh2st.slide import Slide

# --- slides ---

SLIDE_KEY = "nh2st_slide"
"""The :class:`~napari_nh2st.slide.Slide` that an image layer shows."""

GIVEN_MPP_KEY = "nh2st_given_mpp"
"""µm/px given by hand for a slide layer."""

APPLIED_MPP_KEY = "nh2st_applied_mpp"
"""µm/px by which a slide layer was scaled last; missing while it is scaled as it came."""

PIXELS_AS_UM_KEY = "nh2st_pixels_as_um"
"""Marks a slide layer without µm/px that is in µm only because other slides are."""

MPP_STEPS_KEY = "nh2st_mpp_steps"
"""What was given for a slide layer before, to go back to."""

BESIDE_KEY = "nh2st_beside"
"""Marks the second layer of a slide that is shown twice side by side."""

# --- predictions ---

PREDICTION_KEY = "nh2st_prediction"
"""AnnData of the prediction that a heatmap, or points of a prediction at spots, show."""

SHOWN_KEY = "nh2st_shown"
"""What a heatmap layer shows: ``gene``, the ``slide``'s name, the ``slide_layer``'s id where it was
made on one, the layer's own ``name``, and the ``detail`` in that which tells it from others."""

STOPPED_KEY = "nh2st_stopped"
"""What was chosen for the run that fills a heatmap and was stopped: *Continue* compares it."""

GENE_KEY = "nh2st_gene"
"""Gene of a pinned layer."""

PIN_KEY = "nh2st_pin"
"""Record of a pinned layer: the id of its heatmap's layer (``source``), its own ``name``, and
whether it is ``in_composite``."""

SIGNATURE_KEY = "nh2st_signature"
"""Signature that a layer shows: its ``name`` and its ``genes``."""

SIGNATURE_OF_KEY = "nh2st_signature_of"
"""AnnData of the prediction that a signature's layer from a file is of."""

VEIL_KEY = "nh2st_veil"
"""Marks a layer that fades a heatmap where its model is unsure."""

COLUMN_KEY = "nh2st_column"
"""Column of ``obs`` that a layer shows over a heatmap's tiles."""

COLUMN_OF_KEY = "nh2st_column_of"
"""AnnData of the prediction that has the column."""

DOMAINS_KEY = "nh2st_domains"
"""AnnData of the prediction that a Labels layer shows domains of."""

OWN_NAME_KEY = "nh2st_name"
"""What a layer of domains is called until the user renames it."""

OWN_LIMITS_KEY = "nh2st_own_limits"
"""The last contrast limits of a layer that were not set by hand."""

# --- measured spots and comparisons ---

SPOTS_KEY = "nh2st_spots"
"""AnnData of measured spots."""

COMPARISON_KEY = "nh2st_comparison"
"""AnnData of a comparison, predicted values in ``X``, measured ones in ``layers["measured"]``."""

COMPARISON_KIND_KEY = "nh2st_comparison_kind"
"""Values of a comparison that points show: ``"measured"``, ``"predicted"`` or ``"residual"``."""

SPOTS_PATH_KEY = "nh2st_spots_path"
"""Path of the measured ST, as :func:`~napari_nh2st.spots.read_spots` takes it."""

POSITIONS_PATH_KEY = "nh2st_positions_path"
"""Path of the table of positions; missing where there is none."""

PART_KEY = "nh2st_spots_part"
"""Part of the file, a :class:`~napari_nh2st.spots.SpotChoice`; missing where it has one."""

MEASURED_SLIDE_KEY = "nh2st_measured_slide"
"""Path of the slide that measured spots lie on."""

FIX_KEY = "nh2st_spots_fix"
"""Correction of the positions, as :meth:`~napari_nh2st.spots.Fix.spelled`: "" to leave them as they
are; None where nobody has decided."""

# --- anything on a slide ---

SLIDE_BELOW_KEY = "nh2st_slide_below"
"""Id of the slide layer that a layer was made on."""

NAMED_REGIONS_KEY = "nh2st_named_regions"
"""Marks a Shapes layer whose regions have names."""

TISSUE_KEY = "nh2st_tissue"
"""Marks a Labels layer whose painted pixels are the tissue of its slide."""

MARKER_KEY = "nh2st_marker"
"""Marks the frame around the picked tile."""


def id_of(layer: "Layer") -> str:
    """What tells a layer from all others while the viewer is open."""
    return str(layer.unique_id)


def has_own_name(layer: "Layer", own: str) -> bool:
    """Whether a layer is still called `own`, or that with the number napari adds to taken names."""
    return re.fullmatch(re.escape(own) + r"( \[\d+\])?", layer.name) is not None


def slide_metadata(slide: "Slide") -> dict[str, Any]:
    """Metadata of a slide's layer."""
    return {SLIDE_KEY: slide}


def heatmap_metadata(
    prediction: "AnnData",
    gene: str,
    slide_name: str,
    name: str,
    slide_layer: "Layer | None" = None,
    detail: str = "",
) -> dict[str, Any]:
    """Metadata of a heatmap's layer.

    Parameters
    ----------
    prediction, gene
        What it shows.
    slide_name
        Stands in its name.
    name
        Its own name, see :func:`has_own_name`.
    slide_layer
        The slide's layer that it was made on; None where it comes from a file.
    detail
        Tells it from other heatmaps of the slide in its name.
    """
    shown = {"gene": gene, "slide": slide_name, "name": name, "detail": detail}
    if slide_layer is not None:
        shown["slide_layer"] = id_of(slide_layer)
    return {PREDICTION_KEY: prediction, SHOWN_KEY: shown}


def pin_metadata(
    gene: str, heatmap_layer: "Layer", name: str, in_composite: bool
) -> dict[str, Any]:
    """Metadata of a pinned gene's layer, whose values are those of a heatmap's prediction."""
    pin = {"source": id_of(heatmap_layer), "name": name, "in_composite": in_composite}
    return {GENE_KEY: gene, PIN_KEY: pin}


def signature_metadata(name: str, genes: tuple[str, ...], heatmap_layer: "Layer") -> dict[str, Any]:
    """Metadata of a signature's layer, made over a heatmap."""
    return {SIGNATURE_KEY: {"name": name, "genes": list(genes)}} | made_over(heatmap_layer)


def veil_metadata(heatmap_layer: "Layer") -> dict[str, Any]:
    """Metadata of a layer that fades a heatmap."""
    return {VEIL_KEY: True} | made_over(heatmap_layer)


def column_metadata(column: str, heatmap_layer: "Layer", prediction: "AnnData") -> dict[str, Any]:
    """Metadata of a layer of a column of ``obs``, made over a heatmap of a prediction."""
    return {COLUMN_KEY: column, COLUMN_OF_KEY: prediction} | made_over(heatmap_layer)


def domains_metadata(prediction: "AnnData", name: str) -> dict[str, Any]:
    """Metadata of a layer of domains, with its own name."""
    return {DOMAINS_KEY: prediction, OWN_NAME_KEY: name}


def made_on(slide_layer: "Layer") -> dict[str, str]:
    """Metadata of a layer that is made on a slide's."""
    return {SLIDE_BELOW_KEY: id_of(slide_layer)}


def made_over(layer: "Layer") -> dict[str, str]:
    """Metadata of a layer made over a heatmap; empty where the heatmap's slide is not known."""
    known = noted_slide(layer)
    return {} if known is None else {SLIDE_BELOW_KEY: known}


def noted_slide(layer: "Layer") -> str | None:
    """Id of the slide's layer that a layer was made on; None where it was not noted."""
    shown = layer.metadata.get(SHOWN_KEY, {}).get("slide_layer")
    noted: str | None = layer.metadata.get(SLIDE_BELOW_KEY, shown)
    return noted
