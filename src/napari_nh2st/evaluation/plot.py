"""Plot of the genes' scores on axes of matplotlib, as scanpy's functions make them."""

from pathlib import Path
from typing import TYPE_CHECKING

from napari_nh2st.analysis.comparison import KeptComparison
from napari_nh2st.evaluation.evaluation import Evaluation
from napari_nh2st.evaluation.figures import draw_gene_pcc, scored_in_words
from napari_nh2st.export.figure import check_figure
from napari_nh2st.export.plot import save_and_show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 130


def plot_scores(
    result: Evaluation | KeptComparison,
    *,
    ax: "Axes | None" = None,
    show: bool | None = None,
    save: str | Path | None = None,
) -> "Axes | None":
    """Plot each gene's correlation with its measurement, sorted, with intervals and mean.

    Parameters
    ----------
    result
        Result of :func:`~napari_nh2st.evaluation.evaluate`, one of the evaluations of
        :func:`~napari_nh2st.evaluation.cross_validate`, or the
        :func:`~napari_nh2st.analysis.comparison_of` a prediction at spots.
    ax
        Axes to draw on; None for a new figure.
    show
        Show the figure at once, with :func:`matplotlib.pyplot.show`, and return None.
    save
        File to write the figure to: ``.png``, ``.svg`` or ``.pdf``. A figure that this package
        wrote is replaced.

    Returns
    -------
    Axes or None
        The axes drawn on; None with `show`.

    Raises
    ------
    InputError
        The figure cannot be written.

    Examples
    --------
    .. code-block:: python

        plot_scores(evaluate(model, sections))
        plot_scores(analysis.comparison_of(prediction))
    """
    if save is not None:
        check_figure(Path(save), overwrite=True)
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots(figsize=(6.4, 4.2), layout="constrained")[1]
    draw_gene_pcc(ax, result.scores, result.summary)
    ax.set_title(scored_in_words(result.summary), fontsize=11)
    return None if save_and_show(ax.figure, save, show, _DPI) else ax
