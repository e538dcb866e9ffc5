"""Train the model that comes with the package, from HER2+ breast sections C2 to C6.

The sections are those of Andersson et al. 2021 (github.com/almaan/her2st), in the folder that
``NH2ST_TEST_DATA`` names; they are not part of this project. Three stages, each of which goes on
where it was stopped::

    python scripts/train_bundled_model.py encoder -o WORK
    python scripts/train_bundled_model.py heads -o WORK
    python scripts/train_bundled_model.py bundle -o WORK   # writes src/napari_nh2st/models/

A fourth, ``trust``, gives the bundled model the heads and intervals of a cross-validation around
its own encoder, in a folder of its own, and leaves its network as it is.

The encoder is trained first, without any expression, on tiles from all over the five sections:
to predict simple descriptors of a tile (stain, texture at several scales), each brought to the
same mean and spread in every section. 900 spots are too few to learn these from expression alone.
Then the network is trained on the spots six times: with each section left out, and with all five.
The scores reported for the model come from the first five. 20 further trainings, without every two
and every three of the sections, calibrate the intervals.
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
from numpy.typing import NDArray
from skimage.color import rgb2hed
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from napari_nh2st.evaluation import cross_validate
from napari_nh2st.model.config import CONTEXTS
from napari_nh2st.model.encoders import ResNet18Encoder, normalize_tiles
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS
from napari_nh2st.model.folder import load_model_folder, save_model_folder
from napari_nh2st.model.nh2st import NH2ST
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import Section
from napari_nh2st.tiles import find_tissue, tile_grid
from napari_nh2st.training import (
    AugmentationSettings,
    EpochDone,
    MeasuredSection,
    TrainEvent,
    TrainSettings,
    load_study,
)
from napari_nh2st.training.augmentation import augment, draw
from napari_nh2st.training.checkpoint import read_checkpoint, write_checkpoint
from napari_nh2st.training.optimization import learning_rate_factor
from napari_nh2st.training.slide_tiles import read_tiles

SECTIONS = ("C2", "C3", "C4", "C5", "C6")
TILE_PX, MPP = 64, 2.4
MODEL_NAME = "her2-breast-demo"
BUNDLED = Path(__file__).resolve().parents[1] / "src" / "napari_nh2st" / "models" / MODEL_NAME

HEADS: dict[str, Any] = {
    # Narrower than published: 50 MB hold no more, and 900 spots do not ask for it.
    "dim": 128,
    "hidden": 128,
    "hypergraph_hidden": 128,
    # The closed-form start is nearly where it ends: small steps train what it leaves random, the
    # contrastive side, and hardly move the prediction.
    "head_start": "ridge",
    "frozen_looks": 4,
    "epochs": 10,
    "batch_size": 64,
    "patch_spots": 16,
    "learning_rate": 3e-6,
    "averaging": 0.98,
    "mse_weight": 200.0,
}


@dataclass(frozen=True)
class EncoderRecipe:
    """How the image encoder is trained without labels."""

    pitch_um: float = 100.0
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warm_up: float = 0.15
    averaging: float = 0.99
    stain_jitter: float = 0.05
    seed: int = 0


class DescriptorNetwork(nn.Module):
    """The encoder, pooled, and a linear map to the descriptors."""

    def __init__(self, descriptors: int) -> None:
        super().__init__()
        self.encoder = ResNet18Encoder()
        self.head = nn.Linear(MAP_CHANNELS, descriptors)

    def forward(self, tiles: Tensor) -> Tensor:
        """(n, 3, tile, tile) normalized → (n, descriptors)."""
        return self.head(self.encoder(tiles).mean((2, 3)))


def tile_descriptors(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Stain and texture of tiles: (n, side, side, 3) → (n, descriptors).

    Mean, spread and percentiles of red, green, blue and of the three stains; spread and contrast
    of haematoxylin and spread of brightness over blocks of 1, 2, 4, ... pixels; share of glass.
    """
    colors = tiles.astype(np.float32) / 255
    stains = rgb2hed(colors)
    parts = []
    for image in (colors, stains):
        parts += [image.mean((1, 2)), image.std((1, 2))]
        parts += list(np.percentile(image, (5, 25, 50, 75, 95), axis=(1, 2)))
    n, side = tiles.shape[:2]
    block = 1
    while side // block >= 4:
        k = side // block
        for image, contrast in ((stains[..., 0], True), (colors.mean(-1), False)):
            blocks = image.reshape(n, k, block, k, block).mean((2, 4))
            parts.append(blocks.std((1, 2))[:, None])
            if contrast:
                steps = (np.abs(np.diff(blocks, axis=axis)).mean((1, 2)) for axis in (1, 2))
                parts.append(sum(steps)[:, None])
        block *= 2
    parts.append((colors.min(-1) > 0.85).mean((1, 2))[:, None])
    return np.concatenate(parts, axis=1).astype(np.float32)


def descriptor_targets(by_section: list[NDArray[np.float32]]) -> Tensor:
    """Targets of the encoder: descriptors standardized in each section, and their components.

    Descriptors go up and down together; principal components brought to the same spread make
    the encoder learn the finer differences too.
    """
    standard = np.concatenate([(d - d.mean(0)) / (d.std(0) + 1e-6) for d in by_section])
    _, size, axes = np.linalg.svd(standard - standard.mean(0), full_matrices=False)
    kept = size > 0.02 * size[0]
    components = standard @ axes[kept].T / size[kept] * np.sqrt(len(standard))
    return torch.from_numpy(np.concatenate([standard, components], 1)).clamp(-5, 5)


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


