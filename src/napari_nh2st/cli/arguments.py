"""Arguments of ``nh2st``."""

import argparse

from napari_nh2st.cli.demo import add_demo_command
from napari_nh2st.cli.domains import add_domains_command
from napari_nh2st.cli.export import add_export_command
from napari_nh2st.cli.info import add_info_command
from napari_nh2st.cli.late_parser import LateParser
from napari_nh2st.cli.model import add_model_command
from napari_nh2st.cli.predict import add_predict_command
from napari_nh2st.cli.score import add_score_command
from napari_nh2st.cli.training_arguments import add_training_commands


def parser() -> argparse.ArgumentParser:
    """The parser of ``nh2st``; each command sets ``run``, a function of the arguments."""
    top = LateParser(
        prog="nh2st",
        description="Predict gene expression from H&E whole-slide images with NH2ST.",
        epilog="Exit codes: 0 done, 1 failed or stopped, 2 an argument or input cannot be used.",
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=LateParser)
    add_info_command(commands)
    add_predict_command(commands)
    add_domains_command(commands)
    add_score_command(commands)
    add_export_command(commands)
    add_model_command(commands)
    add_training_commands(commands)
    add_demo_command(commands)
    return top
