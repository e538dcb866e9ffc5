"""Colours of domains as napari takes them."""

from napari.utils.colormaps import DirectLabelColormap

from napari_nh2st.analysis.domain_colors import domain_color


def domain_colormap(n: int) -> DirectLabelColormap:
    """Colours of labels 1 to `n`; everything else is transparent."""
    colors: dict[int | None, str] = {None: "transparent", 0: "transparent"}
    colors |= {number: domain_color(number) for number in range(1, n + 1)}
    return DirectLabelColormap(color_dict=colors)
