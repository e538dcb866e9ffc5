"""Events of a training, for the viewer, the command line and the tests alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_nh2st.model.folder import Model


@dataclass(frozen=True)
class TrainStarted:
    """Everything is read and checked; no step has been done in this run.

    Parameters
    ----------
    training, validation
        Names of the sections in each part.
    panel
        Genes that are learned.
    n_spots
        Spots in training.
    n_trained
        Number of weights that are trained.
    device, precision
        Chosen device and precision.
    epoch, epochs
        Epochs done by an earlier, stopped run, and all.
    notices
        Sentences the user should read.
    """

    training: tuple[str, ...]
    validation: tuple[str, ...]
    panel: tuple[str, ...]
    n_spots: int
    n_trained: int
    device: str
    precision: str
    epoch: int
    epochs: int
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Preparing:
    """Something is being made ready, before the first step.

    Parameters
    ----------
    what
        ``"reading tiles"``, ``"reading the stain"`` or, for an encoder that stays as it is,
        ``"computing feature maps"`` and, of those that an earlier training or fold has computed,
        ``"feature maps found"``.
    done, total
        Tiles, or sections for the stain; of feature maps, each tile counts once for every look.
    """

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class StepDone:
    """A batch has been learned from.

    Parameters
    ----------
    epoch, step, steps
        Number of the epoch (from 1), steps done in it, and all its steps.
    loss
        Loss of this batch.
    spots_per_s, seconds_left
        Speed of this run, and the time for all epochs at that speed, early ends not foreseen.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    spots_per_s: float
    seconds_left: float


@dataclass(frozen=True)
class EpochDone:
    """An epoch is done, validated and stored.

    Where sections are set aside, the start of the training is validated as epoch 0, unless it has
    learned nothing yet.

    Parameters
    ----------
    epoch, epochs
        Epochs done, and all.
    loss
        Mean over the epoch's spots of what is minimized; None at epoch 0.
    losses
        Means of the terms that it is the weighted sum of, by name, such as ``"mse"``; empty at
        epoch 0.
    learning_rate
        At its end.
    validation_pcc, validation_mse
        Mean over genes, of the sections set aside; None without them.
    baseline_mse
        MSE of predicting each gene's mean in training there; None without them.
    best_epoch
        Epoch of the best validation so far, or the last one without.
    seconds_left
        Time for all epochs; NaN at epoch 0.
    """

    epoch: int
    epochs: int
    loss: float | None
    losses: dict[str, float]
    learning_rate: float
    validation_pcc: float | None
    validation_mse: float | None
    baseline_mse: float | None
    best_epoch: int
    seconds_left: float


@dataclass(frozen=True)
class TrainFinished:
    """Training has ended, and the model is written if a folder was given.

    Parameters
    ----------
    model
        The model of the best epoch, or as it was in ``unfinished_epoch``.
    best_epoch
        Number of that epoch; the last one done where nothing was validated.
    ended
        ``"all epochs"``, ``"early"`` (no better validation), ``"stopped"`` (asked to), ``"closed
        form"`` (there are no epochs), or ``"in an earlier run"``, of which only the test was left
        to do.
    history
        Every epoch.
    seconds
        Duration of this run.
    unfinished_epoch
        Epoch within which the run was stopped, if the model is as it was then because no
        validation had chosen an epoch; else 0.
    """

    model: "Model"
    best_epoch: int
    ended: str
    history: tuple[EpochDone, ...]
    seconds: float
    unfinished_epoch: int = 0


TrainEvent = Preparing | TrainStarted | StepDone | EpochDone | TrainFinished
"""Preparing any number of times; TrainStarted once; StepDone and EpochDone; TrainFinished once."""
