"""The arguments of ``nh2st train``, ``evaluate`` and ``crossval``."""

import argparse
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from napari_nh2st.cli.late_parser import LateParser
from napari_nh2st.cli.options import add_device, add_json, comma_list, read_genes
from napari_nh2st.errors import InputError
from napari_nh2st.model.config import CONTEXTS

if TYPE_CHECKING:
    from napari_nh2st.spots import PanelSettings
    from napari_nh2st.training import TrainSettings

# Field of the settings: what its option does. Types, choices and defaults are the fields' own.
_START = {
    "start": "start from this model: bundled name, folder, or Hub id (default: random weights)",
    "encoder_weights": "file with a ResNet-18's state dict, for the image encoder",
    "encoder": "how much of the image encoder is trained",
    "head_start": "what the prediction head starts from; random keeps a start model's for genes "
    "that it knows (default: random; with an encoder that is not trained whole ridge, unless the "
    "start model knows the whole panel)",
}
_PANEL = {
    "n_genes": "of the panel",
    "leave_out_ribosomal": "leave out RPS and RPL genes",
    "leave_out_mitochondrial": "leave out MT- genes",
}
_COURSE = {
    "context": "what a prediction sees (default: the start model's, else query)",
    "epochs": "at most",
    "patience": "epochs without a better validation after which training ends",
    "batch_size": "spots in a step",
    "learning_rate": "of Adam (default: 2e-5 where the prediction head starts from ridge or a "
    "start model that knows half of the panel, else 5e-4)",
    "validation": "what is set aside to choose the epoch, never spots of a section that trains; "
    "auto: a donor, of one donor a section, of one section none",
    "validation_sections": "set these aside, instead of leaving it to the seed",
    "device": "auto, cpu, cuda, cuda:N or mps",
    "devices": "GPUs of this machine to train on, or processes on a CPU",
    "precision": "auto: what is fastest on the device without harm",
    "seed": "of weights, validation split, batches and looks",
    "checkpoint_minutes": "time between two checkpoints: what a kill can cost",
}
_NETWORK = {
    "tile_px": "side of a tile, a multiple of 32",
    "mpp": "µm/px of a tile",
    "dim": "features of a branch",
    "depth": "blocks of the cross-attention",
    "heads": "of the cross-attention",
    "mlp_ratio": "width of its feed-forward layer, as a multiple of dim",
    "hidden": "width of the prediction head",
    "hypergraph_hidden": "width of the hypergraph's hidden layer",
    "neighbors": "nearest spots in a neighborhood, beside the spot itself",
    "hyperedge_others": "most similar others in a hyperedge",
    "dropout": "in the cross-attention",
}
_OBJECTIVE = {
    "query_weight": "of the contrastive loss of spots",
    "neighbor_weight": "of the contrastive loss of neighborhoods",
    "mse_weight": "of the mean squared error (default: 200 where the prediction head starts from "
    "ridge; where from a start model, that one's; else 1)",
    "temperature": "of both contrastive losses",
    "off_diagonal": "factor on the similarities of what does not belong together",
}
_OPTIMIZER = {
    "patch_spots": "neighboring spots that go into a batch together",
    "weight_decay": "decoupled (AdamW); 0 is Adam",
    "warm_up": "share of the steps during which the learning rate rises",
    "gradient_clip": "largest norm of the gradient; 0 for no bound",
    "averaging": "decay per step of a running mean of the weights; 0 for none",
}
_LOOKS = {
    "flips": "mirror images",
    "quarter_turns": "turns by 90°",
    "stain_jitter": "how much the stains vary, from 0 to below 1",
}
_KEPT_LOOKS = {
    "frozen_looks": "with a frozen encoder or its last stages: looks that are kept of each tile",
}
_NOT_OF_FOLDS = ("context", "devices")
"""A cross-validation takes several contexts, and one device."""


