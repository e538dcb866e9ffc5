"""Options that several commands have, and those of a settings dataclass."""

import argparse
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from napari_nh2st.errors import InputError
from napari_nh2st.names import parse_genes
from napari_nh2st.options import Pair, Setting, nested_values, settings_of, shown_value

_CELLS = re.compile(r"[,;\t]")

Adder = Callable[["argparse._ActionsContainer"], object]
"""Adds an option to a command or a group of its options."""


def add_settings(
    command: "argparse._ActionsContainer", kind: Any, instead: Mapping[str, Adder | None]
) -> None:
    """Add an option for each field of a settings dataclass, in groups under their headings.

    An option that is not given leaves nothing in the arguments, so that the field's own default
    holds; :func:`given_settings` reads the others.

    Parameters
    ----------
    command
        Gets the options.
    kind
        The dataclass; of a field that is one itself, its fields are taken.
    instead
        What adds the option of a field that is given in another way, by its name; None for a field
        that the command does not have.
    """
    group = command
    for name, setting in settings_of(kind).items():
        option = setting.option
        if option.heading:
            group = command.add_argument_group(in_running_text(option.heading))
        if name in instead:
            add = instead[name]
            if add is not None:
                add(group)
        elif setting.is_group:
            if setting.optional:
                group.description = f"{option.help} (default: {option.default})."
            add_settings(group, setting.kind, instead)
        else:
            add_setting(group, setting)


def add_setting(group: "argparse._ActionsContainer", setting: Setting) -> None:
    """Add the option of one field."""
    option, default = setting.option, setting.default
    name = option.negative or setting.name
    arguments: dict[str, Any] = {"dest": name, "default": argparse.SUPPRESS}
    text = in_running_text(option.help)
    if default is None:
        text += f" (default: {option.default})"
    elif not (option.negative or default is False or default == ()):
        text += f" (default: {'on' if default is True else shown_value(default)})"
    if setting.kind is bool:
        is_on = default and not option.negative
        arguments["action"] = argparse.BooleanOptionalAction if is_on else "store_true"
    elif setting.choices:
        arguments["choices"] = setting.choices
    elif setting.kind in (int, float):
        metavar = option.unit or ("N" if setting.kind is int else "X")
        arguments |= {"type": setting.kind, "metavar": metavar}
    elif setting.kind == Pair:
        arguments |= {"type": float, "nargs": 2, "metavar": ("LOW", "HIGH")}
    elif setting.kind is not str:
        arguments |= {"type": comma_list, "metavar": "A,B"}
    group.add_argument("--" + name.replace("_", "-"), help=text.replace("%", "%%"), **arguments)
    if arguments.get("action") == "store_true":  # turns off what the user's configuration has on
        group.add_argument(
            _opposite(name),
            dest=name,
            action="store_false",
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
        )


def show_configured(
    actions: Iterable[argparse.Action], values: Mapping[str, Any], negatives: Mapping[str, str]
) -> None:
    """Show defaults of the user's configuration in the help of options.

    Parameters
    ----------
    actions
        The options.
    values
        The defaults, by name of the field.
    negatives
        Field by the name of the switch that turns it off.
    """
    for action in actions:
        if not action.help or action.help == argparse.SUPPRESS:
            continue
        name = negatives.get(action.dest, action.dest)
        if name not in values:
            continue
        value = values[name]
        if isinstance(value, bool):
            is_on = value is (action.dest not in negatives)
            shown = "on" if is_on else "off"
            if is_on and not isinstance(action, argparse.BooleanOptionalAction):
                shown += f"; off with {_opposite(action.dest)}"
        else:
            shown = shown_value(value)
        text, _, _ = action.help.partition(" (default: ")
        shown = shown.replace("%", "%%")
        action.help = f"{text} (default: {shown}; from your configuration)"


def without_configured(args: argparse.Namespace, *names: str) -> None:
    """Leave defaults of the user's configuration out that do not go with what was given."""
    args.configured = {n: value for n, value in _configured(args).items() if n not in names}


