"""An encoder that has seen a laboratory's slides, before any expression is measured on them.

VICReg (Bardes, Ponce, LeCun, ICLR 2022, arXiv 2105.04906): two looks at one place of the tissue
shall have the same features, and the features of a batch shall neither collapse nor repeat each
other.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from napari_nh2st.errors import InputError
from napari_nh2st.model.resnet import MAP_CHANNELS, ResNet18Encoder, normalize_tiles
from napari_nh2st.training.augmentation import AugmentationSettings, augment, draw
from napari_nh2st.training.checkpoint import read_checkpoint, write_checkpoint


@dataclass(frozen=True)
class PretrainSettings:
    """How an encoder is trained without labels.

    Parameters
    ----------
    steps
        Updates.
    batch_size
        Places of the tissue in a batch, each seen twice.
    crop_px
        Side of the two crops of a place: two different parts of it.
    learning_rate, weight_decay
        Of AdamW, after a warm-up of a tenth of the steps, then down to 0 along a cosine.
    expander
        Width of the three layers behind the pooled features, of which nothing is kept.
    augmentation
        One draw for each crop.
    seed
        Of weights and draws.
    checkpoint_every
        Steps between two checkpoints.
    """

    steps: int = 2000
    batch_size: int = 64
    crop_px: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    expander: int = 1024
    augmentation: AugmentationSettings = field(
        default_factory=lambda: AugmentationSettings(stain_jitter=0.25)
    )
    seed: int = 0
    checkpoint_every: int = 100


@dataclass(frozen=True)
class PretrainStep:
    """A step is done.

    Parameters
    ----------
    step, steps
        How many are done, and all.
    loss, invariance, spread
        The loss; of it, the mean squared distance between two looks; and the mean standard
        deviation of the expanded features over the batch, wanted at 1.
    """

    step: int
    steps: int
    loss: float
    invariance: float
    spread: float


class Pretraining:
    """Trains a :class:`~napari_nh2st.model.resnet.ResNet18Encoder` on places without labels.

    Parameters
    ----------
    places
        (n, side, side, 3) uint8, RGB at the µm/px the model will have; ``side`` above
        ``crop_px``, the farther the more a feature has to hold over the tissue around.
    settings
        How.
    checkpoint
        File that is written on the way and read at the start if it is there; None for none.

    Raises
    ------
    InputError
        Places are smaller than the crops or fewer than a batch, or the checkpoint is of another
        pretraining.
    """

    def __init__(
        self,
        places: NDArray[np.uint8],
        settings: PretrainSettings,
        checkpoint: Path | None = None,
        device: torch.device | None = None,
    ) -> None:
        if places.shape[1] < settings.crop_px or len(places) < settings.batch_size:
            raise InputError(
                f"pretraining needs at least {settings.batch_size} places of {settings.crop_px} "
                f"px; there are {len(places)} of {places.shape[1]} px"
            )
        self.settings = settings
        self._places = torch.from_numpy(places)
        self._checkpoint = checkpoint
        self._device = device or torch.device("cpu")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.encoder = ResNet18Encoder().to(self._device)
            self._expander = _expander(settings.expander).to(self._device)
        self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        parameters = [*self.encoder.parameters(), *self._expander.parameters()]
        self._optimizer = torch.optim.AdamW(
            parameters, settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.step = 0
        if checkpoint is not None and checkpoint.exists():
            self._resume(checkpoint)

    def __iter__(self) -> Iterator[PretrainStep]:
        """Train, from where a checkpoint stopped; may be left at any step."""
        s = self.settings
        self.encoder.train()
        while self.step < s.steps:
            for group in self._optimizer.param_groups:
                group["lr"] = s.learning_rate * _schedule(self.step / s.steps)
            # Draws follow from seed and step alone: a resumed run makes the same.
            generator = torch.Generator().manual_seed(s.seed * 1_000_003 + self.step)
            chosen = torch.randperm(len(self._places), generator=generator)[: s.batch_size]
            features = [
                self._expander(self.encoder(self._look(chosen, generator)).mean((2, 3)))
                for _ in range(2)
            ]
            loss, invariance, spread = vicreg_loss(*features)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            self.step += 1
            if self._checkpoint and (self.step % s.checkpoint_every == 0 or self.step == s.steps):
                self._save(self._checkpoint)
            yield PretrainStep(self.step, s.steps, loss.item(), invariance.item(), spread.item())

    def _look(self, chosen: Tensor, generator: torch.Generator) -> Tensor:
        """A crop of each chosen place, augmented: (b, 3, crop, crop) normalized."""
        s = self.settings
        room = self._places.shape[1] - s.crop_px + 1
        corners = torch.randint(room, (len(chosen), 2), generator=generator)
        crops = torch.stack(
            [
                self._places[place, y : y + s.crop_px, x : x + s.crop_px]
                for place, (y, x) in zip(chosen.tolist(), corners.tolist(), strict=True)
            ]
        ).to(self._device)
        looks = draw(s.augmentation, len(chosen), generator).to(self._device)
        return normalize_tiles(augment(crops, looks))

    def _save(self, path: Path) -> None:
        write_checkpoint(
            path,
            {
                "step": self.step,
                "settings": repr(self.settings),
                "encoder": self.encoder.state_dict(),
                "expander": self._expander.state_dict(),
                "optimizer": self._optimizer.state_dict(),
            },
        )

    def _resume(self, path: Path) -> None:
        state = read_checkpoint(path)
        if state["settings"] != repr(self.settings):
            raise InputError(
                f"{path} was written with other settings; give the same, or another file"
            )
        self.encoder.load_state_dict(state["encoder"])
        self._expander.load_state_dict(state["expander"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def vicreg_loss(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``25 · invariance + 25 · variance + covariance`` of two looks (arXiv 2105.04906, eq. 6).

    Parameters
    ----------
    a, b
        (n, d), row i of both from one place.

    Returns
    -------
    loss, invariance, spread
        Scalars; ``spread`` is the mean standard deviation over the batch.
    """
    invariance = functional.mse_loss(a, b)
    variance = covariance = torch.zeros((), device=a.device)
    spread = torch.zeros((), device=a.device)
    for x in (a, b):
        x = x - x.mean(0)
        deviation = (x.var(0) + 1e-4).sqrt()
        variance = variance + functional.relu(1 - deviation).mean() / 2
        products = x.T @ x / (len(x) - 1)
        off_diagonal = products.square().sum() - products.diagonal().square().sum()
        covariance = covariance + off_diagonal / x.shape[1]
        spread = spread + deviation.detach().mean() / 2
    return 25 * invariance + 25 * variance + covariance, invariance, spread


def _expander(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(MAP_CHANNELS, width),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        nn.Linear(width, width),
    )


def _schedule(done: float, warm_up: float = 0.1) -> float:
    """Factor of the learning rate after a share of the steps: up in a line, down in a cosine."""
    if done < warm_up:
        return (done + 1e-3) / warm_up
    return (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up))) / 2
