"""``nh2st config``: the user's configuration file, with defaults of the settings."""

import argparse

from napari_nh2st.cli.options import add_json
from napari_nh2st.cli.output import print_json, show
from napari_nh2st.errors import InputError
from napari_nh2st.files import make_folder
from napari_nh2st.user_config import (
    TABLES,
    config_path,
    configured,
    key_of,
    sample_config,
    toml_value,
)


def add_actions(command: argparse.ArgumentParser) -> None:
    """Add the actions of ``nh2st config``, each with what runs it."""
    actions = command.add_subparsers(dest="config_command", metavar="ACTION", required=True)
    path = actions.add_parser("path", help="print where the file is, or would be")
    path.set_defaults(run=_path)
    shown = actions.add_parser("show", help="check the file and print what it sets")
    shown.set_defaults(run=_show)
    add_json(shown)
    made = actions.add_parser("init", help="write a file with all settings as comments")
    made.set_defaults(run=_init)


def _path(args: argparse.Namespace) -> None:
    show(str(config_path()))


def _show(args: argparse.Namespace) -> None:
    path = config_path()
    tables = {
        table: {key_of(name): value for name, value in values.items()}
        for table in TABLES
        if (values := configured(table))
    }
    if args.json:
        print_json({"path": str(path), "exists": path.is_file(), "tables": tables})
        return
    if not path.is_file():
        show(f"# {path} does not exist; `nh2st config init` writes one")
        return
    show(f"# {path}")
    for table, values in tables.items():
        show(f"[{table}]")
        for name, value in values.items():
            show(f"{name} = {toml_value(value)}")


def _init(args: argparse.Namespace) -> None:
    path = config_path()
    text = sample_config()
    make_folder(path.parent)
    try:
        with path.open("x", encoding="utf-8") as file:  # never in place of another
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path} already exists; edit it, or remove it first") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from None
    show(f"{path}: all settings, as comments")
