"""Files of what ``nh2st domains`` and ``nh2st score`` add to a prediction."""

import argparse
from pathlib import Path

from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.export import export, format_of, read_anndata_file
from napari_nh2st.export.geojson import check_geojson, write_geojson
from napari_nh2st.export.table import check_table, prediction_table, write_table
from napari_nh2st.prediction.schema import check_prediction

ANNDATA = ("h5ad", "zarr", "spatialdata")
SUFFIXES = ".h5ad, .zarr, .spatialdata.zarr, .csv or .geojson"


def check_result_place(args: argparse.Namespace) -> str:
    """The name of the output's format, before a large file is read.

    Raises
    ------
    InputError
        It is none that holds such results, or the file is there already.
    """
    name = format_of(args.output).name
    if name not in (*ANNDATA, "csv", "geojson"):
        raise InputError(f"{args.output}: the output must end in {SUFFIXES}")
    if args.output.exists() and not args.overwrite:
        raise InputError(f"{args.output} already exists; give another name or allow overwriting")
    if name == "csv":
        check_table(args.output, args.overwrite)
    elif name == "geojson":
        check_geojson(args.output, args.overwrite)
    return name


def read_prediction(path: Path) -> AnnData:
    """Read a prediction, of tiles or of spots.

    Raises
    ------
    InputError
        It cannot be read, or is none.
    """
    prediction = read_anndata_file(path)
    try:
        check_prediction(prediction)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return prediction


def write_results(
    prediction: AnnData,
    args: argparse.Namespace,
    measurements: AnnData | None = None,
    domains: str | None = None,
) -> None:
    """Write a prediction with its results, or its tiles with the results alone.

    Parameters
    ----------
    prediction
        With the results in ``obs``.
    args
        With ``output`` and ``overwrite``, see :func:`check_result_place`.
    measurements
        Tiles × values for GeoJSON; none by default.
    domains
        Column of ``obs`` by which GeoJSON's tiles are classified.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    name = check_result_place(args)
    without_genes = prediction[:, :0]
    if name == "csv":
        write_table(prediction_table(without_genes), args.output, args.overwrite)
    elif name == "geojson":
        tiles = without_genes if measurements is None else measurements
        write_geojson(tiles, args.output, domains=domains, overwrite=args.overwrite)
    else:
        export(prediction, args.output, overwrite=args.overwrite)
