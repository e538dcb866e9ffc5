"""``nh2st score``: signatures over the tiles of a prediction."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_nh2st.cli.options import add_json, add_output, add_overwrite, add_prediction
from napari_nh2st.cli.output import notice, print_json, show
from napari_nh2st.errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``nh2st score``."""
    add_prediction(command)
    add_output(
        command,
        "the prediction with the scores in obs (.h5ad, .zarr, .spatialdata.zarr), or the "
        "tiles with their scores (.csv, .geojson for QuPath)",
    )
    genes = command.add_mutually_exclusive_group(required=True)
    genes.add_argument(
        "--signatures", type=Path, metavar="SETS.gmt", help="gene sets in the GMT format"
    )
    genes.add_argument("--genes", metavar="A,B", help="the genes of one signature")
    genes.add_argument(
        "--genes-file",
        type=Path,
        metavar="F",
        help="text file with the genes of one signature, separated by commas, spaces or lines",
    )
    command.add_argument(
        "--name", help="name of the signature (default: signature, or the file's name)"
    )
    add_overwrite(command)
    add_json(command)


def run(args: argparse.Namespace) -> None:
    """Run ``nh2st score``."""
    from napari_nh2st.analysis import keep_signatures
    from napari_nh2st.analysis.signatures import found_text
    from napari_nh2st.cli.result_files import check_result_place, read_prediction, write_results
    from napari_nh2st.prediction.stored_names import stored_name

    check_result_place(args)
    signatures = _given_signatures(args)
    prediction = read_prediction(args.prediction)
    matches = keep_signatures(prediction, signatures)
    columns = [stored_name(key) for key, match in matches.items() if match.found]
    with args.stop.cleaning_up():
        write_results(prediction, args, _as_measurements(prediction, columns))
    listed = {key: len(match.found) + len(match.unknown) for key, match in matches.items()}
    notices = [
        f"{key}: {found_text(listed[key], match)}"
        for key, match in matches.items()
        if match.unknown
    ]
    if args.json:
        print_json(
            {
                "output": str(args.output),
                "tiles": prediction.n_obs,
                "signatures": {
                    key: {
                        "genes": list(match.found),
                        "listed": listed[key],
                        "not_found": {gene: list(near) for gene, near in match.unknown.items()},
                    }
                    for key, match in matches.items()
                },
                "notices": notices,
            }
        )
        return
    for sentence in notices:
        notice(sentence)
    scored = sum(bool(match.found) for match in matches.values())
    show(f"{args.output}: {scored} of {len(matches)} signatures, {prediction.n_obs} tiles")


def _given_signatures(args: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    from napari_nh2st.analysis import parse_genes, read_gmt

    if args.signatures is not None:
        if args.name is not None:
            raise InputError("--name cannot be used with --signatures: the sets have names")
        return read_gmt(args.signatures)
    if args.genes is not None:
        text, name = args.genes, "signature"
    else:
        try:
            text, name = args.genes_file.read_text(encoding="utf-8-sig"), args.genes_file.stem
        except UnicodeDecodeError:
            raise InputError(f"{args.genes_file} is not a text file of gene names") from None
    genes = parse_genes(text)
    if not genes:
        raise InputError("There is no gene in the signature; give at least one")
    return {args.name or name: genes}


def _as_measurements(prediction: "AnnData", columns: list[str]) -> "AnnData":
    """Scores as QuPath has them: measurements, as genes are."""
    import anndata
    import numpy as np
    import pandas as pd

    return anndata.AnnData(
        prediction.obs[columns].to_numpy(np.float32),
        obs=prediction.obs,
        var=pd.DataFrame(index=columns),
        obsm=prediction.obsm,
        uns=prediction.uns,
    )
