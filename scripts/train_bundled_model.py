"""Train the model that comes with the package, from HER2+ breast sections C2 to C6.

The sections are those of Andersson et al. 2021 (github.com/almaan/her2st), in the folder that
``NH2ST_TEST_DATA`` names; they are not part of this project. Three stages, each of which goes on
where it was stopped::

    python scripts/train_bundled_model.py encoder -o WORK
    python scripts/train_bundled_model.py heads -o WORK
    python scripts/train_bundled_model.py bundle -o WORK   # writes src/napari_nh2st/models/

The encoder is trained first, without any expression, on tiles from all over the five sections:
to predict simple descriptors of a tile (stain, texture at several scales), each brought to the
same mean and spread in every section. 900 spots are too few to learn these from expression alone.
It takes some 350,000 tiles: ten seconds with ``--device cuda`` on a large GPU, which trained the
bundled one, or an hour or two without.
Then the network is trained on the spots six times: with each section left out, and with all five.
The scores reported for the model come from the first five. 20 further trainings, without every two
and every three of the sections, calibrate the intervals.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bundled_encoder import MPP, TILE_PX, EncoderRecipe, train_encoder
from napari_nh2st.evaluation import cross_validate
from napari_nh2st.model.folder import load_model_folder, save_model_folder
from napari_nh2st.spots import Section
from napari_nh2st.training import (
    EpochDone,
    MeasuredSection,
    TrainEvent,
    TrainSettings,
    load_study,
)

SECTIONS = ("C2", "C3", "C4", "C5", "C6")
MODEL_NAME = "her2-breast-demo"
BUNDLED = Path(__file__).resolve().parents[1] / "src" / "napari_nh2st" / "models" / MODEL_NAME

HEADS: dict[str, Any] = {
    "stain": "normalized",
    # Narrower than published: 50 MB hold no more, and 900 spots do not ask for it.
    "dim": 128,
    "hidden": 128,
    "hypergraph_hidden": 128,
    # What a stain adds to all tiles of a slide has no say in how they differ.
    "head_start": "ridge-within",
    # The closed-form start is nearly where it ends: small steps train what it leaves random, the
    # contrastive side, and hardly move the prediction.
    "epochs": 1,
    "batch_size": 64,
    "patch_spots": 16,
    "learning_rate": 3e-6,
    "mse_weight": 200.0,
}


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
        contexts=("neighborhood",),
        intervals="spread",
        on_event=show_epoch,
    )
    for context, evaluation in result.evaluations.items():
        each = {name: f"{s['mean_pcc']:.3f}" for name, s in evaluation.section_summaries.items()}
        print(f"{context}: {evaluation.summary['mean_pcc']:.3f}, by section {each}")


def with_12_bits(values: Tensor) -> Tensor:
    """Round float32 to 12 bits after the first: zeros behind them take no room in a wheel."""
    bits = values.contiguous().numpy().view(np.int32)
    return torch.from_numpy(((bits + 0x400) & ~0x7FF).view(np.float32))


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
        "encoder_recipe": vars(EncoderRecipe()),
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
            "It does not always notice what it was not made for. In one stain for all slides, 9 % "
            "of the tiles of a mouse's olfactory bulb count as unfamiliar, and 27 % of those of "
            "skin from another scanner.",
            "Not for genes of low reliability, and not for absolute amounts of expression.",
        ],
    }
    config = replace(
        model.config,
        name=MODEL_NAME,
        training=training,
        reliability_of="other sections of the same tumour",
    )
    assert model.heads is not None
    heads = replace(model.heads, whitening=with_12_bits(model.heads.whitening))
    saved = save_model_folder(
        replace(model, config=config, heads=heads), target, torch.float16, overwrite=True
    )
    size = sum(file.stat().st_size for file in target.iterdir()) / 1e6
    print(f"{target}: {len(saved.config.panel)} genes, {size:.1f} MB")


def main() -> None:
    """Run a stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("encoder", "heads", "bundle"))
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="WORK")
    parser.add_argument("--device", default="cpu", help="to train the encoder on, such as cuda")
    parser.add_argument("--threads", type=int, help="of torch")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    if args.stage == "encoder":
        train_encoder(study(), args.output, EncoderRecipe(), torch.device(args.device))
    elif args.stage == "heads":
        train_heads(args.output)
    else:
        bundle(args.output, BUNDLED)


if __name__ == "__main__":
    main()