def _configured(args: argparse.Namespace) -> dict[str, Any]:
    return getattr(args, "configured", {})


def _opposite(name: str) -> str:
    """The option that undoes a switch."""
    other = name.removeprefix("no_") if name.startswith("no_") else f"no_{name}"
    return "--" + other.replace("_", "-")


def given_settings(args: argparse.Namespace, kind: Any) -> dict[str, Any]:
    """Values of the fields whose options were given, or are configured, by name.

    Raises
    ------
    InputError
        A value is out of its range.
    """
    return nested_values(kind, {**_configured(args), **given_options(args, kind)})


def given_options(args: argparse.Namespace, kind: Any) -> dict[str, Any]:
    """Values of the options that were given, by name of the field, those of inner ones too."""
    given: dict[str, Any] = {}
    for name, setting in settings_of(kind).items():
        negative = setting.option.negative
        if setting.is_group:
            given |= given_options(args, setting.kind)
        elif negative in args:
            given[name] = not getattr(args, negative)
        elif name in args:
            value = getattr(args, name)
            given[name] = tuple(value) if isinstance(value, list) else value  # a pair
    return given


def in_running_text(text: str) -> str:
    """A text as it goes on after other words: without a capital, but for abbreviations."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def add_prediction(command: argparse.ArgumentParser) -> None:
    """Add the prediction that is read."""
    command.add_argument("prediction", type=Path, help=".h5ad or .zarr written by nh2st predict")


def add_output(command: argparse.ArgumentParser, what: str, *, required: bool = True) -> None:
    """Add ``--output``, the file to write."""
    command.add_argument("-o", "--output", type=Path, required=required, metavar="OUT", help=what)


def add_json(command: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    command.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_image(command: argparse.ArgumentParser) -> None:
    """Add ``--image``."""
    command.add_argument(
        "--image",
        metavar="I",
        help="which image of a file with several, by number or name (default: the largest "
        "brightfield one; `nh2st info` lists them)",
    )


def add_model(command: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Add ``--model``."""
    command.add_argument(
        "--model",
        required=required,
        metavar="M",
        help="bundled name, folder, or Hugging Face owner/name@REVISION",
    )


def add_overwrite(command: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``."""
    command.add_argument(
        "--overwrite", action="store_true", help="replace an output of an earlier run"
    )


def add_genes(command: "argparse._ActionsContainer", default: str) -> None:
    """Add ``--genes`` and ``--genes-file``, of which :func:`chosen_genes` reads one."""
    genes = command.add_mutually_exclusive_group()
    genes.add_argument("--genes", metavar="A,B", help=default)
    genes.add_argument("--genes-file", type=Path, metavar="F", help="one gene per line")


def comma_list(text: str) -> tuple[str, ...]:
    """``A,B`` → ``("A", "B")``."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def chosen_genes(args: argparse.Namespace) -> tuple[str, ...] | None:
    """The genes of ``--genes`` or ``--genes-file``; None where neither was given.

    Raises
    ------
    InputError
        As :func:`read_genes`.
    """
    if args.genes_file is not None:
        return read_genes(args.genes_file)
    return None if args.genes is None else parse_genes(args.genes)


def read_genes(path: Path) -> tuple[str, ...]:
    """Read gene names: one per line, or with commas, semicolons or tabs; with or without quotes.

    Blank lines and what follows a # are left out.

    Raises
    ------
    InputError
        The file cannot be read, has no gene, or has one twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a text file of gene names") from None
    cells = (cell for line in lines for cell in _CELLS.split(line.split("#")[0]))
    genes = [name for cell in cells if (name := cell.strip().strip("\"'"))]
    if not genes:
        raise InputError(f"{path} has no gene; it needs one name per line")
    twice, count = Counter(genes).most_common(1)[0]
    if count > 1:
        raise InputError(f"{path} has gene {twice} more than once")
    return tuple(genes)
