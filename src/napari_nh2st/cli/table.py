"""``nh2st table``: means of genes and signatures over a cohort."""

import argparse
import sys
from pathlib import Path

from napari_nh2st.cli.options import (
    add_genes,
    add_json,
    add_output,
    add_overwrite,
    chosen_genes,
)
from napari_nh2st.cli.output import notice, print_json, show

_COLUMNS = ("slide", "region", "n_tiles")


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``nh2st table``."""
    command.add_argument(
        "folder", type=Path, help="output folder of nh2st predict for several slides"
    )
    add_output(command, "the table (.csv; default: on stdout)", required=False)
    add_genes(command, "genes, with a column each (default: all)")
    command.add_argument(
        "--signatures",
        type=Path,
        metavar="SETS.gmt",
        help="gene sets in the GMT format, with a column each",
    )
    add_overwrite(command)
    add_json(command)


def run(args: argparse.Namespace) -> None:
    """Run ``nh2st table``.

    Raises
    ------
    InputError
        As :func:`~napari_nh2st.cohort.cohort_table`; the table cannot be written.
    """
    from napari_nh2st.analysis import read_gmt
    from napari_nh2st.cohort.table import cohort_table
    from napari_nh2st.export.table import check_table, write_table

    if args.output is not None:
        check_table(args.output, args.overwrite, _COLUMNS)
    signatures = read_gmt(args.signatures) if args.signatures is not None else {}
    table = cohort_table(args.folder, chosen_genes(args), signatures)
    for sentence in table.attrs["notices"]:
        notice(sentence)
    if args.output is not None:
        with args.stop.cleaning_up():
            write_table(table.set_index("slide"), args.output, args.overwrite)
    if args.json:
        print_json(
            {
                "output": None if args.output is None else str(args.output),
                "rows": table.to_dict("records"),
                "notices": list(table.attrs["notices"]),
            }
        )
    elif args.output is None:
        table.to_csv(sys.stdout, index=False, lineterminator="\n")
    else:
        slides = table["slide"].nunique()
        show(f"{args.output}: {slides} slides, {len(table)} rows × {table.shape[1]} columns")
