"""Features of a section's tiles: what the first stages of an encoder make of them."""

import hashlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.model.encoders import Encoder, encoder_input
from napari_nh2st.model.encoders.foreign import ForeignEncoder
from napari_nh2st.model.encoders.readers import library_version
from napari_nh2st.model.guides import GuidedEncoder
from napari_nh2st.training.augmentation import AugmentationDraw, augment, draw
from napari_nh2st.training.augmentation_settings import AugmentationSettings
from napari_nh2st.training.feature_store import digest, feature_store
from napari_nh2st.training.study import SectionTiles

TILES_A_PASS = 32
_FORMAT = 1
"""Raised when the same inputs give other numbers than before."""


@dataclass(frozen=True)
class FeaturesDone:
    """Some tiles of a section have their features: how many, and whether these were kept."""

    tiles: int
    found: bool


class FrozenStages:
    """The first stages of an encoder, which stay as they are.

    What they make of a tile is kept in half precision, which takes half the memory; where a value
    is beyond its range, in float32. Of the whole encoder's maps the means are kept as well, in
    float32. Both depend on nothing but the tile and the weights, so that folds and trainings share
    them: see :func:`~napari_nh2st.training.feature_store.feature_store`.

    Parameters
    ----------
    encoder
        In eval mode, as far as these stages go.
    n_stages
        How many of them.
    device
        Where they run.
    """

    def __init__(self, encoder: Encoder, n_stages: int, device: torch.device) -> None:
        self._encoder = encoder
        self._n_stages = n_stages
        self._device = device
        self._key: dict[str, Any] = {
            "format": _FORMAT,
            "encoder": [encoder.spec.key, encoder.spec.revision, encoder.spec.sha256],
            "normalization": [encoder.spec.mean, encoder.spec.std],
            "weights": _weights_sha256(encoder, n_stages),
            "stages": n_stages,
            # Either may round in another way.
            "by": [torch.__version__, device.type],
        }
        if isinstance(encoder, GuidedEncoder):
            self._key |= encoder.key
            encoder = encoder.encoder
        if isinstance(encoder, ForeignEncoder):
            # What weights alone do not say, and what computes with them.
            library = library_version(encoder.spec.key)
            self._key |= {"recipe": dict(encoder.recipe), "library": library}

    def maps(
        self, section: SectionTiles, look: AugmentationDraw | None = None
    ) -> Generator[FeaturesDone, None, Tensor]:
        """What the stages make of all tiles of a section, (n, d, h, w) on the CPU.

        float16, or float32 where a value is beyond its range.

        Parameters
        ----------
        section
            Its tiles are read only where their maps are not kept.
        look
            One, which all tiles take; None for the tiles as they are.

        Yields
        ------
        FeaturesDone
            After each batch, or once where they were found.

        Raises
        ------
        InputError
            A value is not finite.
        """
        return (yield from self._features("maps", section, look))

    def means(
        self, section: SectionTiles, look: AugmentationDraw | None = None
    ) -> Generator[FeaturesDone, None, Tensor]:
        """Mean of each channel of the whole encoder's maps, (n, d) float32; else as :meth:`maps`.

        Takes 2 kB of the store for a tile where a ResNet-18's maps take 4 kB with tiles of 64 px,
        and 50 kB with 224 px.
        """
        return (yield from self._features("means", section, look))

    def _features(
        self, kind: str, section: SectionTiles, look: AugmentationDraw | None
    ) -> Generator[FeaturesDone, None, Tensor]:
        if (kept := self._kept(kind, section, look)) is not None:
            yield FeaturesDone(len(section), found=True)
            return kept
        parts: dict[str, list[Tensor]] = {}
        for rows in np.array_split(np.arange(len(section)), -(-len(section) // TILES_A_PASS)):
            computed = self._computed(torch.from_numpy(section.tiles[rows]), look)
            if not all(tensor.isfinite().all() for tensor in computed.values()):
                raise InputError(
                    f"{section.name}: the encoder {self._encoder.spec.key} gives values of a tile "
                    "that are not finite; its weights are damaged, or its tiles are not what it "
                    "was made for"
                )
            for each, tensor in computed.items():
                if each in (kind, "means"):
                    parts.setdefault(each, []).append(tensor)
            yield FeaturesDone(len(rows), found=False)
        features = {each: torch.cat(tensors) for each, tensors in parts.items()}
        for each, tensor in features.items():
            if (key := self._key_of(each, section, look)) is not None:
                feature_store().put(key, {"features": tensor})
        # Mapped from the file, they can leave the memory when it is needed.
        kept = self._kept(kind, section, look)
        return features[kind] if kept is None else kept

    @torch.no_grad()
    def _computed(self, tiles: Tensor, look: AugmentationDraw | None) -> dict[str, Tensor]:
        tiles = tiles.to(self._device)
        if look is not None:
            every = torch.zeros(len(tiles), dtype=torch.int64)
            tiles = augment(tiles, look[every].to(self._device))
        fed = encoder_input(tiles, self._encoder.spec)
        maps = self._encoder.through(fed, 0, self._n_stages)
        half = maps.to("cpu", torch.float16)
        result = {"maps": (half if half.isfinite().all() else maps.float().cpu()).contiguous()}
        if self._n_stages == len(self._encoder.stages):
            result["means"] = maps.float().mean((2, 3)).cpu()
        return result

    def _kept(
        self, kind: str, section: SectionTiles, look: AugmentationDraw | None
    ) -> Tensor | None:
        key = self._key_of(kind, section, look)
        tensors = None if key is None else feature_store().get(key)
        features = None if tensors is None else tensors.get("features")
        return features if features is not None and len(features) == len(section) else None

    def _key_of(
        self, kind: str, section: SectionTiles, look: AugmentationDraw | None
    ) -> str | None:
        """Names all that the features depend on; None where the tiles have no such name."""
        if section.key is None:
            return None
        drawn = None if look is None else _sha256(vars(look))
        return digest(self._key | {"kind": kind, "tiles": section.key, "look": drawn})


def without_progress(computing: Generator[FeaturesDone, None, Tensor]) -> Tensor:
    """What :meth:`FrozenStages.maps` or :meth:`FrozenStages.means` gives in the end."""
    while True:
        try:
            next(computing)
        except StopIteration as end:
            features: Tensor = end.value
            return features


def section_looks(
    settings: AugmentationSettings, section: SectionTiles, looks: int, seed: int
) -> Iterator[AugmentationDraw | None]:
    """The looks of a section that are kept: the tiles as they are, then drawn ones.

    All tiles of a section share a look, so that those of a neighborhood do. It follows from the
    section's name and the seed: the section looks the same whatever others it is trained with.
    """
    yield None
    for number in range(1, looks):
        text = f"{seed}:{number}:{section.name}"
        own = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "little")
        yield draw(settings, 1, torch.Generator().manual_seed(own))


def _weights_sha256(encoder: Encoder, n_stages: int) -> str:
    """Of the weights of the first stages; their names do not count."""
    state: dict[str, Tensor] = {}
    for stage in encoder.stages[:n_stages]:
        for module in stage:
            for name, tensor in module.state_dict().items():
                if not name.endswith("num_batches_tracked"):  # which nothing depends on
                    state[f"{len(state)}"] = tensor
    return _sha256(state)


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    result = hashlib.sha256()
    for tensor in tensors.values():
        result.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        result.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return result.hexdigest()
