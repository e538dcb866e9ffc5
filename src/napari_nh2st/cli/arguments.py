"""The command's arguments."""

import argparse
from pathlib import Path

from napari_nh2st.cli.export import add_export_command
from napari_nh2st.cli.training_arguments import LateParser, add_training_commands
from napari_nh2st.model.config import CONTEXTS


def parser() -> argparse.ArgumentParser:
    """The parser of ``nh2st``; each command sets ``command`` (and ``model_command``)."""
    top = argparse.ArgumentParser(
        prog="nh2st",
        description="Predict gene expression from H&E whole-slide images with NH2ST.",
        epilog="Exit codes: 0 done, 1 failed or stopped, 2 something given cannot be used.",
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=LateParser)
    _info(commands.add_parser("info", help="what a slide is: levels, µm/px, associated images"))
    _predict(commands.add_parser("predict", help="predict expression over a slide"))
    add_export_command(commands)
    _model(commands.add_parser("model", help="list, show, check or make models"))
    add_training_commands(commands)
    demo = commands.add_parser("demo", help="predict a sample slide and draw heatmaps")
    demo.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("nh2st-demo"),
        metavar="DIR",
        help="folder for the prediction and the picture (default: nh2st-demo)",
    )
    _json(demo)
    return top


def _json(command: argparse.ArgumentParser) -> None:
    command.add_argument("--json", action="store_true", help="print JSON, for programs")


def _info(command: argparse.ArgumentParser) -> None:
    command.add_argument("slide", type=Path, help="slide to look at")
    command.add_argument("--mpp", type=float, metavar="X", help="µm/px, if you know better")
    _json(command)


def _predict(command: argparse.ArgumentParser) -> None:
    command.add_argument("slide", type=Path, help="slide to predict")
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="OUT",
        help=".h5ad or .zarr to write; a stopped run goes on when started again",
    )
    command.add_argument(
        "--model",
        metavar="M",
        help="bundled name, folder, or Hugging Face owner/name@REVISION",
    )
    genes = command.add_mutually_exclusive_group()
    genes.add_argument("--genes", metavar="A,B", help="genes of the panel (default: all)")
    genes.add_argument("--genes-file", type=Path, metavar="F", help="one gene per line")
    command.add_argument(
        "--region",
        type=Path,
        metavar="R.geojson",
        help="only within these polygons, in full-resolution pixels",
    )
    command.add_argument("--mpp", type=float, metavar="X", help="µm/px of the slide")
    command.add_argument(
        "--pitch-um", type=float, metavar="P", help="distance between tiles (default: the model's)"
    )
    command.add_argument(
        "--layout", choices=("square", "hexagonal"), help="of the tiles (default: the model's)"
    )
    command.add_argument(
        "--min-tissue",
        type=float,
        default=0.25,
        metavar="S",
        help="share of a tile that has to be tissue (default: 0.25)",
    )
    command.add_argument("--all-tiles", action="store_true", help="predict glass as well")
    command.add_argument(
        "--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:N or mps"
    )
    command.add_argument(
        "--precision",
        default="auto",
        choices=("auto", "float32", "bfloat16", "float16"),
        help="default: what is fastest on the device without harm",
    )
    command.add_argument("--batch-size", type=int, metavar="N", help="tiles per step")
    command.add_argument("--reader-threads", type=int, metavar="N", help="threads that decode")
    command.add_argument(
        "--any-stain", action="store_true", help="also slides that are not brightfield"
    )
    command.add_argument("--picture", type=Path, metavar="PNG", help="draw heatmaps as well")
    command.add_argument("--overwrite", action="store_true", help="replace an existing output")
    _json(command)


def _model(command: argparse.ArgumentParser) -> None:
    actions = command.add_subparsers(dest="model_command", metavar="ACTION", required=True)
    _json(actions.add_parser("list", help="bundled models"))
    for name, text in (("info", "what a model is"), ("check", "load it and check everything")):
        action = actions.add_parser(name, help=text)
        action.add_argument("model", metavar="M", help="bundled name, folder or Hub id")
        _json(action)
    imported = actions.add_parser("import", help="take over a checkpoint of the released code")
    imported.add_argument("checkpoint", type=Path, metavar="CKPT")
    _panel_and_output(imported)
    imported.add_argument(
        "--mpp", type=float, required=True, metavar="X", help="µm/px it was trained at"
    )
    new = actions.add_parser("new", help="make an UNTRAINED model, for trying things out")
    _panel_and_output(new)
    new.add_argument("--seed", type=int, default=0, metavar="N", help="of the random weights")
    new.add_argument("--context", default="query", choices=CONTEXTS)
    new.add_argument("--mpp", type=float, default=0.5, metavar="X", help="default: 0.5")


def _panel_and_output(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--genes-file", type=Path, required=True, metavar="F", help="the panel, one gene per line"
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    command.add_argument("--name", help="default: the folder's name")
    command.add_argument("--pitch-um", type=float, metavar="P", help="default: a tile's side")
