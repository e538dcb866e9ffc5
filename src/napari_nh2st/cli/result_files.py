"""Files of what ``nh2st domains`` and ``nh2st score`` add to a prediction."""

import argparse
from pathlib import Path

from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.export import format_of, read_anndata_file
from napari_nh2st.export.geojson import check_geojson
from napari_nh2st.export.table import check_table
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
        raise InputError(f"{args.output} exists already; give another name or allow overwriting")
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
