"""Cross-validation: each donor or section left out once."""

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from napari_nh2st.analysis.intervals import Coverage, held_out_coverage
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.evaluation import (
    Evaluation,
    combine_evaluations,
    training_mean,
)
from napari_nh2st.evaluation.evaluation_folder import write_evaluation
from napari_nh2st.evaluation.events import (
    CrossValidated,
    CrossValidateEvent,
    SpotsPredicted,
)
from napari_nh2st.evaluation.fold_heads import NoHeads, fold_heads
from napari_nh2st.evaluation.fold_training import (
    evaluate_fold,
    fold_folder,
    settings_in_context,
    train_fold,
    trained_context,
    with_context,
    without,
)
from napari_nh2st.evaluation.reliability import (
    errors_by_fold,
    with_intervals,
    with_pcc_by_fold,
    with_reliability,
    with_spread_intervals,
)
from napari_nh2st.evaluation.settings import CrossValidateSettings, Intervals
from napari_nh2st.evaluation.spread_intervals import check_further_trainings, predict_left_out
from napari_nh2st.files import recover
from napari_nh2st.model.catalogue import entry_of
from napari_nh2st.model.config import CONTEXTS, Context, ModelConfig
from napari_nh2st.model.folder import Model, save_model_folder
from napari_nh2st.spots import PanelSettings, choose_panel
from napari_nh2st.training.checks import check_sources
from napari_nh2st.training.defaults import architecture_of, start_config
from napari_nh2st.training.events import TrainEvent
from napari_nh2st.training.record import MODEL_FOLDER
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.split import Leave, folds, set_aside
from napari_nh2st.training.study import MeasuredSection

_NEAR_PCC, _NEAR_MSE = 0.01, 1.02
"""Scores so near to the best count as equal."""


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """Scores of models on sections that they were not trained on.

    Parameters
    ----------
    evaluations
        Evaluations by context, or by architecture if it has no contexts. Each section is predicted
        by the model that was trained without it.
    context
        The context to use, see :func:`best_context`.
    coverage
        Coverage of the 90 % intervals on each donor or section left out, calibrated on the
        others; for intervals that follow the spread, with models that have not seen it either.
    model
        Model trained on all sections with that context. Each gene's held-out PCC is its
        reliability, and its interval is from the errors on what was left out. It has the heads of
        the folds if these share one encoder. None if it was not asked for.
    """

    evaluations: dict[str, Evaluation]
    context: str
    coverage: dict[str, Coverage]
    model: Model | None


class Stopped(InputError):
    """A cross-validation was stopped; the same command continues from there."""