def add_training_commands(commands: "argparse._SubParsersAction[LateParser]") -> None:
    """Add ``train``, ``evaluate`` and ``crossval``."""
    train = commands.add_parser("train", help="train or fine-tune a model on measured sections")
    train.add_late = _train
    train.set_defaults(run=_run_train)
    evaluate = commands.add_parser("evaluate", help="score a model on measured sections")
    _evaluate(evaluate)
    evaluate.set_defaults(run=_run_evaluate)
    crossval = commands.add_parser(
        "crossval", help="train with each donor or section left out, and score what was left out"
    )
    crossval.add_late = _crossval
    crossval.set_defaults(run=_run_crossval)


def _run_train(args: argparse.Namespace) -> None:
    from napari_nh2st.cli.train import train_on_sections

    train_on_sections(args)


def _run_evaluate(args: argparse.Namespace) -> None:
    from napari_nh2st.cli.evaluate import evaluate_on_sections

    evaluate_on_sections(args)


def _run_crossval(args: argparse.Namespace) -> None:
    from napari_nh2st.cli.crossval import cross_validate_sections

    cross_validate_sections(args)


def train_settings(args: argparse.Namespace) -> "TrainSettings":
    """The settings that were given; all others keep the defaults of ``TrainSettings``.

    Raises
    ------
    InputError
        A value is out of its range, or two options do not go together.
    """
    from napari_nh2st.training import AugmentationSettings, TrainSettings

    given = _given(args, (*_START, *_COURSE, *_NETWORK, *_OBJECTIVE, *_OPTIMIZER, *_KEPT_LOOKS))
    panel = _panel(args)
    if panel is not None:
        given["panel"] = panel
    looks = _given(args, _LOOKS)
    if looks:
        given["augmentation"] = AugmentationSettings(**looks)
    return TrainSettings(**given)


def _contexts(text: str) -> tuple[str, ...]:
    for name in comma_list(text):
        if name not in CONTEXTS:
            raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(CONTEXTS)}")
    return comma_list(text)


def _panel(args: argparse.Namespace) -> "PanelSettings | None":
    from napari_nh2st.spots import PanelSettings

    given = _given(args, _PANEL)
    if "genes_file" in args:
        if "n_genes" in given:
            raise InputError("--n-genes has no meaning with --genes-file: all its genes are taken")
        return PanelSettings(rule="given", genes=read_genes(args.genes_file), **given)
    if "rule" in args:
        return PanelSettings(rule=args.rule, **given)
    if given and "start" in args:
        flags = ", ".join(_flag(name) for name in given)
        raise InputError(
            f"{flags} with --start: the panel is the start model's; give --panel or --genes-file "
            "as well to choose another"
        )
    return PanelSettings(**given) if given else None


def _given(args: argparse.Namespace, names: Collection[str]) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names if name in args}


def _train(command: argparse.ArgumentParser) -> None:
    _sections_and_output(
        command,
        "folder for the model and its checkpoints; a run that was stopped or killed goes on when "
        "started again",
    )
    command.add_argument("--name", help="of the model (default: the folder's)")
    command.add_argument(
        "--test-sections",
        type=comma_list,
        default=(),
        metavar="A,B",
        help="leave these out of training and score the model on them in the end",
    )
    _training_options(command)


def _crossval(command: argparse.ArgumentParser) -> None:
    from napari_nh2st.training.split import Leave

    _sections_and_output(
        command, "folder for all models and scores; a stopped run goes on when started again"
    )
    command.add_argument(
        "--leave",
        choices=get_args(Leave),
        default="donor",
        help="what is left out at a time (default: donor)",
    )
    command.add_argument(
        "--contexts",
        type=_contexts,
        default=(),
        metavar="A,B",
        help=f"to compare, of {', '.join(CONTEXTS)} (default: the start model's, else query)",
    )
    command.add_argument(
        "--no-final",
        dest="final",
        action="store_false",
        help="do not train a model on all sections in the end",
    )
    _training_options(command, without=_NOT_OF_FOLDS)


