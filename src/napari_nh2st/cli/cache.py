"""``nh2st cache``: show and clear what is kept to be faster the next time."""

import argparse
from dataclasses import asdict

from napari_nh2st.cache import CachedKind, cache_base, cached_kinds, clear_cached
from napari_nh2st.cli.options import add_json
from napari_nh2st.cli.output import print_json, print_rows, show
from napari_nh2st.errors import InputError

_KINDS = {
    "calibrations": ("fastest precision of models on this machine", "some kB"),
    "features": (
        "tile features of frozen encoders, for training",
        "NH2ST_FEATURE_CACHE_GB, or 4 GB",
    ),
    "levels": ("coarse levels of slides that have none", "none"),
    "predictions": ("results of the Predict dock", "4 GB, or as set there"),
    "remote": ("blocks of remote slides", "NH2ST_REMOTE_CACHE_GB, or 4 GB"),
    "samples": ("sample slide", "a few MB"),
    "speeds": ("tiles per second on this machine", "some kB"),
}
"""What each kind is, and what bounds it. All of it can be made again."""

_NOT_UNASKED = {
    "rescued": "results that could not be written to their place",
    "log": "tracebacks of unexpected errors",
}
"""Kinds that are cleared only where they are named: they cannot be made again."""

_STORES = ("predictions", "rescued")
"""Kinds whose files a running prediction may have open."""


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the actions of ``nh2st cache``, each with what runs it."""
    actions = command.add_subparsers(dest="cache_command", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="list what is stored, where, and how much")
    listed.set_defaults(run=_list)
    add_json(listed)
    cleared = actions.add_parser("clear", help="delete what can be made again when needed")
    cleared.set_defaults(run=_clear)
    cleared.add_argument(
        "--what",
        nargs="+",
        metavar="KIND",
        choices=[*_KINDS, *_NOT_UNASKED],
        default=list(_KINDS),
        help=f"{', '.join(_KINDS)} (default: all of these); also, only if named, "
        f"{' and '.join(_NOT_UNASKED)}",
    )
    add_json(cleared)


def _list(args: argparse.Namespace) -> None:
    kinds = cached_kinds()
    if args.json:
        content = [asdict(kind) | {"folder": str(kind.folder)} for kind in kinds]
        print_json({"folder": str(cache_base()), "kinds": content})
        return
    show(str(cache_base()))
    rows = [("kind", "size", "files", "limit", "what it is")]
    for kind in kinds:
        about, limit = _KINDS.get(kind.name, (_NOT_UNASKED.get(kind.name, "unknown"), "none"))
        rows.append((kind.name, _size(kind.n_bytes), f"{kind.n_files:,}", limit, about))
    print_rows(rows)
    show(f"{_size(sum(kind.n_bytes for kind in kinds))} in all")


def _clear(args: argparse.Namespace) -> int | None:
    before = _by_name()
    with args.stop.cleaning_up():
        for name in dict.fromkeys(args.what):
            if name in _STORES:
                _forget_stores(name)
            else:
                clear_cached(name)
    after = _by_name()
    freed = {
        name: before[name].n_bytes - (after[name].n_bytes if name in after else 0)
        for name in args.what
        if name in before
    }
    left = [name for name in args.what if name in after]
    if args.json:
        print_json({"freed": freed, "left": left})
        return 1 if left else None
    for name, n_bytes in freed.items():
        show(f"{name}: {_size(n_bytes)} deleted")
    if left:
        raise InputError(
            f"some of {', '.join(left)} is in use or protected from deletion: close napari and "
            "other runs, and clear it again"
        )
    if not freed:
        show("There is nothing to delete.")
    return None


def _by_name() -> dict[str, CachedKind]:
    return {kind.name: kind for kind in cached_kinds()}


def _forget_stores(name: str) -> None:
    """Delete the results of predictions, but for those that one has open."""
    from napari_nh2st.inference.store import forget_oldest, kept_stores

    folder = cache_base() / name
    forget_oldest(folder, 0)
    if not kept_stores(folder):
        clear_cached(name)  # what stopped runs have left beside


def _size(n_bytes: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}"
    return f"{n_bytes} B"
