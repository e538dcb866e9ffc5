"""Analyses of a prediction. Names are loaded when first used; none of them needs torch."""

from typing import TYPE_CHECKING

import lazy_loader

from napari_nh2st.names import parse_genes

if TYPE_CHECKING:
    from napari_nh2st.analysis.at_spots import at_spots
    from napari_nh2st.analysis.autocorrelation import moran
    from napari_nh2st.analysis.comparison import KeptComparison, comparison_of, keep_comparison
    from napari_nh2st.analysis.domain_settings import DomainSettings
    from napari_nh2st.analysis.domains import Domains, find_domains
    from napari_nh2st.analysis.in_anndata import (
        assign_domains,
        score_measured,
        score_signatures,
        score_smoothness,
    )
    from napari_nh2st.analysis.named_domains import NamedDomains
    from napari_nh2st.analysis.regions import compare_regions, region_statistics, tiles_in_region
    from napari_nh2st.analysis.residuals import comparison_table, residual
    from napari_nh2st.analysis.signatures import (
        GeneMatch,
        keep_signatures,
        match_genes,
        read_gmt,
        signature_score,
    )
    from napari_nh2st.analysis.stain import (
        StainProfile,
        fit_stain,
        profile_of,
        stain_distance,
        stain_notice,
        tile_descriptors,
    )
    from napari_nh2st.analysis.stain_fields import slide_stain
    from napari_nh2st.analysis.tile_profile import neighborhood_of, top_genes

__all__ = [
    "DomainSettings",
    "Domains",
    "GeneMatch",
    "KeptComparison",
    "NamedDomains",
    "StainProfile",
    "assign_domains",
    "at_spots",
    "compare_regions",
    "comparison_of",
    "comparison_table",
    "find_domains",
    "fit_stain",
    "keep_comparison",
    "keep_signatures",
    "match_genes",
    "moran",
    "neighborhood_of",
    "parse_genes",
    "profile_of",
    "read_gmt",
    "region_statistics",
    "residual",
    "score_measured",
    "score_signatures",
    "score_smoothness",
    "signature_score",
    "slide_stain",
    "stain_distance",
    "stain_notice",
    "tile_descriptors",
    "tiles_in_region",
    "top_genes",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "at_spots": ["at_spots"],
        "autocorrelation": ["moran"],
        "comparison": ["KeptComparison", "comparison_of", "keep_comparison"],
        "domain_settings": ["DomainSettings"],
        "domains": ["Domains", "find_domains"],
        "in_anndata": [
            "assign_domains",
            "score_measured",
            "score_signatures",
            "score_smoothness",
        ],
        "named_domains": ["NamedDomains"],
        "regions": ["compare_regions", "region_statistics", "tiles_in_region"],
        "residuals": ["comparison_table", "residual"],
        "signatures": [
            "GeneMatch",
            "keep_signatures",
            "match_genes",
            "read_gmt",
            "signature_score",
        ],
        "stain": [
            "StainProfile",
            "fit_stain",
            "profile_of",
            "stain_distance",
            "stain_notice",
            "tile_descriptors",
        ],
        "stain_fields": ["slide_stain"],
        "tile_profile": ["neighborhood_of", "top_genes"],
    },
)
