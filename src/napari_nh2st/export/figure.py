"""A picture of predicted heatmaps, drawn without a display."""

from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.export.heatmap import HeatmapRaster, robust_limits

SUFFIXES = (".png", ".svg", ".pdf")

_LARGEST_BAR = 0.25
"""Share of the picture's width that a scale bar takes at most."""


def check_figure(path: Path, overwrite: bool) -> None:
    """See beforehand that a picture can be written.

    Raises
    ------
    InputError
        The suffix is of no picture, the file exists and may not be overwritten, or its folder is
        missing.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: a picture must end in {', '.join(SUFFIXES)}")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists already; give another name or allow overwriting")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.absolute().parent}")


def save_heatmap_figure(prediction: AnnData, genes: tuple[str, ...], path: Path) -> None:
    """Draw the slide and one heatmap per gene beside it.

    Parameters
    ----------
    prediction
        From :func:`~napari_nh2st.inference.predict`.
    genes
        Which genes; up to about six fit well.
    path
        ``.png``, ``.svg`` or ``.pdf``; replaced if it exists.

    Raises
    ------
    InputError
        The picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    (spatial,) = prediction.uns["spatial"].values()
    image = spatial["images"]["hires"]
    scale = float(spatial["scalefactors"]["tissue_hires_scalef"])
    height, width = image.shape[:2]
    panel_width = 4.2
    panel_height = float(np.clip(panel_width * height / width, 2.2, 9))
    figure = Figure((panel_width * (1 + len(genes)), panel_height + 0.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + len(genes), squeeze=False)[0]
    provenance = prediction.uns["nh2st"]

    axes[0].imshow(image, interpolation="antialiased")
    axes[0].set_title(str(provenance["slide"]["name"]))
    _scale_bar(axes[0], width, float(np.mean(provenance["slide"]["mpp"])) / scale)
    raster = HeatmapRaster.of(prediction)
    grey = image.mean(-1)
    for axis, gene in zip(axes[1:], genes, strict=True):
        values = np.asarray(prediction[:, gene].X, np.float32).ravel()
        low, high = robust_limits(values)
        axis.imshow(grey, cmap="gray", vmin=0, vmax=255, alpha=0.5)
        heat = axis.imshow(
            np.ma.masked_invalid(raster.image(values)),
            extent=_extent(raster, scale),
            vmin=low,
            vmax=high,
            cmap="magma",
            interpolation="nearest",
            alpha=0.85,
        )
        axis.set_xlim(-0.5, width - 0.5)
        axis.set_ylim(height - 0.5, -0.5)
        reliability = float(prediction.var.loc[gene, "reliability"])
        known = f"held-out PCC {reliability:.2f}" if np.isfinite(reliability) else "PCC not known"
        axis.set_title(f"{gene} ({known})")
        figure.colorbar(heat, ax=axis, fraction=0.05)
    for axis in axes:
        axis.set_axis_off()
    trained = bool(provenance["model"]["trained"])
    caption = str(provenance["target"]["description"])
    figure.suptitle(
        caption if trained else f"UNTRAINED model: these values mean nothing — {caption}",
        color="black" if trained else "firebrick",
        fontsize=10,
    )
    # Whole or not at all: what was there stays until the picture is complete.
    draft = path.with_name(f".{path.stem}.draft{path.suffix}")
    try:
        figure.savefig(draft, dpi=110)
        draft.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)


def _extent(raster: HeatmapRaster, scale: float) -> tuple[float, float, float, float]:
    """Edges of the raster in pixels of the picture (left, right, bottom, top)."""
    top = raster.center[0] - raster.step[0] / 2
    left = raster.center[1] - raster.step[1] / 2
    bottom = top + raster.step[0] * raster.shape[0]
    right = left + raster.step[1] * raster.shape[1]
    # A picture's pixel centers lie on whole numbers, its first edge at -0.5.
    return tuple(edge * scale - 0.5 for edge in (left, right, bottom, top))  # type: ignore[return-value]


def _scale_bar(axis: Any, width: int, um_per_px: float) -> None:
    """A bar of a round length in the lower left corner."""
    room = width * um_per_px * _LARGEST_BAR
    power = 10 ** np.floor(np.log10(room))
    length = max(step * power for step in (1, 2, 5) if step * power <= room)
    name = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    start = width * 0.04
    transform = axis.get_xaxis_transform()
    axis.plot(
        [start, start + length / um_per_px], [0.03, 0.03], color="black", lw=3, transform=transform
    )
    axis.text(start, 0.045, name, transform=transform, va="bottom", fontsize=9)
