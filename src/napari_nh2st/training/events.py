"""Events of a training, for the viewer, the command line and the tests alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_nh2st.model.folder import Model


@dataclass(frozen=True)
class TrainStarted:
    """Everything is read and checked; no step has been done in this run yet.

    Parameters
    ----------
    training, validation
        Names of the sections in each part.
    panel
        Genes that are learned.
    n_spots
        Number of spots in training.
    n_trained
        Number of weights that are trained.
    device, precision
        Chosen device and precision.
    epoch, epochs
        Number of epochs done by an earlier, stopped run, and of all epochs.
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
    """Data are being prepared, before the first step.

    Parameters
    ----------
    what
        ``"reading tiles"``, ``"reading the stain"`` or, for an encoder that is not trained,
        ``"computing feature maps"``, and ``"feature maps found"`` for those that an earlier
        training or fold has computed.
    done, total
        Number of tiles, or of sections for the stain; for feature maps, each tile counts once for
        every look.
    """

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class StepDone:
    """A training step has been done, on one batch.

    Parameters
    ----------
    epoch, step, steps
        Number of the epoch (from 1), of steps done in it, and of all its steps.
    loss
        Loss of this batch.
    spots_per_s, seconds_left
        Spots per second in this run, and the time left for all epochs at that speed, in seconds;
        training may end earlier.
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

    If sections are set aside, the start of the training is validated as epoch 0, unless it has
    learned nothing yet.

    Parameters
    ----------
    epoch, epochs
        Number of epochs done, and of all epochs.
    loss
        Mean loss over the epoch's spots; None at epoch 0.
    losses
        Means of the terms whose weighted sum is the loss, by name, such as ``"mse"``; empty at
        epoch 0.
    learning_rate
        Learning rate at the end of the epoch.
    validation_pcc, validation_mse
        Mean over genes on the sections set aside; None without such sections.
    baseline_mse
        MSE there of predicting each gene's mean in training; None without such sections.
    best_epoch
        Epoch with the best validation so far; the last one if nothing is validated.
    seconds_left
        Time left for all epochs, in seconds; NaN at epoch 0.
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
        Number of that epoch; the last one done if nothing was validated.
    ended
        ``"all epochs"``, ``"early"`` (validation no longer improved), ``"stopped"`` (by the user),
        ``"closed form"`` (there are no epochs), or ``"in an earlier run"`` (only the test was left
        to do).
    history
        The :class:`EpochDone` of every epoch.
    seconds
        Duration of this run in seconds.
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
