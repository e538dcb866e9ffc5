"""AnnData as napari layers: predictions with their slide, and measured spots."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_nh2st.errors import InputError, first_line
from napari_nh2st.layers.keys import COMPARISON_KEY, COMPARISON_KIND_KEY, PREDICTION_KEY, SPOTS_KEY
from napari_nh2st.layers.reader import slide_layer
from napari_nh2st.prediction.files import (
    has_anndata_table,
    is_anndata_store,
    read_anndata_file,
)
from napari_nh2st.prediction.outlines import spot_diameter
from napari_nh2st.prediction.raster import HeatmapRaster, robust_limits
from napari_nh2st.prediction.schema import (
    MARK,
    MEASURED,
    check_prediction,
    is_on_grid,
    is_trained,
    notes,
    slide_fingerprint,
    slide_mpp,
    slide_name,
    slide_stem,
)
from napari_nh2st.prediction.tile_columns import column_values, tile_columns
from napari_nh2st.prediction.values import best_gene
from napari_nh2st.remote import is_url
from napari_nh2st.shown_text import for_qt
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.spots import spot_array, spot_picture
from napari_nh2st.spots.anndata_files import spots_of
from napari_nh2st.spots.assembly import Source
from napari_nh2st.spots.checks import pitch_of
from napari_nh2st.spots.positions import centers, positions

if TYPE_CHECKING:
    from napari.types import LayerData

_MOST_FEATURES = 500
"""Genes of measured spots that become features: a table of all would be too large."""


def holds_expression(path: Path) -> bool:
    """Whether it is AnnData, or a store of SpatialData or OME-Zarr that this package wrote."""
    if path.suffix.lower() == ".h5ad":
        return not path.is_dir()
    return path.is_dir() and (is_anndata_store(path) or has_anndata_table(path))


def read_expression(path: str | os.PathLike[str]) -> list["LayerData"]:
    """Open an exported prediction, or measured spots.

    Parameters
    ----------
    path
        ``.h5ad`` or AnnData ``.zarr``; SpatialData or OME-Zarr if this package wrote it.

    Returns
    -------
    list of LayerData
        First the slide: its own file, where it lies beside `path` or where it was predicted, else
        the picture stored with the values. Then

        - of a prediction at tiles, the heatmap of the gene in ``uns["nh2st"]["shown_gene"]``,
          else of its most reliable one;
        - of a prediction at spots, points, the measured ones (hidden) below the predicted;
        - of measured spots, points with their total counts.

        The AnnData is in the layers' metadata, see :mod:`napari_nh2st.layers.keys`; values are
        ``features`` of points. In µm, where µm/px is known.

    Raises
    ------
    InputError
        The file cannot be read, or holds neither.
    """
    place = Path(path).expanduser().absolute()
    data = read_anndata_file(place)
    try:
        return _layers(data, place)
    except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        # Anything in the file may be of another kind than what its name stands for.
        reason = first_line(error)
        raise InputError(
            f"{place} is AnnData, but a part of it is not of the usual kind ({reason})"
        ) from error


def _layers(data: AnnData, place: Path) -> list["LayerData"]:
    if MARK not in data.uns:
        return _measured_layers(data, place)
    try:
        check_prediction(data)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    shown = _slide_layers(data, place)
    return shown + (_heatmap_layers(data) if is_on_grid(data) else _spot_layers(data))


# --- the slide ---


def _slide_layers(prediction: AnnData, path: Path) -> list["LayerData"]:
    """The slide, or else its picture with a notice, or nothing if there is none either."""
    from napari.utils.notifications import show_info

    slide, reason = _find_slide(prediction, path)
    if slide is not None:
        return [slide_layer(slide)]
    layers = _picture_layers(
        prediction, for_qt(slide_stem(prediction)), slide_mpp(prediction), "um"
    )
    instead = "its stored picture is shown" if layers else "the values are shown without it"
    show_info(for_qt(f"{reason}: {instead}."))
    return layers


def _find_slide(prediction: AnnData, path: Path) -> tuple[Slide | None, str]:
    """The slide that was predicted, or why it was not found."""
    record = notes(prediction)["slide"]
    name = Path(slide_name(prediction)).name
    places = [path.parent / name]
    image = record.get("image")  # of a file with several
    recorded = str(record.get("path") or "")
    reason = f"The slide {name} is not beside {path.name}"
    # Windows tells the server of a network path who asks for it; the file may be a stranger's.
    if is_url(recorded):  # nor is a server asked because a stranger's file says so
        reason = f"The slide of {path.name} is at {recorded}: open it first"
    elif recorded and not recorded.startswith(("\\\\", "//")):
        places.append(Path(recorded))
    for place in dict.fromkeys(places):
        if not place.exists():
            continue
        try:
            slide = open_slide(place, image=None if image is None else int(image))
        except InputError as error:
            reason = str(error).rstrip(".")
            continue
        if _is_the_slide(slide, prediction):
            y, x = slide_mpp(prediction).tolist()
            # What the values were predicted with counts.
            return slide if slide.mpp == (y, x) else slide.with_mpp((y, x)), ""
        slide.close()
        reason = f"{place} is not the slide that was predicted"
    return None, reason


def _is_the_slide(slide: Slide, prediction: AnnData) -> bool:
    """By its fingerprint; where none was recorded, by its size, known from the picture."""
    fingerprint = slide_fingerprint(prediction)
    if fingerprint is not None:
        return bool(slide.fingerprint == fingerprint)
    found = spot_picture(prediction)
    if found is None:
        return False
    picture, scale = found
    # What is left over at the lower and right edge is not in the picture.
    return bool(np.all(np.abs(np.multiply(slide.shape, scale) - picture.shape[:2]) < 2))


def _picture_layers(
    data: AnnData, name: str, um_per_px: NDArray[np.float64], unit: str
) -> list["LayerData"]:
    found = spot_picture(data)
    if found is None:
        return []
    picture, scale = found
    attributes = {
        "name": for_qt(f"{name} (picture)"),
        "rgb": picture.ndim == 3,
        "scale": um_per_px / scale,
        # The center of its pixel k is at (k + 0.5) / scale full-resolution pixels, which a slide's
        # layer shows half a pixel further up and left.
        "translate": (0.5 / scale - 0.5) * um_per_px,
        "units": (unit, unit),
    }
    return [(picture, attributes, "image")]


# --- values ---


def _heatmap_layers(prediction: AnnData) -> list["LayerData"]:
    from napari_nh2st.layers.heatmap import heatmap_layer, shown_gene, with_noted_limits

    raster = HeatmapRaster.of(prediction)
    scale, translate = raster.placement(slide_mpp(prediction))
    placement = {"scale": scale, "translate": translate, "units": ("um", "um")}
    name = for_qt(slide_stem(prediction))
    gene = shown_gene(prediction)
    data, attributes, kind = heatmap_layer(prediction, gene, name, placement, raster=raster)
    return [(data, with_noted_limits(prediction, attributes), kind)]


def _spot_layers(prediction: AnnData) -> list["LayerData"]:
    """Points of the predicted values and, below them, of the measured ones if there are any."""
    tables = {"predicted": pd.DataFrame(prediction.X, columns=prediction.var_names)}
    candidates = prediction
    if MEASURED in prediction.layers:
        measured = np.asarray(prediction.layers[MEASURED], np.float32)
        tables = {MEASURED: pd.DataFrame(measured, columns=prediction.var_names)} | tables
        known = np.isfinite(measured).any(0)
        candidates = prediction[:, known] if known.any() else prediction
    gene, genes = best_gene(candidates), prediction.var_names
    # One scale for both, so that a color means one value.
    limits = robust_limits(np.concatenate([table[gene].to_numpy() for table in tables.values()]))
    mpp = slide_mpp(prediction)
    stem = for_qt(slide_stem(prediction))
    untrained = "" if is_trained(prediction) else " · UNTRAINED"
    layers = []
    is_compared = MEASURED in tables
    for kind, table in tables.items():
        metadata: dict[str, Any] = {PREDICTION_KEY: prediction}
        if is_compared:
            metadata |= {COMPARISON_KEY: prediction, COMPARISON_KIND_KEY: kind}
        more = {name: column_values(prediction, name) for name in tile_columns(prediction, genes)}
        features = table.assign(**more)
        attributes = _points(prediction, features, gene, limits, mpp, "um") | {
            "name": f"{kind} · {stem}{untrained if kind != MEASURED else ''}",
            "visible": kind != MEASURED,
            "metadata": metadata,
        }
        layers.append((_centers(prediction, mpp), attributes, "points"))
    return layers


def _measured_layers(data: AnnData, path: Path) -> list["LayerData"]:
    """Points of raw counts, their total first."""
    spots = spots_of(data, Source(path, "AnnData"))
    mpp, unit = _um_per_px(spots)
    total = np.asarray(spots.X.sum(0)).ravel()  # of each gene
    most = np.sort(np.argsort(-total, kind="stable")[:_MOST_FEATURES])
    counts = pd.DataFrame(spots.X[:, most].toarray(), columns=spots.var_names[most])
    counts.insert(0, "total counts", np.asarray(spots.X.sum(1), np.float32).ravel())
    limits = robust_limits(counts["total counts"].to_numpy())
    attributes = _points(spots, counts, "total counts", limits, mpp, unit) | {
        "name": for_qt(path.stem),
        "metadata": {SPOTS_KEY: spots},
    }
    return [
        *_picture_layers(spots, path.stem, mpp, unit),
        (_centers(spots, mpp), attributes, "points"),
    ]


def _points(
    data: AnnData,
    features: pd.DataFrame,
    shown: str,
    limits: tuple[float, float],
    um_per_px: NDArray[np.float64],
    unit: str,
) -> dict[str, Any]:
    return {
        # Both are read in the status bar.
        "features": features.rename(columns=for_qt),
        "face_color": for_qt(shown),
        "face_colormap": "magma",
        "face_contrast_limits": limits,
        "border_width": 0,
        "size": _diameter(data) * float(np.mean(um_per_px)),
        "opacity": 0.8,
        "units": (unit, unit),
    }


def _centers(data: AnnData, um_per_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) (y, x) where a slide's layer shows these full-resolution pixels."""
    return (centers(data) - 0.5) * um_per_px


def _diameter(data: AnnData) -> float:
    """Diameter in full-resolution pixels; by default about half of the spots' distance."""
    try:
        return spot_diameter(data)
    except InputError:
        pixels = positions(data)
        if len(pixels) < 2:
            return 10.0
        return float(np.median(cKDTree(pixels).query(pixels, k=2)[0][:, 1])) * 0.55


def _um_per_px(spots: AnnData) -> tuple[NDArray[np.float64], str]:
    """µm per full-resolution pixel by the spots' known distance, else pixels; with the unit."""
    try:
        array = spot_array(spots)
        pitch = pitch_of(spots, array)
    except InputError:  # they lie on no array
        pitch = None
    if pitch is None:
        return np.ones(2), "pixel"
    return np.full(2, pitch / array.pitch_px), "um"
