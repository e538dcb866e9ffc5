"""Regions on a slide: shapes as polygons in its pixels, and their names."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pytestqt.qtbot import QtBot

from napari_nh2st.layers.regions import polygons_in_pixels
from shown_predictions import PLACES, draw, show_prediction

LEFT = np.array([[10.0, 10], [10, 150], [200, 150], [200, 10]])
RIGHT = np.array([[40.0, 200], [40, 400], [230, 330]])


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_corners_drawn_on_the_slide_are_its_pixels(
    qtbot: QtBot, tmp_path: Path, place: dict[str, Any]
) -> None:
    shown = show_prediction(tmp_path, place=place)
    polygons = polygons_in_pixels(draw(shown, LEFT, RIGHT), shown.heatmap)
    assert list(polygons) == ["region 1", "region 2"]
    np.testing.assert_allclose(polygons["region 1"], LEFT, atol=1e-2)
    np.testing.assert_allclose(polygons["region 2"], RIGHT, atol=1e-2)


def test_the_shapes_layer_may_have_a_transform_and_units_of_its_own(
    qtbot: QtBot, tmp_path: Path
) -> None:
    shown = show_prediction(tmp_path)
    layer = shown.viewer.add_shapes(
        [np.array([[0.0, 0], [0, 10], [10, 10]])],
        shape_type="polygon",
        scale=(2000, 4000),
        translate=(64_000, 32_000),
        units=("nm", "nm"),
    )
    expected = np.array([[64.0, 32], [64, 72], [84, 72]]) + 0.5  # 1 µm/px
    np.testing.assert_allclose(polygons_in_pixels(layer, shown.heatmap)["region 1"], expected)


def test_an_ellipse_is_its_outline_and_a_line_is_no_region(qtbot: QtBot, tmp_path: Path) -> None:
    shown = show_prediction(tmp_path)
    layer = shown.viewer.add_shapes(units=("um", "um"), ndim=2)
    layer.add_paths([np.array([[0.0, 0], [50, 50], [90, 10]])])
    layer.add_ellipses([np.array([[50.0, 60], [50, 260], [150, 260], [150, 60]])])
    layer.add_lines([np.array([[0.0, 0], [50, 50]])])
    layer.add_rectangles([np.array([[10.0, 20], [30, 60]])])
    polygons = polygons_in_pixels(layer, shown.heatmap)
    assert list(polygons) == ["region 2", "region 4"], "numbered as the layer's shapes are"
    outline = polygons["region 2"]
    y, x = (outline - (100.5, 160.5)).T
    np.testing.assert_allclose((y / 50) ** 2 + (x / 100) ** 2, 1, rtol=1e-5)
    assert area(outline) == pytest.approx(np.pi * 50 * 100, rel=0.005)
    assert area(polygons["region 4"]) == pytest.approx(20 * 40)


def area(polygon: np.ndarray) -> float:
    y, x = polygon.T
    return float(abs(np.dot(y, np.roll(x, 1)) - np.dot(x, np.roll(y, 1))) / 2)


def test_names_are_the_layers_each_once(qtbot: QtBot, tmp_path: Path) -> None:
    shown = show_prediction(tmp_path)
    names = ["tumor", "", None, "tumor", " region 2 "]
    layer = draw(shown, *[LEFT] * 5, features=pd.DataFrame({"name": names}))
    assert list(polygons_in_pixels(layer, shown.heatmap)) == [
        "tumor", "region 3", "region 4", "tumor (2)", "region 2",
    ]  # fmt: skip
