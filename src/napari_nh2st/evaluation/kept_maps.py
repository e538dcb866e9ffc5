"""Maps that a frozen encoder makes of a section's tiles, and the nuclei counted in them, kept from
one test to the next.

Folds, architectures and repeated commands test the same sections with the same encoder. What is
kept here is that of a prediction, to the bit: :mod:`napari_nh2st.training.features` keeps others,
of half precision, from an encoder whose BatchNorms are not folded.
"""

import copy
import hashlib
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_nh2st.inference.device import Placement
from napari_nh2st.inference.nuclei import nuclei_of_tiles
from napari_nh2st.model.architecture import Predictor
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.encoders.readers import library_version
from napari_nh2st.model.prepared import Prepared
from napari_nh2st.training.feature_store import digest, feature_store
from napari_nh2st.training.study import SectionTiles

_FORMAT = 1
"""Raised when the same inputs give other numbers than before."""

_NUCLEI_FORMAT = 1
"""Raised when another number of nuclei is counted in the same tile than before."""

_MOST_BYTES = 2**28
"""Of the maps of a section: those of more spots are computed each time."""


class KeptMaps:
    """Maps of a section's tiles, batch after batch in one order.

    Parameters
    ----------
    predictor
        Made ready on the placement's device.
    config
        Of its model: the encoder is frozen where its training says so.
    tiles
        Of the section.
    placement
        Device, precision and batch size.

    Attributes
    ----------
    predictor
        To be used in the place of the given one, for all tiles once.
    needs_pixels
        Whether the tiles have to be read: else any others may take their place.
    """

    def __init__(
        self, predictor: Predictor, config: ModelConfig, tiles: SectionTiles, placement: Placement
    ) -> None:
        self.predictor, self.needs_pixels = predictor, True
        self._noted: _NotedEncoder | None = None
        if not isinstance(predictor, Prepared) or not _has_frozen_encoder(config):
            return
        if tiles.key is None:
            return
        self._key = _key(predictor.encoder, config, tiles.key, placement)
        kept = feature_store().get(self._key)
        maps = None if kept is None else kept.get("maps")
        replaced = copy.copy(predictor)
        if maps is not None and len(maps) == len(tiles):
            replaced.encoder = _KnownMaps(maps)
            self.needs_pixels = predictor.sees_tiles
        else:
            self._noted = _NotedEncoder(predictor.encoder, _MOST_BYTES // max(len(tiles), 1))
            replaced.encoder = self._noted
        self.predictor = replaced

    def keep(self) -> None:
        """Keep what was computed, once all tiles were."""
        if self._noted is not None and (maps := self._noted.maps()) is not None:
            feature_store().put(self._key, {"maps": maps})


def section_nuclei(tiles: SectionTiles, mpp: float) -> NDArray[np.float32]:
    """Nuclei per mm² in each tile of a section, (n,); the tiles are read where that is not kept.

    Parameters
    ----------
    tiles
        Of pixels.
    mpp
        Their µm/px, see :mod:`napari_nh2st.inference.nuclei_limit`.
    """
    if tiles.key is None:
        return nuclei_of_tiles(tiles.tiles, mpp)
    key = digest(
        {
            "format": _NUCLEI_FORMAT,
            "kind": "nuclei",
            "tiles": tiles.key,
            "mpp": mpp,
            "by": torch.__version__,
        }
    )
    kept = (feature_store().get(key) or {}).get("nuclei")
    if kept is not None and len(kept) == len(tiles):
        return kept.numpy().copy()
    counted = nuclei_of_tiles(tiles.tiles, mpp)
    feature_store().put(key, {"nuclei": torch.from_numpy(counted)})
    return counted


class _NotedEncoder(nn.Module):
    """An encoder whose maps are collected, unless those of a tile take too many bytes."""

    def __init__(self, encoder: nn.Module, most_bytes_a_tile: int) -> None:
        super().__init__()
        self.encoder = encoder
        self._most_bytes = most_bytes_a_tile
        self._parts: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        maps: Tensor = self.encoder(x)
        if maps[:1].nbytes <= self._most_bytes and _is_in_channels_last(maps):
            self._parts.append(maps.cpu())
        return maps

    def maps(self) -> Tensor | None:
        return torch.cat(self._parts) if self._parts else None


class _KnownMaps(nn.Module):
    """Gives known maps, in order, for whatever it is asked to encode."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self._maps, self._at = maps, 0

    def forward(self, x: Tensor) -> Tensor:
        maps = self._maps[self._at : self._at + len(x)]
        self._at += len(x)
        # In memory as an encoder has them, aligned and in that order: sums round otherwise else.
        return maps.to(x.device).clone(memory_format=torch.channels_last)


def _is_in_channels_last(maps: Tensor) -> bool:
    return maps.ndim == 4 and maps.is_contiguous(memory_format=torch.channels_last)


def _has_frozen_encoder(config: ModelConfig) -> bool:
    settings: Any = config.training.get("settings")
    if not isinstance(settings, dict) or config.takes_features:
        return False
    return settings.get("encoder") == "frozen" and not settings.get("adapter_rank")


def _key(encoder: nn.Module, config: ModelConfig, tiles: str, placement: Placement) -> str:
    encoder_of = config.encoder or {}
    weights = hashlib.sha256()  # in the precision of the prediction
    for name, tensor in encoder.state_dict().items():
        weights.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        numbers = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        weights.update(numbers.numpy().data)
    return digest(
        {
            "format": _FORMAT,
            "kind": "predicted maps",
            "encoder": dict(encoder_of),
            "weights": weights.hexdigest(),
            "tiles": tiles,
            # Each may round in another way.
            "by": [torch.__version__, placement.device.type, torch.get_num_threads()],
            "library": library_version(str(encoder_of.get("key", ""))),
            "batch": placement.batch_size,
        }
    )
