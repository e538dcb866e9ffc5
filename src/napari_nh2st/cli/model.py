"""``nh2st model``: list, show, check, make, publish or fetch models."""

import argparse
from pathlib import Path

from napari_nh2st.cli import model_hub
from napari_nh2st.cli.options import add_json, read_genes
from napari_nh2st.cli.output import print_json, print_table, show
from napari_nh2st.errors import InputError
from napari_nh2st.model.catalogue import CATALOGUE
from napari_nh2st.model.config import CONTEXTS


def add_actions(command: argparse.ArgumentParser) -> None:
    """Add the actions of ``nh2st model``, each with what runs it."""
    actions = command.add_subparsers(dest="model_command", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="bundled models, architectures or encoders")
    listed.set_defaults(run=_list)
    listed.add_argument(
        "--architectures", action="store_true", help="architectures for nh2st train --architecture"
    )
    listed.add_argument(
        "--encoders",
        action="store_true",
        help="image encoders that models can have, and whether each can run here",
    )
    listed.add_argument(
        "--remote", action="store_true", help="published models, from the project's list"
    )
    listed.add_argument(
        "--offline", action="store_true", help="with --remote: the list that came with this version"
    )
    add_json(listed)
    model_hub.add_actions(actions)
    fetched = actions.add_parser(
        "fetch-encoder",
        help="download an image encoder from the Hugging Face Hub, to use it offline",
    )
    fetched.set_defaults(run=_fetch_encoder)
    fetched.add_argument(
        "encoder", metavar="KEY", help="such as transformers:owner/name or timm:owner/name@REVISION"
    )
    for name, run, text in (
        ("info", _info, "show a model's card"),
        ("check", _check, "load a model and check everything"),
    ):
        action = actions.add_parser(name, help=text)
        action.set_defaults(run=run)
        action.add_argument("model", metavar="M", help="bundled name, folder or Hub id")
        add_json(action)
    imported = actions.add_parser("import", help="import a checkpoint of the released code")
    imported.set_defaults(run=_import)
    imported.add_argument("checkpoint", type=Path, metavar="CKPT")
    _panel_and_output(imported)
    imported.add_argument(
        "--mpp", type=float, required=True, metavar="X", help="µm/px of its training"
    )
    new = actions.add_parser("new", help="make an UNTRAINED model, for trying things out")
    new.set_defaults(run=_new)
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


def _list(args: argparse.Namespace) -> None:
    if args.offline and not args.remote:
        raise InputError("--offline can only be used with --remote")
    if args.remote:
        model_hub.list_remote(args)
        return
    if args.encoders:
        _list_encoders(args)
        return
    if args.architectures:
        descriptions = {key: entry.description for key, entry in CATALOGUE.items()}
        if args.json:
            print_json(descriptions)
        else:
            print_table(list(descriptions.items()))
        return
    from napari_nh2st.model import bundled_models, read_config

    configs = {name: read_config(folder) for name, folder in bundled_models().items()}
    if args.json:
        print_json({name: config.to_json() for name, config in configs.items()})
    elif configs:
        print_table(
            [
                (name, f"{len(c.panel)} genes, {c.mpp:g} µm/px, {c.context_in_words}")
                for name, c in configs.items()
            ]
        )
    else:
        show(
            "No model is bundled with this version. Give `nh2st predict --model` a folder or a "
            "Hugging Face id; `nh2st model new` makes an untrained model."
        )


def _list_encoders(args: argparse.Namespace) -> None:
    from napari_nh2st.model.encoders.listing import encoder_lines

    lines = list(encoder_lines())
    if args.json:
        print_json({line.key: {"about": line.about, "problem": line.problem} for line in lines})
    else:
        print_table([(line.key, f"{line.about} ({line.problem or 'runs here'})") for line in lines])


def _fetch_encoder(args: argparse.Namespace) -> None:
    from napari_nh2st.model.encoders.hub import fetch
    from napari_nh2st.model.encoders.key import parse_key

    with args.stop.cleaning_up():
        key = fetch(parse_key(args.encoder))
    show(f"{key}: downloaded; the key always names this commit")


def _info(args: argparse.Namespace) -> None:
    from napari_nh2st.model import find_model, read_config
    from napari_nh2st.model.card import model_card

    config = read_config(find_model(args.model))
    if args.json:
        print_json(config.to_json())
    else:
        show(model_card(config), end="")


def _check(args: argparse.Namespace) -> None:
    from napari_nh2st.model import load_model

    config = load_model(args.model).config
    if args.json:
        print_json({"name": config.name, "ok": True, "trained": config.trained})
    else:
        state = "trained" if config.trained else "UNTRAINED"
        show(f"{args.model}: good ({config.name}, {len(config.panel)} genes, {state})")


def _new(args: argparse.Namespace) -> None:
    from napari_nh2st.model.config import untrained_config
    from napari_nh2st.model.folder import new_model, save_model_folder

    _check_new_folder(args.output)
    config = untrained_config(
        args.name or args.output.resolve().name,
        read_genes(args.genes_file),
        context=args.context,
        mpp=args.mpp,
        pitch_um=224 * args.mpp if args.pitch_um is None else args.pitch_um,
    )
    model = new_model(config, args.seed)
    with args.stop.cleaning_up():
        saved = save_model_folder(model, args.output)
    show(f"{args.output}: {len(saved.config.panel)} genes, UNTRAINED (seed {args.seed})")


def _import(args: argparse.Namespace) -> None:
    from napari_nh2st.model.folder import save_model_folder
    from napari_nh2st.model.importing import import_checkpoint

    _check_new_folder(args.output)
    model = import_checkpoint(
        args.checkpoint,
        read_genes(args.genes_file),
        name=args.name or args.output.resolve().name,
        mpp=args.mpp,
        pitch_um=224 * args.mpp if args.pitch_um is None else args.pitch_um,
    )
    with args.stop.cleaning_up():
        saved = save_model_folder(model, args.output)
    show(f"{args.output}: {len(saved.config.panel)} genes, imported from {args.checkpoint}")


def _check_new_folder(folder: Path) -> None:
    if folder.exists():
        raise InputError(f"{folder} already exists; give another folder or remove it first")
