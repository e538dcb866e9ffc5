"""Figure of compared architectures: mean PCC of each fold, and paired differences."""

from pathlib import Path

import numpy as np

from napari_nh2st.evaluation.architecture_scores import ArchitectureComparison
from napari_nh2st.export.figure import save_figure
from napari_nh2st.shown_text import for_matplotlib

_BLUE, _RED, _GREY = "#31688e", "#b5367a", "#999999"
_ROW_HEIGHT = 0.45
"""Inches."""


def save_architecture_figure(result: ArchitectureComparison, path: Path) -> None:
    """Draw each architecture's mean PCC by fold, and beside it the difference from the reference.

    Parameters
    ----------
    result
        The comparison.
    path
        ``.png``.

    Raises
    ------
    OSError
        It cannot be written.
    """
    from matplotlib.figure import Figure

    names = [each.name for each in result.architectures]
    table = result.table().set_index("architecture")
    places = np.arange(len(names))[::-1]  # the first at the top
    figure = Figure((9.2, 1.5 + _ROW_HEIGHT * len(names)), layout="constrained")
    scores, differences = figure.subplots(1, 2, sharey=True)
    by_fold = np.array([each.folds["mean_pcc"] for each in result.architectures])
    for fold in by_fold.T:
        scores.plot(fold, places, "-o", color=_GREY, lw=0.7, ms=3.5)
    scores.plot(table["mean_pcc"], places, "D", color=_BLUE, ms=7, label="mean of the folds")
    scores.plot([], [], "-o", color=_GREY, lw=0.7, ms=3.5, label="a fold")
    scores.set_xlabel("mean PCC over all genes")
    scores.set_yticks(places, [for_matplotlib(name) for name in names])
    scores.set_ylim(-0.6, len(names) - 0.4)
    differences.axvline(0, color="black", lw=0.8)
    for place, name in zip(places, names, strict=True):
        if name == result.reference:
            continue
        paired, row = result.differences(name), table.loc[name]
        differences.plot(
            paired, [place] * len(paired), "o", color=_GREY, mec="white", ms=5, zorder=3
        )
        if np.isfinite(row["difference_low"]):
            ends = [row["difference_low"], row["difference_high"]]
            differences.plot(ends, [place, place], color=_RED, lw=2)
        differences.plot(row["difference"], place, "D", color=_RED, ms=7)
    differences.plot([], [], "-D", color=_RED, lw=2, ms=7, label="mean, 95 % interval (t)")
    differences.set_xlabel(for_matplotlib(f"difference from {result.reference}, fold by fold"))
    for axes in (scores, differences):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=9)
        axes.legend(
            frameon=False, fontsize=8, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0
        )
    save_figure(figure, path, dpi=130)
