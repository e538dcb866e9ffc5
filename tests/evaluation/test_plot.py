"""Plot of the genes' scores: the same drawing as an evaluation's figure."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_spot_prediction
from napari_nh2st.analysis import comparison_of, score_measured
from napari_nh2st.analysis.comparison import KeptComparison
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation import plot_scores


@pytest.fixture(scope="module")
def scored() -> KeptComparison:
    slide = array_slide(ArrayLevel(textured(300, 420)), mpp=(0.5, 0.8), path="section.tif")
    spots = drawn_spot_prediction(slide)
    score_measured(spots, bootstrap=20)
    return comparison_of(spots)


@pytest.fixture(autouse=True)
def pyplot() -> Iterator[Any]:
    from matplotlib import pyplot

    pyplot.switch_backend("Agg")
    yield pyplot
    pyplot.close("all")


def test_genes_are_plotted_best_first_with_their_mean(scored: KeptComparison) -> None:
    axis = plot_scores(scored)
    by_label = {line.get_label(): line for line in axis.lines}
    pcc = scored.scores["pcc"].dropna().sort_values(ascending=False)
    np.testing.assert_array_equal(by_label["PCC of a gene"].get_ydata(), pcc)
    (mean,) = (line for label, line in by_label.items() if label.startswith("mean of all genes"))
    assert mean.get_ydata()[0] == scored.summary["mean_pcc"]
    assert axis.get_title().startswith(f"{len(scored.scores)} genes, 1 section, 12 spots")


def test_scores_are_plotted_on_given_axes_and_saved(
    scored: KeptComparison, pyplot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axis = pyplot.subplots()[1]
    assert plot_scores(scored, ax=axis, save=tmp_path / "scores.png") is axis
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="a picture must end in"):
        plot_scores(scored, save="scores.txt")
    shown: list[int] = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(1))
    assert plot_scores(scored, show=True) is None
    assert shown
