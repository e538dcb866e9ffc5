"""Encoders that other libraries build and whose weights come from elsewhere."""

import hashlib
import json
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_nh2st.errors import InputError, first_line
from napari_nh2st.json_text import parse_json
from napari_nh2st.model.encoders.adapters import (
    Adapter,
    insert_adapters,
    layers_to_adapt,
    merge_adapters,
)
from napari_nh2st.model.encoders.base import Encoder, EncoderSpec
from napari_nh2st.model.encoders.hub import cached_folder
from napari_nh2st.model.encoders.key import EncoderKey, Features
from napari_nh2st.model.encoders.known import KnownEncoder, known_encoder
from napari_nh2st.model.encoders.licences import card_licence
from napari_nh2st.model.weights_file import file_sha256

CONFIG = "config.json"
PREPROCESSING = "preprocessor_config.json"

_LARGEST_DESCRIPTION = 4 * 1024**2
"""Bytes of a JSON file beside weights; those of transformers have some kB."""

_RESCALING = 1 / 255


class ForeignEncoder(Encoder):
    """An encoder of another library.

    Attributes
    ----------
    spec
        What is known of it.
    recipe
        From what it is built without its weights, as plain values.
    source
        The file or folder that its weights were read from; None where they are the model's own.
    adapter
        What a training can change of it; None where it stays as it is.
    """

    recipe: Mapping[str, Any]
    source: Path | None = None
    adapter: Adapter | None = None

    @abstractmethod
    def read_weights(self, place: Path) -> None:
        """Take over the weights that lie at a place.

        Raises
        ------
        InputError
            They cannot be read or do not fit.
        """

    def prepared(self) -> nn.Module:
        """See :class:`~napari_nh2st.model.encoders.Encoder`; adapters are multiplied out."""
        twin = super().prepared()
        merge_adapters(twin)
        return twin

    def insert(self, adapter: Adapter) -> None:
        """Take on adapters whose product is zero.

        Raises
        ------
        InputError
            It has no such layers.
        """
        insert_adapters(self, adapter, self.spec.key)
        self.adapter = adapter

    def adapt(self, rank: int, seed: int) -> None:
        """Take on adapters for the linear layers of attention and MLP.

        Parameters
        ----------
        rank
            Of the adapters.
        seed
            Of what they start from. The caller's random state is left as it was.

        Raises
        ------
        InputError
            It has no such layers.
        """
        layers = layers_to_adapt(self, self.spec.tile_px)
        if not layers:
            raise InputError(
                f"adapter_rank is {rank}, but encoder {self.spec.key} has no blocks of linear "
                "layers, which a transformer has"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.insert(Adapter(rank, layers))

    def checkpoint_gradients(self) -> None:
        """Compute blocks again for their gradients, in place of keeping all that these need.

        Raises
        ------
        InputError
            Its library cannot do so.
        """
        raise InputError(
            f"gradient_checkpointing is on, but encoder {self.spec.key} has no blocks that can be "
            "computed again; leave it out"
        )


@dataclass(frozen=True)
class EncoderPlace:
    """A folder with an encoder, and where it came from.

    Parameters
    ----------
    key
        Pinned to a commit, or with the whole path of a folder.
    folder
        The folder.
    revision
        The commit; "" for a folder of the user's.
    known
        What is known of it beside its files; None for most.
    """

    key: EncoderKey
    folder: Path
    revision: str
    known: KnownEncoder | None

    @property
    def licence(self) -> str:
        """The licence that the user declares, its authors state, or its card names; "" if none."""
        return (
            self.key.options.get("licence")
            or (self.known.licence if self.known else "")
            or card_licence(self.folder)
        )

    @property
    def mpp(self) -> float | None:
        """µm/px of its tiles; None where nobody says."""
        return self.key.number("mpp") or (self.known.mpp if self.known else None)

    def features(self, default: Features) -> Features:
        """What of its output is taken: what the key says, else its authors, else the default."""
        return self.key.features or (self.known.features if self.known else default)


def find_place(key: EncoderKey) -> EncoderPlace:
    """The folder of a key: one of the user's, or of the Hub's local cache.

    Raises
    ------
    InputError
        It is not there. What is on the Hub and not here is not downloaded.
    """
    if key.path.is_dir():
        folder = key.path.absolute()
        return EncoderPlace(EncoderKey(key.kind, str(folder), key.options), folder, "", None)
    repository = key.repository
    if repository is None or key.path.exists():
        raise InputError(
            f"encoder {key}: {key.place} is neither a folder nor an id of the Hugging Face Hub, "
            "owner/name@REVISION"
        )
    folder, commit = cached_folder(key)
    pinned = EncoderKey(key.kind, f"{repository}@{commit}", key.options)
    return EncoderPlace(pinned, folder, commit, known_encoder(repository))


def read_description(path: Path) -> dict[str, Any]:
    """Read a JSON object beside an encoder's weights.

    Raises
    ------
    InputError
        It is missing, too large, or no JSON object.
    """
    try:
        if path.stat().st_size > _LARGEST_DESCRIPTION:
            raise InputError(f"{path} is too large to describe an encoder")
        content = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object")
    return content


def weights_sha256(files: list[Path]) -> str:
    """The sha256 of a file of weights; of several, that of the list of theirs by name."""
    if len(files) == 1:
        return file_sha256(files[0])
    lines = "".join(f"{file_sha256(path)}  {path.name}\n" for path in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def weights_files(folder: Path) -> list[Path]:
    """The files with an encoder's weights: safetensors where there are such.

    Raises
    ------
    InputError
        There are none.
    """
    for pattern in ("*.safetensors", "pytorch_model*.bin"):
        if files := sorted(path for path in folder.glob(pattern) if path.is_file()):
            whole = [path for path in files if path.stem in ("model", "pytorch_model")]
            return whole or files
    raise InputError(
        f"{folder} has no weights: neither model.safetensors nor pytorch_model.bin. No other file "
        "is read as an encoder"
    )


@dataclass(frozen=True)
class Preprocessing:
    """What an encoder is fed with: side of a tile, and normalization of RGB values in 0–1."""

    tile_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


def preprocessing(place: EncoderPlace, image_size: int) -> Preprocessing:
    """Read what a folder's ``preprocessor_config.json`` says; what the user declares goes first.

    Parameters
    ----------
    place
        The folder.
    image_size
        Side of the images that the encoder was built for.

    Raises
    ------
    InputError
        Nobody says how tiles are normalized, or what is said cannot be used.
    """
    key, known, path = place.key, place.known, place.folder / PREPROCESSING
    said = read_description(path) if path.is_file() else {}
    if not said.get("do_rescale", True):
        raise InputError(f"{path}: do_rescale is off; only encoders of RGB values in 0–1 are read")
    if abs(said.get("rescale_factor", _RESCALING) - _RESCALING) > 1e-6:
        raise InputError(f"{path}: rescale_factor is {said['rescale_factor']}; only 1/255 is read")
    mean, std = key.channels("mean"), key.channels("std")
    if said.get("do_normalize", bool(said)):
        # One that is missing depends on the processor's class: it is not guessed.
        if mean is None and "image_mean" in said:
            mean = _channels(said["image_mean"], path)
        if std is None and "image_std" in said:
            std = _channels(said["image_std"], path)
    elif said:
        mean, std = mean or (0.0, 0.0, 0.0), std or (1.0, 1.0, 1.0)
    if known is not None:
        mean, std = mean or known.mean, std or known.std
    if mean is None or std is None:
        raise InputError(
            f"encoder {key}: {place.folder} has no {PREPROCESSING} that says how tiles are "
            "normalized; add it to the key, as in "
            f"{key}?mean=0.485,0.456,0.406&std=0.229,0.224,0.225"
        )
    asked = key.number("tile_px") or (known.tile_px if known else None) or _side(said, image_size)
    return Preprocessing(int(asked), mean, std)


def _side(said: Mapping[str, Any], image_size: int) -> int:
    """Side of the images after the preprocessing, whose forms changed over the years."""
    size = said.get("crop_size") if said.get("do_center_crop") else None
    size = size or said.get("size") or image_size
    if isinstance(size, Mapping):
        size = size.get("height") or size.get("shortest_edge") or image_size
    return size if isinstance(size, int) and 8 <= size <= 4096 else image_size


def _channels(values: Any, path: Path) -> tuple[float, float, float]:
    if (
        isinstance(values, list | tuple)
        and len(values) == 3
        and all(isinstance(v, int | float) for v in values)
    ):
        return float(values[0]), float(values[1]), float(values[2])
    raise InputError(
        f"{path}: {json.dumps(values)[:60]} is not a mean or deviation of three channels"
    )


def check_sha256(spec: EncoderSpec, found: str, place: Path) -> None:
    """See that weights are those that a model was made with.

    Raises
    ------
    InputError
        They are others.
    """
    if spec.sha256 and spec.sha256 != found:
        raise InputError(
            f"the weights of encoder {spec.key} in {place} are not those that the model was made "
            f"with (sha256 {spec.sha256[:12]}…, found {found[:12]}…)"
        )


@torch.no_grad()
def check_tile_px(encoder: ForeignEncoder, key: EncoderKey) -> None:
    """See that an encoder takes tiles of the side that its key asks for, by an empty one.

    Raises
    ------
    InputError
        It does not.
    """
    if key.number("tile_px") is None:
        return
    side = encoder.spec.tile_px
    try:
        encoder.eval()(torch.zeros(1, 3, side, side))
    except Exception as error:  # whatever its library raises
        raise InputError(
            f"encoder {key} cannot take tiles of {side} px: {first_line(error)}"
        ) from None


def as_maps(features: Tensor) -> Tensor:
    """Features (n, d) of tiles as maps (n, d, 1, 1)."""
    return features[:, :, None, None]


def token_features(hidden: Tensor, features: Features, n_prefix: int) -> Tensor:
    """Features of tiles from their tokens.

    Parameters
    ----------
    hidden
        (n, tokens, d) last hidden state, the class token first.
    features
        ``"cls"`` or ``"cls+mean"``.
    n_prefix
        Tokens before those of the patches.

    Returns
    -------
    Tensor
        (n, d) or (n, 2 d).
    """
    if features == "cls":
        return hidden[:, 0]
    return torch.cat([hidden[:, 0], hidden[:, n_prefix:].mean(1)], dim=1)
