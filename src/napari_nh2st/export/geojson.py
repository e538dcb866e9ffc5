"""Tiles as GeoJSON, for QuPath."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.export.classes import TileClasses, tile_classes
from napari_nh2st.export.qupath_script import check_qupath_script, write_qupath_script
from napari_nh2st.files import check_place, whole_output
from napari_nh2st.prediction.outlines import tile_outlines
from napari_nh2st.prediction.schema import MARK, STATUS, notes, origin
from napari_nh2st.prediction.values import chosen_genes


def write_geojson(
    prediction: AnnData,
    path: Path,
    *,
    genes: Sequence[str] | None = None,
    domains: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write one feature per tile, for import into QuPath by *File › Import objects*.

    A feature is a tile object of QuPath (``objectType``) named as in ``obs_names``, whose
    measurements are its genes. Its id depends on slide and tile alone. A tile without a value has
    no measurement; its status is in the metadata.
    Tiles wholly beyond the scanned part of a slide are left out. A script of the same name,
    ``.groovy``, is written beside the file; it imports the file in QuPath and colors the tiles.

    Parameters
    ----------
    prediction
        Prediction at tiles or spots.
    path
        File to write. Coordinates are full-resolution pixels, as QuPath counts them: from the
        corner of the scanned part if the slide has bounds. Outlines end at the slide's edge.
    genes
        Genes to write as measurements, in this order; None for all, which makes large files.
    domains
        Column of ``obs`` that becomes the tiles' classification; colors are those of
        ``uns[f"{domains}_colors"]``, if scanpy or this package stored any.
    overwrite
        Whether an existing file that this function wrote may be replaced. An existing script that
        it wrote always is.

    Raises
    ------
    InputError
        There is no such gene or column, or the file may not or cannot be written.
    """
    names = chosen_genes(prediction, genes)
    classes = None if domains is None else tile_classes(prediction, domains)
    labels = None if classes is None else _classifications(classes)
    outlines = in_qupath(prediction, tile_outlines(prediction))
    check_geojson(path, overwrite)
    head = json.dumps({"type": "FeatureCollection", MARK: origin(prediction)})
    with whole_output(path) as draft, draft.open("w", encoding="utf-8") as file:
        file.write(head[:-1] + ', "features": [')
        for number, feature in enumerate(_features(prediction, names, outlines, labels)):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(feature, ensure_ascii=False, allow_nan=False))
        file.write("\n]}\n")
    write_qupath_script(prediction, path, names, classes)


def in_qupath(prediction: AnnData, outlines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Outlines as QuPath has them: cut at the edge of what it shows, counted from its corner.

    Parameters
    ----------
    prediction
        Its slide's size and bounds are recorded; files of older versions have neither bounds nor,
        at spots, a size.
    outlines
        (n, 5, 2) closed rings, (x, y) in full-resolution pixels of the whole slide.
    """
    slide = notes(prediction)["slide"]
    if "shape" not in slide:
        return outlines
    height, width = np.asarray(slide["shape"], float)
    y, x, height, width = np.asarray(slide.get("bounds", (0, 0, height, width)), float)
    return np.asarray(np.clip(outlines - (x, y), 0, (width, height)))


def check_geojson(path: Path, overwrite: bool) -> None:
    """See beforehand that GeoJSON and the script beside it can be written.

    Raises
    ------
    InputError
        A file is there that may not be overwritten or that :func:`write_geojson` did not write, or
        its folder cannot be written to.
    """
    check_place(path, overwrite, is_ours=_is_ours, kind="GeoJSON that NH2ST wrote")
    check_qupath_script(path)


def _is_ours(path: Path) -> bool:
    start = json.dumps({"type": "FeatureCollection", MARK: {}}).removesuffix("}}")
    with path.open("rb") as file:
        return file.read(len(start)) == start.encode()


def _features(
    prediction: AnnData,
    genes: tuple[str, ...],
    outlines: NDArray[np.float64],
    classes: list[dict[str, Any] | None] | None,
) -> Iterator[dict[str, Any]]:
    columns = prediction.var_names.get_indexer(list(genes))
    slide = _slide_id(prediction)
    status = prediction.obs[STATUS].astype(str) if STATUS in prediction.obs else None
    for row, name in enumerate(prediction.obs_names.astype(str)):
        if not np.ptp(outlines[row], axis=0).all():
            continue  # beyond what QuPath shows: nothing is left of it
        values = prediction.X[row, columns]
        known = np.flatnonzero(np.isfinite(values))
        properties: dict[str, Any] = {"objectType": "tile", "name": name}
        if classes is not None and (label := classes[row]) is not None:
            properties["classification"] = label
        if known.size:
            # The shortest number that is read as the same float32, not the 17 digits of a double.
            properties["measurements"] = {genes[k]: float(str(values[k])) for k in known}
        elif status is not None:
            properties["metadata"] = {"status": status.iloc[row]}
        yield {
            "type": "Feature",
            "id": str(uuid5(slide, name)),
            "geometry": {"type": "Polygon", "coordinates": [outlines[row].round(3).tolist()]},
            "properties": properties,
        }


def _slide_id(prediction: AnnData) -> UUID:
    slide = notes(prediction)["slide"]
    return uuid5(NAMESPACE_URL, f"nh2st:{slide.get('fingerprint', slide['name'])}")


def _classifications(classes: TileClasses) -> list[dict[str, Any] | None]:
    """QuPath's classification of each tile; None where it belongs to no class."""
    described: list[dict[str, Any]] = [
        {"name": name} | ({"color": list(classes.colors[name])} if classes.colors else {})
        for name in classes.names
    ]
    return [described[code] if code >= 0 else None for code in classes.labels.codes]
