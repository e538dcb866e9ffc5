"""Optimization steps, on the devices that Lightning Fabric runs them on."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch.optim.swa_utils import AveragedModel

from napari_nh2st.errors import InputError
from napari_nh2st.inference.device import Placement
from napari_nh2st.training.batches import Batch, epoch_batches
from napari_nh2st.training.defaults import ResolvedSettings
from napari_nh2st.training.first_process import end_with_first_process
from napari_nh2st.training.inputs import StudyInputs, StudyTiles, TrainedPart
from napari_nh2st.training.objective import Losses, objective
from napari_nh2st.training.weights import kept_weights, load_kept

_PRECISIONS: dict[str, Any] = {
    "float32": "32-true",
    "bfloat16": "bf16-mixed",
    "float16": "16-mixed",
}


_WARM_UP_STEPS = 20


@dataclass(frozen=True)
class Step:
    """A step of the current epoch: its number from 1, of how many, and its loss."""

    number: int
    of: int
    loss: float


class Optimization:
    """A network, its optimizer, and how far they have come.

    All random draws follow from the seed and the number of epoch and step: what is loaded from a
    checkpoint goes on as if it had never been stored.

    Parameters
    ----------
    part
        The part that is trained.
    study
        Spots to train on.
    settings
        Settings of the training.
    placement
        Device and precision.
    """

    def __init__(
        self,
        part: TrainedPart,
        study: StudyTiles,
        settings: ResolvedSettings,
        placement: Placement,
    ) -> None:
        self.settings = settings
        self._study = study
        self.fabric = _fabric(settings, placement)
        if settings.devices > 1:
            end_with_first_process()
        # Joins the other processes, if there are any; each of them comes to here.
        self.fabric.launch()
        self._averaged = None
        optimizer = torch.optim.AdamW(
            [p for p in part.parameters() if p.requires_grad],
            settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self._part = part
        self._wrapped, self._optimizer = self.fabric.setup(part, optimizer)
        if settings.averaging:
            self._averaged = AveragedModel(part, avg_fn=self._running_mean, use_buffers=True)
        self.epoch = 0
        self._step = 0
        self._sums: dict[str, float] = {}
        self._spots = 0
        self._batches: list[Batch] | None = None
        self._ended = dict(self._sums)

    @property
    def kept(self) -> TrainedPart:
        """The weights that are validated and kept: the running mean, or the network itself."""
        if self._averaged is None:
            return self._part
        module = self._averaged.module
        assert isinstance(module, TrainedPart)
        return module

    @property
    def learning_rate(self) -> float:
        """Learning rate of the last step."""
        return float(self._optimizer.param_groups[0]["lr"])

    @property
    def epoch_losses(self) -> dict[str, float]:
        """Means over the spots of the epoch that has just ended."""
        return self._ended

    @property
    def spots_done(self) -> int:
        """Spots learned from, over all epochs."""
        return self.epoch * len(self._study) + self._spots

    @property
    def spots_left(self) -> int:
        """Spots still to be learned from, all epochs done."""
        return self.settings.epochs * len(self._study) - self.spots_done

    def steps(self, inputs: StudyInputs) -> Iterator[Step]:
        """Do the rest of the current epoch."""
        batches = self._epoch_batches()
        world = self.fabric.world_size
        self._wrapped.train()
        while self._step < len(batches):
            batch = batches[self._step + self.fabric.global_rank]
            losses = self._do(batch, inputs, len(batches))
            if not math.isfinite(float(losses.total)):
                raise InputError(
                    f"the loss is no longer a finite number (epoch {self.epoch + 1}, step "
                    f"{self._step // world + 1}); lower the learning rate"
                )
            self._step += world
            for name, value in losses.named().items():
                self._sums[name] = self._sums.get(name, 0.0) + value * len(batch.rows)
            self._spots += len(batch.rows) * world
            yield Step(self._step // world, len(batches) // world, float(losses.total))
        spots = self._spots / world
        self._ended = {name: value / spots for name, value in self._sums.items()}
        self.epoch += 1
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._step = self._spots = 0
        self._sums = {}
        self._batches = None

    def _epoch_batches(self) -> list[Batch]:
        if self._batches is None:
            s, study = self.settings, self._study
            batch_size, patch_spots = s.batch_size, min(s.patch_spots, s.batch_size)
            if self._part.network.reach == "slide":  # a batch is a whole section
                batch_size = patch_spots = max(map(len, study.sections))
            self._batches = epoch_batches(
                study.centers,
                study.neighborhoods,
                study.mask,
                batch_size=batch_size,
                patch_spots=patch_spots,
                generator=np.random.default_rng((s.seed, self.epoch)),
                multiple_of=self.fabric.world_size,
            )
        return self._batches

    def _do(self, batch: Batch, inputs: StudyInputs, n_batches: int) -> Losses:
        s = self.settings
        rank = self.fabric.global_rank
        seed = int(
            np.random.SeedSequence((s.seed, self.epoch, self._step + rank)).generate_state(1)[0]
        )
        done = (self.epoch + self._step / n_batches) / s.epochs
        # Adam's first steps are as large as later ones: a short training, too, warms up for some.
        least = min(_WARM_UP_STEPS / (n_batches * s.epochs), 0.5)
        warm_up = max(s.warm_up, least) if s.warm_up else 0.0
        for group in self._optimizer.param_groups:
            group["lr"] = s.learning_rate * learning_rate_factor(done, warm_up)
        device = self.fabric.device
        target = self._study.target[torch.from_numpy(batch.rows)].to(device)
        index = torch.from_numpy(batch.neighborhoods).to(device)
        mask = torch.from_numpy(batch.mask).to(device)
        places = inputs.places(batch, torch.Generator().manual_seed(seed)).to(device)
        patch = torch.from_numpy(batch.patch).to(device)
        # The caller's random state is left as it was; dropout draws from ours.
        devices = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            _seed_global_draws(seed, device)
            tensors = inputs.augmented(batch, torch.Generator().manual_seed(seed))
            outputs = self._wrapped(tensors, target, index, mask, places, patch)
            losses = objective(outputs, target, s)
            self._optimizer.zero_grad()
            self.fabric.backward(losses.total)
        if s.gradient_clip:
            self.fabric.clip_gradients(
                self._wrapped, self._optimizer, max_norm=s.gradient_clip, error_if_nonfinite=False
            )
        self._optimizer.step()
        if self._averaged is not None:
            self._averaged.update_parameters(self._part)
        return Losses(losses.total.detach(), {k: v.detach() for k, v in losses.terms.items()})

    def _running_mean(
        self, mean: torch.Tensor, new: torch.Tensor, steps: torch.Tensor | int
    ) -> torch.Tensor:
        if not mean.is_floating_point():
            return new
        # Early steps count less than the decay says: they are far from where it ends.
        decay = min(self.settings.averaging, (1 + int(steps)) / (10 + int(steps)))
        return torch.lerp(new, mean, decay)

    def share(self) -> None:
        """Take the first process' weights, where each came to its own."""
        if self.fabric.world_size > 1:
            for tensor in (*self._part.parameters(), *self._part.buffers()):
                torch.distributed.broadcast(tensor.data, 0)

    def state(self) -> dict[str, Any]:
        """State from which :meth:`load_state` goes on."""
        return {
            "network": kept_weights(self._part),
            "averaged": None if self._averaged is None else kept_weights(self._averaged),
            "optimizer": self._optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "epoch": self.epoch,
            "step": self._step,
            "spots": self._spots,
            "sums": dict(self._sums),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of :meth:`state`."""
        load_kept(self._part, state["network"])
        if self._averaged is not None:
            load_kept(self._averaged, state["averaged"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        self.epoch, self._step, self._spots = state["epoch"], state["step"], state["spots"]
        self._sums = dict(state["sums"])
        self._batches = None


def _seed_global_draws(seed: int, device: torch.device) -> None:
    """Seed what dropout draws from.

    ``torch.manual_seed`` keeps a call stack for each kind of device that is not there, which in a
    small step takes a fifth of the time, and remembers all of them.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def learning_rate_factor(done: float, warm_up: float) -> float:
    """Factor after a share of the steps: up in a line from a hundredth, then down in a cosine."""
    if done < warm_up:
        return 0.01 + 0.99 * done / warm_up
    return (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up))) / 2


def _fabric(settings: ResolvedSettings, placement: Placement) -> Fabric:
    device = placement.device
    devices: Any = settings.devices
    if settings.devices > 1:
        # Channels-last gradients are copied once more: slower by little, and nothing to act on.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    if device.type == "cuda" and settings.devices == 1:
        devices = [device.index or 0]
    return Fabric(
        accelerator={"cuda": "cuda", "mps": "mps"}.get(device.type, "cpu"),
        devices=devices,
        strategy="ddp" if settings.devices > 1 else "auto",
        precision=_PRECISIONS[placement.precision],
    )
