"""Regions from GeoJSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage.measure import points_in_poly

from napari_nh2st.errors import InputError
from napari_nh2st.tiles.geojson import read_regions

SQUARE = [[0, 0], [100, 0], [100, 50], [0, 50], [0, 0]]
HOLE = [[20, 10], [40, 10], [40, 30], [20, 30], [20, 10]]
POLYGON = {"type": "Polygon", "coordinates": [SQUARE]}
POINT = {"type": "Point", "coordinates": [1, 2]}


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (POLYGON, 1),
        ({"type": "Feature", "geometry": POLYGON, "properties": {}}, 1),
        ([{"type": "Feature", "geometry": POLYGON}] * 2, 2),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], [HOLE]]}, 2),
        ({"type": "GeometryCollection", "geometries": [POLYGON, POINT]}, 1),
        (
            {
                "type": "FeatureCollection",
                "features": [{"type": "Feature", "geometry": g} for g in (POLYGON, POINT, None)],
            },
            1,
        ),
    ],
)
def test_polygons_are_found_wherever_they_are(tmp_path: Path, content: Any, count: int) -> None:
    polygons = read_regions(write(tmp_path / "r.geojson", content))
    assert len(polygons) == count
    # GeoJSON is (x, y); ours are (y, x).
    assert polygons[0][:, 0].max() == 50
    assert polygons[0][:, 1].max() == 100


def test_a_hole_is_not_part_of_the_region(tmp_path: Path) -> None:
    content = {"type": "Polygon", "coordinates": [SQUARE, HOLE]}
    (polygon,) = read_regions(write(tmp_path / "r.geojson", content))
    y, x = np.meshgrid(np.arange(-9.5, 60), np.arange(-9.5, 110), indexing="ij")
    inside = points_in_poly(np.column_stack([y.ravel(), x.ravel()]), polygon).reshape(y.shape)
    expected = (y > 0) & (y < 50) & (x > 0) & (x < 100)
    expected &= ~((y > 10) & (y < 30) & (x > 20) & (x < 40))
    np.testing.assert_array_equal(inside, expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no json", "JSON"),
        ("[]", "no polygon"),
        (json.dumps(POINT), "no polygon"),
        ('{"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}', "malformed"),
        ('{"type": "Polygon", "coordinates": "here"}', "malformed"),
        ('{"type": "Polygon"}', "malformed"),
        ('{"type": "FeatureCollection"}', "malformed"),
        ("3", "no polygon"),
    ],
)
def test_what_holds_no_polygon_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "r.geojson"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words):
        read_regions(path)
