"""What is said of a training that has ended."""

from collections.abc import Sequence

from napari_nh2st.durations import duration
from napari_nh2st.jobs.training import Trained
from napari_nh2st.training.events import EpochDone
from napari_nh2st.widgets.train.scores import error_in_words


def how_it_ended(trained: Trained, seconds: float) -> str:
    """In a sentence.

    Parameters
    ----------
    trained
        What the training told.
    seconds
        Of all of it, what was read and scored included.
    """
    if trained.ended == "in an earlier run":
        return "Trained in an earlier run."
    took = f"It took {duration(seconds)}."
    if trained.unfinished_epoch:
        return (
            f"Stopped in epoch {trained.unfinished_epoch}; the weights as they were then are "
            f"kept. {took}"
        )
    how = {
        "all epochs": "All epochs are done",
        "early": "Ended early, since validation got no better",
        "stopped": "Stopped",
    }[trained.ended]
    kept = (
        f"epoch {trained.best_epoch} is kept"
        if trained.best_epoch
        else "no epoch bettered what it started from, which is kept"
    )
    return f"{how}; {kept}. {took}"


def validation_in_words(trained: Trained, epochs: Sequence[EpochDone]) -> str:
    """Scores of the epoch that is kept, on the sections set aside; empty where there are none."""
    kept = next((epoch for epoch in epochs if epoch.epoch == trained.best_epoch), None)
    if trained.unfinished_epoch or kept is None or kept.validation_pcc is None:
        return ""
    error = error_in_words(kept.validation_mse, kept.baseline_mse)
    return f"On validation: PCC {kept.validation_pcc:.3f}. {error}".strip()


NO_RELIABILITY = "No section was held out: its genes have no reliability."
