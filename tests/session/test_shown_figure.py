"""A figure shows what the viewer shows."""

from pathlib import Path

import numpy as np
import pytest

from napari_nh2st.errors import InputError
from napari_nh2st.export.figure import FigureSettings
from napari_nh2st.layers.keys import SIGNATURE_KEY
from napari_nh2st.layers.tile_image import placement_of
from napari_nh2st.session.shown_figure import shown_figure
from shown_predictions import show_prediction


def test_gene_contrast_colors_and_smoothing_of_the_layer_reach_the_figure(tmp_path: Path) -> None:
    shown = show_prediction(tmp_path)
    layer = shown.heatmap.layer
    layer.contrast_limits_range = (-5, 5)
    layer.contrast_limits = (0.25, 1.5)
    layer.colormap, layer.opacity, layer.interpolation2d = "PiYG", 0.4, "linear"
    settings, genes = shown_figure(shown.heatmap)
    assert genes == ("CD74",)
    assert settings.limits == {"CD74": (0.25, 1.5)}
    assert (settings.opacity, settings.smooth) == (pytest.approx(0.4), True)
    for value in (0.0, 0.3, 1.0):
        expected = np.ravel(layer.colormap.map(value))
        np.testing.assert_allclose(settings.colormap(value), expected, atol=0.02)


def test_what_the_viewer_does_not_show_is_as_the_users_file_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "own.toml"
    config.write_text("[export]\ndpi = 300\ncolormap = 'cividis'\n", encoding="utf-8")
    monkeypatch.setenv("NH2ST_CONFIG", str(config))
    settings, _ = shown_figure(show_prediction(tmp_path).heatmap)
    assert settings.dpi == 300
    assert settings.colormap != "cividis", "the layer has another"
    assert shown_figure(None) == (FigureSettings(dpi=300, colormap="cividis"), None)


def test_where_the_heatmap_is_hidden_what_is_shown_in_its_place_is_drawn(tmp_path: Path) -> None:
    shown = show_prediction(tmp_path)
    pins = shown.session.pins
    genes = [gene for gene in shown.prediction.var_names if gene != "CD74"][:2]
    layers = [pins.pin(gene).layer for gene in genes]
    shown.heatmap.layer.visible = True
    assert shown_figure(shown.heatmap, shown.viewer.layers)[1] == ("CD74",)
    pins.show_pins()
    layers[0].contrast_limits_range, layers[0].contrast_limits = (0, 9), (2, 3)
    settings, drawn = shown_figure(shown.heatmap, shown.viewer.layers)
    assert drawn == tuple(genes)
    assert settings.limits[genes[0]] == (2, 3)
    layers[0].visible = False
    assert shown_figure(shown.heatmap, shown.viewer.layers)[1] == (genes[1],)
    layers[1].visible = False
    assert shown_figure(shown.heatmap, shown.viewer.layers)[1] == ("CD74",), "nothing else is there"
    signature = shown.viewer.add_image(
        shown.heatmap.layer.data,
        metadata={SIGNATURE_KEY: {}},
        **placement_of(shown.heatmap.layer),
    )
    shown.heatmap.layer.visible = False
    with pytest.raises(InputError, match="what is shown is a signature"):
        shown_figure(shown.heatmap, shown.viewer.layers)
    signature.visible = False
    assert shown_figure(shown.heatmap, shown.viewer.layers)[1] == ("CD74",)


def test_without_a_heatmap_the_best_gene_is_drawn_with_the_defaults() -> None:
    assert shown_figure(None) == (FigureSettings(), None)
