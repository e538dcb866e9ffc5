"""``nh2st domains``: tiles grouped by their prediction."""

import argparse
from pathlib import Path
from typing import Any

from napari_nh2st.cli.options import (
    add_json,
    add_output,
    add_overwrite,
    add_prediction,
    add_setting,
    add_settings,
    given_settings,
)
from napari_nh2st.cli.output import notice, print_json, print_rows, show
from napari_nh2st.options import settings_of


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``nh2st domains``."""
    from napari_nh2st.analysis.domain_settings import DomainSettings

    add_prediction(command)
    add_output(
        command,
        "the prediction with its domains (.h5ad, .zarr, .spatialdata.zarr), or its tiles with "
        "their domain (.csv, .geojson for QuPath)",
    )
    add_settings(command, DomainSettings, {"min_reliability": _add_reliability})
    command.add_argument(
        "--markers", type=Path, metavar="CSV", help="write each domain's marker genes as well"
    )
    add_overwrite(command)
    add_json(command)


def _add_reliability(command: "argparse._ActionsContainer") -> None:
    from napari_nh2st.analysis.domain_settings import DomainSettings

    genes = command.add_mutually_exclusive_group()
    add_setting(genes, settings_of(DomainSettings)["min_reliability"])
    genes.add_argument(
        "--all-genes",
        dest="min_reliability",
        action="store_const",
        const=None,
        default=argparse.SUPPRESS,
        help="use all genes, whatever their correlation",
    )


def run(args: argparse.Namespace) -> None:
    """Run ``nh2st domains``."""
    from napari_nh2st.analysis import DomainSettings, NamedDomains, find_domains
    from napari_nh2st.analysis.named_domains import COLUMN
    from napari_nh2st.cli.result_files import check_result_place, read_prediction, write_results
    from napari_nh2st.export.table import check_table, write_table

    settings = DomainSettings(**given_settings(args, DomainSettings))
    check_result_place(args)
    if args.markers is not None:
        check_table(args.markers, args.overwrite, ("domain",))
    prediction = read_prediction(args.prediction)
    found = find_domains(prediction, settings)
    said = [each for each in (found.notice, NamedDomains.what_is_lost(prediction)) if each]
    domains = NamedDomains.found(found, NamedDomains.of(prediction))
    domains.write(prediction)
    with args.stop.cleaning_up():
        write_results(prediction, args, domains=COLUMN)
        if args.markers is not None:
            names = dict(enumerate(domains.names, start=1))
            table = found.markers.assign(domain=found.markers["domain"].map(names))
            write_table(table.set_index("domain"), args.markers, args.overwrite)
    legend = domains.legend()
    if args.json:
        print_json(
            {
                "output": str(args.output),
                "markers": None if args.markers is None else str(args.markers),
                "tiles": prediction.n_obs,
                "genes": list(found.genes),
                "resolution": found.resolution,
                "domains": [_as_json(row) for row in legend.to_dict("records")],
                "notices": said,
            }
        )
        return
    for each in said:
        notice(each)
    stable = () if domains.stable is None else (f"in all {domains.n_heads} heads",)
    rows = [
        (
            str(row["domain"]),
            f"{row['tiles']}",
            f"{row['share']:.0f} %",
            *(f"{row['stable']:.0f} %" for _ in stable),
            ", ".join(row["markers"]),
        )
        for row in legend.to_dict("records")
    ]
    print_rows([("domain", "tiles", "share", *stable, "markers"), *rows])
    show(f"{args.output}: {found.n} domains of {prediction.n_obs} tiles")


def _as_json(row: dict[Any, Any]) -> dict[str, Any]:
    return {
        "name": str(row["domain"]),
        "tiles": int(row["tiles"]),
        "percent": float(row["share"]),
        **({"percent_in_all_heads": float(row["stable"])} if "stable" in row else {}),
        "markers": list(row["markers"]),
    }
