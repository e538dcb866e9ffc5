"""Training on measured sections."""

import logging
import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.files import recover
from napari_nh2st.inference.device import Placement, place
from napari_nh2st.model.folder import Model, save_model_folder
from napari_nh2st.model.network import NH2ST, NH2STHyperparameters
from napari_nh2st.model.sources import load_model
from napari_nh2st.spots import PanelSettings, choose_panel
from napari_nh2st.training.defaults import ResolvedSettings, resolved_settings, start_notice
from napari_nh2st.training.events import (
    EpochDone,
    Preparing,
    StepDone,
    TrainEvent,
    TrainFinished,
    TrainStarted,
)
from napari_nh2st.training.inputs import (
    FIRST_TRAINED_STAGE,
    StudyInputs,
    StudyTiles,
    TrainedPart,
)
from napari_nh2st.training.optimization import Optimization
from napari_nh2st.training.result import best_of, trained_config
from napari_nh2st.training.ridge import start_from_ridge
from napari_nh2st.training.run_state import RunFolder, only_run_in, run_identity
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.split import set_aside
from napari_nh2st.training.start import (
    DEFAULT_MPP,
    DEFAULT_TILE_PX,
    center_predictions,
    starting_network,
)
from napari_nh2st.training.study import MeasuredSection, SectionTiles, section_tiles
from napari_nh2st.training.validation import ValidationScore, validate

MODEL_FOLDER = "model"
"""Where in its folder a run leaves the model."""


