"""Vitessce's configuration of a folder: its files, its views, and what the views share."""

from dataclasses import dataclass
from typing import Any

from napari_nh2st.export.classes import TileClasses

BASE_URL = "http://localhost:8000/"
"""Where the configuration looks for the folder; the page beside it replaces it by its own place."""

CONFIG, TILES, PICTURE = "config.json", "tiles.zarr", "image.ome.zarr"
PLACES, OUTLINES = "spatial_um", "outline_um"
"""Keys of ``obsm``: Vitessce lays the picture out in its own units, which are µm here."""

_SCHEMA = "1.0.16"
"""Version of the configuration, which all of Vitessce 3.4 and newer take."""

_TYPES = {"obsType": "tile", "featureType": "gene", "featureValueType": "prediction"}
_OPACITY = 0.7
_SETS = ("obsSetColor", "obsSetSelection")
_SHARED = ("featureSelection", "obsColorEncoding", "featureValueColormap")


@dataclass(frozen=True)
class Shown:
    """What a folder shows.

    Parameters
    ----------
    name, description
        Of the slide; what the values are and what a reader should know of them.
    gene
        That tiles are colored by at first.
    classes
        Columns of ``obs`` with their classes.
    by_class
        The column that tiles are colored by instead; None for the gene.
    has_picture
        Whether there is a picture of the slide.
    radius_um
        Radius of the spots; None where tiles have outlines instead.
    """

    name: str
    description: str
    gene: str
    classes: dict[str, TileClasses]
    by_class: str | None
    has_picture: bool
    radius_um: float | None


def vitessce_config(shown: Shown) -> dict[str, Any]:
    """The configuration as JSON, see https://vitessce.io/docs/view-config-json."""
    shared = _shared(shown)
    return {
        "version": _SCHEMA,
        "name": shown.name,
        "description": shown.description,
        "datasets": [{"uid": "A", "name": shown.name, "files": _files(shown)}],
        "coordinationSpace": {name: {"A": value} for name, value in shared.items()}
        | _layers(shown, [name for name in shared if name in (*_SHARED, *_SETS)]),
        "layout": _layout(shown, list(shared)),
        "initStrategy": "auto",
    }


def _files(shown: Shown) -> list[dict[str, Any]]:
    if shown.radius_um is None:
        where = {"obsSegmentations": {"path": f"obsm/{OUTLINES}"}}
        where["obsLocations"] = {"path": f"obsm/{PLACES}"}
    else:
        where = {"obsSpots": {"path": f"obsm/{PLACES}"}}
    options: dict[str, Any] = {"obsFeatureMatrix": {"path": "X"}, **where}
    if shown.classes:
        options["obsSets"] = [{"name": name, "path": f"obs/{name}"} for name in shown.classes]
    files: list[dict[str, Any]] = [
        {
            "fileType": "anndata.zarr",
            "url": BASE_URL + TILES,
            "options": options,
            "coordinationValues": {**_TYPES, "fileUid": "tiles"},
        }
    ]
    if shown.has_picture:
        files.append(
            {
                "fileType": "image.ome-zarr",
                "url": BASE_URL + PICTURE,
                "coordinationValues": {"fileUid": "slide"},
            }
        )
    return files


def _shared(shown: Shown) -> dict[str, Any]:
    """Values that all views have in common, in the scope "A"."""
    shared: dict[str, Any] = {
        "dataset": "A",
        **_TYPES,
        # A selected gene would color the tiles, whatever they are to be colored by.
        "featureSelection": [shown.gene] if shown.by_class is None else None,
        "obsColorEncoding": "geneSelection" if shown.by_class is None else "cellSetSelection",
        "featureValueColormap": "viridis",
    }
    colors = [
        {"path": [column, name], "color": list(color)}
        for column, classes in shown.classes.items()
        for name, color in classes.colors.items()
    ]
    if colors:
        shared["obsSetColor"] = colors
    if shown.by_class is not None:
        names = shown.classes[shown.by_class].names
        shared["obsSetSelection"] = [[shown.by_class, name] for name in names]
    return shared


def _layers(shown: Shown, followed: list[str]) -> dict[str, Any]:
    """The layers of the spatial view: the picture, and tiles or spots that follow what is shared.

    Each layer's values stand in scopes of its name: "slide" and "tiles".
    """
    space: dict[str, dict[str, Any]] = {}
    layers: dict[str, list[str]] = {}
    of_layer: dict[str, dict[str, Any]] = {}

    def add(layer: str, name: str, **values: Any) -> None:
        space.setdefault(layer, {})[name] = "__dummy__"
        for key, value in values.items():
            space.setdefault(key, {})[name] = value
        of_layer[layer] = {key: {name: name} for key in values}

    if shown.has_picture:
        layers["imageLayer"] = ["slide"]
        add(
            "imageLayer",
            "slide",
            fileUid="slide",
            photometricInterpretation="RGB",
            spatialLayerOpacity=1.0,
            spatialLayerVisible=True,
        )
    if shown.radius_um is None:
        layers["segmentationLayer"] = ["tiles"]
        add(
            "segmentationLayer",
            "tiles",
            fileUid="tiles",
            spatialLayerOpacity=1.0,
            spatialLayerVisible=True,
        )
        of_layer["segmentationLayer"]["segmentationChannel"] = {"tiles": ["tiles"]}
        colored = "segmentationChannel"
        add(
            colored,
            "tiles",
            spatialTargetC=0,
            spatialChannelOpacity=_OPACITY,
            spatialChannelVisible=True,
            spatialSegmentationFilled=True,
        )
    else:
        layers["spotLayer"] = ["tiles"]
        colored = "spotLayer"
        add(
            colored,
            "tiles",
            spatialSpotRadius=shown.radius_um,
            spatialLayerOpacity=_OPACITY,
            spatialLayerVisible=True,
        )
    of_layer[colored] |= {key: {"tiles": "A"} for key in ("obsType", *followed)}
    scopes = {"metaCoordinationScopes": {"A": layers}, "metaCoordinationScopesBy": {"A": of_layer}}
    return space | scopes


def _layout(shown: Shown, shared: list[str]) -> list[dict[str, Any]]:
    scopes: dict[str, Any] = dict.fromkeys(shared, "A")
    layers = {"metaCoordinationScopes": ["A"], "metaCoordinationScopesBy": ["A"]}
    side = {
        "featureList": 4,
        "obsSets" if shown.classes else "featureValueHistogram": 3,
        "layerControllerBeta": 3,
        "description": 2,
    }
    views = [
        {
            "component": "spatialBeta",
            "coordinationScopes": scopes | layers,
            "x": 0,
            "y": 0,
            "w": 8,
            "h": 12,
        }
    ]
    top = 0
    for component, height in side.items():
        more = layers if component == "layerControllerBeta" else {}
        views.append(
            {
                "component": component,
                "coordinationScopes": scopes | more,
                "x": 8,
                "y": top,
                "w": 4,
                "h": height,
            }
        )
        top += height
    return views
