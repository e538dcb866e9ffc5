"""Facts about a slide before it is predicted: its size, its tissue, and whether its stain fits."""

from dataclasses import dataclass

import numpy as np

from napari_nh2st.errors import InputError
from napari_nh2st.inference.notices import normalized_stain, stain_fit
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask, find_tissue


@dataclass(frozen=True)
class TissueFacts:
    """Tissue and stain of a slide, which take a moment to find out.

    Parameters
    ----------
    tissue
        Share of the slide that is tissue; None where it is not known.
    notice
        Sentences where the stain is not what the model saw, or cannot be brought to that; None
        where it is, or where the model does not say what it saw.
    mask
        The tissue.
    """

    tissue: float | None
    notice: str | None
    mask: TissueMask | None = None


def tissue_facts(slide: Slide, config: ModelConfig | None) -> TissueFacts:
    """Look at the tissue of a slide and at its stain; reads coarse levels only."""
    try:
        mask = find_tissue(slide)
        share = float(np.mean(mask.tissue))
        if config is None:
            return TissueFacts(share, None, mask)
        matrix, unknown = None, None
        if not config.takes_features:
            matrix, unknown = normalized_stain(slide, config, mask)
        notice = stain_fit(slide, config, mask, matrix=matrix).notice
        return TissueFacts(share, " ".join(filter(None, (notice, unknown))) or None, mask)
    except (InputError, OSError):  # whoever predicts it says what is wrong
        return TissueFacts(None, None)


def slide_summary(slide: Slide) -> str:
    """Vendor, size, and where the µm/px is from."""
    height, width = slide.shape
    parts = [slide.vendor]
    if slide.mpp is None:
        parts.append(f"{width:,} × {height:,} px, µm/px not recorded")
    else:
        um = (width * slide.mpp[1], height * slide.mpp[0])
        parts += [f"{um[0] / 1000:.3g} × {um[1] / 1000:.3g} mm", f"µm/px: {slide.mpp_source}"]
    return " · ".join(parts)