def cross_validate(
    sections: Sequence[MeasuredSection],
    settings: TrainSettings | None = None,
    *,
    folder: str | os.PathLike[str],
    leave: Leave = "donor",
    contexts: Sequence[Context] = (),
    final: bool = True,
    intervals: Intervals = "gene",
    fold_settings: Callable[[str, TrainSettings], TrainSettings] | None = None,
    on_event: Callable[[str, TrainEvent], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> CrossValidation:
    """Train once for each donor or section left out, and score each model on what it left out.

    :func:`cross_validate_events` does the same as a generator of events.

    Parameters
    ----------
    sections
        From :func:`~napari_nh2st.training.load_study`.
    settings
        Settings of each training; None for the defaults.
    folder
        Folder for all models and scores. A stopped run is resumed if it is started again with it.
    leave, contexts, final, intervals
        See :class:`~napari_nh2st.evaluation.settings.CrossValidateSettings`.
    on_event
        Called with what is left out (``""`` for the last training) and each event of that training.
    fold_settings
        As for :func:`cross_validate_events`.
    stop
        Called after every event; the work stops when it returns True.

    Raises
    ------
    Stopped
        ``stop`` returned True.

    Examples
    --------
    .. code-block:: python

        settings = TrainSettings(start="her2-breast-demo", encoder="frozen")
        result = cross_validate(sections, settings, folder=Path("cv"))
        {context: each.summary["mean_pcc"] for context, each in result.evaluations.items()}
    """
    plan = CrossValidateSettings(leave, tuple(contexts) or None, final, intervals)
    events = cross_validate_events(
        sections, settings, plan, folder=folder, fold_settings=fold_settings
    )
    with closing(events):
        for event in events:
            if isinstance(event, CrossValidated):
                return event.result
            if on_event is not None and not isinstance(event.event, SpotsPredicted):
                on_event(event.left_out, event.event)
            if stop is not None and stop():
                break
    raise Stopped(f"Stopped. Finished work is in {folder}; the same command continues from there")


def cross_validate_events(
    sections: Sequence[MeasuredSection],
    settings: TrainSettings | None = None,
    plan: CrossValidateSettings | None = None,
    *,
    folder: str | os.PathLike[str],
    fold_settings: Callable[[str, TrainSettings], TrainSettings] | None = None,
) -> Generator[CrossValidateEvent, None, None]:
    """Train once for each donor or section left out, and score each model on what it left out.

    Closing the generator stops the work; started again with the same arguments, it resumes.

    The panel is chosen once, from all sections, so that every gene is scored in each fold. Nothing
    else depends on the sections that a fold is tested on, unless a file of ``encoder_weights``
    does.

    Parameters
    ----------
    sections
        From :func:`~napari_nh2st.training.study.load_study`.
    settings
        Settings of each training; None for the defaults. The sections by which the epoch is chosen
        are set aside from those not left out.
    plan
        What to leave out and which contexts to compare; None for the defaults. If it names no
        context, the settings' is used, or else the start model's.
    folder
        Folder for ``folds/<left out>/<context>/model/``, an evaluation by context
        (see :func:`~napari_nh2st.evaluation.write_evaluation`) and ``model/``.
    fold_settings
        Called with what is left out (``""`` for the last training) and the common settings;
        returns those of the fold. For encoder weights that must not have seen the test sections.

    Yields
    ------
    FoldProgress
        Events of each training, and the spots predicted in its test.
    CrossValidated
        At the end.

    Raises
    ------
    InputError
        There is only one donor or section, the start model has seen a section, several devices are
        asked for, the folder belongs to another run, or intervals by spread are not possible for
        this study.
    """
    folder = Path(folder)
    plan = plan or CrossValidateSettings()
    checked = checked_cross_validation(
        sections, settings or TrainSettings(), plan, folder, same_for_all=fold_settings is None
    )
    settings, wanted, splits = checked.settings, checked.contexts, checked.splits
    of_fold = fold_settings or (lambda left_out, same: same)
    parts: dict[str, list[Evaluation]] = {context: [] for context in wanted}
    baselines = []
    for left_out, tested in splits:
        models: dict[str, Model] = {}
        for context in wanted:
            weights_of = trained_context(context)
            if weights_of not in models:
                models[weights_of] = yield from train_fold(
                    left_out,
                    without(sections, tested),
                    of_fold(left_out, settings_in_context(settings, weights_of)),
                    fold_folder(folder, [left_out], weights_of),
                )
            evaluation = yield from evaluate_fold(
                left_out, with_context(models[weights_of], context), tested, settings
            )
            parts[context].append(evaluation)
        mean = training_mean(models[weights_of].config)
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
    by_fold = {
        left_out: [evaluations[best].predictions[section.name] for section in tested]
        for left_out, tested in splits
    }
    errors = errors_by_fold(by_fold)
    coverage, model = held_out_coverage(errors), None
    if plan.final:
        weights_of = trained_context(best)
        model = yield from train_fold(
            "",
            sections,
            of_fold("", settings_in_context(settings, weights_of)),
            folder / "all" / weights_of,
        )
        model = with_context(model, best)
        model = replace(model, config=replace(model.config, name=folder.resolve().name))
        model = with_reliability(model, evaluations, best, plan.leave)
        model = with_intervals(with_pcc_by_fold(model, by_fold), errors)
        model = _with_heads(
            model,
            [fold_folder(folder, [left_out], best) / MODEL_FOLDER for left_out, _ in splits],
            sections,
        )
        if plan.intervals == "spread" and model.heads is not None:
            left_out_predictions = yield from predict_left_out(
                splits, settings, best, evaluations[best], folder
            )
            model, coverage = with_spread_intervals(model, left_out_predictions)
        model = save_model_folder(model, folder / MODEL_FOLDER)
    yield CrossValidated(CrossValidation(evaluations, best, coverage, model))


class CheckedCrossValidation(NamedTuple):
    """A cross-validation that can begin.

    Parameters
    ----------
    settings
        With the panel as a list, so that all folds learn the same genes.
    contexts
        Those to compare, each once; the architecture's name where it has none.
    splits
        What is left out of each fold, and its sections.
    """

    settings: TrainSettings
    contexts: tuple[str, ...]
    splits: tuple[tuple[str, tuple[MeasuredSection, ...]], ...]


def checked_cross_validation(
    sections: Sequence[MeasuredSection],
    settings: TrainSettings,
    plan: CrossValidateSettings,
    folder: Path,
    *,
    same_for_all: bool = True,
) -> CheckedCrossValidation:
    """Refuse a cross-validation that cannot work, rather than after hours of its first folds.

    Parameters
    ----------
    sections, settings, plan, folder
        As for :func:`cross_validate_events`.
    same_for_all
        Whether all folds have the same settings.

    Raises
    ------
    InputError
        As :func:`cross_validate_events`.
    """
    start = start_config(settings)
    own = own_context(settings, start)
    if plan.contexts and own not in CONTEXTS:
        raise InputError(
            f"contexts are to be compared, which architecture {own} does not have; leave them out"
        )
    given: Sequence[str] = plan.contexts or (own,)
    splits = folds(sections, plan.leave)
    if settings.devices > 1:
        raise InputError(
            f"devices is {settings.devices}; a cross-validation trains on one device, one fold "
            "after another"
        )
    check_sources(settings, start, [section.name for section in sections])
    recover(folder / MODEL_FOLDER)
    if plan.final and (folder / MODEL_FOLDER).exists():
        raise InputError(f"{folder} holds a finished cross-validation; give another folder")
    settings = with_fixed_panel(sections, settings, start)
    for left_out, tested in splits:
        try:
            set_aside(without(sections, tested), settings)
        except InputError as error:
            raise InputError(f"Without {left_out}: {error}") from None
    if plan.intervals == "spread":
        if not same_for_all:
            raise InputError("intervals by spread need the same settings for all folds")
        check_further_trainings(splits, settings, plan.leave)
    return CheckedCrossValidation(settings, tuple(dict.fromkeys(given)), splits)


def best_context(scores: Mapping[str, tuple[float, float]]) -> str:
    """Choose among contexts, by their mean PCC and MSE, the simplest that is as good as the best.

    Simple is what looks at less: ``"query"``, then ``"average"``, then ``"neighborhood"``. As good
    is a PCC within 0.01 of the highest, and an MSE within 2 % of the lowest there is at such a
    PCC.
    """
    highest = max(pcc for pcc, _ in scores.values())
    near = {c: mse for c, (pcc, mse) in scores.items() if pcc > highest - _NEAR_PCC}
    lowest = min(near.values())
    return next(c for c in (*CONTEXTS, *near) if c in near and near[c] <= lowest * _NEAR_MSE)


def _with_heads(model: Model, folds: Sequence[Path], sections: Sequence[MeasuredSection]) -> Model:
    """A model with the heads of the folds, or with the reason why it has none in its config."""
    try:
        heads = fold_heads(model, folds, sections)
        words = f"those of the {heads.count} folds, for the spread of a value"
    except NoHeads as error:
        heads, words = None, f"none: {error}"
    training = dict(model.config.training) | {"heads": words}
    return replace(model, heads=heads, config=replace(model.config, training=training))


def own_context(settings: TrainSettings, start: ModelConfig | None) -> str:
    """The context of each training, where none is compared; an architecture's name without any."""
    architecture = architecture_of(settings, start)
    if entry_of(architecture).reach is not None:
        return architecture
    if settings.context is None and start is not None and start.context in CONTEXTS:
        return start.context
    return settings.context or "query"


def with_fixed_panel(
    sections: Sequence[MeasuredSection], settings: TrainSettings, start: ModelConfig | None
) -> TrainSettings:
    """The settings with the panel as a list, so that all folds learn the same genes."""
    wanted = settings.panel
    if wanted is None and start is not None:
        wanted = PanelSettings(rule="given", genes=start.panel)
    panel = choose_panel({s.name: s.spots for s in sections}, wanted)
    return replace(settings, panel=PanelSettings(rule="given", genes=panel.genes))