def train(
    sections: Sequence[MeasuredSection],
    settings: TrainSettings | None = None,
    *,
    folder: Path | str | None = None,
    name: str | None = None,
    on_event: Callable[[TrainEvent], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Model:
    """Train a model; see :func:`train_events`.

    With several devices, the engine starts the running script again for each of the others; those
    processes end here, so that what follows is done once.

    Returns
    -------
    Model
        Of the best epoch; see :class:`TrainFinished`.
    """
    for event in train_events(sections, settings, folder=folder, name=name, stop=stop):
        if on_event is not None:
            on_event(event)
        if isinstance(event, TrainFinished):
            return event.model
    raise SystemExit(0)


def train_events(
    sections: Sequence[MeasuredSection],
    settings: TrainSettings | None = None,
    *,
    folder: Path | str | None = None,
    name: str | None = None,
    stop: Callable[[], bool] | None = None,
) -> Generator[TrainEvent, None, None]:
    """Train a model, telling how it goes.

    Closing the generator ends the training at once; what had been stored is there for another
    run. To end it and have the best model so far, use ``stop``.

    Parameters
    ----------
    sections
        From :func:`~napari_nh2st.training.load_study`, those of a test split left out. Some are
        set aside for validation, as the settings say.
    settings
        None for the defaults.
    folder
        Gets the checkpoints, ``history.csv`` and at the end the model, in ``model/``. A run that
        was stopped or killed goes on from there when started again with the same sections and
        settings, and ends with the same result. None keeps all in memory.
    name
        Of the model; the folder's by default.
    stop
        Asked before every step; when true, training ends with the best so far.

    Yields
    ------
    TrainEvent
        With several devices, in the first process only.

    Raises
    ------
    InputError
        The sections share no genes, one cannot be set aside, the folder holds a model already,
        or something in it or in the settings does not fit.
    """
    settings = settings or TrainSettings()
    folder = None if folder is None else Path(folder)
    with only_run_in(folder):
        run = yield from _prepare(sections, settings, folder, name)
        yield from _run(run, stop or (lambda: False))


@dataclass(eq=False)
class _Run:
    """A training whose sections are read."""

    sections: Sequence[MeasuredSection]
    settings: ResolvedSettings
    name: str
    panel: tuple[str, ...]
    start: Model | None
    tile_px: int
    mpp: float
    training: StudyTiles
    validation: StudyTiles | None
    baseline: np.ndarray
    placement: Placement
    folder: Path | None
    state: RunFolder | None
    notices: tuple[str, ...]


def _prepare(
    sections: Sequence[MeasuredSection],
    settings: TrainSettings,
    folder: Path | None,
    name: str | None,
) -> Generator[TrainEvent, None, _Run]:
    """Settle everything that can be refused before the first step, cheap things first."""
    if not sections:
        raise InputError("there is no section to train on")
    placement = place(settings.device, settings.precision, settings.batch_size, None)
    in_training, aside, notice = set_aside(sections, settings)
    notices = [notice] if notice else []
    notices += [warning for section in sections for warning in section.warnings]
    start = None if settings.start is None else load_model(settings.start)
    seen = set() if start is None else set(start.config.training.get("sections", ()))
    known = [section.name for section in aside if section.name in seen]
    if start is not None and known:
        notices.append(
            f"The start model {start.config.name} has learned from {', '.join(known)}, on which "
            "the epoch is chosen here: validation scores are too good. Validate on a section that "
            "it has not seen."
        )
    panel, panel_notice = _panel(in_training, settings, start)
    notices.append(panel_notice)
    before = start.config if start else None
    resolved = resolved_settings(settings, before, panel)
    notices += start_notice(resolved, before, panel)
    missing = [s.name for s in aside if not set(panel) <= set(s.spots.var_names)]
    if missing:
        raise InputError(f"validation section {missing[0]} lacks genes of the panel; leave it out")
    sha256 = None if start is None else str(start.config.weights.get("sha256"))
    state = None
    if folder is not None:
        # What the head starts from follows from the rest, and is no more asked when going on.
        asked = replace(resolved, head_start=settings.head_start)
        state = RunFolder(folder, run_identity(sections, panel, asked, sha256))
        recover(folder / MODEL_FOLDER)
        if (folder / MODEL_FOLDER).exists() and state.load_last() is None:
            raise InputError(f"{folder} holds a trained model already; give another folder")
    tile_px = settings.tile_px or (start.config.tile_px if start else DEFAULT_TILE_PX)
    mpp = settings.mpp or (start.config.mpp if start else DEFAULT_MPP)
    neighborhood = 1 + (
        settings.neighbors
        or (int(start.config.neighborhood["size"]) - 1 if start is not None else 8)
    )
    total = sum(section.spots.n_obs for section in sections)
    done = 0
    tiles: dict[str, SectionTiles] = {}
    for section in (*in_training, *aside):
        yield Preparing("reading tiles", done, total)
        cut = tiles[section.name] = section_tiles(
            section, panel, tile_px=tile_px, mpp=mpp, neighborhood=neighborhood
        )
        done += section.spots.n_obs
        if len(cut) < section.spots.n_obs:
            lost = section.spots.n_obs - len(cut)
            notices.append(f"{section.name}: {lost} spots lie on damaged parts and are left out.")
    yield Preparing("reading tiles", done, total)
    training = StudyTiles([tiles[section.name] for section in in_training])
    validation = StudyTiles([tiles[section.name] for section in aside]) if aside else None
    return _Run(
        sections=sections,
        settings=resolved,
        name=name or (folder.resolve().name if folder else "trained"),
        panel=panel,
        start=start,
        tile_px=tile_px,
        mpp=mpp,
        training=training,
        validation=validation,
        # In float64: the mean of a hundred thousand spots.
        baseline=training.target.numpy().mean(0, dtype=np.float64).astype(np.float32),
        placement=placement,
        folder=folder,
        state=state,
        notices=tuple(notices),
    )


def _panel(
    sections: Sequence[MeasuredSection], settings: TrainSettings, start: Model | None
) -> tuple[tuple[str, ...], str]:
    """The genes to learn, and how they came about."""
    chosen, whose = settings.panel, "the list"
    if chosen is None and start is not None:
        chosen, whose = PanelSettings(rule="given", genes=start.config.panel), "the start model"
    counts = {section.name: section.spots for section in sections}
    panel = choose_panel(counts, chosen, whose=whose)
    return panel.genes, f"Learning {panel.report}."


def _run(run: _Run, stop: Callable[[], bool]) -> Generator[TrainEvent, None, None]:
    settings = run.settings
    began = time.perf_counter()
    network = starting_network(run.panel, run.baseline, settings, run.start)
    part = TrainedPart(network, FIRST_TRAINED_STAGE[settings.encoder])
    with _logging_of_the_engine_off():
        optimization = Optimization(part, run.training, settings, run.placement)
    fabric = optimization.fabric
    inputs, aside = (
        StudyInputs(
            study,
            part,
            settings.augmentation,
            looks=looks,
            seed=settings.seed,
            device=fabric.device,
        )
        if study is not None
        else None
        for study, looks in ((run.training, settings.frozen_looks), (run.validation, 1))
    )
    assert inputs is not None
    history: list[EpochDone] = []
    best: dict[str, Tensor] | None = None
    last = run.state.load_last() if run.state is not None else None
    if last is not None and run.state is not None:
        optimization.load_state(last["optimization"])
        history = [EpochDone(**epoch) for epoch in last["history"]]
        best = run.state.load_best() if history and aside is not None else None
    first = fabric.is_global_zero
    for event in _keep(inputs, aside):
        if first:
            yield event
    if last is None and settings.head_start == "ridge":
        start_from_ridge(part, inputs)
        optimization.share()
    elif last is None and run.start is not None:
        center_predictions(part, inputs)
        optimization.share()
    if first:
        yield TrainStarted(
            tuple(s.name for s in run.training.sections),
            tuple(s.name for s in run.validation.sections) if run.validation else (),
            run.panel,
            len(run.training),
            sum(p.numel() for p in part.parameters() if p.requires_grad),
            str(fabric.device),
            run.placement.precision,
            optimization.epoch,
            settings.epochs,
            run.notices,
        )

    def score() -> ValidationScore | None:
        """Once, with the first process' statistics of the norms, and told to the others."""
        if aside is None:
            return None
        own = validate(optimization.kept, aside, run.baseline) if first else None
        return fabric.broadcast(own)

    if last is None and aside is not None and _has_learned(run):
        # What it starts from is a candidate: a training must not end in something worse.
        history.append(_epoch_done(optimization, history, score(), math.nan))
        best = _copied(optimization.kept.network.state_dict())
    if first and history:
        if run.state is not None:
            # Of a run that goes on, too: it may have ended between a checkpoint and its table.
            run.state.save_history(history)
        if optimization.epoch == 0:
            yield history[0]
    ended, unfinished_epoch = "all epochs", 0
    stored = time.monotonic()
    before = optimization.spots_done
    resumed = time.perf_counter()

    def store() -> None:
        nonlocal stored
        if run.state is not None and first:
            run.state.save(optimization.state(), history, best)
            stored = time.monotonic()

    while optimization.epoch < settings.epochs:
        if _is_over(history, settings, aside is not None):
            ended = "early"
            break
        left = 0.0
        for step in optimization.steps(inputs):
            rate = (optimization.spots_done - before) / (time.perf_counter() - resumed)
            left = optimization.spots_left / rate
            if first:
                yield StepDone(optimization.epoch + 1, step.number, step.of, step.loss, rate, left)
            if step.number < step.of:
                if fabric.broadcast(stop()):
                    ended, unfinished_epoch = "stopped", optimization.epoch + 1
                    break
                if _is_due(stored, settings):
                    store()
        if ended == "stopped":
            break
        done = _epoch_done(optimization, history, score(), left)
        history.append(done)
        if aside is not None and done.best_epoch == done.epoch:
            best = _copied(optimization.kept.network.state_dict())
        if _is_due(stored, settings):
            store()
        if first:
            if run.state is not None:
                run.state.save_history(history)
            yield done
        if optimization.epoch < settings.epochs and fabric.broadcast(stop()):
            ended = "stopped"
            break
    if ended == "stopped":
        store()
    if not first:
        return
    if best is None:  # nothing to choose an epoch by, or stopped in the first
        best = _copied(optimization.kept.network.state_dict())
    else:
        unfinished_epoch = 0
    yield TrainFinished(
        _finish(run, network.hyperparameters, best, history, ended),
        history[-1].best_epoch if history else 0,
        ended,
        tuple(history),
        time.perf_counter() - began,
        unfinished_epoch,
    )


def _keep(inputs: StudyInputs, aside: StudyInputs | None) -> Generator[Preparing, None, None]:
    both = [part for part in (inputs, aside) if part is not None]
    total = sum(part.n_to_keep for part in both)
    before = 0
    for part in both:
        for done in part.keep():
            yield Preparing("computing feature maps", before + done, total)
        before += part.n_to_keep


def _has_learned(run: _Run) -> bool:
    """Whether the network predicts something before the first step."""
    return run.start is not None or run.settings.head_start == "ridge"


def _is_over(history: Sequence[EpochDone], settings: TrainSettings, validated: bool) -> bool:
    if not (history and validated):
        return False
    return history[-1].epoch - history[-1].best_epoch >= settings.patience


def _is_due(stored: float, settings: TrainSettings) -> bool:
    return time.monotonic() - stored >= 60 * settings.checkpoint_minutes


def _epoch_done(
    optimization: Optimization,
    history: Sequence[EpochDone],
    score: ValidationScore | None,
    seconds_left: float,
) -> EpochDone:
    number = optimization.epoch
    best = number
    if score is not None and history:
        champion = best_of(history)
        if champion.validation_pcc is not None and score.pcc <= champion.validation_pcc:
            best = champion.epoch
    mean = optimization.epoch_losses if number else {}
    return EpochDone(
        epoch=number,
        epochs=optimization.settings.epochs,
        loss=mean.get("total"),
        query_loss=mean.get("query"),
        neighbor_loss=mean.get("neighbor"),
        mse=mean.get("mse"),
        learning_rate=optimization.learning_rate,
        validation_pcc=None if score is None else score.pcc,
        validation_mse=None if score is None else score.mse,
        baseline_mse=None if score is None else score.baseline_mse,
        best_epoch=best,
        seconds_left=seconds_left,
    )


def _copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def _finish(
    run: _Run,
    hyperparameters: NH2STHyperparameters,
    best: dict[str, Tensor],
    history: Sequence[EpochDone],
    ended: str,
) -> Model:
    with torch.random.fork_rng(devices=[]):  # layers draw weights, though none of them stays
        network = NH2ST(hyperparameters)
    network.load_state_dict(best)
    config = trained_config(
        name=run.name,
        panel=run.panel,
        hyperparameters=network.hyperparameters,
        mpp=run.mpp,
        settings=run.settings,
        sections=run.sections,
        validation=tuple(s.name for s in run.validation.sections) if run.validation else (),
        target_mean=run.baseline,
        history=history,
        start=run.start,
    )
    model = Model(config, network.eval(), run.name)
    if run.folder is None or run.state is None:
        return model
    model = save_model_folder(model, run.folder / MODEL_FOLDER, overwrite=True)
    if ended != "stopped":
        run.state.remove()
    return model


@contextmanager
def _logging_of_the_engine_off() -> Generator[None, None, None]:
    """Fabric greets on stderr; what it says our own events say."""
    logger = logging.getLogger("lightning_fabric.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
