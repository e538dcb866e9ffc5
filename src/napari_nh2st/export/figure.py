"""A figure of slide and predicted heatmaps, drawn without a display."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.export.figure_settings import FigureSettings
from napari_nh2st.files import check_place, whole_output
from napari_nh2st.names import nearest_names
from napari_nh2st.prediction.fading import can_fade, fading
from napari_nh2st.prediction.outlines import spot_diameter
from napari_nh2st.prediction.raster import HeatmapRaster, robust_limits
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.prediction.schema import (
    is_on_grid,
    is_trained,
    notices,
    reliability,
    slide_mpp,
    slide_name,
    value_name,
)
from napari_nh2st.prediction.values import chosen_genes, gene_values
from napari_nh2st.shown_text import for_matplotlib
from napari_nh2st.spots import spot_picture
from napari_nh2st.spots.positions import positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

UNTRAINED = "UNTRAINED model: these values mean nothing"

_SOFTWARE = "napari-nh2st"
_NOTES = (b"Software\0napari-nh2st", b"<dc:title>napari-nh2st", b"/Creator (napari-nh2st")
"""The software that made a figure, as it stands in the bytes of PNG, SVG and PDF."""
_NOTE_WITHIN = 2**16
"""Bytes of the file's beginning or end."""

_LARGEST_BAR = 0.25
"""Share of the picture's width that a scale bar takes at most."""
_PANEL_WIDTH = 4.2
"""Inches."""
_CHARACTERS_PER_INCH = 17
"""Of the smallest font."""
_LABEL_WIDTH = 44
"""Characters of a colorbar's label in one line."""


def check_figure(path: Path, overwrite: bool) -> None:
    """See beforehand that a figure can be written.

    Raises
    ------
    InputError
        The suffix is of no picture, the file exists and may not be overwritten, or its folder is
        missing.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: a picture must end in {', '.join(SUFFIXES)}")
    check_place(path, overwrite, is_ours=_is_ours, kind="a figure that NH2ST drew")


def save_figure(figure: "Figure", path: Path, **options: Any) -> None:
    """Save a figure of matplotlib with a note by which :func:`check_figure` knows it as ours.

    Parameters
    ----------
    figure
        Any.
    path
        ``.png``, ``.svg`` or ``.pdf``.
    options
        Options of matplotlib's ``savefig``.
    """
    field = "Software" if path.suffix.lower() == ".png" else "Creator"
    figure.savefig(path, metadata={field: _SOFTWARE}, **options)


def _is_ours(path: Path) -> bool:
    """Whether the note lies near the beginning or, as in PDF, near the end of a file."""
    with path.open("rb") as file:
        start = file.read(_NOTE_WITHIN)
        file.seek(max(path.stat().st_size - _NOTE_WITHIN, 0))
        content = start + file.read()
    return any(note in content for note in _NOTES)


def save_heatmap_figure(
    prediction: AnnData,
    genes: Sequence[str],
    path: Path,
    settings: FigureSettings | None = None,
) -> None:
    """Draw the slide with a scale bar and, beside it, one heatmap with its colorbar per gene.

    Parameters
    ----------
    prediction
        Prediction at tiles or spots.
    genes
        Genes to draw; up to about six fit well.
    path
        ``.png``, ``.svg`` or ``.pdf``; replaced if it exists.
    settings
        Contrast and colors.

    Raises
    ------
    InputError
        There is no such gene or colormap, no picture of the slide is stored with the prediction,
        or the figure cannot be written.
    """
    check_figure(path, overwrite=True)
    settings = settings or FigureSettings()
    picture = SlidePicture.of(prediction)
    if picture is None:
        raise InputError("There is no picture of the slide in the prediction to draw a figure of.")
    figure = _figure(prediction, chosen_genes(prediction, genes), picture, settings)
    write_figure(figure, path, settings.dpi)


def write_figure(figure: "Figure", path: Path, dpi: int) -> None:
    """Write a figure, complete or not at all, over one that is there.

    Raises
    ------
    InputError
        It cannot be written.
    """
    with whole_output(path) as draft:
        save_figure(figure, draft, dpi=dpi, bbox_inches="tight")


class SlidePicture(NamedTuple):
    """The slide as it is stored with a prediction.

    Parameters
    ----------
    pixels
        (height, width, 3 or 4).
    scale
        Pixels of the picture per full-resolution pixel.
    """

    pixels: NDArray[Any]
    scale: float

    @classmethod
    def of(cls, prediction: AnnData) -> "SlidePicture | None":
        """The picture in a prediction; None without one."""
        found = spot_picture(prediction)
        return None if found is None else cls(*found)

    @property
    def width(self) -> int:
        """In pixels of the picture."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """In pixels of the picture."""
        return int(self.pixels.shape[0])


def _figure(
    prediction: AnnData,
    genes: Sequence[str],
    picture: SlidePicture,
    settings: FigureSettings,
) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figure_size(picture, 1 + len(genes)), layout="constrained")
    axes = figure.subplots(1, 1 + len(genes), squeeze=False)[0]
    axes[0].imshow(picture.pixels, interpolation="antialiased")
    axes[0].set_title(for_matplotlib(slide_name(prediction)))
    axes[0].set_axis_off()
    draw_scale_bar(axes[0], 0, picture.width, um_per_px(prediction, picture.scale))
    for axis, gene in zip(axes[1:], genes, strict=True):
        draw_gene(axis, prediction, gene, picture, settings)
    draw_cautions(figure, prediction, settings)
    return figure


def figure_size(picture: SlidePicture, columns: int, rows: int = 1) -> tuple[float, float]:
    """Width and height in inches of a figure with so many pictures."""
    height = float(np.clip(_PANEL_WIDTH * picture.height / picture.width, 2.2, 9))
    return _PANEL_WIDTH * columns, (height + 0.9) * rows


def um_per_px(prediction: AnnData, scale: float) -> float:
    """Width in µm of a picture's pixel, of `scale` pixels per full-resolution pixel."""
    return float(slide_mpp(prediction)[1]) / scale


