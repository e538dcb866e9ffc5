"""Every format a prediction can be exported to, and the function that does it."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.files import (  # noqa: F401  the package gives them from here
    check_output,
    read_anndata_file,
    write_anndata,
)
from napari_nh2st.prediction.schema import MARK, check_prediction
from napari_nh2st.prediction.values import best_gene, chosen_genes, predicted_tiles

if TYPE_CHECKING:
    from napari_nh2st.export.figure_settings import FigureSettings


@dataclass(frozen=True)
class _Request:
    """What is asked of a writer; each heeds what it can."""

    genes: tuple[str, ...] | None
    domains: str | None
    figure: "FigureSettings | None"
    overwrite: bool


@dataclass(frozen=True)
class Format:
    """A format of exported files.

    Parameters
    ----------
    name
        Name, as given to :func:`export`.
    suffix
        The end of a file's name by which the format is recognized.
    title
        Title in file dialogs.
    write
        Function that writes it.
    """

    name: str
    suffix: str
    title: str
    write: Callable[[AnnData, Path, _Request], None]

    def accepts(self, path: Path) -> bool:
        """Whether a file may have this name if the format is given explicitly."""
        return path.name.lower().endswith(f".{self.suffix.rpartition('.')[2]}")


def _anndata(prediction: AnnData, path: Path, request: _Request) -> None:
    if request.genes is not None:
        prediction = prediction[:, list(chosen_genes(prediction, request.genes))].copy()
    write_anndata(prediction, path, request.overwrite)


def _spatialdata(prediction: AnnData, path: Path, request: _Request) -> None:
    from napari_nh2st.export.spatialdata_store import write_spatialdata

    write_spatialdata(prediction, path, genes=request.genes, overwrite=request.overwrite)


def _geojson(prediction: AnnData, path: Path, request: _Request) -> None:
    from napari_nh2st.export.geojson import write_geojson

    write_geojson(
        prediction,
        path,
        genes=request.genes,
        domains=request.domains,
        overwrite=request.overwrite,
    )


def _vitessce(prediction: AnnData, path: Path, request: _Request) -> None:
    from napari_nh2st.export.vitessce_folder import write_vitessce

    write_vitessce(
        prediction,
        path,
        genes=request.genes,
        domains=request.domains,
        overwrite=request.overwrite,
    )


def _csv(prediction: AnnData, path: Path, request: _Request) -> None:
    from napari_nh2st.export.table import prediction_table, write_table

    write_table(prediction_table(prediction, request.genes), path, request.overwrite)


def _ome_zarr(prediction: AnnData, path: Path, request: _Request) -> None:
    from napari_nh2st.export.ome_zarr import write_ome_zarr

    write_ome_zarr(prediction, path, genes=request.genes, overwrite=request.overwrite)


def _figure(prediction: AnnData, path: Path, request: _Request) -> None:
    from napari_nh2st.export.figure import check_figure, save_heatmap_figure

    check_figure(path, request.overwrite)
    genes = request.genes if request.genes is not None else (best_gene(prediction),)
    save_heatmap_figure(prediction, genes, path, request.figure)


FORMATS = (
    Format("h5ad", ".h5ad", "AnnData", _anndata),
    Format("zarr", ".zarr", "AnnData", _anndata),
    Format("spatialdata", ".spatialdata.zarr", "SpatialData", _spatialdata),
    Format("geojson", ".geojson", "GeoJSON for QuPath", _geojson),
    Format("vitessce", ".vitessce", "Vitessce, in a browser", _vitessce),
    Format("csv", ".csv", "Table of tiles", _csv),
    Format("ome-zarr", ".ome.zarr", "OME-Zarr heatmaps", _ome_zarr),
    Format("png", ".png", "Figure", _figure),
    Format("svg", ".svg", "Figure", _figure),
    Format("pdf", ".pdf", "Figure", _figure),
)
"""All formats, in the order in which they are offered."""


def format_of(path: str | os.PathLike[str], name: str | None = None) -> Format:
    """Find the format of a file to export.

    Parameters
    ----------
    path
        Its suffix gives the format: ``.spatialdata.zarr`` and ``.ome.zarr`` before ``.zarr``.
    name
        Name of the format, which overrides the suffix.

    Raises
    ------
    InputError
        There is no such format, or the file's name does not fit it.

    Examples
    --------
    >>> format_of("maps.ome.zarr").title
    'OME-Zarr heatmaps'
    """
    path = Path(path)
    if name is not None:
        for known in FORMATS:
            if known.name == name:
                if not known.accepts(path):
                    raise InputError(f"{path}: a file of format {name} ends in {known.suffix}")
                return known
        known_names = ", ".join(known.name for known in FORMATS)
        raise InputError(f"There is no format {name!r}; there are {known_names}.")
    fitting = [known for known in FORMATS if path.name.lower().endswith(known.suffix)]
    if not fitting:
        suffixes = ", ".join(known.suffix for known in FORMATS)
        raise InputError(f"{path}: the name must end in one of {suffixes}")
    return max(fitting, key=lambda known: len(known.suffix))


def export(
    prediction: AnnData,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    genes: Sequence[str] | None = None,
    domains: str | None = None,
    figure: "FigureSettings | None" = None,
    overwrite: bool = False,
) -> None:
    """Write a prediction for other tools: complete, or not at all.

    Parameters
    ----------
    prediction
        From :func:`~napari_nh2st.inference.predict`, at tiles, or at spots.
    path
        File or folder to write. Its suffix gives the format: ``.h5ad`` and ``.zarr`` (AnnData),
        ``.spatialdata.zarr``, ``.geojson`` (for QuPath, with a script beside it),
        ``.vitessce`` (a folder for the browser), ``.csv``, ``.ome.zarr`` (heatmaps),
        ``.png``, ``.svg`` and ``.pdf`` (figures).
    format
        Name of a format in :data:`FORMATS`, if the suffix does not give it.
    genes
        Genes to write, in this order. None for all, or for the most reliable one in a figure.
    domains
        Column of ``obs`` by which tiles are classified in GeoJSON and colored in Vitessce.
    figure
        How a figure is drawn.
    overwrite
        Whether an existing output may be replaced; folders only if this program wrote them.

    Raises
    ------
    InputError
        The format is unknown, the AnnData is not a prediction or has no value yet, a gene is not in
        it, the path exists already, or writing failed, for example on a full disk.

    Examples
    --------
    .. code-block:: python

        export(prediction, "tiles.geojson", genes=("ERBB2", "CD74"))
    """
    place = Path(path).expanduser()
    write = format_of(place, format).write
    if write is not _anndata:  # which holds measured spots as well
        check_prediction(prediction)
    if MARK in prediction.uns and not predicted_tiles(prediction).any():
        raise InputError(
            f"{place} is not written: no tile of the prediction has a value. Predict it first; a "
            "stopped prediction continues where it was"
        )
    chosen = None if genes is None else tuple(genes)
    write(prediction, place, _Request(chosen, domains, figure, overwrite))
