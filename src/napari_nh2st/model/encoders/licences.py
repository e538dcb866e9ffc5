"""Licences of encoders: read from their cards, and which allow their weights to be passed on."""

from pathlib import Path
from typing import Any

import yaml

REDISTRIBUTABLE = frozenset(
    {
        "apache-2.0",
        "bsd",
        "bsd-2-clause",
        "bsd-3-clause",
        "bsd-3-clause-clear",
        "cc-by-2.0",
        "cc-by-3.0",
        "cc-by-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cc0-1.0",
        "isc",
        "mit",
        "ncsa",
        "unlicense",
        "wtfpl",
        "zlib",
    }
)
"""Ids, as the Hugging Face Hub writes them, of licences under which weights may be passed on for
any use. One that is not here, or not known, does not count as such: licences with conditions on
who uses the weights for what, or that no changed form be passed on, among them."""


def may_be_stored(licence: str) -> bool:
    """Whether a model folder may hold an encoder's weights."""
    return licence.lower() in REDISTRIBUTABLE


def card_licence(folder: Path) -> str:
    """The licence that a folder's card names in its head, as the Hub writes it; "" without."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    if not text.startswith("---"):
        return ""
    try:
        head: Any = yaml.safe_load(text.split("---", 2)[1])
    except yaml.YAMLError:
        return ""
    if not isinstance(head, dict):
        return ""
    licence = head.get("license")
    if licence == "other":
        licence = head.get("license_name", licence)
    return licence.strip() if isinstance(licence, str) else ""


def storage_words(licence: str, stored: bool) -> str:
    """Say in a sentence whether a model folder holds the encoder's weights, and why."""
    if stored:
        return f"Its weights are in the model folder: licence {licence} allows passing them on."
    if not licence:
        return (
            "Its weights are not in the model folder: its licence is not known, so whoever gets "
            "the model has to get them separately."
        )
    if may_be_stored(licence):
        return f"Its weights are not in the model folder: they are too large (licence {licence})."
    return (
        f"Its weights are not in the model folder: licence {licence} does not allow everybody to "
        "pass them on, so whoever gets the model has to get them separately."
    )
