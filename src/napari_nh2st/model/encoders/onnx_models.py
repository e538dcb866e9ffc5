"""Encoders in ONNX files, run by onnxruntime."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_nh2st.errors import InputError, first_line
from napari_nh2st.extras import import_extra
from napari_nh2st.model.encoders.base import IMAGENET_MEAN, IMAGENET_STD, EncoderSpec
from napari_nh2st.model.encoders.foreign import ForeignEncoder, as_maps, check_sha256
from napari_nh2st.model.encoders.key import EncoderKey, parse_key
from napari_nh2st.model.weights_file import file_sha256

_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
_DEFAULT_TILE_PX = 224


class OnnxEncoder(ForeignEncoder):
    """An ONNX file with one input of tiles, whose first output are their features.

    It has no gradients and cannot be trained.

    Shapes: (n, 3, t, t) normalized → (n, d, 1, 1), or (n, d, h, h) where the file gives maps.

    Parameters
    ----------
    spec
        What is known of it.
    recipe
        Nothing: all is in the file.
    """

    def __init__(self, spec: EncoderSpec, recipe: Mapping[str, Any]) -> None:
        super().__init__()
        self.spec, self.recipe = spec, recipe
        self._session: Any = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "OnnxEncoder":
        # A session is no value that can be copied; it holds nothing that changes.
        twin = type(self)(self.spec, copy.deepcopy(self.recipe, memo))
        twin._session, twin.source = self._session, self.source
        return twin.train(self.training)

    def forward(self, tiles: Tensor) -> Tensor:
        """See the class. Computed by onnxruntime, in float32, outside torch's device."""
        name = self._session.get_inputs()[0].name
        array = np.ascontiguousarray(tiles.detach().float().cpu().numpy())
        found = torch.from_numpy(self._session.run(None, {name: array})[0])
        maps = found if found.ndim == 4 else as_maps(found)
        return maps.to(tiles.device, tiles.dtype)

    def read_weights(self, place: Path) -> None:
        """See :class:`~napari_nh2st.model.encoders.foreign.ForeignEncoder`."""
        check_sha256(self.spec, file_sha256(place), place)
        self._session, self.source = _session(place), place


def read_onnx(key: EncoderKey) -> OnnxEncoder:
    """Read an encoder from an ONNX file.

    Raises
    ------
    InputError
        It is not there, cannot be run, or does not take tiles and give a vector or map of each.
    """
    path = key.path.absolute()
    if not path.is_file():
        raise InputError(f"encoder {key}: there is no file {path}")
    session = _session(path)
    tile_px = _tile_px(session, key, path)
    shape = _output_shape(session, tile_px, path)
    spec = EncoderSpec(
        str(EncoderKey("onnx", str(path), key.options)),
        "",
        file_sha256(path),
        key.options.get("licence", ""),
        tile_px,
        key.number("mpp"),
        key.channels("mean") or IMAGENET_MEAN,
        key.channels("std") or IMAGENET_STD,
        shape[1],
        shape[2] if len(shape) == 4 else 1,
    )
    encoder = OnnxEncoder(spec, {})
    encoder.read_weights(path)
    return encoder.eval()


def normalization_notice(encoder: ForeignEncoder) -> list[str]:
    """Say that an ONNX file is fed as if for ImageNet, where nobody says how it wants its tiles."""
    if not parse_key(encoder.spec.key).takes_imagenet_colors:
        return []
    return [
        f"Encoder {encoder.spec.key} does not say how its tiles are normalized, so they are "
        "normalized as for ImageNet. Give it in the key, as in "
        "onnx:FILE?mean=0.5,0.5,0.5&std=0.5,0.5,0.5."
    ]


def _session(path: Path) -> Any:
    library = import_extra("onnxruntime", "onnx", "An image encoder in an ONNX file")
    there = library.get_available_providers()
    options = library.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        # From bytes: a file that refers to others beside it is refused, and its sha256 is all.
        return library.InferenceSession(
            path.read_bytes(),
            options,
            providers=[provider for provider in _PROVIDERS if provider in there],
        )
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # of its own kinds, for a damaged file and for one it cannot run
        raise InputError(f"{path} cannot be run as an encoder: {first_line(error)}") from None


def _tile_px(session: Any, key: EncoderKey, path: Path) -> int:
    """Side of the tiles that a file takes, its input checked."""
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if inputs else []
    if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (3, str(shape[1])):
        raise InputError(
            f"{path} takes {', '.join(f'{i.name} {i.shape}' for i in inputs) or 'nothing'}; an "
            "encoder takes one input of tiles (n, 3, side, side)"
        )
    if inputs[0].type != "tensor(float)":
        raise InputError(f"{path} takes {inputs[0].type}; an encoder takes tensor(float)")
    if isinstance(shape[0], int):
        raise InputError(
            f"{path} takes {shape[0]} tiles at a time and no other number; export it with a "
            "dynamic first axis"
        )
    fixed = {side for side in shape[2:] if isinstance(side, int)}
    asked = key.number("tile_px")
    if asked is not None and not fixed <= {int(asked)}:
        raise InputError(f"{path} takes tiles of {max(fixed)} px, and not of {asked:g}")
    if len(fixed) > 1:
        raise InputError(f"{path} takes tiles of {shape[2]} x {shape[3]} px; they must be square")
    return int(asked or next(iter(fixed), _DEFAULT_TILE_PX))


def _output_shape(session: Any, tile_px: int, path: Path) -> tuple[int, ...]:
    """Shape of the features of two tiles, from a trial."""
    trial = np.zeros((2, 3, tile_px, tile_px), np.float32)
    try:
        found = session.run(None, {session.get_inputs()[0].name: trial})[0]
    except Exception as error:
        raise InputError(
            f"{path} cannot encode tiles of {tile_px} px: {first_line(error)}"
        ) from None
    shape = tuple(np.shape(found))
    is_square = len(shape) != 4 or shape[2] == shape[3]
    is_float = np.issubdtype(np.asarray(found).dtype, np.floating)
    if len(shape) not in (2, 4) or shape[0] != 2 or not is_square or not is_float:
        raise InputError(
            f"{path} gives {np.asarray(found).dtype} of shape {shape} for two tiles; an encoder "
            "gives float features (2, d) or maps (2, d, side, side) as its first output"
        )
    return shape
