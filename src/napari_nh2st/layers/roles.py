"""Roles of layers: a pinned gene, a member of a composite, or what covers the tiles of a slide."""

from napari.layers import Image, Labels, Layer, Points

from napari_nh2st.layers.heatmap import shows_heatmap
from napari_nh2st.layers.keys import (
    COLUMN_KEY,
    COMPARISON_KIND_KEY,
    DOMAINS_KEY,
    GENE_KEY,
    OWN_NAME_KEY,
    PIN_KEY,
    SIGNATURE_KEY,
    has_own_name,
)


def is_pin(layer: Layer) -> bool:
    """Whether it shows one pinned gene, or one of a composite."""
    return isinstance(layer, Image) and GENE_KEY in layer.metadata


def is_in_composite(layer: Layer) -> bool:
    """Whether it is a layer of a composite."""
    return is_pin(layer) and bool(layer.metadata.get(PIN_KEY, {}).get("in_composite"))


def covers_tiles(layer: Layer) -> bool:
    """Whether it is a heatmap, signature, column of ``obs``, domains, or spots of measured ST.

    Of these, one is shown at a place.
    """
    if isinstance(layer, Image):
        own = (SIGNATURE_KEY, COLUMN_KEY)
        return shows_heatmap(layer) or any(key in layer.metadata for key in own)
    if isinstance(layer, Points):
        return COMPARISON_KIND_KEY in layer.metadata
    return isinstance(layer, Labels) and are_own_domains(layer)


def are_own_domains(layer: Labels) -> bool:
    """Whether it shows domains and is still called as it was added.

    One that the user renamed is theirs to show and hide.
    """
    own = str(layer.metadata.get(OWN_NAME_KEY, ""))
    return DOMAINS_KEY in layer.metadata and has_own_name(layer, own)
