"""Model whose prepared network is reused by the next run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import nn

from napari_nh2st.model.architectures import ARCHITECTURES, Architecture, Predictor
from napari_nh2st.model.folder import Model
from napari_nh2st.model.heads import Heads


@dataclass(frozen=True)
class PreparedModel(Model):
    """A loaded model that keeps its prepared network as well: making it takes half a second.

    Only where nobody changes the network, as in a process that does nothing but predict.
    """

    @property
    def architecture(self) -> Architecture:
        """That of the model, which gives what it prepared last where the same is asked for."""
        return self._keeping

    @cached_property
    def _keeping(self) -> Architecture:
        own = ARCHITECTURES[self.config.architecture]

        @lru_cache(maxsize=1)
        def prepared(
            genes: tuple[int, ...], device: torch.device, dtype: torch.dtype, with_heads: bool
        ) -> Predictor:
            heads = self.heads if with_heads else None
            return own.prepare(self.network, genes, device, dtype, heads)

        def prepare(
            _network: nn.Module,
            genes: Sequence[int],
            device: torch.device,
            dtype: torch.dtype,
            heads: Heads | None,
        ) -> Predictor:
            return prepared(tuple(genes), device, dtype, heads is not None)

        return replace(own, prepare=prepare)
