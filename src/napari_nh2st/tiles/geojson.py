"""Regions drawn elsewhere, as GeoJSON (QuPath's export among them)."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide
from napari_nh2st.tiles.mask import Polygon


def read_regions(path: str | os.PathLike[str], slide: Slide | None = None) -> tuple[Polygon, ...]:
    """Read the polygons of a GeoJSON file.

    Parameters
    ----------
    path
        Geometries, features or collections of them; coordinates are (x, y) in full-resolution
        pixels, as QuPath writes them. Anything but polygons is left out.
    slide
        The slide that they lie on. QuPath shows only the scanned part of a slide and counts from
        its corner: if the slide has bounds, that corner is added.

    Returns
    -------
    tuple of ndarray
        Polygons, each (n, 2) as (y, x) in full-resolution pixels. A hole is part of its polygon's
        outline, joined to it by a seam.

    Raises
    ------
    InputError
        The file is missing, not GeoJSON, or has no polygon.
    """
    polygons = tuple(polygon for _, polygon in named_polygons(path))
    return polygons if slide is None else on_slide(polygons, slide)


def named_polygons(path: str | os.PathLike[str]) -> list[tuple[str, Polygon]]:
    """Read the polygons of a GeoJSON file as :func:`read_regions`, each with its name.

    That is the feature's ``name`` or, in QuPath's exports, its class; empty where it has none.

    Raises
    ------
    InputError
        As :func:`read_regions`.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} is not GeoJSON: it cannot be parsed as JSON") from None
    try:
        polygons = [(name, _outline(rings)) for name, rings in _polygons(content)]
    except RecursionError:
        raise InputError(f"{path} is not GeoJSON: it is nested too deeply") from None
    except (TypeError, ValueError, KeyError, IndexError):
        raise InputError(f"{path} is not GeoJSON: a polygon's coordinates are malformed") from None
    if not polygons:
        raise InputError(f"{path} has no polygon; regions are Polygon or MultiPolygon geometries")
    return polygons


def on_slide(polygons: Sequence[Polygon], slide: Slide) -> tuple[Polygon, ...]:
    """Polygons of QuPath, (y, x), in full-resolution pixels of the whole slide."""
    corner = np.zeros(2) if slide.bounds is None else np.array(slide.bounds[:2], float)
    return tuple(polygon + corner for polygon in polygons)


def _polygons(content: Any, name: str = "") -> Iterator[tuple[str, list[Any]]]:
    """The rings of each polygon, however deep, with the name of its feature."""
    if isinstance(content, list):  # QuPath's older exports are bare lists of features
        for item in content:
            yield from _polygons(item, name)
        return
    match content.get("type") if isinstance(content, dict) else None:
        case "FeatureCollection":
            yield from _polygons(content["features"])
        case "Feature":
            yield from _polygons(content["geometry"], _name(content.get("properties")))
        case "GeometryCollection":
            yield from _polygons(content["geometries"], name)
        case "Polygon":
            yield name, content["coordinates"]
        case "MultiPolygon":
            for rings in content["coordinates"]:
                yield name, rings


def _name(properties: Any) -> str:
    if not isinstance(properties, dict):
        return ""
    of_class = properties.get("classification")
    given = properties.get("name") or (of_class.get("name") if isinstance(of_class, dict) else "")
    return " ".join(str(given or "").split())


def _outline(rings: list[Any]) -> Polygon:
    corners = [np.asarray(ring, float)[:, 1::-1] for ring in rings]
    if any(len(ring) < 3 or not np.isfinite(ring).all() for ring in corners):
        raise ValueError("a ring needs three corners, and finite ones")
    start = corners[0][:1]
    parts = [corners[0], start]
    for hole in corners[1:]:
        # There and back along the same seam: by the even-odd rule the seam itself counts nothing.
        parts += [hole, hole[:1], start]
    return np.concatenate(parts)
