"""Features that another tool computed, in the place of an encoder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.model.encoders.base import EncoderSpec
from napari_nh2st.model.encoders.foreign import ForeignEncoder, as_maps


class FeaturesEncoder(ForeignEncoder):
    """Passes features on that were computed before, by an encoder that is not here.

    Shapes: (n, d) → (n, d, 1, 1).

    Parameters
    ----------
    spec
        What is known of the features. ``tile_px`` and ``mpp`` are those of the tiles that they were
        computed from.
    recipe
        ``name`` of the encoder that computed them, "" where nobody says, and ``n_features``.
    """

    def __init__(self, spec: EncoderSpec, recipe: Mapping[str, Any]) -> None:
        super().__init__()
        self.spec, self.recipe = spec, recipe

    def forward(self, features: Tensor) -> Tensor:
        """(n, d) → (n, d, 1, 1)."""
        return as_maps(features)

    def read_weights(self, place: Path) -> None:
        """There are none."""

    def adapt(self, rank: int, seed: int) -> None:
        """Refuse: the encoder is not here.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            f"adapter_rank is {rank}, but {self.spec.key} are features that are computed already: "
            "leave it out"
        )
