"""Train the model that comes with the package, from HER2+ breast sections C2 to C6.

The sections are those of Andersson et al. 2021 (github.com/almaan/her2st), in the folder that
``NH2ST_TEST_DATA`` names; they are not part of this project. Three stages, each of which goes on
where it was stopped::

    python scripts/train_bundled_model.py encoder -o WORK     # a day's evening on two CPU cores
    python scripts/train_bundled_model.py heads -o WORK       # some minutes
    python scripts/train_bundled_model.py bundle -o WORK      # writes src/napari_nh2st/models/

Every stage is done six times: with each section left out, and with all five. What is told of the
model comes from the first five.
"""

import argparse
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from napari_nh2st.model.config import CONTEXTS
from napari_nh2st.model.folder import load_model_folder, save_model_folder
from napari_nh2st.model.resnet import MAP_CHANNELS, ResNet18Encoder, normalize_tiles
from napari_nh2st.spots import PanelSettings, Section, choose_panel
from napari_nh2st.training import (
    AugmentationSettings,
    EpochDone,
    MeasuredSection,
    TrainEvent,
    TrainSettings,
    cross_validate,
    load_study,
)
from napari_nh2st.training.augmentation import augment, draw
from napari_nh2st.training.checkpoint import read_checkpoint, write_checkpoint
from napari_nh2st.training.optimization import learning_rate_factor
from napari_nh2st.training.study import section_tiles

SECTIONS = ("C2", "C3", "C4", "C5", "C6")
ALL = "all"
TILE_PX, MPP = 224, 0.69
MODEL_NAME = "her2-breast-demo"
BUNDLED = Path(__file__).resolve().parents[1] / "src" / "napari_nh2st" / "models" / MODEL_NAME

HEADS: dict[str, Any] = {
    # Narrower than published: 50 MB hold no more, and 900 spots do not ask for it.
    "dim": 128,
    "hidden": 128,
    "hypergraph_hidden": 128,
    "frozen_looks": 4,
    "epochs": 30,
    "batch_size": 64,
    "patch_spots": 16,
    "learning_rate": 3e-4,
    "weight_decay": 0.1,
    "averaging": 0.98,
    "mse_weight": 20.0,
}


@dataclass(frozen=True)
class EncoderRecipe:
    """How the image encoder is trained before the network around it.

    On crops of the tiles, which costs a third of whole ones, with a linear map from the pooled
    features to the panel: where in a tile something lies means nothing for its expression.
    """

    epochs: int = 14
    batch_size: int = 48
    crop_px: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: float = 0.15
    averaging: float = 0.98
    looks: AugmentationSettings = AugmentationSettings(stain_jitter=0.2)  # noqa: RUF009
    seed: int = 0


class CropNetwork(nn.Module):
    """The encoder, pooled, and a linear map to the panel."""

    def __init__(self, mean: Tensor) -> None:
        super().__init__()
        self.encoder = ResNet18Encoder()
        self.head = nn.Linear(MAP_CHANNELS, len(mean))
        nn.init.normal_(self.head.weight, std=0.01)
        self.head.bias.data.copy_(mean)

    def forward(self, crops: Tensor) -> Tensor:
        """(n, 3, crop, crop) normalized → (n, panel)."""
        return self.head(self.encoder(crops).mean((2, 3)))


def study() -> tuple[MeasuredSection, ...]:
    """The five sections, read and checked."""
    base = os.environ.get("NH2ST_TEST_DATA")
    if not base:
        sys.exit("Set NH2ST_TEST_DATA to the folder with the sections (her2st/).")
    folder = Path(base) / "her2st"
    return load_study(
        [
            Section(
                name,
                "C",
                folder / "images" / f"{name}.jpg",
                folder / "counts" / f"{name}.tsv.gz",
                folder / "spots" / f"{name}_selection.tsv",
            )
            for name in SECTIONS
        ]
    )


def panel_of(sections: tuple[MeasuredSection, ...]) -> tuple[str, ...]:
    """The 250 genes of the highest mean over all five."""
    chosen = choose_panel({s.name: s.spots for s in sections}, PanelSettings(n_genes=250))
    return chosen.genes


