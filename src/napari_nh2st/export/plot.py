"""Plots of predicted genes on axes of matplotlib, as scanpy's functions make them."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from anndata import AnnData
from numpy.typing import ArrayLike

from napari_nh2st.errors import InputError
from napari_nh2st.export.figure import (
    UNTRAINED,
    SlidePicture,
    check_figure,
    draw_cautions,
    draw_gene,
    draw_scale_bar,
    figure_size,
    um_per_px,
    write_figure,
)
from napari_nh2st.export.figure_settings import FigureSettings
from napari_nh2st.prediction.schema import check_prediction, is_trained
from napari_nh2st.prediction.values import best_gene, chosen_genes
from napari_nh2st.spots.positions import positions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BLANK_PX = 600
"""Longest side of the picture in place of a slide's."""


def plot_genes(
    prediction: AnnData,
    genes: str | Sequence[str] | None = None,
    *,
    settings: FigureSettings | None = None,
    region: ArrayLike | None = None,
    ncols: int = 4,
    colorbar: bool = True,
    ax: "Axes | Sequence[Axes] | None" = None,
    show: bool | None = None,
    save: str | Path | None = None,
    **options: Any,
) -> "Axes | list[Axes] | None":
    """Plot heatmaps of genes over the slide, drawn as in an exported figure.

    The title gives the gene's reliability, the colorbar's label what the values are. Below a new
    figure, notices say what a reader of the values should know.

    Parameters
    ----------
    prediction
        Prediction at tiles or spots, from :func:`~napari_nh2st.inference.predict`.
    genes
        One gene or several; None for the most reliable one.
    settings
        How the heatmaps are drawn.
    region
        (n, 2) corners (y, x) in full-resolution pixels; the rectangle around them is shown alone.
        None for the whole slide.
    ncols
        Number of heatmaps side by side in a new figure.
    colorbar
        Draw a colorbar beside each heatmap.
    ax
        Axes to draw on, as many as genes. None for a new figure.
    show
        Show the figure at once, with :func:`matplotlib.pyplot.show`, and return None.
    save
        File to write the figure to: ``.png``, ``.svg`` or ``.pdf``. A figure that this package
        wrote is replaced.
    options
        Fields of :class:`~napari_nh2st.export.FigureSettings` that differ from `settings`, such as
        ``colormap="viridis"``, ``limits={"ERBB2": (0, 2)}``, ``fade=True``.

    Returns
    -------
    Axes, list of Axes or None
        One Axes for a single name or None, a list for a sequence of genes; None with `show`.

    Raises
    ------
    InputError
        The AnnData is not a prediction, a gene or colormap does not exist, the number of axes is
        wrong, an option is invalid, or the figure cannot be written.

    Examples
    --------
    .. code-block:: python

        plot_genes(prediction, ["ERBB2", "CD74"], colormap="viridis", fade=True)

        figure, axes = plt.subplots(1, 2)
        plot_genes(prediction, "ERBB2", ax=axes[0])
    """
    check_prediction(prediction)
    chosen = chosen_genes(prediction, _listed(prediction, genes))
    drawn = _settings(settings, options)
    if save is not None:
        check_figure(Path(save), overwrite=True)
    picture = SlidePicture.of(prediction) or _blank_picture(prediction)
    axes = _new_axes(picture, len(chosen), ncols) if ax is None else _given_axes(ax, len(chosen))
    view = (0.0, float(picture.width), 0.0, float(picture.height))
    if region is not None:
        view = _view(region, picture)
    for axis, gene in zip(axes, chosen, strict=True):
        draw_gene(axis, prediction, gene, picture, drawn, colorbar=colorbar)
        left, right, top, bottom = view
        axis.set_xlim(left - 0.5, right - 0.5)
        axis.set_ylim(bottom - 0.5, top - 0.5)
        draw_scale_bar(axis, left, right - left, um_per_px(prediction, picture.scale))
        if ax is not None and not is_trained(prediction):
            axis.set_title(f"{axis.get_title()}\n{UNTRAINED}", color="firebrick")
    figure: Any = axes[0].figure
    if ax is None:
        draw_cautions(figure, prediction, drawn)
    if save_and_show(figure, save, show, drawn.dpi):
        return None
    return axes[0] if genes is None or isinstance(genes, str) else axes


def save_and_show(figure: Any, save: str | Path | None, show: bool | None, dpi: int) -> bool:
    """Write a figure, and show it, where that is asked for; whether it was shown."""
    if save is not None:
        write_figure(figure, Path(save), dpi)
    if show:
        from matplotlib import pyplot

        pyplot.show()
    return bool(show)


def _listed(prediction: AnnData, genes: str | Sequence[str] | None) -> Sequence[str]:
    if genes is None:
        return (best_gene(prediction),)
    return (genes,) if isinstance(genes, str) else genes


def _settings(settings: FigureSettings | None, options: dict[str, Any]) -> FigureSettings:
    known = [field.name for field in fields(FigureSettings)]
    for name in options:
        if name not in known:
            raise InputError(f"There is no option {name!r}; FigureSettings has {', '.join(known)}")
    return replace(settings or FigureSettings(), **options)


def _blank_picture(prediction: AnnData) -> SlidePicture:
    """White, where no picture of the slide came with a prediction."""
    width, height = positions(prediction).max(0) * 1.05
    scale = _BLANK_PX / max(width, height)
    shape = np.maximum(1, np.ceil([height * scale, width * scale])).astype(int)
    return SlidePicture(np.full((*shape, 3), 255, np.uint8), scale)


def _new_axes(picture: SlidePicture, count: int, ncols: int) -> "list[Axes]":
    from matplotlib import pyplot

    columns = max(1, min(ncols, count))
    rows = -(-count // columns)
    size = figure_size(picture, columns, rows)
    _, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis in axes.ravel()[count:]:
        axis.set_axis_off()
    return list(axes.ravel()[:count])


def _given_axes(ax: "Axes | Sequence[Axes]", count: int) -> "list[Axes]":
    axes = list(np.ravel(np.asarray(ax, object)))
    if len(axes) != count:
        raise InputError(f"{count} genes need as many axes, not {len(axes)}")
    return axes


def _view(region: ArrayLike, picture: SlidePicture) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of what is around a region, in pixels of the picture."""
    corners = np.asarray(region, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        raise InputError("A region is (n, 2) corners (y, x) in full-resolution pixels")
    top, left = corners.min(0) * picture.scale
    bottom, right = corners.max(0) * picture.scale
    if not (bottom > top and right > left):
        raise InputError("The region has no area")
    return left, right, top, bottom
