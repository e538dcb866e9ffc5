"""Cross-validation: each donor or section left out once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import numpy as np

from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.evaluation import (
    Evaluation,
    combine_evaluations,
    evaluate,
    training_mean,
    write_evaluation,
)
from napari_nh2st.files import recover
from napari_nh2st.model.config import CONTEXTS, Context, ModelConfig, read_config
from napari_nh2st.model.folder import Model, load_model_folder, save_model_folder
from napari_nh2st.model.network import NH2ST
from napari_nh2st.model.sources import find_model
from napari_nh2st.spots import PanelSettings, choose_panel
from napari_nh2st.training.defaults import same_settings
from napari_nh2st.training.events import TrainEvent, TrainFinished
from napari_nh2st.training.loop import MODEL_FOLDER, train_events
from napari_nh2st.training.run_state import FREE
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.split import Leave, folds, set_aside
from napari_nh2st.training.study import MeasuredSection

_NEAR_PCC, _NEAR_MSE = 0.01, 1.02
"""Scores so near to the best count as equal."""


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """How models do on sections that they were not trained on.

    Parameters
    ----------
    evaluations
        By context: every section predicted by the model that it was left out of.
    context
        The one to take, see :func:`best_context`.
    model
        Trained on all sections with that context, each gene's held-out PCC as its reliability;
        None where it was not asked for or the training was stopped.
    """

    evaluations: dict[Context, Evaluation]
    context: Context
    model: Model | None


class Stopped(InputError):
    """A cross-validation was stopped; the same command goes on from there."""


def cross_validate(
    sections: Sequence[MeasuredSection],
    settings: TrainSettings | None = None,
    *,
    folder: Path,
    leave: Leave = "donor",
    contexts: Sequence[Context] = (),
    final: bool = True,
    fold_settings: Callable[[str, TrainSettings], TrainSettings] | None = None,
    on_event: Callable[[str, TrainEvent], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> CrossValidation:
    """Train once for each donor or section left out, and score it on what was left out.

    The panel is chosen once, from all sections, so that every gene is scored in each fold: only
    which genes are learned has seen the tested sections, nothing else has (but for a file of
    ``encoder_weights``, of which only you know). ``"average"`` predicts with the weights trained
    for ``"query"``.

    Parameters
    ----------
    sections
        From :func:`~napari_nh2st.training.study.load_study`.
    settings
        Of each training. Sections to choose the epoch are set aside from those that are left.
    folder
        Gets ``folds/<left out>/<context>/model/``, an evaluation by context
        (see :func:`~napari_nh2st.evaluation.write_evaluation`) and ``model/``. A run that
        was stopped goes on from there.
    leave
        ``"donor"`` or ``"section"``.
    contexts
        To compare; the settings' own by default, and where they name none the start model's.
    final
        Train on all sections in the end.
    fold_settings
        Changes the settings for a fold, told what is left out (``""`` for the last training):
        for encoder weights that must not have seen what they are tested on.
    on_event
        Is told the events of each training, with what was left out (``""`` for the last).
    stop
        Asked before every step.

    Raises
    ------
    InputError
        There is one donor or section only, the start model has seen a section, several devices
        are asked for, or the folder is of another run.
    Stopped
        ``stop`` was true.
    """
    settings = settings or TrainSettings()
    wanted = tuple(dict.fromkeys(contexts)) or (_own_context(settings),)
    for context in wanted:
        if context not in CONTEXTS:
            raise InputError(f"context is {context!r}; it must be one of {', '.join(CONTEXTS)}")
    splits = folds(sections, leave)
    if settings.devices > 1:
        raise InputError(
            f"devices is {settings.devices}; a cross-validation trains on one device, one fold "
            "after another"
        )
    _check_not_seen(sections, settings)
    recover(folder / MODEL_FOLDER)
    if (folder / MODEL_FOLDER).exists():
        raise InputError(f"{folder} holds a finished cross-validation; give another folder")
    settings = _with_panel(sections, settings)
    of_fold = fold_settings or (lambda left_out, same: same)
    for left_out, tested in splits:  # rather now than after hours of earlier folds
        names = {section.name for section in tested}
        try:
            set_aside([s for s in sections if s.name not in names], settings)
        except InputError as error:
            raise InputError(f"Without {left_out}: {error}") from None
    parts: dict[Context, list[Evaluation]] = {context: [] for context in wanted}
    baselines = []
    for left_out, tested in splits:
        names = {section.name for section in tested}
        others = [section for section in sections if section.name not in names]
        models: dict[Context, Model] = {}
        for context in wanted:
            weights_of: Context = "query" if context == "average" else context
            if weights_of not in models:
                models[weights_of] = _trained(
                    others,
                    of_fold(left_out, replace(settings, context=weights_of)),
                    folder / "folds" / quote(left_out, safe="") / weights_of,
                    partial(on_event or _unheard, left_out),
                    stop,
                )
            model = models[weights_of]
            if weights_of != context:
                model = with_context(model, context)
            parts[context].append(
                evaluate(model, tested, device=settings.device, precision=settings.precision)
            )
        mean = training_mean(model.config)
        assert mean is not None  # of a model that we trained
        baselines += [mean] * len(tested)
    evaluations = {
        context: combine_evaluations(each, np.array(baselines)) for context, each in parts.items()
    }
    for context, evaluation in evaluations.items():
        recover(folder / context)
        if not (folder / context).exists():
            write_evaluation(evaluation, folder / context)
    best = best_context(
        {
            context: (each.summary["mean_pcc"] or -1.0, each.summary["mse"] or 0.0)
            for context, each in evaluations.items()
        }
    )
    result = CrossValidation(evaluations, best, None)
    if not final:
        return result
    trained_as: Context = "query" if best == "average" else best
    model = _trained(
        sections,
        of_fold("", replace(settings, context=trained_as)),
        folder / "all" / trained_as,
        partial(on_event or _unheard, ""),
        stop,
    )
    if trained_as != best:
        model = with_context(model, best)
    model = with_held_out(
        replace(model, config=replace(model.config, name=folder.resolve().name)),
        evaluations,
        best,
        leave,
    )
    return replace(result, model=save_model_folder(model, folder / MODEL_FOLDER))


def best_context(scores: Mapping[Context, tuple[float, float]]) -> Context:
    """Of contexts with their mean PCC and MSE, the simplest that is as good as the best.

    Simple is what looks at less: ``"query"``, then ``"average"``, then ``"neighborhood"``. As good
    is a PCC within 0.01 of the highest, and an MSE within 2 % of the lowest there is at such a
    PCC.
    """
    highest = max(pcc for pcc, _ in scores.values())
    near = {c: mse for c, (pcc, mse) in scores.items() if pcc > highest - _NEAR_PCC}
    lowest = min(near.values())
    return next(c for c in CONTEXTS if c in near and near[c] <= lowest * _NEAR_MSE)


def with_context(model: Model, context: Context) -> Model:
    """The same weights predicting in another context: between ``"query"`` and ``"average"``.

    Raises
    ------
    InputError
        The weights do not fit the context.
    """
    network = model.network
    own = model.config.context
    if not isinstance(network, NH2ST) or "neighborhood" in (own, context):
        raise InputError(f"{model.source} has context {own}; its weights cannot serve {context}")
    other = NH2ST(replace(network.hyperparameters, context=context)).eval()
    other.load_state_dict(network.state_dict())
    hyperparameters = dict(model.config.hyperparameters) | {"context": context}
    return replace(
        model, network=other, config=replace(model.config, hyperparameters=hyperparameters)
    )


def with_held_out(
    model: Model, evaluations: dict[Context, Evaluation], context: Context, leave: Leave
) -> Model:
    """A model that says how far it can be trusted.

    Its ``reliability`` becomes each gene's held-out PCC in ``context``; ``training["held_out"]``
    gets the summaries of all contexts.
    """
    scores = evaluations[context].scores
    reliability: dict[str, float | None] = {
        gene: None if np.isnan(pcc) else round(float(pcc), 4)
        for gene, pcc in zip(scores["gene"], scores["pcc"], strict=True)
    }
    held_out: dict[str, Any] = {"left_out": leave, "contexts": {}}
    for name, evaluation in evaluations.items():
        held_out["contexts"][name] = {
            "all": _rounded(evaluation.summary),
            "sections": {s: _rounded(v) for s, v in evaluation.section_summaries.items()},
        }
    config: ModelConfig = replace(
        model.config,
        reliability=reliability,
        training=dict(model.config.training) | {"held_out": held_out},
    )
    return replace(model, config=config)


def _unheard(left_out: str, event: TrainEvent) -> None:
    """Nobody wants to be told."""


def _rounded(summary: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in summary.items()}


def _own_context(settings: TrainSettings) -> Context:
    """The context of each training, where none is compared."""
    if settings.context is None and settings.start is not None:
        return cast(Context, read_config(find_model(settings.start)).context)
    return settings.context or "query"


def _check_not_seen(sections: Sequence[MeasuredSection], settings: TrainSettings) -> None:
    """Refuse a start model that has learned from what it is to be tested on."""
    if settings.start is None:
        return
    config = read_config(find_model(settings.start))
    seen = set(config.training.get("sections", ()))
    both = [section.name for section in sections if section.name in seen]
    if both:
        raise InputError(
            f"the start model {config.name} was trained on {', '.join(both)}: scores on sections "
            "that it has seen would say nothing. Start from another model, or without one"
        )


def _with_panel(sections: Sequence[MeasuredSection], settings: TrainSettings) -> TrainSettings:
    """The settings with the panel as a list, so that all folds learn the same genes."""
    wanted = settings.panel
    if wanted is None and settings.start is not None:
        start = read_config(find_model(settings.start))
        wanted = PanelSettings(rule="given", genes=start.panel)
    panel = choose_panel({s.name: s.spots for s in sections}, wanted)
    return replace(settings, panel=PanelSettings(rule="given", genes=panel.genes))


def _trained(
    sections: Sequence[MeasuredSection],
    settings: TrainSettings,
    folder: Path,
    on_event: Callable[[TrainEvent], object],
    stop: Callable[[], bool] | None,
) -> Model:
    """The model of a fold: trained now, or by an earlier run that was stopped later on."""
    recover(folder / MODEL_FOLDER)
    if (folder / MODEL_FOLDER).exists() and not (folder / "last.pt").exists():
        model = load_model_folder(folder / MODEL_FOLDER)
        told = model.config.training
        same = same_settings(told.get("settings", {}), settings, model.config.panel, FREE)
        if not same or told.get("own_sections") != [section.name for section in sections]:
            raise InputError(
                f"{folder} holds a model trained on other sections or settings; give the same "
                "again to go on with the cross-validation, or another folder"
            )
        return model
    for event in train_events(sections, settings, folder=folder, stop=stop):
        on_event(event)
        if isinstance(event, TrainFinished):
            if event.ended == "stopped":
                raise Stopped(
                    f"Stopped. What is done lies in {folder.parent.parent.parent}; the same "
                    "command goes on from there"
                )
            return event.model
    raise Stopped("this process only helps the first one")  # with several devices
