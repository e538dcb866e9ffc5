"""Regions on a slide: the shapes of a layer, their outlines and their names."""

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from napari.layers import Image, Layer, Shapes
from numpy.typing import NDArray

from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import MARKER_KEY, NAMED_REGIONS_KEY, made_on
from napari_nh2st.layers.slide_below import slide_below
from napari_nh2st.layers.tile_image import placement_of
from napari_nh2st.layers.tile_positions import in_full_resolution, unit_factors
from napari_nh2st.prediction.lattice import divisions
from napari_nh2st.prediction.schema import notes

NAME_FEATURE = "name"
"""Column of a Shapes layer's features that names its regions."""

EDGE = 0.12
"""Width of an outline in tiles."""

_COLOR = "#e8c400"
_TEXT_COLOR = "black"
"""Stained tissue is light, and heatmaps let it shine through."""

_WITHOUT_AREA = ("line", "path")


def polygons_in_pixels(shapes: Shapes, heatmap: Heatmap) -> dict[str, NDArray[np.float64]]:
    """The shapes of a layer as polygons on the slide.

    Parameters
    ----------
    shapes
        Lines and paths have no area and are left out, see :func:`with_area`; of ellipses the
        outline is taken. Whatever transform the layer has is followed.
    heatmap
        Lies on the slide, whatever transform that has.

    Returns
    -------
    dict
        By name (see :func:`region_names`), (n, 2) corners (y, x) in full-resolution pixels, in
        the layer's order.
    """
    factors = unit_factors(shapes.units, heatmap.layer.units)
    polygons = {}
    for name, corners in zip(region_names(shapes), shape_outlines(shapes), strict=True):
        world = [np.array(shapes.data_to_world(corner)[-2:]) * factors for corner in corners]
        cells = np.array([heatmap.layer.world_to_data(place)[-2:] for place in world])
        polygons[name] = in_full_resolution(heatmap, cells)
    return polygons


def polygons_on_slide(shapes: Shapes, slide_layer: Image) -> tuple[NDArray[np.float64], ...]:
    """The shapes of a layer as polygons (y, x) in full-resolution pixels of a slide.

    Lines and paths have no area and are left out; of ellipses the outline as it is drawn is taken.
    """
    polygons = []
    factors = unit_factors(shapes.units, slide_layer.units)
    for corners in shape_outlines(shapes):
        world = [np.array(shapes.data_to_world(corner)[-2:]) * factors for corner in corners]
        # napari's pixel k has its center at k, a slide's at k + 0.5.
        polygons.append(np.array([slide_layer.world_to_data(w)[-2:] for w in world]) + 0.5)
    return tuple(polygons)


def shape_outlines(shapes: Shapes) -> list[NDArray[np.float64]]:
    """Corners (n, 2) of each shape with an area, in the layer's own coordinates."""
    outlines = []
    for corners, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if kind in _WITHOUT_AREA:
            continue
        points = np.asarray(corners, float)[:, -2:]
        if kind == "ellipse":  # given by the corners of the box around it
            center = points.mean(0)
            along, across = (points[1] - points[0]) / 2, (points[3] - points[0]) / 2
            angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)[:, None]
            points = center + np.cos(angle) * along + np.sin(angle) * across
        outlines.append(points)
    return outlines


def with_area(shapes: Shapes) -> list[int]:
    """Numbers of the shapes that are regions: not those of lines and paths."""
    kinds = [str(kind) for kind in shapes.shape_type]
    return [number for number, kind in enumerate(kinds) if kind not in _WITHOUT_AREA]


def region_names(shapes: Shapes) -> list[str]:
    """A name of its own for each shape that is a region.

    That of ``features["name"]`` where there is one, with a number where another region before
    has it; else ``region 1`` for the first shape, ``region 2`` for the second, or the next number
    that is free.
    """
    numbers = with_area(shapes)
    given = [_given(shapes, number) for number in numbers]
    names: list[str] = []
    for number, name in zip(numbers, given, strict=True):
        if name:
            names.append(_next(f"{name} ({{}})", 2, names) if name in names else name)
        else:
            names.append(_next("region {}", number + 1, {*given, *names}))
    return names


def name_region(shapes: Shapes, place: int, name: str) -> None:
    """Name the region at a place among :func:`region_names`, in the layer's features."""
    names = region_names(shapes)
    names[place] = name
    keep_names(shapes, names)


