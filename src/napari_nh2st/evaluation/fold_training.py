"""Trainings of a cross-validation: where they lie, and their tests."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.evaluation import Evaluation, evaluate_events
from napari_nh2st.evaluation.events import Evaluated, FoldProgress
from napari_nh2st.evaluation.settings import EvaluateSettings
from napari_nh2st.model.config import CONTEXTS
from napari_nh2st.model.folder import Model
from napari_nh2st.model.network import Network
from napari_nh2st.training.events import TrainFinished
from napari_nh2st.training.loop import train_events
from napari_nh2st.training.record import is_trained
from napari_nh2st.training.result import trained_earlier
from napari_nh2st.training.run_state import only_run_in
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.study import MeasuredSection


def with_context(model: Model, context: str) -> Model:
    """A model of the same weights in another context: between ``"query"`` and ``"average"``.

    Raises
    ------
    InputError
        The weights do not fit the context.
    """
    network = model.network
    if model.config.context == context:
        return model
    assert isinstance(network, Network)
    try:
        other = network.in_context(context)
    except ValueError as error:
        raise InputError(f"{model.source} has {error}") from None
    hyperparameters = dict(model.config.hyperparameters) | {"context": context}
    return replace(
        model, network=other, config=replace(model.config, hyperparameters=hyperparameters)
    )


def fold_folder(folder: Path, left_out: Sequence[str], context: str) -> Path:
    """Where a cross-validation trains without some donors or sections."""
    names = "+".join(quote(name, safe="") for name in left_out)
    return folder / "folds" / names / trained_context(context)


def trained_context(context: str) -> str:
    """The context whose training gives the weights for another."""
    return "query" if context == "average" else context


def settings_in_context(settings: TrainSettings, context: str) -> TrainSettings:
    """The settings of the training that gives the weights for a context.

    As they are for the name of an architecture that has no contexts.
    """
    trained = trained_context(context)
    return replace(settings, context=trained) if trained in CONTEXTS else settings


def without(
    sections: Sequence[MeasuredSection], tested: Sequence[MeasuredSection]
) -> list[MeasuredSection]:
    """The sections that are not tested."""
    names = {section.name for section in tested}
    return [section for section in sections if section.name not in names]


def train_fold(
    left_out: str, sections: Sequence[MeasuredSection], settings: TrainSettings, folder: Path
) -> Generator[FoldProgress, None, Model]:
    """Train a fold, unless an earlier run has; gives the model."""
    if is_trained(folder):
        with only_run_in(folder):
            model = trained_earlier(folder, settings, sections)
        if model is not None:
            return model
        raise InputError(
            f"{folder} holds a model trained on other sections or settings; give the same again "
            "to continue the cross-validation, or give another folder"
        )
    # Closed explicitly: an error in writing the last checkpoint must reach the caller.
    with closing(train_events(sections, settings, folder=folder)) as events:
        for event in events:
            yield FoldProgress(left_out, event)
            if isinstance(event, TrainFinished):
                return event.model
    raise AssertionError("the last event is TrainFinished")


def evaluate_fold(
    left_out: str, model: Model, tested: Sequence[MeasuredSection], settings: TrainSettings
) -> Generator[FoldProgress, None, Evaluation]:
    """Score a fold on what it was left without."""
    for event in evaluate_events(
        model, tested, EvaluateSettings(settings.device, settings.precision)
    ):
        if isinstance(event, Evaluated):
            return event.evaluation
        yield FoldProgress(left_out, event)
    raise AssertionError("the last event is Evaluated")
