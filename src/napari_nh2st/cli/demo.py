"""``nh2st demo``: a sample slide predicted and drawn."""

import argparse
from collections.abc import Callable
from pathlib import Path

from napari_nh2st.cli.options import add_json
from napari_nh2st.cli.output import print_json, show


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of ``nh2st demo``."""
    command.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("nh2st-demo"),
        metavar="DIR",
        help="folder for the prediction and the picture (default: nh2st-demo)",
    )
    add_json(command)


def run(args: argparse.Namespace) -> None:
    """Run ``nh2st demo``."""
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