def train_encoder(left_out: str, work: Path, recipe: EncoderRecipe) -> None:
    """Train the encoder on all sections but one, into ``work/encoder-<left out>.pt``."""
    target = work / f"encoder-{left_out}.pt"
    if target.exists():
        return
    sections = study()
    panel = panel_of(sections)
    cut = [
        section_tiles(section, panel, tile_px=TILE_PX, mpp=MPP)
        for section in sections
        if section.name != left_out
    ]
    tiles = torch.from_numpy(np.concatenate([c.tiles for c in cut]))
    measured = torch.from_numpy(np.concatenate([c.target for c in cut]))
    torch.manual_seed(recipe.seed)
    network = CropNetwork(measured.mean(0))
    network.to(memory_format=torch.channels_last)
    mean = AveragedModel(
        network,
        avg_fn=lambda old, new, n: (
            torch.lerp(new, old, min(recipe.averaging, (1 + int(n)) / (10 + int(n))))
            if old.is_floating_point()
            else new
        ),
        use_buffers=True,
    )
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    kept, first = work / f"encoder-{left_out}.checkpoint", 0
    if kept.exists():
        state = read_checkpoint(kept)
        network.load_state_dict(state["network"])
        mean.load_state_dict(state["mean"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]
    per_epoch = len(tiles) // recipe.batch_size
    began = time.perf_counter()
    for epoch in range(first, recipe.epochs):
        generator = torch.Generator().manual_seed(1000 * recipe.seed + epoch)
        order = torch.randperm(len(tiles), generator=generator)
        total = 0.0
        for step in range(per_epoch):
            done = (epoch + step / per_epoch) / recipe.epochs
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * learning_rate_factor(done, recipe.warm_up)
            rows = order[step * recipe.batch_size :][: recipe.batch_size]
            crops = _crops(tiles, rows, recipe.crop_px, generator)
            looks = draw(recipe.looks, len(rows), generator)
            loss = functional.mse_loss(
                network(normalize_tiles(augment(crops, looks))), measured[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            mean.update_parameters(network)
            total += loss.item()
        seconds = time.perf_counter() - began
        print(
            f"{left_out} epoch {epoch + 1} mse {total / per_epoch:.4f} {seconds:.0f} s", flush=True
        )
        state = {"network": network.state_dict(), "mean": mean.state_dict()}
        write_checkpoint(kept, state | {"optimizer": optimizer.state_dict(), "epoch": epoch + 1})
    write_checkpoint(target, mean.module.encoder.state_dict())
    kept.unlink(missing_ok=True)


def train_heads(work: Path) -> None:
    """Train the network around each frozen encoder, score what was left out, keep the best."""
    base = TrainSettings(
        encoder="frozen",
        encoder_weights=str(work / f"encoder-{ALL}.pt"),
        tile_px=TILE_PX,
        mpp=MPP,
        validation="none",
        **HEADS,
    )

    def fold(left_out: str, settings: TrainSettings) -> TrainSettings:
        return replace(settings, encoder_weights=str(work / f"encoder-{left_out or ALL}.pt"))

    def tell(left_out: str, event: TrainEvent) -> None:
        if isinstance(event, EpochDone):
            print(f"{left_out or ALL}: epoch {event.epoch}, mse {event.mse:.4f}", flush=True)

    result = cross_validate(
        study(),
        base,
        folder=work / MODEL_NAME,
        leave="section",
        contexts=CONTEXTS,
        fold_settings=fold,
        on_event=tell,
    )
    for context, evaluation in result.evaluations.items():
        each = {name: f"{s['mean_pcc']:.3f}" for name, s in evaluation.section_summaries.items()}
        print(f"{context}: {evaluation.summary['mean_pcc']:.3f}, by section {each}")


def bundle(work: Path, target: Path) -> None:
    """Write the model into the package, in float16, with what its card has to say."""
    model = load_model_folder(work / MODEL_NAME / "model")
    training = dict(model.config.training)
    training["settings"] = dict(training["settings"]) | {"encoder_weights": "trained with it"}
    training |= {
        "summary": (
            "A demonstration: HER2+ breast cancer, one donor, five neighboring sections "
            f"({training['n_spots']} spots of legacy Spatial Transcriptomics)."
        ),
        "data": "Andersson et al. 2021, sections C2 to C6 of patient C, github.com/almaan/her2st",
        "encoder_recipe": {
            name: value if isinstance(value, int | float) else vars(value)
            for name, value in vars(EncoderRecipe()).items()
        },
        "intended_use": [
            "Trying out the plugin, its Python functions and its command line without data or "
            "model of one's own.",
            "A start for fine-tuning on one's own sections of breast tissue.",
        ],
        "limits": [
            "Not for diagnosis, nor for any decision about a patient.",
            "Not for statements about other donors, organs, stains or scanners: it has seen one "
            "tumour, and was tested on sections that lie within micrometres of those it was "
            "trained on. Correlations on another donor will be lower.",
            "Not for genes of low reliability, and not for absolute amounts of expression.",
        ],
    }
    config = replace(model.config, name=MODEL_NAME, training=training)
    saved = save_model_folder(replace(model, config=config), target, torch.float16, overwrite=True)
    size = sum(file.stat().st_size for file in target.iterdir()) / 1e6
    print(f"{target}: {len(saved.config.panel)} genes, {size:.1f} MB")


def _crops(tiles: Tensor, rows: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """A crop of each tile, anywhere in it: (b, side, side, 3) uint8."""
    corners = torch.randint(tiles.shape[1] - side + 1, (len(rows), 2), generator=generator)
    return torch.stack(
        [
            tiles[row, y : y + side, x : x + side]
            for row, (y, x) in zip(rows.tolist(), corners.tolist(), strict=True)
        ]
    )


def main() -> None:
    """Run a stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("encoder", "heads", "bundle"))
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="WORK")
    parser.add_argument("--left-out", choices=(*SECTIONS, ALL), help="only this one of the six")
    parser.add_argument("--threads", type=int, help="of torch")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    every = (args.left_out,) if args.left_out else (*SECTIONS[::-1], ALL)
    if args.stage == "encoder":
        for left_out in every:
            train_encoder(left_out, args.output, EncoderRecipe())
    elif args.stage == "heads":
        train_heads(args.output)
    else:
        bundle(args.output, BUNDLED)


if __name__ == "__main__":
    main()
