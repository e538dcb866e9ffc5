"""What a training can be told."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import CONTEXTS, Context
from napari_nh2st.spots.panel import PanelSettings

TrainedEncoder = Literal["frozen", "last-stages", "whole"]
"""What of the image encoder is trained: nothing, its last two stages, or all of it."""

HeadStart = Literal["random", "ridge"]
"""What the prediction head starts from, where it does not keep a start model's."""

Validation = Literal["auto", "donor", "section", "none"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]

_MOST = 2**31
# name: (least, most), both allowed
_RANGES: Mapping[str, tuple[float, float]] = {
    "tile_px": (32, 2048),
    "mpp": (0.02, 20),
    "dim": (1, 65_536),
    "depth": (1, 64),
    "heads": (1, 256),
    "mlp_ratio": (0.01, 64),
    "dropout": (0, 0.99),
    "hidden": (1, 65_536),
    "hypergraph_hidden": (1, 65_536),
    "neighbors": (1, 63),
    "hyperedge_others": (1, 63),
    "query_weight": (0, 1e6),
    "neighbor_weight": (0, 1e6),
    "mse_weight": (0, 1e6),
    "temperature": (1e-4, 1e4),
    "off_diagonal": (0, 1),
    "epochs": (1, 1_000_000),
    "patience": (1, 1_000_000),
    "batch_size": (2, 65_536),
    "patch_spots": (1, 65_536),
    "learning_rate": (1e-9, 10),
    "weight_decay": (0, 10),
    "warm_up": (0, 0.9),
    "gradient_clip": (0, 1e9),
    "averaging": (0, 0.99999),
    "frozen_looks": (1, 64),
    "devices": (1, 1024),
    "seed": (0, _MOST),
    "checkpoint_minutes": (0, 1e6),
}
_FRACTIONS = (
    "mpp",
    "mlp_ratio",
    "dropout",
    "query_weight",
    "neighbor_weight",
    "mse_weight",
    "temperature",
    "off_diagonal",
    "learning_rate",
    "weight_decay",
    "warm_up",
    "gradient_clip",
    "averaging",
    "checkpoint_minutes",
)
"""Of those with a range, the ones that need not be whole."""

_SHAPES = (
    "tile_px",
    "dim",
    "depth",
    "heads",
    "mlp_ratio",
    "hidden",
    "hypergraph_hidden",
    "neighbors",
    "hyperedge_others",
)


@dataclass(frozen=True)
class AugmentationSettings:
    """Which looks a tile may take.

    Parameters
    ----------
    flips, quarter_turns
        Mirror images, and turns by 90°: tissue has no upper side.
    stain_jitter
        Each of haematoxylin, eosin and the residual stain is multiplied by a factor drawn
        uniformly from ``1 ± stain_jitter`` and moved by an optical density from
        ``± stain_jitter / 5``; 0 for none. The stains are those of Ruifrok & Johnston (2001), the
        jitter after Tellez et al., Medical Image Analysis 58:101544 (2019).
    """

    flips: bool = True
    quarter_turns: bool = True
    stain_jitter: float = 0.15

    def __post_init__(self) -> None:
        if not 0 <= self.stain_jitter < 1:
            raise InputError(f"stain_jitter is {self.stain_jitter}; it must be from 0 to below 1")


