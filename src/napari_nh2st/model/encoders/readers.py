"""What reads an encoder that is not ours, by the beginning of its key."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from napari_nh2st.errors import InputError
from napari_nh2st.model.encoders.adapters import described_adapter
from napari_nh2st.model.encoders.base import EncoderSpec
from napari_nh2st.model.encoders.features_encoder import FeaturesEncoder
from napari_nh2st.model.encoders.foreign import (
    ForeignEncoder,
    find_place,
    weights_files,
    weights_sha256,
)
from napari_nh2st.model.encoders.key import EncoderKey, EncoderKind, parse_key
from napari_nh2st.model.encoders.listing import LIBRARIES
from napari_nh2st.model.encoders.onnx_models import OnnxEncoder, read_onnx
from napari_nh2st.model.encoders.timm_models import TimmEncoder, read_timm
from napari_nh2st.model.encoders.transformers_models import TransformersEncoder, read_transformers
from napari_nh2st.model.weights_file import file_sha256


@dataclass(frozen=True)
class Reader:
    """How encoders of a kind are read.

    Parameters
    ----------
    read
        The encoder of a key, with its weights.
    build
        The encoder of a spec and a recipe, without its weights.
    """

    read: Callable[[EncoderKey], ForeignEncoder]
    build: Callable[[EncoderSpec, Mapping[str, Any]], ForeignEncoder]


def _read_features(key: EncoderKey) -> ForeignEncoder:
    raise InputError(
        f"encoder {key}: features are those of a slide's tiles and belong to its sections; there "
        "is no encoder to read without them"
    )


READERS: dict[EncoderKind, Reader] = {
    "transformers": Reader(read_transformers, TransformersEncoder),
    "timm": Reader(read_timm, TimmEncoder),
    "onnx": Reader(read_onnx, OnnxEncoder),
    "features": Reader(_read_features, FeaturesEncoder),
}


def read_encoder(key: EncoderKey) -> ForeignEncoder:
    """Read the encoder of a key that has a kind.

    Raises
    ------
    InputError
        It is not on this machine, what reads it is not installed, or something in it is wrong.
    """
    assert key.kind is not None
    return READERS[key.kind].read(key)


def describe(encoder: ForeignEncoder) -> dict[str, Any]:
    """What a model's config says of its encoder, but for where its weights are."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(encoder.spec).items()
    } | {
        "recipe": dict(encoder.recipe),
        **({} if encoder.adapter is None else {"adapter": encoder.adapter.to_json()}),
    }


def gives_same_features(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two encoders, as :func:`describe` gives them, make the same of a tile."""
    names = ("sha256", "recipe", "mean", "std", "tile_px", "adapter")
    first, second = (
        json.dumps([each.get(name) for name in names], sort_keys=True) for each in (one, other)
    )
    return first == second


def library_version(key: str) -> str:
    """Library that computes the encoder of a key, with its version where that is known.

    Empty for an encoder of ours, which torch alone computes.
    """
    kind = parse_key(key).kind
    if kind is None:
        return ""
    library = LIBRARIES[kind][0]
    try:
        return f"{library} {metadata.version(library)}"
    except metadata.PackageNotFoundError:  # under another name, such as onnxruntime-gpu
        return library


def build_described(description: Mapping[str, Any]) -> ForeignEncoder:
    """The encoder of a model's config, with weights that are still to be read.

    Raises
    ------
    InputError
        What builds it is not installed, its recipe is wrong, or it lacks a layer with an adapter.
    """
    key = parse_key(str(description["key"]))
    if key.kind is None:
        raise InputError(f"encoder {key} is not one of another library")
    said: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in description.items()
        if name in EncoderSpec.__dataclass_fields__
    }
    encoder = READERS[key.kind].build(EncoderSpec(**said), description["recipe"])
    if (adapter := described_adapter(description.get("adapter"))) is not None:
        encoder.insert(adapter)
    return encoder


def weights_digest(key: EncoderKey) -> str:
    """The sha256 of an encoder's weights as they are on this machine now; see its spec's.

    Raises
    ------
    InputError
        It is not here.
    """
    place = weights_place(key.with_owner)
    return file_sha256(place) if place.is_file() else weights_sha256(weights_files(place))


def weights_place(key: EncoderKey) -> Path:
    """The folder or file of an encoder on this machine.

    Raises
    ------
    InputError
        It is not here; says how to get it.
    """
    if key.kind == "onnx":
        if not key.path.is_file():
            raise InputError(f"encoder {key}: there is no file {key.path}")
        return key.path
    return find_place(key).folder