def draw_gene(
    axis: "Axes",
    prediction: AnnData,
    gene: str,
    picture: SlidePicture,
    settings: FigureSettings,
    *,
    colorbar: bool = True,
) -> None:
    """Draw one gene's heatmap over the slide in grey, with its title and colorbar.

    Parameters
    ----------
    axis
        Where; its coordinates are then pixels of the picture.
    prediction, gene
        At tiles or spots, and a gene of it.
    picture
        The slide.
    settings
        Contrast and colors.
    colorbar
        Draw a colorbar, whose label says what the values are.

    Raises
    ------
    InputError
        There is no such colormap.
    """
    grey = picture.pixels[..., :3].mean(-1)
    white = 255 if picture.pixels.dtype.kind in "iu" else 1
    axis.imshow(grey, cmap="gray", vmin=0, vmax=white, alpha=0.5)
    heat = _draw_heatmap(axis, prediction, gene, picture.scale, settings)
    axis.set_xlim(-0.5, picture.width - 0.5)
    axis.set_ylim(picture.height - 0.5, -0.5)
    axis.set_title(for_matplotlib(_title(prediction, gene)))
    axis.set_axis_off()
    if colorbar:
        label = textwrap.fill(value_name(prediction), _LABEL_WIDTH)
        bar = axis.figure.colorbar(heat, ax=axis, fraction=0.05)
        bar.set_label(for_matplotlib(label), fontsize=8)


def draw_cautions(figure: "Figure", prediction: AnnData, settings: FigureSettings) -> None:
    """Write below a figure what a reader should know, and above it that a model is untrained."""
    cautions = list(notices(prediction))
    if settings.fade and can_fade(prediction):
        cautions.append("The heatmap fades where the model is unsure: where its heads differ.")
    if cautions:
        width = round(figure.get_figwidth() * _CHARACTERS_PER_INCH)
        text = "\n".join(textwrap.fill(for_matplotlib(each), width) for each in cautions)
        figure.supxlabel(text, x=0.01, ha="left", fontsize=8, color="firebrick")
    if not is_trained(prediction):
        figure.suptitle(UNTRAINED, color="firebrick")


