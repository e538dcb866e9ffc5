"""Architectures that a model can have: what is known of each without torch.

Another architecture joins by a file beside this one, which has an ``ARCHITECTURE``, and by an entry
here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Reach = Literal["tile", "neighborhood", "slide"]
"""What a prediction of a tile depends on."""

Guides = Literal["none", "boundary"]
"""Maps of a tile beside those of its encoder: none, or hematoxylin and where it changes."""

GUIDES: tuple[Guides, ...] = get_args(Guides)

DEFAULT_ARCHITECTURE = "nh2st"


@dataclass(frozen=True)
class ArchitectureEntry:
    """What is known of an architecture before its network is built.

    Parameters
    ----------
    module
        Module of :mod:`napari_nh2st.model` that has it as ``ARCHITECTURE``.
    description
        In a line, for lists and forms.
    reach
        What a prediction depends on; None where the context of a model says.
    offsets
        Whether a prediction needs where the neighbors lie.
    frozen_encoder
        Whether it is made for an encoder that is not trained, which is then the default.
    closed_form
        Whether its training is a ridge regression, without steps.
    guides
        Whether it can be shown where boundaries are, see :mod:`napari_nh2st.model.guides`.
    pairs, branches
        Whether its training has contrastive terms, and terms of single branches; see
        :class:`~napari_nh2st.model.network.Outputs`.
    settings
        Its hyperparameters that are settings of a training by the same name, but for ``tile_px``,
        with their defaults.
    """

    module: str
    description: str
    reach: Reach | None
    offsets: bool = False
    frozen_encoder: bool = False
    closed_form: bool = False
    guides: bool = False
    pairs: bool = False
    branches: bool = False
    settings: Mapping[str, int | float | str] = field(default_factory=dict)


_CORRECTION: dict[str, int | float | str] = {"hidden": 256, "neighbors": 8, "dropout": 0.5}
_TRIPLEX: dict[str, int | float | str] = {
    "guides": "none",
    "dim": 64,
    "depth": 1,
    "heads": 4,
    "mlp_ratio": 1.0,
    "neighbors": 8,
    "dropout": 0.5,
}

CATALOGUE: dict[str, ArchitectureEntry] = {
    "nh2st": ArchitectureEntry(
        "nh2st_prepared",
        "Tile or neighborhood, aligned with measured expression by contrastive losses (published)",
        None,
        pairs=True,
        settings={
            "context": "query",
            "dim": 512,
            "depth": 1,
            "heads": 8,
            "mlp_ratio": 1.0,
            "dropout": 0.5,
            "hidden": 256,
            "hypergraph_hidden": 1024,
            "neighbors": 8,
            "hyperedge_others": 3,
        },
    ),
    "linear": ArchitectureEntry(
        "linear",
        "Ridge regression on the encoder's pooled features, in closed form",
        "tile",
        frozen_encoder=True,
        closed_form=True,
    ),
    "rings": ArchitectureEntry(
        "rings",
        "Ridge regression on the features of a tile and of the two rings around it, in closed form",
        "neighborhood",
        frozen_encoder=True,
        closed_form=True,
        settings={"neighbors": 24},
    ),
    "sepal": ArchitectureEntry(
        "sepal",
        "Linear tile model, corrected from the positions and features of its neighbors",
        "neighborhood",
        offsets=True,
        frozen_encoder=True,
        settings=_CORRECTION,
    ),
    "deepset": ArchitectureEntry(
        "deepset",
        "Linear tile model, corrected from the sum of its parts and the maximum of its neighbors",
        "neighborhood",
        frozen_encoder=True,
        settings=_CORRECTION,
    ),
    "triplex": ArchitectureEntry(
        "triplex",
        "Linear tile model, corrected by attention to the tile's parts and to its neighbors",
        "neighborhood",
        offsets=True,
        frozen_encoder=True,
        guides=True,
        branches=True,
        settings=_TRIPLEX,
    ),
    "triplex-slide": ArchitectureEntry(
        "triplex_slide",
        "As triplex, with queries from a token that has attended to all tiles of the slide",
        "slide",
        frozen_encoder=True,
        guides=True,
        branches=True,
        settings=_TRIPLEX,
    ),
    "merge": ArchitectureEntry(
        "merge",
        "Linear tile model, corrected by attention over a graph of the whole slide",
        "slide",
        frozen_encoder=True,
        settings={"hidden": 256, "heads": 4, "depth": 3, "neighbors": 8, "dropout": 0.2},
    ),
}
"""By the key that a config and the settings of a training name."""


def entry_of(architecture: str) -> ArchitectureEntry:
    """The entry of an architecture; one that is not listed has NH2ST's contexts."""
    return CATALOGUE.get(architecture, CATALOGUE[DEFAULT_ARCHITECTURE])