def train_encoder(work: Path, recipe: EncoderRecipe) -> None:
    """Train the encoder without labels, into ``work/encoder.pt``."""
    target_file = work / "encoder.pt"
    if target_file.exists():
        return
    cut, descriptors = [], []
    for section in study():
        with open_slide(section.section.slide, mpp=section.mpp) as slide:
            grid = tile_grid(
                slide, tile_um=TILE_PX * MPP, pitch_um=recipe.pitch_um, mask=find_tissue(slide)
            )
        tiles, _ = read_tiles(
            section.section.slide, section.mpp, grid.centers, tile_px=TILE_PX, mpp=MPP
        )
        cut.append(tiles)
        descriptors.append(tile_descriptors(tiles))
    tiles = torch.from_numpy(np.concatenate(cut))
    target = descriptor_targets(descriptors).float()
    print(f"{len(tiles)} tiles, {target.shape[1]} descriptors and components", flush=True)
    torch.manual_seed(recipe.seed)
    network = DescriptorNetwork(target.shape[1])
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
    kept, first = work / "encoder.checkpoint", 0
    if kept.exists():
        state = read_checkpoint(kept)
        network.load_state_dict(state["network"])
        mean.load_state_dict(state["mean"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]
    looks = AugmentationSettings(stain_jitter=recipe.stain_jitter)
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
            drawn = augment(tiles[rows], draw(looks, len(rows), generator))
            loss = functional.mse_loss(network(normalize_tiles(drawn)), target[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            mean.update_parameters(network)
            total += loss.item()
        seconds = time.perf_counter() - began
        print(f"epoch {epoch + 1}: mse {total / per_epoch:.4f}, {seconds:.0f} s", flush=True)
        state = {"network": network.state_dict(), "mean": mean.state_dict()}
        write_checkpoint(kept, state | {"optimizer": optimizer.state_dict(), "epoch": epoch + 1})
    write_checkpoint(target_file, mean.module.encoder.state_dict())
    kept.unlink(missing_ok=True)


def train_heads(work: Path) -> None:
    """Train the network around the frozen encoder, score what was left out, keep the best."""
    base = TrainSettings(
        encoder="frozen",
        encoder_weights=str(work / "encoder.pt"),
        tile_px=TILE_PX,
        mpp=MPP,
        validation="none",
        **HEADS,
    )

    def show_epoch(left_out: str, event: TrainEvent) -> None:
        if isinstance(event, EpochDone):
            print(
                f"{left_out or 'all'}: epoch {event.epoch}, mse {event.losses['mse']:.4f}",
                flush=True,
            )

    result = cross_validate(
        study(),
        base,
        folder=work / MODEL_NAME,
        leave="section",
        contexts=CONTEXTS,
        intervals="spread",
        on_event=show_epoch,
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
            **vars(EncoderRecipe()),
        },
        "intended_use": [
            "Trying out the plugin, its Python functions and its command line without data or "
            "model of one's own.",
            "A start for fine-tuning on one's own sections of breast tissue.",
        ],
        "limits": [
            "Not for diagnosis, nor for any decision about a patient.",
            "Not for statements about other donors, organs, stains or scanners: it has seen one "
            "tumour, and was tested on neighboring sections of it. Correlations on another donor "
            "will be lower.",
            "The held-out correlations are of expression that was left out. The encoder had seen "
            "the images of all five sections before, without expression; the panel was chosen by "
            "mean count on all five; and the recipe was settled on with these folds in view.",
            "Not for genes of low reliability, and not for absolute amounts of expression.",
        ],
    }
    config = replace(model.config, name=MODEL_NAME, training=training)
    saved = save_model_folder(replace(model, config=config), target, torch.float16, overwrite=True)
    size = sum(file.stat().st_size for file in target.iterdir()) / 1e6
    print(f"{target}: {len(saved.config.panel)} genes, {size:.1f} MB")


def with_12_bits(values: Tensor) -> Tensor:
    """Round float32 to 12 bits after the first: zeros behind them take no room in a wheel."""
    bits = values.contiguous().numpy().view(np.int32)
    return torch.from_numpy(((bits + 0x400) & ~0x7FF).view(np.float32))


def trust(work: Path, target: Path) -> None:
    """Give the bundled model what a cross-validation around its encoder says of its trust."""
    bundled = load_model_folder(target)
    assert isinstance(bundled.network, NH2ST)
    if not (work / "encoder.pt").exists():
        write_checkpoint(work / "encoder.pt", bundled.network.image_encoder.state_dict())
    if not (work / MODEL_NAME / "model").exists():
        train_heads(work)
    found = load_model_folder(work / MODEL_NAME / "model")
    training = dict(bundled.config.training) | {
        "heads": found.config.training["heads"],
        "held_out": dict(bundled.config.training["held_out"])
        | {"coverage": found.config.training["held_out"]["coverage"]},
    }
    config = replace(
        bundled.config,
        training=training,
        reliability_of="other sections of the same tumour",
        interval_90=found.config.interval_90,
        usual_spread=found.config.usual_spread,
    )
    assert found.heads is not None
    heads = replace(found.heads, whitening=with_12_bits(found.heads.whitening))
    model = replace(bundled, config=config, heads=heads)
    saved = save_model_folder(model, target, torch.float16, overwrite=True)
    assert saved.config.weights == bundled.config.weights, "the network has changed"
    size = sum(file.stat().st_size for file in target.iterdir()) / 1e6
    print(f"{target}: {training['heads']}, {size:.1f} MB")


def main() -> None:
    """Run a stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("encoder", "heads", "bundle", "trust"))
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="WORK")
    parser.add_argument("--threads", type=int, help="of torch")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    if args.stage == "encoder":
        train_encoder(args.output, EncoderRecipe())
    elif args.stage == "heads":
        train_heads(args.output)
    elif args.stage == "bundle":
        bundle(args.output, BUNDLED)
    else:
        trust(args.output, BUNDLED)


if __name__ == "__main__":
    main()
