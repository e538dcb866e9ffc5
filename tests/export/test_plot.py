"""Plots of genes on axes of matplotlib: the same drawing as an exported figure."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import BEST, drawn_prediction, drawn_spot_prediction
from napari_nh2st.errors import InputError
from napari_nh2st.export import FigureSettings, plot_genes
from napari_nh2st.export.figure import SlidePicture, _figure
from trusted_predictions import NOTICE, add_trust

SLIDE = array_slide(ArrayLevel(textured(300, 420)), mpp=(0.5, 0.8), path="section.tif")


@pytest.fixture(scope="module")
def prediction() -> AnnData:
    return drawn_prediction(SLIDE)


@pytest.fixture(autouse=True)
def pyplot() -> Iterator[Any]:
    """pyplot without a display, and without figures from before."""
    from matplotlib import pyplot

    with matplotlib.rc_context():
        pyplot.switch_backend("Agg")
        yield pyplot
        pyplot.close("all")


@pytest.mark.parametrize("kind", ["tiles", "spots"])
def test_a_plot_is_drawn_as_an_exported_figure(prediction: AnnData, kind: str) -> None:
    if kind == "spots":
        prediction = drawn_spot_prediction(SLIDE)
    settings = FigureSettings(limits={"VIM": (0.25, 0.75)}, opacity=0.4)
    picture = SlidePicture.of(prediction)
    assert picture is not None
    exported = _figure(prediction, ("VIM",), picture, settings).axes[1]
    plotted = plot_genes(prediction, "VIM", settings=settings)
    for axis in (exported, plotted):
        assert axis.get_title() == "VIM (held-out PCC -0.10)"
    for one, other in zip(exported.images, plotted.images, strict=True):
        np.testing.assert_array_equal(one.get_array(), other.get_array())
        assert one.get_clim() == other.get_clim()
        assert one.get_extent() == other.get_extent()
        assert one.get_alpha() == other.get_alpha()
    assert len(exported.collections) == len(plotted.collections) == int(kind == "spots")
    assert plotted.get_xlim() == exported.get_xlim()
    bar = plotted.figure.axes[-1].get_ylabel().replace("\n", " ")
    assert bar == prediction.uns["nh2st"]["target"]["description"]
    assert [text.get_text() for text in plotted.texts] == ["50 µm"]


def test_axes_go_in_and_come_out(prediction: AnnData, pyplot: Any) -> None:
    figure, axes = pyplot.subplots(1, 2)
    assert plot_genes(prediction, ["VIM", "CD74"], ax=axes, colorbar=False) == list(axes)
    assert len(figure.axes) == 2
    assert plot_genes(prediction, ax=axes[0]) is axes[0]
    assert axes[0].get_title().startswith(BEST)
    assert len(plot_genes(prediction, ["VIM"])) == 1
    assert len(plot_genes(prediction, prediction.var_names[:2])) == 2
    with pytest.raises(InputError, match="2 genes need as many axes, not 1"):
        plot_genes(prediction, ["VIM", "CD74"], ax=axes[0])


def test_options_are_those_of_figure_settings(prediction: AnnData) -> None:
    base = FigureSettings(opacity=0.3)
    axis = plot_genes(prediction, "VIM", settings=base, colormap="viridis", limits={"VIM": (0, 2)})
    heat = axis.images[-1]
    assert (heat.get_cmap().name, heat.get_clim(), heat.get_alpha()) == ("viridis", (0, 2), 0.3)
    with pytest.raises(InputError, match="no option 'cmap'; FigureSettings has limits"):
        plot_genes(prediction, "VIM", cmap="viridis")
    with pytest.raises(InputError, match="opacity is 2"):
        plot_genes(prediction, "VIM", opacity=2)


def test_a_region_is_shown_alone(prediction: AnnData) -> None:
    corners = [(30, 40), (30, 140), (130, 140)]  # (y, x)
    axis = plot_genes(prediction, "VIM", region=corners)
    assert axis.get_xlim() == (39.5, 139.5)
    assert axis.get_ylim() == (129.5, 29.5)
    (line,) = axis.lines
    assert 40 < line.get_xdata()[0] < line.get_xdata()[1] < 140
    for wrong, message in (([(1, 2, 3)], "corners"), ([(1, 2), (1, 5)], "no area")):
        with pytest.raises(InputError, match=message):
            plot_genes(prediction, "VIM", region=wrong)


def test_many_genes_are_rows_of_a_figure_with_its_cautions(prediction: AnnData) -> None:
    axes = plot_genes(add_trust(prediction.copy()), ["VIM", "CD74", "EPCAM"], ncols=2, fade=True)
    figure = axes[0].figure
    rows = [axis.get_subplotspec().rowspan.start for axis in axes]
    assert rows == [0, 0, 1]
    words = figure._supxlabel.get_text().replace("\n", " ")
    assert words.startswith(NOTICE)
    assert "fades where the model is unsure" in words


def test_an_untrained_model_is_said_on_axes_of_others_too(pyplot: Any) -> None:
    untrained = drawn_prediction(SLIDE, trained=False)
    assert "UNTRAINED" in plot_genes(untrained, "VIM").figure.get_suptitle()
    assert "UNTRAINED" in plot_genes(untrained, "VIM", ax=pyplot.subplots()[1]).get_title()


def test_a_plot_is_saved_over_a_figure_of_ours_alone(prediction: AnnData, tmp_path: Path) -> None:
    path = tmp_path / "genes.png"
    for _ in range(2):
        plot_genes(prediction, "VIM", save=path, dpi=40)
    assert path.read_bytes().startswith(b"\x89PNG")
    path.write_bytes(b"mine")
    with pytest.raises(InputError, match="figure that NH2ST drew"):
        plot_genes(prediction, "VIM", save=str(path))
    assert path.read_bytes() == b"mine"


def test_a_plot_is_shown_when_asked(
    prediction: AnnData, pyplot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(1))
    assert plot_genes(prediction, "VIM") is not None
    assert not shown
    assert plot_genes(prediction, "VIM", show=True) is None
    assert shown


def test_without_a_picture_of_the_slide_genes_lie_on_white(prediction: AnnData) -> None:
    bare = prediction.copy()
    del bare.uns["spatial"]
    axis = plot_genes(bare, "VIM")
    assert (axis.images[0].get_array() == 255).all()
    left, right, bottom, top = axis.images[1].get_extent()
    assert -1 < left < right < axis.get_xlim()[1] + 60
    assert -1 < top < bottom


def test_what_is_no_prediction_or_no_gene_is_a_sentence(prediction: AnnData) -> None:
    with pytest.raises(InputError, match="not a prediction of napari-nh2st"):
        plot_genes(AnnData(np.ones((3, 2), np.float32)))
    with pytest.raises(InputError, match="VIMM is not among"):
        plot_genes(prediction, "VIMM")
