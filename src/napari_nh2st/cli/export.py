"""``nh2st export``: a prediction in another format."""

import argparse

from napari_nh2st.cli.options import (
    add_genes,
    add_json,
    add_output,
    add_overwrite,
    add_prediction,
    chosen_genes,
)
from napari_nh2st.cli.output import print_json, show

FORMAT_NAMES = (
    "h5ad",
    "zarr",
    "spatialdata",
    "geojson",
    "vitessce",
    "csv",
    "ome-zarr",
    "png",
    "svg",
    "pdf",
)
"""Those of :data:`napari_nh2st.export.FORMATS`, here so that ``--help`` imports nothing."""


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``nh2st export``."""
    add_prediction(command)
    add_output(
        command,
        "file to write: .h5ad, .zarr, .spatialdata.zarr, .geojson (for QuPath), .vitessce "
        "(a folder for the browser), .csv, .ome.zarr, .png, .svg or .pdf",
    )
    command.add_argument(
        "--format", choices=FORMAT_NAMES, help="where the ending of the output does not give it"
    )
    add_genes(command, "which (default: all; in a figure the most reliable one)")
    command.add_argument(
        "--domains",
        metavar="COLUMN",
        help="column of obs by which tiles are classified (GeoJSON) or colored (Vitessce)",
    )
    add_overwrite(command)
    add_json(command)


def run(args: argparse.Namespace) -> None:
    """Run ``nh2st export``."""
    from napari_nh2st.export import export, format_of, read_anndata_file

    chosen = format_of(args.output, args.format)  # before a large file is read
    genes = chosen_genes(args)
    prediction = read_anndata_file(args.prediction)
    with args.stop.cleaning_up():
        export(
            prediction,
            args.output,
            format=chosen.name,
            genes=genes,
            domains=args.domains,
            overwrite=args.overwrite,
        )
    if args.json:
        print_json(
            {
                "output": str(args.output),
                "format": chosen.name,
                "tiles": prediction.n_obs,
                "genes": None if genes is None else list(genes),
            }
        )
    else:
        show(f"{args.output}: {chosen.title}, {prediction.n_obs} tiles")
