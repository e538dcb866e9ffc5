"""DINOv2-type models and vision transformers, built and loaded by the library transformers."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from napari_nh2st.errors import InputError, first_line
from napari_nh2st.extras import import_extra
from napari_nh2st.model.encoders.adapters import load_beneath
from napari_nh2st.model.encoders.base import EncoderSpec
from napari_nh2st.model.encoders.foreign import (
    CONFIG,
    ForeignEncoder,
    as_maps,
    check_sha256,
    check_tile_px,
    find_place,
    preprocessing,
    read_description,
    token_features,
    weights_files,
    weights_sha256,
)
from napari_nh2st.model.encoders.key import EncoderKey

_PREFIX_TOKENS: dict[str, Callable[[Any], int]] = {
    "vit": lambda config: 1,
    "dinov2": lambda config: 1,
    "dinov2_with_registers": lambda config: 1 + config.num_register_tokens,
    "dinov3_vit": lambda config: 1 + config.num_register_tokens,
}
"""Model types that are read, and how many tokens stand before those of the patches."""

_ADAPTER = "adapter_config.json"


class TransformersEncoder(ForeignEncoder):
    """A vision transformer of the library transformers: tiles to one vector each.

    Shapes: (n, 3, t, t) normalized → (n, d, 1, 1).

    Parameters
    ----------
    spec
        What is known of it.
    recipe
        ``config`` of the library and ``features``, see
        :data:`~napari_nh2st.model.encoders.key.Features`.

    Raises
    ------
    InputError
        The library is missing, or does not build a model from the config.
    """

    def __init__(self, spec: EncoderSpec, recipe: Mapping[str, Any]) -> None:
        super().__init__()
        self.spec, self.recipe = spec, recipe
        library = _library()
        config = _library_config(library, recipe["config"], spec.key)
        try:
            # Weights of lower precision are computed with in the precision that is asked for.
            self.model = library.AutoModel.from_config(config, trust_remote_code=False).float()
        except Exception as error:  # whatever a config that is none does to its library
            raise InputError(f"encoder {spec.key} cannot be built: {first_line(error)}") from None
        self._features = recipe["features"]
        self._n_prefix = _PREFIX_TOKENS[config.model_type](config)
        if self._features != "pooled" and hasattr(self.model, "pooler"):
            self.model.pooler = None  # a layer that nothing asks
        resized = config.model_type == "vit" and spec.tile_px != config.image_size
        self._options = {"interpolate_pos_encoding": True} if resized else {}

    def forward(self, tiles: Tensor) -> Tensor:
        """(n, 3, t, t) → (n, d, 1, 1)."""
        output = self.model(pixel_values=tiles, **self._options)
        if self._features == "pooled":
            return as_maps(output.pooler_output)
        return as_maps(token_features(output.last_hidden_state, self._features, self._n_prefix))

    def checkpoint_gradients(self) -> None:
        """See :class:`~napari_nh2st.model.encoders.foreign.ForeignEncoder`."""
        self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.train(self.training)

    def train(self, mode: bool = True) -> "TransformersEncoder":
        """Put in training mode, or not."""
        super().train(mode)
        # Blocks are computed again in training mode alone: theirs says no more than that. What is
        # in them, such as dropout, keeps the mode that is asked for.
        block = _layers().GradientCheckpointingLayer
        for module in self.model.modules():
            if isinstance(module, block):
                module.training = mode or module.gradient_checkpointing
        return self

    def read_weights(self, place: Path) -> None:
        """See :class:`~napari_nh2st.model.encoders.foreign.ForeignEncoder`.

        The library loads them, with its own conversions of older names: safetensors, or a pickle
        of tensors alone where there is nothing else.
        """
        check_sha256(self.spec, weights_sha256(weights_files(place)), place)
        if (place / _ADAPTER).exists():
            raise InputError(
                f"{place} has {_ADAPTER}, which would change the encoder; merge the adapter into "
                "its weights"
            )
        library = _library()
        try:
            with _quiet(library):
                loaded, report = library.AutoModel.from_pretrained(
                    place,
                    config=self.model.config,
                    local_files_only=True,
                    trust_remote_code=False,
                    weights_only=True,
                    dtype=torch.float32,
                    output_loading_info=True,
                )
        except Exception as error:
            raise InputError(f"{place} cannot be read as an encoder: {first_line(error)}") from None
        if self._features != "pooled" and hasattr(loaded, "pooler"):
            loaded.pooler = None
        own = set(self.model.state_dict())
        missing = sorted(own.intersection(report["missing_keys"]))
        wrong = sorted(map(str, report["mismatched_keys"]))
        if missing or wrong:
            raise InputError(
                f"{place} does not fit its {CONFIG}: "
                f"{f'it lacks {missing[0]}' if missing else wrong[0]}"
            )
        load_beneath(self.model, loaded.float().state_dict())
        self.source = place


def read_transformers(key: EncoderKey) -> TransformersEncoder:
    """Read an encoder from a folder, or from the Hub's local cache.

    Raises
    ------
    InputError
        It is not there, is of a type that is not read, or something in it is wrong.
    """
    place = find_place(key)
    library = _library()
    said = read_description(place.folder / CONFIG)
    if "auto_map" in said and said.get("model_type") not in _PREFIX_TOKENS:
        raise InputError(
            f"encoder {key} comes with code of its own, which is never run; its weights have to be "
            "exported to ONNX, or converted to a model of transformers"
        )
    said.pop("auto_map", None)
    config = _library_config(library, said, str(place.key))
    fed = preprocessing(place, int(config.image_size))
    features = place.features("cls")
    recipe = {"config": config.to_diff_dict() | {"model_type": config.model_type}}
    recipe["config"].pop("transformers_version", None)
    spec = EncoderSpec(
        str(place.key),
        place.revision,
        weights_sha256(weights_files(place.folder)),
        place.licence,
        fed.tile_px,
        place.mpp,
        fed.mean,
        fed.std,
        int(config.hidden_size) * (2 if features == "cls+mean" else 1),
        1,
    )
    encoder = TransformersEncoder(spec, recipe | {"features": features})
    encoder.read_weights(place.folder)
    check_tile_px(encoder, key)
    return encoder.eval()


def _layers() -> ModuleType:
    return import_extra("transformers.modeling_layers", "transformers", "This image encoder")


def _library() -> ModuleType:
    return import_extra("transformers", "transformers", "This image encoder")


def _library_config(library: ModuleType, said: Mapping[str, Any], key: str) -> Any:
    kind = said.get("model_type")
    if kind not in _PREFIX_TOKENS:
        raise InputError(
            f"encoder {key} is of type {kind!r}; of transformers, {', '.join(_PREFIX_TOKENS)} "
            "are read"
        )
    try:
        # Fields of the type alone: others make the library run kernels of the Hub, or read other
        # weights than were checked.
        plain = library.AutoConfig.for_model(kind)
        fields = {*plain.to_dict(), *plain.attribute_map} - {"model_type", "auto_map"}
        values = {name: value for name, value in said.items() if name in fields}
        config = library.AutoConfig.for_model(kind, **values)
    except Exception as error:
        raise InputError(f"encoder {key}: its {CONFIG} is wrong: {first_line(error)}") from None
    if not isinstance(config.image_size, int):
        raise InputError(f"encoder {key}: image_size is {config.image_size!r}, and not one number")
    return config


@contextmanager
def _quiet(library: ModuleType) -> Iterator[None]:
    """No progress bars and warnings of the library: what is wrong is said in a sentence."""
    log = library.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