def _evaluate(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--model", required=True, metavar="M", help="bundled name, folder, or Hub id"
    )
    _sections_and_output(command, "folder for scores, figures and predictions; must not exist")
    add_device(command)
    command.add_argument(
        "--bootstrap",
        type=int,
        default=1000,
        metavar="N",
        help="resamples for the intervals; 0 for none (default: 1000)",
    )
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
        help="the sections table: section_id, donor_id, slide, expression and, where needed, "
        "positions, mpp, fix, library, bin_um, coordinate_system",
    )
    command.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help=what)
    command.add_argument(
        "--trust-positions",
        action="store_true",
        help="go on where the tissue says that spots are turned or mirrored",
    )
    add_json(command)


def _training_options(command: argparse.ArgumentParser, without: Collection[str] = ()) -> None:
    from napari_nh2st.model.network import NH2STHyperparameters
    from napari_nh2st.spots import PanelSettings
    from napari_nh2st.training import AugmentationSettings, TrainSettings
    from napari_nh2st.training.start import DEFAULT_MPP

    _add(command.add_argument_group("where it starts"), TrainSettings, _START)
    panel = command.add_argument_group(
        "the panel", "The start model's genes, or without one the 250 of the highest mean count."
    )
    rule = panel.add_mutually_exclusive_group()
    rule.add_argument(
        "--panel",
        dest="rule",
        choices=("mean", "variable", "spatial"),
        default=argparse.SUPPRESS,
        help="genes of the highest mean count, variance, or Moran's I",
    )
    rule.add_argument(
        "--genes-file",
        type=Path,
        default=argparse.SUPPRESS,
        metavar="F",
        help="these genes, one per line",
    )
    _add(panel, PanelSettings, _PANEL)
    course = {name: text for name, text in _COURSE.items() if name not in without}
    _add(command.add_argument_group("the training"), TrainSettings, course)
    network = command.add_argument_group(
        "the network", "What is not given is the start model's, or without one as published."
    )
    published = {f.name: f.default for f in fields(NH2STHyperparameters)} | {"mpp": DEFAULT_MPP}
    _add(network, TrainSettings, _NETWORK, published)
    _add(command.add_argument_group("the objective"), TrainSettings, _OBJECTIVE)
    _add(command.add_argument_group("the optimizer"), TrainSettings, _OPTIMIZER)
    looks = command.add_argument_group("the looks of tiles")
    _add(looks, AugmentationSettings, _LOOKS)
    _add(looks, TrainSettings, _KEPT_LOOKS)


def _add(
    group: argparse._ArgumentGroup,
    settings: type,
    texts: Mapping[str, str],
    published: Mapping[str, Any] | None = None,
) -> None:
    """An option for each named field; left out of the arguments where it is not given."""
    defaults = {field.name: field.default for field in fields(settings)}
    hints = get_type_hints(settings)
    for name, text in texts.items():
        default = defaults[name]
        kind = _without_none(hints[name])
        options: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS, "help": text}
        if kind is not bool:
            options |= _value(kind)
        elif default:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["action"] = "store_true"
        if published and name in published:
            options["help"] += f" (published: {published[name]})"
        elif default is not None and default is not False and default != ():
            options["help"] += f" (default: {'on' if default is True else default})"
        group.add_argument(_flag(name), **options)


def _value(kind: Any) -> dict[str, Any]:
    """How argparse reads a value of a type, and what stands for it in the help."""
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    if kind in (int, float):
        return {"type": kind, "metavar": "N" if kind is int else "X"}
    if kind is str:
        return {}
    return {"type": comma_list, "metavar": "A,B"}


def _without_none(hint: Any) -> Any:
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    return kinds[0] if type(None) in get_args(hint) and len(kinds) == 1 else hint


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
