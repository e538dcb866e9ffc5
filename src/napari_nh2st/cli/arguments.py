"""Commands of ``nh2st``, and the parser of their arguments."""

import argparse
from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any

from napari_nh2st.cli.late_parser import LateParser

_COMMANDS = {
    "info": ("show a slide's levels, µm/px, associated images and damage", "info:add_options"),
    "predict": ("predict expression over a slide, or many", "predict:add_options"),
    "domains": ("group the tiles of a prediction into domains", "domains:add_options"),
    "score": ("score gene signatures over a prediction", "score:add_options"),
    "table": ("write a table of gene and signature means over many slides", "table:add_options"),
    "export": ("write a prediction in another tool's format", "export:add_options"),
    "model": ("list, show, check, make, publish or fetch models", "model:add_actions"),
    "train": ("train or fine-tune a model on measured sections", "training_arguments:train"),
    "evaluate": ("score a model on measured sections", "training_arguments:evaluate"),
    "crossval": (
        "train with each donor or section left out, and score the one left out",
        "training_arguments:crossval",
    ),
    "config": ("show or write the file with your own default settings", "config:add_actions"),
    "cache": ("show or clear what is stored to speed up later runs", "cache:add_options"),
    "doctor": (
        "list what is installed, what is missing, and how to install it",
        "doctor:add_options",
    ),
    "completion": (
        "print the script for completing this command in a shell",
        "completion:add_options",
    ),
    "demo": ("predict a sample slide and draw heatmaps", "demo:add_options"),
}
"""Help of each command, and what adds its options.

``run`` of the command's module takes the arguments. It raises an ``InputError`` where they, or
what they name, cannot be used, and a ``KeyboardInterrupt`` whose text says what a stop has left. It
returns an exit code where some of its work failed, and None where all is done.
"""


def parser(*, whole: bool = False) -> argparse.ArgumentParser:
    """The parser of ``nh2st``; each command sets ``run``, a function of the arguments.

    Parameters
    ----------
    whole
        Add the options of every command now, as the reference of the documentation needs them,
        and not when the command is used.
    """
    top = LateParser(
        prog="nh2st",
        description="Predict gene expression from H&E whole-slide images with NH2ST.",
        epilog="Exit codes: 0 done, 1 failed or stopped, 2 an argument or input cannot be used.",
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=LateParser)
    for name, (text, add_options) in _COMMANDS.items():
        command = commands.add_parser(name, help=text)
        command.add_late = _later(add_options)
        command.set_defaults(run=_later(f"{name}:run"))
        command.table = name
        if whole:
            command.add_options()
    return top


def _later(name: str) -> Callable[[Any], Any]:
    """A function of a module of this folder, imported when it is called."""

    def call(argument: Any) -> Any:
        return resolve_name(f"napari_nh2st.cli.{name}")(argument)

    return call