@dataclass(frozen=True)
class TrainSettings:
    """Everything that shapes a training, for Python, the command line and the widget alike.

    Defaults are the published ones (Qu et al., MICCAI 2025) unless said otherwise. Those that are
    None are the start model's, or without one the published. A few depend on what the prediction
    head starts from, and say so.

    Parameters
    ----------
    start
        Model to start from: a bundled one's name, a folder, a Hub id; None to start from random
        weights.
    encoder_weights
        File with a state dict of ResNet-18 for the image encoder, from ImageNet or from training
        without labels; None for the start model's, or random ones.
    encoder
        What of the encoder is trained. ``"frozen"``: nothing, its feature maps are computed once
        and kept; ``"last-stages"``: its last two stages, likewise; ``"whole"``.
    head_start
        ``"ridge"``: the prediction head starts from a ridge regression of the target on the
        encoder's maps, see :mod:`napari_nh2st.training.ridge`; ``"random"``: from random weights
        (published), but for the genes that a start model knows. None: with an encoder that is not
        trained whole, ``"ridge"`` unless a start model's head can predict every gene of the panel
        as it is: it knows them all, and neither encoder nor context take from it what it reads;
        else ``"random"``.
    panel
        How genes are chosen. None: the start model's genes that all sections have, or without
        one the 250 of the highest mean.
    context
        What a prediction sees: ``"query"``, ``"average"`` or ``"neighborhood"``.
    tile_px, mpp
        Side of a tile and its µm/px; without a start model 224 px at 0.5.
    dim, depth, heads, mlp_ratio, hidden, hypergraph_hidden, neighbors, hyperedge_others
        Shapes, see :class:`~napari_nh2st.model.network.NH2STHyperparameters`. A start model has
        its own, which cannot be changed.
    dropout
        In the cross-attention.
    query_weight, neighbor_weight
        Of the two contrastive losses.
    mse_weight
        Of the squared error. None: 200 where the head starts from ridge, at which the contrastive
        losses hardly move it; where it starts from a start model's (see ``learning_rate``), what
        that one was trained with; else 1 (published).
    temperature, off_diagonal
        Of both contrastive losses.
    epochs
        At most.
    patience
        Epochs without a better validation after which training ends.
    batch_size
        Spots. Published: 8, each with its neighborhood's nine tiles encoded; here neighborhoods
        are found within the batch, which takes larger ones.
    patch_spots
        A batch is put together from patches of neighboring spots of about this many, from
        different places and sections.
    learning_rate
        Of Adam. None: 2e-5 where the prediction head starts from something learned, which larger
        ones take it away from: a ridge regression, or a start model that knows at least half of
        the panel; else 5e-4 (published).
    weight_decay
        Decoupled (AdamW); 0 is Adam.
    warm_up
        Share of all steps (at least 20 of them) during which the learning rate rises to its value;
        after that it falls along a cosine. 0 begins with its value. Published: constant.
    gradient_clip
        Largest norm of the gradient; 0 for no bound. Published: none.
    averaging
        Decay per step of a running mean of the weights, which then is what is validated and kept;
        0 for none (published).
    augmentation
        Looks of the tiles; all tiles of a patch take the same.
    frozen_looks
        With a frozen encoder or its last stages: looks whose feature maps are kept. The first is
        the tile as it is.
    validation
        How sections are set aside to choose the epoch: one ``"donor"``, one ``"section"``,
        ``"none"`` (all epochs are done, the last is kept); ``"auto"`` is by donor where there are
        several, by section where one donor has several, else none. Never by spot.
    validation_sections
        Names those to set aside, instead of leaving the choice to the seed.
    device, precision
        As for a prediction. Weights are kept in float32 whatever the precision.
    devices
        GPUs (or CPU processes) of this machine to train on.
    seed
        Of weights, validation split, batches and looks.
    checkpoint_minutes
        Time between two checkpoints: what a kill can cost.
    """

    start: str | None = None
    encoder_weights: str | None = None
    encoder: TrainedEncoder = "whole"
    head_start: HeadStart | None = None
    panel: PanelSettings | None = None
    context: Context | None = None
    tile_px: int | None = None
    mpp: float | None = None
    dim: int | None = None
    depth: int | None = None
    heads: int | None = None
    mlp_ratio: float | None = None
    hidden: int | None = None
    hypergraph_hidden: int | None = None
    neighbors: int | None = None
    hyperedge_others: int | None = None
    dropout: float | None = None
    query_weight: float = 1.0
    neighbor_weight: float = 0.5
    mse_weight: float | None = None
    temperature: float = 0.05
    off_diagonal: float = 0.1
    epochs: int = 200
    patience: int = 20
    batch_size: int = 64
    patch_spots: int = 16
    learning_rate: float | None = None
    weight_decay: float = 0.0
    warm_up: float = 0.05
    gradient_clip: float = 1.0
    averaging: float = 0.0
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    frozen_looks: int = 1
    validation: Validation = "auto"
    validation_sections: tuple[str, ...] = ()
    device: str = "auto"
    precision: Precision = "auto"
    devices: int = 1
    seed: int = 0
    checkpoint_minutes: float = 2.0

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and least <= value <= most):
                raise InputError(f"{name} is {value}; it must be from {least:g} to {most:g}")
            if value is not None and name not in _FRACTIONS and not isinstance(value, int):
                raise InputError(f"{name} is {value}; it must be a whole number")
        choices = (
            ("context", CONTEXTS),
            ("encoder", get_args(TrainedEncoder)),
            ("head_start", get_args(HeadStart)),
            ("validation", get_args(Validation)),
            ("precision", get_args(Precision)),
        )
        for name, known in choices:
            value = getattr(self, name)
            if value is not None and value not in known:
                raise InputError(f"{name} is {value!r}; it must be one of {', '.join(known)}")
        if self.query_weight == self.neighbor_weight == self.mse_weight == 0:
            raise InputError("all three losses have weight 0; there is nothing to train")
        if self.tile_px is not None and self.tile_px % 32:
            raise InputError(f"tile_px is {self.tile_px}; it must be a multiple of 32")
        if self.validation_sections and self.validation == "none":
            raise InputError("validation is none, but validation_sections names sections")
        if self.encoder != "whole" and not (self.start or self.encoder_weights):
            raise InputError(
                f"encoder is {self.encoder}, but its weights would be random: give a start model "
                "or encoder_weights, or train the whole encoder"
            )

    @property
    def shapes(self) -> dict[str, Any]:
        """Those of the network's hyperparameters that were given."""
        return {name: value for name in _SHAPES if (value := getattr(self, name)) is not None}

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, those left at None left out."""
        values = asdict(self)
        if self.panel is not None:
            values["panel"]["genes"] = list(self.panel.genes)
        values["validation_sections"] = list(self.validation_sections)
        return {f.name: values[f.name] for f in fields(self) if values[f.name] is not None}