def keep_names(shapes: Shapes, names: list[str]) -> None:
    """Put names of regions into the layer's features, where they are not there yet."""
    features = shapes.features.copy()
    column = [""] * len(features) if NAME_FEATURE not in features else list(features[NAME_FEATURE])
    before = list(column)
    for number, name in zip(with_area(shapes), names, strict=True):
        column[number] = name
    if NAME_FEATURE not in features or column != before:
        features[NAME_FEATURE] = pd.Series(column, dtype=object, index=features.index)
        shapes.features = features


def _given(shapes: Shapes, number: int) -> str:
    column = shapes.features.get(NAME_FEATURE)
    value = None if column is None else column.iloc[number]
    return "" if value is None or pd.isna(value) else str(value).strip()


def _next(pattern: str, number: int, taken: Container[str]) -> str:
    """The pattern with the first number from this one that is free."""
    while pattern.format(number) in taken:
        number += 1
    return pattern.format(number)


def holds_regions(layer: Layer) -> bool:
    """Whether a layer is of shapes that may be regions: not those of a marker of ours."""
    return isinstance(layer, Shapes) and not layer.metadata.get(MARKER_KEY)


def region_events(layer: Shapes) -> list[Any]:
    """The layer's events after which its regions may be others."""
    names = ("data", "features", "scale", "translate", "rotate", "shear", "affine", "units")
    return [getattr(layer.events, name) for name in names]


def add_regions_on(viewer: ViewerModel, heatmap: Heatmap) -> Shapes:
    """Add a layer for regions on the slide of a heatmap; see :func:`add_region_layer`."""
    slide_layer = slide_below(viewer, heatmap.layer)
    if slide_layer is not None:
        tile_px = min(heatmap.raster.step) * heatmap.raster.height
        edge_px = EDGE * tile_px * divisions(heatmap.prediction)
        return add_region_layer(viewer, slide_layer, edge_px)
    edge = EDGE * float(notes(heatmap.prediction)["pitch_um"])
    return _new_layer(viewer, edge, {}, {"units": heatmap.layer.units})


def add_region_layer(viewer: ViewerModel, slide_layer: Image, edge_px: float) -> Shapes:
    """Add a layer in a slide's pixels, select it, and take up the polygon tool.

    Parameters
    ----------
    viewer
        Gets the layer.
    slide_layer
        Shows the slide: the layer gets its place and units.
    edge_px
        Width of outlines in full-resolution pixels.

    Returns
    -------
    Shapes
        Empty; the Genes dock names its regions as they are drawn.
    """
    return _new_layer(viewer, edge_px, made_on(slide_layer), placement_of(slide_layer))


def _new_layer(
    viewer: ViewerModel, edge: float, metadata: dict[str, str], placement: dict[str, Any]
) -> Shapes:
    layer = viewer.add_shapes(
        name="regions",
        ndim=2,
        edge_color=_COLOR,
        face_color="transparent",
        opacity=1.0,
        edge_width=edge,
        features=pd.DataFrame({NAME_FEATURE: pd.Series([], dtype=object)}),
        feature_defaults={NAME_FEATURE: ""},
        text={"string": "{" + NAME_FEATURE + "}", "color": _TEXT_COLOR, "size": 12},
        metadata={NAMED_REGIONS_KEY: True} | metadata,
        **placement,
    )
    layer.current_edge_width = edge
    viewer.layers.selection.active = layer
    layer.mode = "add_polygon"
    return layer


def region_notices(layer: Shapes | None, counts: Mapping[str, int]) -> str:
    """What to mind about regions, in sentences; empty for nothing.

    Parameters
    ----------
    layer
        Has the regions; None where none is chosen.
    counts
        Predicted tiles by name of the region.
    """
    if layer is None:
        return "Make a region layer and draw polygons, or choose a Shapes layer."
    sentences = []
    n_lines = len(layer.data) - len(with_area(layer))
    if n_lines:
        lines = "1 line has no area and is not a region"
        if n_lines > 1:
            lines = f"{n_lines} lines have no area and are not regions"
        sentences.append(f"{lines}.")
    outside = [name for name, count in counts.items() if not count]
    if outside:
        verb = "lies" if len(outside) == 1 else "lie"
        sentences.append(f"No predicted tile {verb} in {', '.join(outside)}.")
    return " ".join(sentences)
