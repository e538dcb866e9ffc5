"""What a running training tells. The widget, the command line and the tests read the same."""

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
        In training.
    n_trained
        Weights that are trained.
    device, precision
        What was chosen.
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
        ``"reading tiles"`` or, for an encoder that stays as it is, ``"computing feature maps"``.
    done, total
        Tiles; of feature maps, each tile counts once for every look.
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
        Which epoch (from 1), how many of its steps are done, and all.
    loss
        Of this batch.
    spots_per_s, seconds_left
        Of this run; the time is for all epochs, earlier ends not foreseen.
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

    Where sections are set aside, what the training starts from is validated as epoch 0, unless
    it has learned nothing yet.

    Parameters
    ----------
    epoch, epochs
        How many are done, and all.
    loss, query_loss, neighbor_loss, mse
        Means over the epoch's spots; the first is the weighted sum of the others. None at epoch 0.
    learning_rate
        At its end.
    validation_pcc, validation_mse
        Mean over genes, of the sections set aside; None without them.
    baseline_mse
        What predicting each gene's mean in training makes there; None without them.
    best_epoch
        Epoch of the best validation so far, or the last one without.
    seconds_left
        For all epochs; NaN at epoch 0.
    """

    epoch: int
    epochs: int
    loss: float | None
    query_loss: float | None
    neighbor_loss: float | None
    mse: float | None
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
        Of the best epoch, or as it was in ``unfinished_epoch``.
    best_epoch
        Which that was; the last one done where nothing was validated.
    ended
        ``"all epochs"``, ``"early"`` (no better validation) or ``"stopped"`` (asked to).
    history
        Every epoch.
    seconds
        Of this run.
    unfinished_epoch
        In which the model is as it was when stopped, since no validation had chosen an epoch; 0
        where it is that of the best one.
    """

    model: "Model"
    best_epoch: int
    ended: str
    history: tuple[EpochDone, ...]
    seconds: float
    unfinished_epoch: int = 0


TrainEvent = Preparing | TrainStarted | StepDone | EpochDone | TrainFinished
"""Preparing any number of times; TrainStarted once; StepDone and EpochDone; TrainFinished once."""
