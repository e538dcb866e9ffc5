"""Settings of a training."""

from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal

from napari_nh2st.html_card import settings_card
from napari_nh2st.inference.settings import DEVICE, PRECISION, Precision
from napari_nh2st.model.catalogue import Guides
from napari_nh2st.model.config import Context
from napari_nh2st.options import Option, check_options
from napari_nh2st.spots.panel import PanelSettings
from napari_nh2st.training.augmentation_settings import AugmentationSettings
from napari_nh2st.training.settings_checks import check_together
from napari_nh2st.training.start_options import default_shape, of_start, shape_option
from napari_nh2st.training.start_settings import StartSettings

Smoothing = Literal["array-neighbors", "spcs"]
"""Smoothing of the training target, see :mod:`napari_nh2st.spots.spcs` for the second."""

Stain = Literal["as-is", "normalized"]
"""What slides look like to a model, see :mod:`napari_nh2st.analysis.stain_normalization`."""

Validation = Literal["auto", "donor", "section", "none"]


@dataclass(frozen=True)
class TrainSettings(StartSettings):
    """Everything that shapes a training, for Python, the command line and the widget alike.

    Each field's :class:`~napari_nh2st.options.Option` says what it does, its range, and what None
    means. Defaults are the published ones (Qu et al., MICCAI 2025) unless said otherwise; a few
    depend on what the prediction head starts from, which
    :class:`~napari_nh2st.training.start_settings.StartSettings` says.

    Parameters
    ----------
    batch_size
        Published: 8, with all nine tiles of each spot's neighborhood encoded. Here neighborhoods
        are found within the batch, which therefore has to be larger.
    patch_spots
        A batch consists of patches of about this many neighboring spots, from different places
        and sections.
    validation
        What is set aside to choose the epoch: one ``"donor"``, one ``"section"`` or ``"none"``
        (all epochs are run, and the last is kept). ``"auto"`` is by donor if there are several, by
        section if the one donor has several, else none. Never by spot.
    device, precision
        As for a prediction. Weights are kept in float32 whatever the precision.
    learning_rate
        Small if the prediction head starts from something learned, which a larger one would
        undo: a ridge regression, or a start model that knows at least half of the panel.
    warm_up
        At least 20 steps; after it the learning rate falls along a cosine. With 0, training
        begins at the full learning rate. Published: constant.
    gradient_clip, averaging
        Published: none. The averaged weights are those that are validated and kept.
    mse_weight
        None takes 200 if the head starts from ridge, so that the contrastive losses hardly move
        it; the start model's own if the head starts from one (see ``learning_rate``); else 1
        (published).
    distillation
        As published with TRIPLEX; the term ``branch_distillation`` has the weight of the squared
        error.
    augmentation
        All tiles of a patch are changed in the same way.
    frozen_looks
        The first is the tile as it is.
    guides
        See :mod:`napari_nh2st.model.guides`.
    tile_px, dim, depth, heads, mlp_ratio, hidden, hypergraph_hidden, neighbors, hyperedge_others
        Sizes of the network, see :class:`~napari_nh2st.model.nh2st.NH2STHyperparameters`. A start
        model has its own, which cannot be changed.
    """

    panel: Annotated[
        PanelSettings | None,
        Option(
            "Panel",
            "Genes to learn",
            heading="Panel",
            default="those of the start model that all sections have; without a start model, the "
            "250 with the highest mean count",
            special="the start model's",
        ),
    ] = None
    smoothing: Annotated[
        Smoothing,
        Option(
            "Smoothing",
            "How the training target is smoothed; scores always use the mean over neighbors",
            words={"array-neighbors": "mean over neighbors", "spcs": "SPCS: similar spots too"},
        ),
    ] = "array-neighbors"
    stain: Annotated[
        Stain | None,
        Option(
            "Stain",
            "Whether slides are brought to one reference stain, in training and in each "
            "prediction (after Macenko et al. 2009)",
            default="the start model's, else as it is",
            special="the start model's",
            words={"as-is": "as it is", "normalized": "normalized: one stain for all slides"},
        ),
    ] = None
    context: Annotated[
        Context | None,
        Option(
            "Context",
            "What a prediction sees: the tile alone (query), the mean over its neighborhood "
            "(average), or the neighborhood's features (neighborhood)",
            heading="Training",
            default="the start model's, else query",
        ),
    ] = None
    epochs: Annotated[
        int,
        Option(
            "Epochs",
            "Maximum number of epochs; training ends earlier when validation no longer improves",
            (1, 1_000_000),
        ),
    ] = 200
    patience: Annotated[
        int,
        Option(
            "Patience",
            "Epochs without improvement in validation after which training ends",
            (1, 1_000_000),
        ),
    ] = 20
    batch_size: Annotated[
        int, Option("Batch", "Spots per step; fewer need less memory", (2, 65_536))
    ] = 64
    patch_spots: Annotated[
        int, Option("Patch", "Neighboring spots that go into a batch together", (1, 65_536))
    ] = 16
    validation: Annotated[
        Validation,
        Option(
            "Validation",
            "What is set aside to choose the epoch, never spots of a training section; auto: a "
            "donor; with one donor a section; with one section nothing",
            words={
                "auto": "automatic: donor or section",
                "donor": "one donor",
                "section": "one section",
                "none": "none: do all epochs, keep the last",
            },
        ),
    ] = "auto"
    validation_sections: Annotated[
        tuple[str, ...],
        Option("Validate on", "Sections to set aside, instead of leaving the choice to the seed"),
    ] = ()
    device: Annotated[str, DEVICE] = "auto"
    devices: Annotated[
        int,
        Option(
            "Devices",
            "Number of this machine's GPUs to train on, or of processes on a CPU",
            (1, 1024),
        ),
    ] = 1
    precision: Annotated[Precision, PRECISION] = "auto"
    seed: Annotated[
        int, Option("Seed", "Seed of weights, validation split, batches and looks", (0, 2**31))
    ] = 0
    checkpoint_minutes: Annotated[
        float,
        Option(
            "Checkpoint",
            "Time between two checkpoints: the most that a crash can cost",
            (0, 1_000_000),
            unit="min",
        ),
    ] = 2.0
    learning_rate: Annotated[
        float | None,
        Option(
            "Learning rate",
            "Learning rate of Adam",
            (1e-9, 10),
            heading="Optimizer",
            default="1e-4 with adapters; 2e-5 if the prediction head starts from ridge or from a "
            "start model that knows half of the panel; else 5e-4",
            special="2e-5, or 5e-4 from random",
        ),
    ] = None
    weight_decay: Annotated[
        float, Option("Weight decay", "Decoupled weight decay (AdamW); 0 is Adam", (0, 10))
    ] = 0.0
    warm_up: Annotated[
        float,
        Option("Warm-up", "Share of the steps during which the learning rate rises", (0, 0.9)),
    ] = 0.05
    gradient_clip: Annotated[
        float,
        Option("Gradient clip", "Maximum norm of the gradient; 0 for no limit", (0, 1_000_000_000)),
    ] = 1.0
    averaging: Annotated[
        float,
        Option(
            "Averaging",
            "Decay per step of a running mean of the weights, which becomes the model; 0 for none",
            (0, 0.99999),
        ),
    ] = 0.0
    query_weight: Annotated[
        float,
        Option(
            "Query", "Weight of the contrastive loss of spots", (0, 1_000_000), heading="Losses"
        ),
    ] = 1.0
    neighbor_weight: Annotated[
        float, Option("Neighbor", "Weight of the contrastive loss of neighborhoods", (0, 1_000_000))
    ] = 0.5
    mse_weight: Annotated[
        float | None,
        Option(
            "MSE",
            "Weight of the mean squared error",
            (0, 1_000_000),
            default="200 if the prediction head starts from ridge; the start model's if it "
            "starts from that; else 1",
            special="start model's, 200, or 1",
        ),
    ] = None
    soft_weight: Annotated[
        float,
        Option(
            "Soft",
            "Weight of contrastive losses that do not push similar spots apart; 0 for none",
            (0, 1_000_000),
        ),
    ] = 0.0
    group_weight: Annotated[
        float,
        Option(
            "Groups",
            "Weight of contrastive losses against groups of spots, for batches of 128 or more; 0 "
            "for none",
            (0, 1_000_000),
        ),
    ] = 0.0
    distillation: Annotated[
        float,
        Option(
            "Distillation",
            "For architectures with branches: share of the fused prediction, rather than the "
            "measured values, in what each branch learns",
            (0, 1),
        ),
    ] = 0.3
    temperature: Annotated[
        float, Option("Temperature", "Temperature of the contrastive losses", (1e-4, 10_000))
    ] = 0.05
    off_diagonal: Annotated[
        float,
        Option(
            "Off diagonal",
            "Factor on the similarities of pairs that do not belong together",
            (0, 1),
        ),
    ] = 0.1
    augmentation: Annotated[
        AugmentationSettings,
        Option("Augmentation", "Looks that a tile may take", heading="Looks of tiles"),
    ] = field(default_factory=AugmentationSettings)
    frozen_looks: Annotated[
        int,
        Option(
            "Looks kept",
            "With a frozen encoder, or only its last stages trained: number of looks of each "
            "tile whose maps are kept",
            (1, 64),
        ),
    ] = 1
    tile_px: Annotated[
        int | None,
        Option(
            "Tile",
            "Side of a tile, a multiple of 32",
            (32, 2048),
            heading="Network",
            multiple_of=32,
            unit="px",
            default=of_start(224),
        ),
    ] = None
    mpp: Annotated[
        float | None,
        Option(
            "Tile",
            "Resolution at which tiles are seen",
            (0.02, 20),
            unit="µm/px",
            default=of_start(0.5),
        ),
    ] = None
    guides: Annotated[
        Guides | None,
        Option(
            "Guides",
            "Maps that triplex sees besides those of the encoder; boundary: hematoxylin and "
            "where it changes",
            default="the start model's, else none",
            special="the start model's",
            words={"none": "none", "boundary": "boundaries of nuclei and tissue"},
        ),
    ] = None
    dim: Annotated[int | None, shape_option("Features", "Features of a branch", "dim")] = None
    depth: Annotated[
        int | None, shape_option("Depth", "Blocks of the cross-attention", "depth", 64)
    ] = None
    heads: Annotated[
        int | None, shape_option("Heads", "Heads of the cross-attention", "heads", 256)
    ] = None
    mlp_ratio: Annotated[
        float | None,
        Option(
            "Feed-forward",
            "Width of the cross-attention's feed-forward layer, as a multiple of the features",
            (0.01, 64),
            default=default_shape("mlp_ratio"),
        ),
    ] = None
    hidden: Annotated[
        int | None, shape_option("Head width", "Width of the prediction head", "hidden")
    ] = None
    hypergraph_hidden: Annotated[
        int | None,
        shape_option(
            "Hypergraph width", "Width of the hypergraph's hidden layer", "hypergraph_hidden"
        ),
    ] = None
    neighbors: Annotated[
        int | None,
        Option(
            "Neighbors",
            "Nearest spots in a neighborhood, besides the spot itself",
            (1, 63),
            default=default_shape("neighbors"),
        ),
    ] = None
    hyperedge_others: Annotated[
        int | None,
        shape_option("Hyperedge", "Most similar others in a hyperedge", "hyperedge_others", 63),
    ] = None
    dropout: Annotated[
        float | None,
        Option(
            "Dropout", "Dropout in the cross-attention", (0, 0.99), default=default_shape("dropout")
        ),
    ] = None

    _repr_html_ = settings_card

    def __post_init__(self) -> None:
        check_options(self)
        check_together(self)

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, without those that are None."""
        values = asdict(self)
        if self.panel is not None:
            values["panel"]["genes"] = list(self.panel.genes)
        values["validation_sections"] = list(self.validation_sections)
        return {f.name: values[f.name] for f in fields(self) if values[f.name] is not None}
