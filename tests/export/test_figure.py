"""Figures: what is drawn where, in which colors, and what is written beside it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import AnnData
from skimage.io import imread

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import BEST, drawn_prediction, drawn_spot_prediction
from napari_nh2st.errors import InputError
from napari_nh2st.export import export
from napari_nh2st.export.figure import FigureSettings, SlidePicture, _figure
from napari_nh2st.prediction.fading import fading
from napari_nh2st.prediction.raster import HeatmapRaster
from napari_nh2st.slide import Slide
from trusted_predictions import NOTICE, RELIABILITY_OF, add_trust

MPP = (0.5, 0.8)
"""Pixels that are not square: mixing the axes up shows."""


@pytest.fixture(scope="module")
def slide() -> Slide:
    return array_slide(ArrayLevel(textured(300, 420)), mpp=MPP, path="section.tif")


@pytest.fixture(scope="module")
def prediction(slide: Slide) -> AnnData:
    return drawn_prediction(slide)


@pytest.fixture(scope="module")
def spots(slide: Slide) -> AnnData:
    return drawn_spot_prediction(slide)


@pytest.mark.parametrize(
    ("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")]
)
def test_figures_are_what_their_names_say(
    tmp_path: Path, prediction: AnnData, suffix: str, start: bytes
) -> None:
    export(prediction, tmp_path / f"out.{suffix}")
    assert (tmp_path / f"out.{suffix}").read_bytes().startswith(start)


def drawn(prediction: AnnData, genes: tuple[str, ...], settings: FigureSettings) -> Any:
    picture = SlidePicture.of(prediction)
    assert picture is not None
    return _figure(prediction, genes, picture, settings)


def test_a_figure_shows_slide_heatmaps_and_what_the_values_are(prediction: AnnData) -> None:
    settings = FigureSettings(limits={"VIM": (0.25, 0.75)}, colormap="viridis", opacity=0.4)
    figure = drawn(prediction, ("VIM", "CD74"), settings)
    slide, vim, cd74, vim_bar, cd74_bar = figure.axes
    assert slide.get_title() == "section.tif"
    assert [text.get_text() for text in slide.texts] == ["50 µm"]
    assert vim.get_title() == "VIM (held-out PCC -0.10)"
    heat = vim.images[-1]
    assert heat.get_clim() == (0.25, 0.75)
    assert (heat.get_cmap().name, heat.get_alpha()) == ("viridis", 0.4)
    values = prediction[:, "CD74"].X
    np.testing.assert_allclose(cd74.images[-1].get_clim(), np.nanpercentile(values, (1, 99)))
    for bar in (vim_bar, cd74_bar):
        label = bar.get_ylabel().replace("\n", " ")
        assert label == prediction.uns["nh2st"]["target"]["description"]


def test_a_figure_carries_the_notices(prediction: AnnData) -> None:
    assert drawn(prediction, ("VIM",), FigureSettings())._supxlabel is None
    figure = drawn(add_trust(prediction.copy()), ("VIM",), FigureSettings())
    assert figure._supxlabel.get_text().replace("\n", " ") == NOTICE
    words = figure.axes[1].get_title().replace("\n", " ")
    assert words == f"VIM (PCC -0.10 on {RELIABILITY_OF})"


def test_a_figure_fades_where_the_model_is_unsure(prediction: AnnData) -> None:
    faded = FigureSettings(opacity=0.8, fade=True)
    assert drawn(prediction, ("VIM",), faded).axes[1].images[-1].get_alpha() == 0.8
    prediction = add_trust(prediction.copy())
    prediction.layers["spread"] *= 8
    figure = drawn(prediction, ("VIM",), faded)
    alpha = figure.axes[1].images[-1].get_alpha()
    expected = HeatmapRaster.of(prediction).image(0.8 * (1 - fading(prediction, "VIM")))
    known = np.isfinite(expected)
    np.testing.assert_allclose(alpha[known], expected[known], atol=1e-6)
    assert np.ptp(alpha[known]) > 0.3
    assert "fades where the model is unsure" in figure._supxlabel.get_text()
    assert drawn(prediction, ("VIM",), FigureSettings()).axes[1].images[-1].get_alpha() == 0.85


def test_tiles_lie_at_their_places_in_a_figure(prediction: AnnData) -> None:
    heat = drawn(prediction, ("VIM",), FigureSettings()).axes[1].images[-1]
    left, right, bottom, top = heat.get_extent()
    rows, columns = heat.get_array().shape
    # The picture is the slide itself here; its first pixel is drawn around (0, 0).
    x = left + (prediction.obs["array_col"] + 0.5) * (right - left) / columns
    y = top + (prediction.obs["array_row"] + 0.5) * (bottom - top) / rows
    np.testing.assert_allclose(np.column_stack([x, y]), prediction.obsm["spatial"] - 0.5)


def test_spots_are_circles_in_a_figure(spots: AnnData) -> None:
    (circles,) = drawn(spots, ("VIM",), FigureSettings()).axes[1].collections
    np.testing.assert_allclose(circles.get_offsets(), spots.obsm["spatial"] - 0.5)
    np.testing.assert_array_equal(circles.get_array(), spots[:, "VIM"].X[:, 0])


def test_a_figure_without_genes_shows_the_most_reliable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prediction: AnnData
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(
        "napari_nh2st.export.figure.save_heatmap_figure",
        lambda prediction, genes, path, settings: shown.extend([genes, settings]),
    )
    export(prediction, tmp_path / "out.png", figure=FigureSettings(dpi=72))
    assert shown == [(BEST,), FigureSettings(dpi=72)]


def test_limits_of_all_genes_and_percentiles_are_those_of_the_picture(prediction: AnnData) -> None:
    genes = ("VIM", "CD74")
    axes = drawn(prediction, genes, FigureSettings(limits=np.array([0.25, 0.75]))).axes[1:3]
    assert [axis.images[-1].get_clim() for axis in axes] == [(0.25, 0.75)] * 2
    settings = FigureSettings(limits={"VIM": (0, 1)}, percentiles=(10, 60))
    axes = drawn(prediction, genes, settings).axes[1:3]
    values = np.asarray(prediction[:, "CD74"].X, np.float64).ravel()
    by_percentiles = np.percentile(values[np.isfinite(values)], [10, 60])
    assert axes[0].images[-1].get_clim() == (0, 1)
    assert axes[1].images[-1].get_clim() == pytest.approx(tuple(by_percentiles))


def test_the_resolution_of_a_figure_is_as_asked(tmp_path: Path, prediction: AnnData) -> None:
    for dpi in (50, 100):
        export(prediction, tmp_path / f"{dpi}.png", figure=FigureSettings(dpi=dpi))
    small, large = (imread(tmp_path / f"{dpi}.png").shape for dpi in (50, 100))
    assert np.all(np.abs(2 * np.array(small[:2]) - large[:2]) <= 4)


def test_an_untrained_model_is_told_in_the_figure(slide: Slide) -> None:
    figure = drawn(drawn_prediction(slide, trained=False), ("VIM",), FigureSettings())
    assert "UNTRAINED" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"percentiles": (99, 1)},
            "percentiles is 99 1; it must be two numbers from 0 to 100, the",
        ),
        ({"percentiles": (-1, 99)}, "percentiles is -1 99; "),
        (
            {"limits": (0, float("inf"))},
            "limits is 0 inf; it must be two numbers, the lower one fir",
        ),
        (
            {"limits": {"VIM": (1, 1)}},
            "limits of VIM is 1 1; it must be two numbers, the lower one",
        ),
        ({"opacity": 1.5}, "opacity is 1.5; it must be from 0 to 1"),
        ({"dpi": 0}, "dpi is 0; it must be from 10 to 1,200"),
    ],
)
def test_settings_of_a_figure_that_cannot_be_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FigureSettings(**wrong)


def test_an_unknown_colormap_is_refused(tmp_path: Path, prediction: AnnData) -> None:
    with pytest.raises(
        InputError, match=r"no colormap 'maggma' in matplotlib; did you mean magma\?"
    ):
        export(prediction, tmp_path / "out.png", figure=FigureSettings(colormap="maggma"))
