"""``nh2st export``: a prediction in another format."""

import argparse
from typing import TYPE_CHECKING

from napari_nh2st.cli.options import (
    add_genes,
    add_json,
    add_output,
    add_overwrite,
    add_prediction,
    add_settings,
    chosen_genes,
    given_options,
    given_settings,
)
from napari_nh2st.cli.output import print_json, show
from napari_nh2st.errors import InputError

if TYPE_CHECKING:
    from napari_nh2st.export import FigureSettings, Format

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
    from napari_nh2st.export.figure_settings import FigureSettings

    add_prediction(command)
    add_output(
        command,
        "file to write: .h5ad, .zarr, .spatialdata.zarr, .geojson (for QuPath), .vitessce "
        "(a folder for the browser), .csv, .ome.zarr, .png, .svg or .pdf",
    )
    command.add_argument(
        "--format",
        choices=FORMAT_NAMES,
        help="format, if the suffix of the output does not give it",
    )
    add_genes(command, "genes to write (default: all; in a figure the most reliable one)")
    command.add_argument(
        "--domains",
        metavar="COLUMN",
        help="column of obs by which tiles are classified (GeoJSON) or colored (Vitessce)",
    )
    add_overwrite(command)
    add_json(command)
    figures = command.add_argument_group("figures", "of .png, .svg and .pdf")
    add_settings(figures, FigureSettings, {})


def run(args: argparse.Namespace) -> None:
    """Run ``nh2st export``."""
    from napari_nh2st.export import export, format_of, read_anndata_file

    chosen = format_of(args.output, args.format)  # before a large file is read
    figure = _figure_settings(args, chosen)
    genes = chosen_genes(args)
    prediction = read_anndata_file(args.prediction)
    with args.stop.cleaning_up():
        export(
            prediction,
            args.output,
            format=chosen.name,
            genes=genes,
            domains=args.domains,
            figure=figure,
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


def _figure_settings(args: argparse.Namespace, chosen: "Format") -> "FigureSettings | None":
    """How a figure is drawn; None for another format, for which no such option may be given."""
    from napari_nh2st.export import FigureSettings
    from napari_nh2st.export.figure import SUFFIXES

    if chosen.suffix in SUFFIXES:
        return FigureSettings(**given_settings(args, FigureSettings))
    for name in given_options(args, FigureSettings):
        raise InputError(f"--{name} is for figures ({', '.join(SUFFIXES)}), not for {args.output}")
    return None
