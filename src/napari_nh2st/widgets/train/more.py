"""What of a training's settings is folded away, with its words."""

from napari_nh2st.spots import PanelSettings
from napari_nh2st.training.settings import AugmentationSettings, TrainSettings

MORE: tuple[tuple[str, type, dict[str, tuple[str, str]]], ...] = (
    (
        "Where it starts",
        TrainSettings,
        {
            "encoder_weights": (
                "Encoder weights",
                "File with a state dict of ResNet-18 for the image encoder",
            ),
            "head_start": (
                "Head",
                "What the prediction head starts from: ridge regression on the encoder's maps, or "
                "random weights, but for the genes that a start model knows. Left as it is: with "
                "an encoder that is not trained whole ridge, unless the start model knows the "
                "whole panel",
            ),
        },
    ),
    (
        "Panel",
        PanelSettings,
        {
            "leave_out_ribosomal": ("Without RPS, RPL", "Leave out ribosomal genes"),
            "leave_out_mitochondrial": ("Without MT-", "Leave out mitochondrial genes"),
        },
    ),
    (
        "Course",
        TrainSettings,
        {
            "patience": (
                "Patience",
                "Epochs without a better validation after which training ends",
            ),
            "batch_size": ("Batch", "Spots in a step; fewer need less memory"),
            "patch_spots": (
                "Patch",
                "Neighboring spots that go into a batch together",
            ),
            "learning_rate": (
                "Learning rate",
                "Of Adam. Left empty: 2e-5 where the prediction head starts from ridge or a start "
                "model that knows half of the panel, else 5e-4",
            ),
            "weight_decay": ("Weight decay", "Decoupled (AdamW); 0 is Adam"),
            "warm_up": ("Warm-up", "Share of the steps during which the learning rate rises"),
            "gradient_clip": ("Gradient clip", "Largest norm of the gradient; 0 for no bound"),
            "averaging": (
                "Averaging",
                "Decay per step of a running mean of the weights, which is then what is kept; 0 "
                "for none",
            ),
            "precision": ("Precision", "Of the computation; auto is the fastest without harm"),
            "seed": ("Seed", "Of weights, validation split, batches and looks"),
            "checkpoint_minutes": (
                "Checkpoint, min",
                "Time between two checkpoints: what a crash can cost",
            ),
        },
    ),
    (
        "Losses",
        TrainSettings,
        {
            "query_weight": ("Query", "Weight of the contrastive loss of spots"),
            "neighbor_weight": ("Neighbor", "Weight of the contrastive loss of neighborhoods"),
            "mse_weight": (
                "MSE",
                "Weight of the mean squared error. Left empty: 200 where the prediction head "
                "starts from ridge; where from a start model, that one's; else 1",
            ),
            "temperature": ("Temperature", "Of both contrastive losses"),
            "off_diagonal": (
                "Off diagonal",
                "Factor on the similarities of what does not belong together",
            ),
        },
    ),
    (
        "Looks of tiles",
        AugmentationSettings,
        {
            "flips": ("Mirror", "Train on mirror images too"),
            "quarter_turns": ("Turn", "Train on images turned by 90° too"),
            "stain_jitter": ("Stain jitter", "How much the stains vary, from 0 to below 1"),
        },
    ),
    (
        "With a frozen encoder",
        TrainSettings,
        {"frozen_looks": ("Looks kept", "Looks of each tile whose feature maps are kept")},
    ),
    (
        "Network",
        TrainSettings,
        {
            "tile_px": ("Tile, px", "Side of a tile, a multiple of 32"),
            "mpp": ("Tile, µm/px", "Resolution at which tiles are seen"),
            "dim": ("Features", "Of a branch"),
            "depth": ("Depth", "Blocks of the cross-attention"),
            "heads": ("Heads", "Of the cross-attention"),
            "mlp_ratio": ("Feed-forward", "Width of its layer, as a multiple of the features"),
            "hidden": ("Head width", "Width of the prediction head"),
            "hypergraph_hidden": ("Hypergraph width", "Width of its hidden layer"),
            "neighbors": ("Neighbors", "Nearest spots in a neighborhood, beside the spot itself"),
            "hyperedge_others": ("Hyperedge", "Most similar others in a hyperedge"),
            "dropout": ("Dropout", "In the cross-attention"),
        },
    ),
)
"""Title, dataclass, and by field its label and tooltip. Types and defaults are the fields' own."""

PUBLISHED = {
    "head_start": "as it fits",
    "learning_rate": "2e-5, or 5e-4 from random",
    "mse_weight": "start model's, 200, or 1",
    "tile_px": "start model's, or 224",
    "mpp": "start model's, or 0.5",
}
"""Words for a default of None, where it is not just the start model's, or the published value."""
