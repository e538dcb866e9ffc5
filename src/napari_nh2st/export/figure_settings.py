"""Settings of figures of heatmaps."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Union

from napari_nh2st.html_card import settings_card
from napari_nh2st.options import Option, Pair, check_options, settings_of

if TYPE_CHECKING:
    from matplotlib.colors import Colormap


@dataclass(frozen=True)
class FigureSettings:
    """How heatmaps are drawn, for Python and the command line alike.

    Parameters
    ----------
    limits
        Contrast limits (low, high) in the unit of the values, for all genes or by gene.
    percentiles
        Percentiles (low, high) of the values: the contrast limits of genes without `limits`.
    colormap
        Name of a matplotlib colormap, or the colormap itself.
    dpi
        Resolution of ``.png``, and of pictures within the other formats.

    Raises
    ------
    InputError
        A value is invalid.

    Examples
    --------
    >>> FigureSettings(limits={"ERBB2": (0, 2)}, colormap="viridis").limits_of("ERBB2")
    (0, 2)
    >>> FigureSettings(limits=(3, 0))
    Traceback (most recent call last):
        ...
    napari_nh2st.errors.InputError: limits is 3 0; it must be two numbers, the lower one first
    """

    limits: Annotated[
        Pair | Mapping[str, Pair] | None,
        Option(
            "Limits",
            "Values that get the first and the last color, the same for all genes",
            default="the percentiles, of each gene",
        ),
    ] = None
    percentiles: Annotated[
        Pair,
        Option(
            "Percentiles",
            "Percentiles of a gene's values that get the first and the last color",
            (0, 100),
        ),
    ] = (1, 99)
    colormap: Annotated[
        Union[str, "Colormap"], Option("Colormap", "Colormap, by the name that matplotlib has")
    ] = "magma"
    opacity: Annotated[
        float, Option("Opacity", "Opacity of the heatmap over the slide", (0, 1))
    ] = 0.85
    smooth: Annotated[bool, Option("Smoothed", "Interpolate between tiles")] = False
    fade: Annotated[
        bool, Option("Fade where unsure", "Show less of the heatmap where the model is unsure")
    ] = False
    dpi: Annotated[int, Option("Resolution", "Pixels per inch", (10, 1200))] = 150

    _repr_html_ = settings_card

    def __post_init__(self) -> None:
        check_options(self)
        if isinstance(self.limits, Mapping):
            setting = settings_of(FigureSettings)["limits"]
            for gene, limits in self.limits.items():
                replace(setting, name=f"limits of {gene}").check(limits)

    def limits_of(self, gene: str) -> Pair | None:
        """The given contrast limits of a gene; None if the percentiles of its values are used."""
        return self.limits.get(gene) if isinstance(self.limits, Mapping) else self.limits