def _draw_heatmap(
    axis: Any, prediction: AnnData, gene: str, scale: float, settings: FigureSettings
) -> Any:
    """Draw one gene, tiles as an image and spots as circles; what a colorbar describes."""
    from matplotlib import colormaps
    from matplotlib.collections import EllipseCollection

    if isinstance(settings.colormap, str) and settings.colormap not in colormaps:
        near = nearest_names(settings.colormap, list(colormaps), n=1)
        instead = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"There is no colormap {settings.colormap!r} in matplotlib{instead}")
    values = gene_values(prediction, gene)
    limits = settings.limits_of(gene)
    low, high = robust_limits(values, settings.percentiles) if limits is None else limits
    opacity: Any = settings.opacity
    if settings.fade and can_fade(prediction):
        opacity = settings.opacity * (1 - np.nan_to_num(fading(prediction, gene)))
    if is_on_grid(prediction):
        raster = HeatmapRaster.of(prediction)
        return axis.imshow(
            np.ma.masked_invalid(raster.image(values, settings.smooth)),
            extent=_extent(raster, scale),
            vmin=low,
            vmax=high,
            cmap=settings.colormap,
            interpolation="bilinear" if settings.smooth else "nearest",
            alpha=opacity
            if np.ndim(opacity) == 0
            else np.nan_to_num(raster.image(opacity, settings.smooth)),
        )
    known = np.isfinite(values)
    size = np.full(int(known.sum()), spot_diameter(prediction) * scale)
    # A picture's pixel centers lie on whole numbers, its first edge at -0.5.
    spots = EllipseCollection(
        size,
        size,
        np.zeros_like(size),
        units="xy",
        offsets=positions(prediction)[known] * scale - 0.5,
        transOffset=axis.transData,
        array=values[known],
        cmap=settings.colormap,
        alpha=opacity if np.ndim(opacity) == 0 else opacity[known],
    )
    spots.set_clim(low, high)
    return axis.add_collection(spots)


def _title(prediction: AnnData, gene: str) -> str:
    pcc = float(reliability(prediction)[gene])
    known = Badges.of_prediction(prediction).named(pcc) if np.isfinite(pcc) else "PCC not known"
    return textwrap.fill(f"{gene} ({known})", _LABEL_WIDTH)


def _extent(raster: HeatmapRaster, scale: float) -> tuple[float, float, float, float]:
    """Edges of the raster in pixels of the picture (left, right, bottom, top)."""
    top = raster.center[0] - raster.step[0] / 2
    left = raster.center[1] - raster.step[1] / 2
    bottom = top + raster.step[0] * raster.shape[0]
    right = left + raster.step[1] * raster.shape[1]
    # A picture's pixel centers lie on whole numbers, its first edge at -0.5.
    return tuple(edge * scale - 0.5 for edge in (left, right, bottom, top))  # type: ignore[return-value]


def draw_scale_bar(axis: "Axes", left: float, width: float, um_per_px: float) -> None:
    """Draw a bar of a round length in the lower left corner.

    Parameters
    ----------
    axis
        Where.
    left, width
        The part of the axis that is shown, in its own unit.
    um_per_px
        µm of that unit.
    """
    room = width * um_per_px * _LARGEST_BAR
    power = 10 ** np.floor(np.log10(room))
    length = max(step * power for step in (1, 2, 5) if step * power <= room)
    name = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    start = left + width * 0.04
    transform = axis.get_xaxis_transform()
    axis.plot(
        [start, start + length / um_per_px], [0.03, 0.03], color="black", lw=3, transform=transform
    )
    axis.text(start, 0.045, name, transform=transform, va="bottom", fontsize=9)
