"""Settings of the looks that a tile may take in training."""

from dataclasses import dataclass
from typing import Annotated

from napari_nh2st.html_card import settings_card
from napari_nh2st.options import Option, check_options


@dataclass(frozen=True)
class AugmentationSettings:
    """Random changes to the look of tiles in training.

    ``stain_jitter``: hematoxylin, eosin and the residual stain are each multiplied by a factor
    drawn uniformly from ``1 ± stain_jitter`` and shifted by an optical density from
    ``± stain_jitter / 5``; 0 for none. The stains are those of Ruifrok & Johnston (2001), the
    jitter after Tellez et al., Medical Image Analysis 58:101544 (2019).

    ``stain_colors``: how far slides of other laboratories and scanners are imitated. At 1, the
    amounts of hematoxylin and eosin are each multiplied by a factor from 1/3 to 3, the residual by
    one from 1/1.8 to 1.8, uniform in the logarithm, and each stain's color turns by some 10°.
    """

    flips: Annotated[bool, Option("Mirror images", "Train on mirror images too")] = True
    quarter_turns: Annotated[bool, Option("Turned images", "Train on images turned by 90° too")] = (
        True
    )
    stain_jitter: Annotated[
        float,
        Option("Stain jitter", "How much the stains vary, from 0 to below 1", (0, 1), below=True),
    ] = 0.15
    stain_colors: Annotated[
        float,
        Option(
            "Other stains",
            "How far the colors and amounts of the stains vary, from 0 to 1, as they do between "
            "laboratories",
            (0, 1),
        ),
    ] = 0.0

    _repr_html_ = settings_card

    def __post_init__(self) -> None:
        check_options(self)
