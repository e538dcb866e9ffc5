"""Settings of how genes are drawn: colormap, opacity, grid or smoothed, contrast limits."""

from dataclasses import dataclass
from typing import Annotated

from napari_nh2st.options import Option, check_options
from napari_nh2st.session.contrast_limits import PERCENTILES

COLORMAPS = ("magma", "viridis", "plasma", "inferno", "cividis", "gray")
"""Perceptually uniform: equal steps of the value look equal."""


@dataclass(frozen=True)
class DisplaySettings:
    """How the genes of a prediction are drawn.

    Parameters
    ----------
    colormap
        By napari's name, which need not be one of :data:`COLORMAPS`.
    low_percentile, high_percentile
        Percentiles of a layer's values that are its contrast limits.
    """

    colormap: Annotated[
        str, Option("Colors", "Colormap of the heatmap; all on offer are perceptually uniform")
    ] = "magma"
    opacity: Annotated[
        float, Option("Opacity", "Opacity of the heatmap over the slide", (0, 1))
    ] = 0.7
    smooth: Annotated[
        bool, Option("Smoothed", "Interpolate between tiles, instead of one square per tile")
    ] = False
    fade: Annotated[
        bool,
        Option(
            "Fade where unsure",
            "Turn the heatmap grey where the model's heads differ as much as its tiles do",
        ),
    ] = False
    low_percentile: Annotated[
        float,
        Option(
            "Low percentile", "Percentile of the values at which the colors begin", (0, 49), step=1
        ),
    ] = PERCENTILES[0]
    high_percentile: Annotated[
        float,
        Option(
            "High percentile", "Percentile of the values at which the colors end", (51, 100), step=1
        ),
    ] = PERCENTILES[1]
    shared_limits: Annotated[
        bool,
        Option(
            "Shared limits",
            "The same limits for the heatmap and all pinned genes, instead of those of each "
            "gene's own values",
        ),
    ] = False

    def __post_init__(self) -> None:
        check_options(self)

    @property
    def percentiles(self) -> tuple[float, float]:
        """Percentiles of a layer's values that its contrast limits are."""
        return self.low_percentile, self.high_percentile

    @property
    def interpolation(self) -> str:
        """napari's name for grid or smoothed."""
        return "linear" if self.smooth else "nearest"
