"""Curves of a training, as a matplotlib figure."""

import csv
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.training.events import EpochDone

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 96.0

_Curve = tuple[str, str, str, str]
"""Name, label, color and style."""

# Mid tones, readable on dark and on light.
_TERM_COLORS = {"query_contrastive": "#3a86c8", "neighbor_contrastive": "#c98a00", "mse": "#3c9d57"}
_OTHER_COLORS = ("#b5589b", "#8a6fc9", "#c75d43", "#2f9e9e")

# Title of each axes, and its curves, beside those of the losses.
_AXES: tuple[tuple[str, tuple[_Curve, ...]], ...] = (
    ("Validation PCC", (("validation_pcc", "validation PCC", "#3a86c8", "-"),)),
    (
        "Validation MSE",
        (
            ("validation_mse", "model", "#3c9d57", "-"),
            ("baseline_mse", "mean of each gene", "#888888", "--"),
        ),
    ),
)


def curves_figure(
    epochs: Sequence[EpochDone], size_px: tuple[int, int], *, text: str, dpi: float = _DPI
) -> "Figure":
    """Losses, and where sections are set aside validation PCC and MSE, by epoch.

    Parameters
    ----------
    epochs
        In order.
    size_px
        (width, height) of the figure.
    text
        Color of its words and axes, for example ``"#f0f1f2"``.
    dpi
        Dots per inch: the size of texts and lines.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    validated = bool(epochs) and epochs[-1].validation_pcc is not None
    losses = _loss_curves(epochs)
    shown = (("Losses", losses), *(_AXES if validated else ()))
    width, height = size_px
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi, facecolor="none")
    all_axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    # Fixed, in pixels: laying out by what is drawn takes longer than drawing it.
    figure.subplots_adjust(
        left=46 / width, right=1 - 6 / width, top=1 - 20 / height, bottom=38 / height, hspace=0.3
    )
    x = [epoch.epoch for epoch in epochs]
    for axes, (title, curves) in zip(all_axes, shown, strict=True):
        # NaN where there is none, such as the losses of the start.
        values = np.array([[_value(e, name) for e in epochs] for name, *_ in curves], np.float64)
        for row, (name, label, color, style) in zip(values, curves, strict=True):
            axes.plot(x, row, style, color=color, label=label, gid=name, lw=1.3, marker=".", ms=4)
        if validated:
            axes.axvline(epochs[-1].best_epoch, color="#888888", ls=":", lw=1)
        known = values[np.isfinite(values)]
        if title == "Losses" and known.size and known.min() > 0:
            axes.set_yscale("log")  # the MSE is a hundredth of the contrastive losses
        axes.set_facecolor("none")
        axes.set_title(title, fontsize=8, color=text, loc="left", pad=3)
        axes.tick_params(which="both", colors=text, labelsize=7)
        for spine in axes.spines.values():
            spine.set_color("#888888")
        if len(curves) > 1 and epochs:
            axes.legend(
                fontsize=7,
                frameon=False,
                labelcolor=text,
                ncols=len(curves),
                loc="lower right",
                bbox_to_anchor=(1.02, 0.93),
                handlelength=1.2,
                columnspacing=0.9,
            )
    all_axes[-1].set_xlabel("epoch", fontsize=8, color=text)
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def _loss_curves(epochs: Sequence[EpochDone]) -> tuple[_Curve, ...]:
    """The total and each term that some epoch has."""
    names = dict.fromkeys(name for epoch in epochs for name in epoch.losses)
    others = iter(_OTHER_COLORS * len(names))
    return (
        ("loss", "total", "#888888", "-"),
        *((name, _label(name), _TERM_COLORS.get(name) or next(others), "-") for name in names),
    )


def _label(term: str) -> str:
    """``"mse"`` → MSE, ``"query_contrastive"`` → query."""
    return "MSE" if term == "mse" else term.removesuffix("_contrastive").replace("_", " ")


def _value(epoch: EpochDone, name: str) -> float | None:
    return epoch.losses[name] if name in epoch.losses else getattr(epoch, name, None)


def curves_picture(
    epochs: Sequence[EpochDone], size_px: tuple[int, int], ratio: float, text: str
) -> NDArray[np.uint8]:
    """The figure as (height, width, 4) RGBA, ``ratio`` device pixels for each of ``size_px``."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    size = (round(size_px[0] * ratio), round(size_px[1] * ratio))
    canvas: Any = FigureCanvasAgg(curves_figure(epochs, size, text=text, dpi=_DPI * ratio))
    canvas.draw()
    return np.array(canvas.buffer_rgba(), np.uint8)


def earlier_epochs(folder: Path, done: int) -> list[EpochDone]:
    """The epochs that earlier runs in a folder have done, from its ``history.csv``.

    Parameters
    ----------
    folder
        Folder of the training.
    done
        Epochs after which it goes on: later ones are left out.

    Returns
    -------
    list of EpochDone
        Empty where there is no history, or none that can be read.
    """
    try:
        with (folder / "history.csv").open(encoding="utf-8", newline="") as file:
            epochs = [_epoch_of(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError):
        return []
    return [epoch for epoch in epochs if epoch.epoch <= done]


def _epoch_of(row: dict[str, str]) -> EpochDone:
    whole = ("epoch", "epochs", "best_epoch")
    values: dict[str, Any] = {
        name: None if not text else int(text) if name in whole else float(text)
        for name, text in row.items()
    }
    own = {field.name for field in fields(EpochDone)}
    losses = {n: values.pop(n) for n in list(values) if n not in own}
    return EpochDone(losses={n: v for n, v in losses.items() if v is not None}, **values)
