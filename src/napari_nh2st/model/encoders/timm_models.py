"""Encoders of the library timm, built and loaded by it: UNI, Virchow, H-optimus, GigaPath, …"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

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
    read_description,
    token_features,
    weights_files,
    weights_sha256,
)
from napari_nh2st.model.encoders.key import EncoderKey
from napari_nh2st.model.weights_file import read_state_dict

_DESCRIBED = (
    *("input_size", "fixed_input_size", "mean", "std", "interpolation", "crop_pct", "crop_mode"),
    *("first_conv", "classifier", "num_classes", "pool_size", "global_pool", "license"),
)
"""What is taken of a ``pretrained_cfg``: nothing that says where weights come from."""

_NOT_LAYERS = (
    *("checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"),
    *("model_name", "num_classes"),
)
"""Arguments of ``timm.create_model`` that make it read other files, or that are given here."""


class TimmEncoder(ForeignEncoder):
    """A model of timm without its classifier: tiles to one vector each.

    Shapes: (n, 3, t, t) normalized → (n, d, 1, 1).

    Parameters
    ----------
    spec
        What is known of it.
    recipe
        ``architecture``, ``pretrained_cfg``, and ``arguments`` of ``timm.create_model``, layers by
        their names; ``features``, see :data:`~napari_nh2st.model.encoders.key.Features`:
        ``"pooled"`` is timm's own choice, the class token for most transformers.

    Raises
    ------
    InputError
        The library is missing or broken, or does not build the model.
    """

    def __init__(self, spec: EncoderSpec, recipe: Mapping[str, Any]) -> None:
        super().__init__()
        self.spec, self.recipe = spec, recipe
        self.model: nn.Module = _create(spec.key, recipe, {})
        self._features = recipe["features"]
        self._n_prefix = int(getattr(self.model, "num_prefix_tokens", 0))
        if self._features != "pooled" and not self._n_prefix:
            raise InputError(
                f"encoder {spec.key} has no class token; give it features=pooled, as in "
                "timm:NAME?features=pooled"
            )

    def forward(self, tiles: Tensor) -> Tensor:
        """(n, 3, t, t) → (n, d, 1, 1)."""
        if self._features == "pooled":
            return as_maps(self.model(tiles))
        # Both come after the model's last norm.
        hidden = self.model.forward_features(tiles)  # type: ignore[operator]
        return as_maps(token_features(hidden, self._features, self._n_prefix))

    def checkpoint_gradients(self) -> None:
        """See :class:`~napari_nh2st.model.encoders.foreign.ForeignEncoder`."""
        self.model.set_grad_checkpointing(True)  # type: ignore[operator]

    def read_weights(self, place: Path) -> None:
        """See :class:`~napari_nh2st.model.encoders.foreign.ForeignEncoder`.

        The file is read here, as safetensors or as tensors alone, and given to timm, whose filters
        and renamings apply.
        """
        files = weights_files(place)
        check_sha256(self.spec, weights_sha256(files), place)
        if len(files) > 1:
            raise InputError(f"{place} has its weights in {len(files)} files; timm reads one")
        state = dict(read_state_dict(files[0], ("state_dict", "model")))
        loaded = _create(self.spec.key, self.recipe, state)
        load_beneath(self.model, loaded.state_dict())
        self.source = place


def read_timm(key: EncoderKey) -> TimmEncoder:
    """Read an encoder of timm from a folder, or from the Hub's local cache.

    A model's plain name, such as ``timm:vit_small_patch16_224.dino``, stands for the repository
    ``timm/NAME`` of the Hub, where timm itself keeps its weights.

    Raises
    ------
    InputError
        It is not there, or something in it is wrong.
    """
    library = _library()
    place = find_place(key.with_owner)
    said = read_description(place.folder / CONFIG)
    given = said.get("pretrained_cfg", said)
    if not isinstance(given, dict) or not isinstance(said.get("architecture"), str):
        raise InputError(
            f"{place.folder / CONFIG} is not a config of timm: it names no architecture"
        )
    arguments = dict(said.get("model_args") or {})
    if place.known is not None:
        arguments |= place.known.arguments
    recipe = {
        "architecture": said["architecture"],
        "pretrained_cfg": {name: value for name, value in given.items() if name in _DESCRIBED},
        "arguments": arguments,
        "features": place.features("pooled"),
    }
    data = library.data.resolve_data_config(pretrained_cfg=recipe["pretrained_cfg"])
    known, key = place.known, place.key
    wide = _create(str(key), recipe, {}).num_features * (
        2 if recipe["features"] == "cls+mean" else 1
    )
    spec = EncoderSpec(
        str(key),
        place.revision,
        weights_sha256(weights_files(place.folder)),
        place.licence or str(given.get("license") or ""),
        int(key.number("tile_px") or data["input_size"][-1]),
        place.mpp,
        key.channels("mean") or (known.mean if known and known.mean else tuple(data["mean"])),
        key.channels("std") or (known.std if known and known.std else tuple(data["std"])),
        int(wide),
        1,
    )
    encoder = TimmEncoder(spec, recipe)
    encoder.read_weights(place.folder)
    check_tile_px(encoder, key)
    return encoder.eval()


def _library() -> ModuleType:
    return import_extra("timm", "timm", "This image encoder")


def _create(key: str, recipe: Mapping[str, Any], state: dict[str, Tensor]) -> Any:
    """A model of timm, with the weights of a state dict where there is one; nothing is fetched."""
    library = _library()
    architecture, given, arguments = checked_recipe(key, recipe)
    arguments = {name: _layer(library, value) for name, value in arguments.items()}
    classifiers = given.get("classifier") or ()
    for name in (classifiers,) if isinstance(classifiers, str) else classifiers:
        state = {n: t for n, t in state.items() if not n.startswith(f"{name}.")}
    # As many classes as are asked for, none: timm then leaves out nothing else silently.
    given |= {"num_classes": 0, "state_dict": state or None}
    try:
        return library.create_model(
            architecture,
            pretrained=bool(state),
            pretrained_cfg=given,
            num_classes=0,
            **arguments,
        ).eval()
    except Exception as error:  # an unknown name, or weights that do not fit
        raise InputError(f"encoder {key} cannot be built: {first_line(error)}") from None


def checked_recipe(
    key: str, recipe: Mapping[str, Any]
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Architecture, ``pretrained_cfg`` and arguments of a recipe, which may be a stranger's.

    timm reads other files, pickles among them, or goes to the network where a name, a config or an
    argument says so: such are refused or left out, and weights come from what was checked alone.

    Raises
    ------
    InputError
        The architecture is no plain name of timm.
    """
    architecture = recipe["architecture"]
    if not isinstance(architecture, str) or not re.fullmatch(r"[\w.-]+", architecture):
        raise InputError(f"encoder {key}: {architecture!r} is not an architecture of timm")
    described = {n: v for n, v in dict(recipe["pretrained_cfg"]).items() if n in _DESCRIBED}
    layers = {n: v for n, v in dict(recipe["arguments"]).items() if n not in _NOT_LAYERS}
    return architecture, described, layers


def _layer(library: ModuleType, value: Any) -> Any:
    """An argument of a model; a layer by its name, of timm or of torch."""
    if isinstance(value, str) and value[:1].isupper():
        return getattr(library.layers, value, None) or getattr(nn, value, value)
    return value
