"""Display of genes, from one session of napari to the next."""

from napari.utils.colormaps import AVAILABLE_COLORMAPS

from napari_nh2st.session.display import DisplaySettings
from napari_nh2st.widgets.remembered import Remembered

_DECIMALS = 3


def remembered_display(remembered: Remembered) -> DisplaySettings:
    """The settings that were kept; the default where a kept one is not possible.

    Parameters
    ----------
    remembered
        The section of the *Genes* dock.
    """
    default = DisplaySettings()
    low = float(remembered.get("low_percentile", default.percentiles[0]))
    high = float(remembered.get("high_percentile", default.percentiles[1]))
    colormap = str(remembered.get("colormap", default.colormap))
    return DisplaySettings(
        percentiles=(low, high) if low < high else default.percentiles,
        shared=bool(remembered.get("shared_limits", default.shared)),
        smooth=bool(remembered.get("smooth", default.smooth)),
        opacity=float(remembered.get("opacity", default.opacity)),
        colormap=colormap if colormap in AVAILABLE_COLORMAPS else default.colormap,
    )


def remember_display(remembered: Remembered, settings: DisplaySettings) -> None:
    """Keep the settings for the next session."""
    low, high = settings.percentiles
    remembered.set(
        low_percentile=low,
        high_percentile=high,
        shared_limits=settings.shared,
        smooth=settings.smooth,
        opacity=round(settings.opacity, _DECIMALS),
        colormap=settings.colormap,
    )
