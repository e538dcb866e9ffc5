"""``nh2st model push``, ``pull`` and ``list --remote``: models that others have, or are to have."""

import argparse
import os
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from napari_nh2st.cli.options import add_json
from napari_nh2st.cli.output import notice, print_json, print_table, report, show, shows_progress
from napari_nh2st.errors import first_line
from napari_nh2st.extras import import_extra

INDEX_VARIABLE = "NH2ST_MODEL_INDEX"


def add_actions(actions: "argparse._SubParsersAction[Any]") -> None:
    """Add ``push`` and ``pull``."""
    pushed = actions.add_parser("push", help="publish a model folder on the Hugging Face Hub")
    pushed.set_defaults(run=_push)
    pushed.add_argument("folder", type=Path, metavar="FOLDER", help="the model")
    pushed.add_argument(
        "repository",
        metavar="hf:OWNER/NAME",
        help="repository; created if it does not exist, else a commit is added",
    )
    pushed.add_argument(
        "--license",
        dest="licence",
        required=True,
        metavar="ID",
        help="license of the model, as the Hub writes it, such as cc-by-4.0, mit or other",
    )
    pushed.add_argument(
        "--license-name",
        dest="licence_name",
        metavar="NAME",
        help="name of the license if it is other, such as my-lab-1.0",
    )
    pushed.add_argument(
        "--license-link",
        dest="licence_link",
        metavar="URL",
        help="link to the text of the license if it is other",
    )
    pushed.add_argument(
        "--private", action="store_true", help="show a new repository only to its owner"
    )
    pushed.add_argument(
        "--dry-run",
        action="store_true",
        help="show the card and what would be sent, and send nothing",
    )
    add_json(pushed)
    pulled = actions.add_parser(
        "pull", help="download a model from the Hugging Face Hub, to use it offline"
    )
    pulled.set_defaults(run=_pull)
    pulled.add_argument(
        "name",
        metavar="hf:OWNER/NAME[@REVISION]",
        help="a commit, branch or tag (default: the newest commit)",
    )
    pulled.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="copy it to this folder as well"
    )
    add_json(pulled)


def _push(args: argparse.Namespace) -> None:
    from napari_nh2st.model.hub import push_model

    push = partial(
        push_model,
        args.folder,
        args.repository,
        args.licence,
        licence_name=args.licence_name,
        licence_link=args.licence_link,
    )
    planned = push(dry_run=True)
    for sentence in planned.notices:
        notice(sentence)
    if args.dry_run:
        pushed = planned
        if not args.json:
            show(planned.card)
    else:
        _quiet_library(args)
        size = sum(planned.files.values())
        report(f"Sending {', '.join(planned.files)} ({size / 1e6:.1f} MB) to {planned.repository}")
        with args.stop.cleaning_up():
            pushed = push(private=args.private)
    if args.json:
        print_json(
            {
                "model": pushed.name,
                "sent": not args.dry_run,
                "files": dict(pushed.files),
                "card": pushed.card,
                "notices": list(pushed.notices),
            }
        )
    elif args.dry_run:
        for file, n_bytes in pushed.files.items():
            show(f"{file}: {n_bytes:,} bytes")
        show(f"{pushed.repository}: nothing was sent")
    else:
        show(f"{pushed.name}: published; this name always means that commit")


def _pull(args: argparse.Namespace) -> None:
    from napari_nh2st.model.hub import pull_model
    from napari_nh2st.training.known_models import remember_model

    _quiet_library(args)
    with args.stop.cleaning_up():
        pinned = pull_model(args.name, args.output)
    if args.output is not None:
        remember_model(args.output)  # the docks offer it
    if args.json:
        output = None if args.output is None else str(args.output)
        print_json({"model": pinned, "output": output})
    else:
        show(f"{pinned}: downloaded; use it with --model {pinned}")


def _quiet_library(args: argparse.Namespace) -> None:
    """Let the Hub's library show its bars only where ours would be shown."""
    import_extra("huggingface_hub", "hub", "The Hugging Face Hub")
    if args.json or not (sys.stderr.isatty() and shows_progress()):
        # Imported, since it is no attribute of the library before something else imported it.
        import_module("huggingface_hub.utils").disable_progress_bars()


def list_remote(args: argparse.Namespace) -> None:
    """Show the index of published models, that of today where it can be reached."""
    from napari_nh2st.model import bundled_models
    from napari_nh2st.model.index import fetch_index, index_url, packaged_index

    url = os.environ.get(INDEX_VARIABLE) or index_url()
    models = None
    if not args.offline:
        try:
            if url is None:
                raise OSError("this installation does not know its address")
            models = fetch_index(url)
        except OSError as error:
            notice(
                f"today's list cannot be reached ({first_line(error)}); this is the one that came "
                "with this version"
            )
    if models is None:
        models = packaged_index()
    if args.json:
        print_json([vars(each) for each in models])
        return
    if not models:
        show("The list has no models yet.")
        return
    here = bundled_models()
    rows = []
    for each in models:
        source = each.source
        if source == "bundled":
            source = "bundled" if each.name in here else "bundled with a newer version"
        about = f"{each.about}; {each.species}, {each.tissue}; licence {each.licence}"
        rows.append((each.name, f"{about}; {source}{f'; {each.url}' if each.url else ''}"))
    print_table(rows)
