"""Index of published models: a file of the project's repository, which a pull request adds to."""

import time
import tomllib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata, resources
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import requests

from napari_nh2st.errors import InputError

FORMAT = 1

_FILE = "src/napari_nh2st/models/index.toml"
_CONNECT_S, _LONGEST_S = 3.0, 6.0
_PIECE, _LARGEST = 1 << 16, 1 << 20
"""Bytes: of a piece that is read at a time, and of a list."""

_TEXT = {"type": "string", "minLength": 1, "maxLength": 300}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "format": {"const": FORMAT},
        "model": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {**_TEXT, "pattern": r"^[\w.-]+\Z"},
                    "source": {
                        "type": "string",
                        "pattern": r"^(bundled|hf:[\w.-]+/[\w.-]+@[0-9a-f]{40})\Z",
                    },
                    **dict.fromkeys(("about", "species", "tissue", "licence"), _TEXT),
                    "url": {**_TEXT, "pattern": "^https://"},
                },
                "required": ["name", "source", "about", "species", "tissue", "licence"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["format"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class IndexedModel:
    """A model of the index.

    Parameters
    ----------
    name
        Short, and of no other model.
    source
        ``"bundled"`` with the package, or ``hf:owner/name@COMMIT``, as
        :func:`~napari_nh2st.load_model` takes it.
    about
        What it predicts, in a sentence.
    species, tissue
        Of the sections that it was trained on.
    licence
        Of the model, as the Hugging Face Hub writes it.
    url
        Page or paper about it; "" for none.
    """

    name: str
    source: str
    about: str
    species: str
    tissue: str
    licence: str
    url: str = ""


def packaged_index() -> tuple[IndexedModel, ...]:
    """The index as it was when this version was made."""
    file = resources.files("napari_nh2st") / "models" / "index.toml"
    return parse_index(file.read_text(encoding="utf-8"), "the list of this version")


def index_url() -> str | None:
    """Where the index of today is: in the repository that the package's metadata name."""
    for entry in metadata.metadata("napari-nh2st").get_all("Project-URL") or ():
        label, _, url = entry.partition(", ")
        place = urlsplit(url)
        if label == "Repository" and place.hostname == "github.com":
            return f"https://raw.githubusercontent.com{place.path.rstrip('/')}/main/{_FILE}"
    return None


def fetch_index(url: str) -> tuple[IndexedModel, ...]:
    """The index of today.

    Parameters
    ----------
    url
        That of :func:`index_url`, or of another list of the same form.

    Raises
    ------
    OSError
        It cannot be reached within some seconds.
    InputError
        What is there is no index.
    """
    return parse_index(b"".join(_pieces(url)).decode("utf-8", "replace"), url)


def parse_index(text: str, where: str) -> tuple[IndexedModel, ...]:
    """Read an index.

    Parameters
    ----------
    text
        TOML.
    where
        What to call it in messages.

    Raises
    ------
    InputError
        It is no TOML, or a field is missing, unknown or wrong, or two models have one name.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        raise InputError(f"{where} is not a list of models: it is not TOML ({error})") from None
    if content.get("format") != FORMAT:
        raise InputError(
            f"{where} is not a list of models that this version knows: its format is "
            f"{content.get('format')!r}, not {FORMAT}"
        )
    problem = next(jsonschema.Draft202012Validator(_SCHEMA).iter_errors(content), None)
    if problem is not None:
        place = ".".join(str(part + 1) if isinstance(part, int) else part for part in problem.path)
        raise InputError(f"{where} is broken: {place or 'it'}: {problem.message[:200]}")
    models = tuple(IndexedModel(**each) for each in content.get("model", ()))
    names = [each.name for each in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{where} is broken: it has two models {twice}")
    return models


def _pieces(url: str) -> Iterator[bytes]:
    until = time.monotonic() + _LONGEST_S
    size = 0
    with closing(requests.get(url, stream=True, timeout=(_CONNECT_S, _LONGEST_S))) as answer:
        answer.raise_for_status()
        for piece in answer.iter_content(_PIECE):
            size += len(piece)
            if size > _LARGEST:
                raise InputError(f"{url} is not a list of models: it is too large")
            if time.monotonic() > until:
                raise TimeoutError(f"{url} sends too slowly")
            yield piece
