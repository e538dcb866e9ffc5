"""Arguments of ``nh2st train``, ``evaluate`` and ``crossval``."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_nh2st.cli.options import (
    add_json,
    add_model,
    add_settings,
    comma_list,
    given_settings,
    in_running_text,
    read_genes,
    without_configured,
)
from napari_nh2st.errors import InputError
from napari_nh2st.options import settings_of

if TYPE_CHECKING:
    from napari_nh2st.training import TrainSettings

_PANEL = ("n_genes", "leave_out_ribosomal", "leave_out_mitochondrial")


def train_settings(args: argparse.Namespace) -> "TrainSettings":
    """The settings that were given; all others keep the defaults of ``TrainSettings``.

    Raises
    ------
    InputError
        A value is out of its range, or two options do not go together.
    """
    from napari_nh2st.model.sources import whole_path
    from napari_nh2st.training import TrainSettings

    if "genes_file" in args:
        if "n_genes" in args:
            raise InputError("--n-genes cannot be used with --genes-file: all its genes are taken")
        args.rule, args.genes = "given", read_genes(args.genes_file)
        without_configured(args, "n_genes")
    elif "start" in args and "rule" not in args and "rule" not in args.configured:
        without_configured(args, *_PANEL)
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in _PANEL if name in args)
        if flags:
            raise InputError(
                f"{flags} with --start: the panel is the start model's; give --panel or "
                "--genes-file as well to choose another"
            )
    given = given_settings(args, TrainSettings)
    if given.get("start"):  # the run may be resumed in another working folder, by the Train dock
        given["start"] = whole_path(given["start"])
    return TrainSettings(**given)


def train(command: argparse.ArgumentParser) -> None:
    """Add the options of ``nh2st train``."""
    _sections_and_output(
        command,
        "folder for the model and its checkpoints; a stopped or killed run continues when "
        "started again",
    )
    command.add_argument("--name", help="name of the model (default: the folder's)")
    command.add_argument(
        "--test-sections",
        type=comma_list,
        default=(),
        metavar="A,B",
        help="leave these sections out of training and score the model on them at the end",
    )
    _training_options(command)


def crossval(command: argparse.ArgumentParser) -> None:
    """Add the options of ``nh2st crossval``."""
    from napari_nh2st.evaluation.settings import CompareSettings, CrossValidateSettings

    _sections_and_output(
        command, "folder for all models and scores; a stopped run continues when started again"
    )
    add_settings(command, CrossValidateSettings, {})
    command.add_argument(
        "--compare",
        type=comma_list,
        default=(),
        metavar="A,B",
        help=in_running_text(settings_of(CompareSettings)["architectures"].option.help),
    )
    # It takes several contexts, and one device.
    _training_options(command, "context", "devices")


def evaluate(command: argparse.ArgumentParser) -> None:
    """Add the options of ``nh2st evaluate``."""
    from napari_nh2st.evaluation.settings import EvaluateSettings

    add_model(command, required=True)
    _sections_and_output(command, "folder for scores, figures and predictions; must not exist yet")
    add_settings(command, EvaluateSettings, {"seed": None})
    command.add_argument(
        "--write-reliability",
        action="store_true",
        help="write each gene's correlation into the model folder, as its reliability",
    )


def _sections_and_output(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument(
        "--sections",
        type=Path,
        required=True,
        metavar="S.csv",
        help="the sections table: section_id, donor_id, slide, expression and, if needed, "
        "positions, mpp, fix, library, bin_um, coordinate_system",
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help=what)
    command.add_argument(
        "--trust-positions",
        action="store_true",
        help="continue although the tissue suggests that spots are turned or mirrored",
    )
    add_json(command)


def _training_options(command: argparse.ArgumentParser, *without: str) -> None:
    from napari_nh2st.training import TrainSettings

    add_settings(
        command,
        TrainSettings,
        {"rule": _add_panel, "genes": None} | dict.fromkeys(without),
    )


def _add_panel(panel: "argparse._ActionsContainer") -> None:
    from napari_nh2st.spots import PanelSettings

    rule = panel.add_mutually_exclusive_group()
    setting = settings_of(PanelSettings)["rule"]
    rule.add_argument(
        "--panel",
        dest=setting.name,
        choices=[choice for choice in setting.choices if choice != "given"],
        default=argparse.SUPPRESS,
        help=in_running_text(setting.option.help),
    )
    rule.add_argument(
        "--genes-file",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="F",
        help="these genes, one per line",
    )
