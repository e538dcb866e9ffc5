"""``nh2st demo``: a sample slide predicted and drawn."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_nh2st.cli.options import add_json
from napari_nh2st.cli.output import print_json, show

if TYPE_CHECKING:
    from napari_nh2st.cli.late_parser import LateParser


def add_demo_command(commands: "argparse._SubParsersAction[LateParser]") -> None:
    """Add ``demo`` to the commands of ``nh2st``."""
    command = commands.add_parser("demo", help="predict a sample slide and draw heatmaps")
    command.set_defaults(run=show_demo)
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("nh2st-demo"),
        metavar="DIR",
        help="folder for the prediction and the picture (default: nh2st-demo)",
    )
    add_json(command)


def show_demo(args: argparse.Namespace) -> None:
    """Run ``nh2st demo``.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    from napari_nh2st.cli.progress import ProgressReport
    from napari_nh2st.demo import run_demo

    report = ProgressReport(args.stop, quiet=args.json)
    say: Callable[[str], None] = (lambda text: None) if args.json else show
    try:
        with args.stop.cleaning_up():
            result = run_demo(args.output, say, report)
    finally:
        report.close()
    if args.json:
        content = {name: str(value) for name, value in vars(result).items()}
        print_json(content | {"notices": list(report.notices)})
    else:
        show(f"Prediction: {result.prediction}\nPicture: {result.picture}")
