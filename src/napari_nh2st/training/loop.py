"""The training loop, from the first step to the model."""

import copy
import logging
import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from napari_nh2st.model.catalogue import entry_of
from napari_nh2st.model.folder import Model, save_model_folder
from napari_nh2st.training.events import (
    EpochDone,
    Preparing,
    StepDone,
    TrainEvent,
    TrainFinished,
    TrainStarted,
)
from napari_nh2st.training.inputs import (
    StudyInputs,
    StudyTiles,
    TrainedPart,
    first_trained_stage,
)
from napari_nh2st.training.optimization import Optimization
from napari_nh2st.training.prepare import PreparedTraining, prepare
from napari_nh2st.training.record import MODEL_FOLDER
from napari_nh2st.training.result import best_of, trained_config
from napari_nh2st.training.ridge import start_from_ridge
from napari_nh2st.training.run_state import only_run_in, remove_checkpoints
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.start import center_predictions, starting_network
from napari_nh2st.training.study import MeasuredSection
from napari_nh2st.training.validation import ValidationScore, validate
from napari_nh2st.training.weights import kept_weights, load_kept


def train(
    sections: Sequence[MeasuredSection],
    settings: TrainSettings | None = None,
    *,
    folder: Path | str | None = None,
    name: str | None = None,
    on_event: Callable[[TrainEvent], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Model:
    """Train a model; :func:`train_events` does the same as a generator of events.

    With several devices, the running script is started again for each further device; those
    processes end inside this call, so that what follows it runs once.

    Parameters
    ----------
    sections, settings, folder, name, stop
        As for :func:`train_events`.
    on_event
        Called with every event.

    Returns
    -------
    Model
        The model of the best epoch; see :class:`TrainFinished`.

    Examples
    --------
    .. code-block:: python

        sections = load_study(read_sections("sections.csv"))
        settings = TrainSettings(start="her2-breast-demo", encoder="frozen")
        model = train(sections, settings, folder="run")
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
    """Train a model, reporting progress.

    Closing the generator ends the training; its progress is stored, and another run resumes it.
    To end it early and get the best model so far, use ``stop``.

    Parameters
    ----------
    sections
        From :func:`~napari_nh2st.training.load_study`, without those of a test split. Some are set
        aside for validation, as the settings say.
    settings
        Settings of the training; None for the defaults.
    folder
        Folder for the checkpoints, ``history.csv`` and, at the end, the model in ``model/``. A
        stopped or killed run is resumed if it is started again with the same sections and
        settings, and ends with the same result. None keeps all in memory.
    name
        Name of the model; None for the folder's.
    stop
        Called before every step; when it returns True, training ends with the best model so far.

    Yields
    ------
    TrainEvent
        With several devices, in the first process only.

    Raises
    ------
    InputError
        The sections share no genes, none can be set aside, the folder already holds a model, or
        its contents or the settings do not fit.
    """
    settings = settings or TrainSettings()
    folder = None if folder is None else Path(folder)
    with only_run_in(folder):
        prepared = yield from prepare(sections, settings, folder, name)
        yield from _Training(prepared).events(stop or (lambda: False))


class _Training:
    """A prepared training under way.

    Each of several processes has one. Events and files are the first one's.
    """

    def __init__(self, prepared: PreparedTraining) -> None:
        self._began = time.perf_counter()
        self._prepared = prepared
        settings = prepared.settings
        network = starting_network(
            prepared.panel, prepared.baseline, settings, prepared.start, prepared.encoder
        )
        self._part = TrainedPart(
            network,
            first_trained_stage(network.image_encoder, settings.encoder, settings.adapter_rank),
        )
        with _logging_of_the_engine_off():
            self._optimization = Optimization(
                self._part, prepared.training, settings, prepared.placement
            )
        self._fabric = self._optimization.fabric
        self._is_first = self._fabric.is_global_zero
        self._inputs = self._inputs_of(prepared.training, settings.frozen_looks)
        self._validation_inputs = (
            None if prepared.validation is None else self._inputs_of(prepared.validation, 1)
        )
        self._history: list[EpochDone] = []
        self._best: dict[str, Tensor] | None = None
        self._is_resumed = self._load_checkpoint()
        self._spots_before = self._optimization.spots_done
        self._stored_at = 0.0

    def events(self, stop: Callable[[], bool]) -> Generator[TrainEvent, None, None]:
        """Train to the end, or until asked to stop."""
        for event in self._compute_feature_maps():
            if self._is_first:
                yield event
        if not self._is_resumed:
            self._set_start()
        if self._is_first:
            yield self._started()
        if not self._is_resumed and self._validation_inputs is not None and self._has_learned():
            # What it starts from is a candidate: a training must not end in something worse.
            self._add_epoch(math.nan)
        if self._is_first and self._history:
            # Also when resuming: the earlier run may have been killed before it wrote the table.
            self._save_history()
            if self._optimization.epoch == 0:
                yield self._history[0]
        try:
            ended, unfinished_epoch = yield from self._epochs(stop)
        except GeneratorExit:  # closed between two steps: none of them is to be done again
            if self._optimization.spots_done > self._spots_before:
                self._store()
            raise
        if ended == "stopped":
            self._store()
        if self._is_first:
            yield self._finished(ended, unfinished_epoch)

    def _epochs(self, stop: Callable[[], bool]) -> Generator[TrainEvent, None, tuple[str, int]]:
        """Train epoch after epoch; how that ended, and the epoch that was stopped within, or 0."""
        if entry_of(self._prepared.settings.architecture).closed_form:
            return "closed form", 0
        optimization, epochs = self._optimization, self._prepared.settings.epochs
        began = time.perf_counter()
        self._stored_at = time.monotonic()
        while optimization.epoch < epochs:
            if self._has_stopped_improving():
                return "early", 0
            left = 0.0
            for step in optimization.steps(self._inputs):
                rate = (optimization.spots_done - self._spots_before) / (
                    time.perf_counter() - began
                )
                left = optimization.spots_left / rate
                if self._is_first:
                    yield StepDone(
                        optimization.epoch + 1, step.number, step.of, step.loss, rate, left
                    )
                if step.number < step.of:
                    if self._fabric.broadcast(stop()):
                        return "stopped", optimization.epoch + 1
                    self._store_if_due()
            done = self._add_epoch(left)
            self._store_if_due()
            if self._is_first:
                self._save_history()
                yield done
            if optimization.epoch < epochs and self._fabric.broadcast(stop()):
                return "stopped", 0
        return "all epochs", 0

    # --- before the first step ---

    def _inputs_of(self, study: StudyTiles, looks: int) -> StudyInputs:
        settings = self._prepared.settings
        return StudyInputs(
            study,
            self._part,
            settings.augmentation,
            looks=looks,
            seed=settings.seed,
            device=self._fabric.device,
        )

    def _load_checkpoint(self) -> bool:
        """Go on from where an earlier run stopped, if there was one."""
        state = self._prepared.state
        last = None if state is None else state.load_last()
        if state is None or last is None:
            return False
        self._optimization.load_state(last["optimization"])
        self._history = [EpochDone(**epoch) for epoch in last["history"]]
        if self._history and self._validation_inputs is not None:
            self._best = state.load_best()
        return True

    def _compute_feature_maps(self) -> Generator[Preparing, None, None]:
        both = [part for part in (self._inputs, self._validation_inputs) if part is not None]
        total = sum(part.n_to_keep for part in both)
        done = 0
        for part in both:
            for event in part.keep():
                done += event.tiles
                what = "feature maps found" if event.found else "computing feature maps"
                yield Preparing(what, done, total)

    def _set_start(self) -> None:
        """Set what follows from the training sections, such as the head's ridge regression."""
        settings = self._prepared.settings
        if settings.starts_from_ridge:
            within = settings.head_start == "ridge-within"
            start_from_ridge(self._part, self._inputs, within=within)
        elif self._prepared.start is not None:
            center_predictions(self._part, self._inputs)
        else:
            return
        self._optimization.share()

    def _has_learned(self) -> bool:
        """Whether the network predicts something before the first step."""
        return self._prepared.start is not None or self._prepared.settings.starts_from_ridge

    def _started(self) -> TrainStarted:
        prepared = self._prepared
        return TrainStarted(
            prepared.training.names,
            prepared.validation_names,
            prepared.panel,
            len(prepared.training),
            sum(p.numel() for p in self._part.parameters() if p.requires_grad),
            str(self._fabric.device),
            prepared.placement.precision,
            self._optimization.epoch,
            prepared.settings.epochs,
            prepared.notices,
        )

    # --- epochs ---

    def _add_epoch(self, seconds_left: float) -> EpochDone:
        """Validate, and keep the weights if none were better."""
        optimization, score = self._optimization, self._validated()
        number = best = optimization.epoch
        if score is not None and self._history:
            champion = best_of(self._history)
            if champion.validation_pcc is not None and score.pcc <= champion.validation_pcc:
                best = champion.epoch
        if score is not None and best == number:
            self._best = self._weights()
        mean = optimization.epoch_losses if number else {}
        done = EpochDone(
            epoch=number,
            epochs=optimization.settings.epochs,
            loss=mean.get("total"),
            losses={name: value for name, value in mean.items() if name != "total"},
            learning_rate=optimization.learning_rate,
            validation_pcc=None if score is None else score.pcc,
            validation_mse=None if score is None else score.mse,
            baseline_mse=None if score is None else score.baseline_mse,
            best_epoch=best,
            seconds_left=seconds_left,
        )
        self._history.append(done)
        return done

    def _validated(self) -> ValidationScore | None:
        """Score with the first process' statistics of the norms, for all processes."""
        if self._validation_inputs is None:
            return None
        own = None
        if self._is_first:
            own = validate(
                self._optimization.kept, self._validation_inputs, self._prepared.baseline
            )
        return self._fabric.broadcast(own)

    def _has_stopped_improving(self) -> bool:
        if not self._history or self._validation_inputs is None:
            return False
        last = self._history[-1]
        return last.epoch - last.best_epoch >= self._prepared.settings.patience

    def _weights(self) -> dict[str, Tensor]:
        """A copy of the weights that are validated and kept."""
        state = kept_weights(self._optimization.kept.network)
        return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    # --- files and result ---

    def _store_if_due(self) -> None:
        minutes = self._prepared.settings.checkpoint_minutes
        if time.monotonic() - self._stored_at >= 60 * minutes:
            self._store()

    def _store(self) -> None:
        if self._is_first and self._prepared.state is not None:
            self._prepared.state.save(self._optimization.state(), self._history, self._best)
            self._stored_at = time.monotonic()

    def _save_history(self) -> None:
        if self._prepared.state is not None:
            self._prepared.state.save_history(self._history)

    def _finished(self, ended: str, unfinished_epoch: int) -> TrainFinished:
        if self._best is not None:
            unfinished_epoch = 0
        # Without a best: nothing to choose an epoch by, or stopped in the first.
        model = self._model(self._best or self._weights())
        prepared = self._prepared
        if prepared.folder is not None and prepared.state is not None:
            model = save_model_folder(model, prepared.folder / MODEL_FOLDER, overwrite=True)
            if ended != "stopped":
                remove_checkpoints(prepared.folder)
        return TrainFinished(
            model,
            self._history[-1].best_epoch if self._history else 0,
            ended,
            tuple(self._history),
            time.perf_counter() - self._began,
            unfinished_epoch,
        )

    def _model(self, weights: dict[str, Tensor]) -> Model:
        prepared = self._prepared
        network = copy.deepcopy(self._part.network).cpu().requires_grad_(True)
        load_kept(network, weights)
        config = trained_config(prepared, network, self._history)
        return Model(config, network.eval(), prepared.name)


@contextmanager
def _logging_of_the_engine_off() -> Generator[None, None, None]:
    """Silence what Fabric logs at its start: the events report the same."""
    logger = logging.getLogger("lightning_fabric.utilities.rank_zero")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
