"""A training with its test: train, score held-out sections before and after, write reliability.

It evaluates, and therefore lies here and not beside the training loop.
"""

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_nh2st.analysis.scores import summarize
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.evaluation import Evaluation, evaluate_events
from napari_nh2st.evaluation.evaluation_folder import (
    SUMMARY_FILE,
    read_evaluation,
    write_evaluation,
)
from napari_nh2st.evaluation.events import (
    Evaluated,
    HeldOut,
    Notice,
    Scoring,
    TrainingRunEvent,
    When,
)
from napari_nh2st.evaluation.reliability import write_reliability
from napari_nh2st.evaluation.settings import EvaluateSettings
from napari_nh2st.model.folder import Model
from napari_nh2st.model.sources import load_model
from napari_nh2st.prediction.schema import MEASURED, notes
from napari_nh2st.spots import expression_target
from napari_nh2st.training.events import TrainFinished, TrainStarted
from napari_nh2st.training.loop import train_events
from napari_nh2st.training.record import (
    MODEL_FOLDER,
    TEST_BEFORE_FOLDER,
    TEST_FOLDER,
    RunRecord,
    is_trained,
)
from napari_nh2st.training.result import trained_earlier
from napari_nh2st.training.run_state import only_run_in
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.study import MeasuredSection


def training_run_events(
    training: Sequence[MeasuredSection],
    held_out: Sequence[MeasuredSection],
    settings: TrainSettings,
    *,
    folder: str | os.PathLike[str],
    name: str | None = None,
    trust_positions: bool = False,
    stop: Callable[[], bool] | None = None,
) -> Generator[TrainingRunEvent, None, None]:
    """Train a model; score it, and the model it starts from, on held-out sections.

    Closing the generator stops the work; started again with the same arguments, it resumes. If
    only the test of a finished training is missing, the training is not repeated.

    Parameters
    ----------
    training
        Sections to train and validate on.
    held_out
        Sections that neither model has seen; may be empty.
    settings
        Settings of the training.
    folder
        Folder for what :func:`~napari_nh2st.training.train_events` writes, for a
        :class:`~napari_nh2st.training.record.RunRecord` by which the *Train* dock resumes it, and
        for the scores in ``test`` and ``test-before``, see
        :func:`~napari_nh2st.evaluation.write_evaluation`. Each gene's PCC after the training
        becomes the model's reliability.
    name
        Name of the model; None for the folder's.
    trust_positions
        The value that :func:`~napari_nh2st.training.load_study` was given, for the record.
    stop
        Called before every step, and while the start model is scored. When it returns True,
        training ends with the best model so far, which is scored, but not in ``test``: the run
        is not finished.

    Yields
    ------
    TrainingRunEvent
        With several devices, in the first process only.

    Raises
    ------
    InputError
        As for :func:`~napari_nh2st.training.train_events`, or a held-out section has no gene of
        the panel.
    """
    folder = Path(folder)
    stop = stop or (lambda: False)
    test = _Test(training, held_out, settings, folder)
    record = RunRecord(
        tuple(measured.section for measured in (*training, *held_out)),
        settings,
        name,
        tuple(measured.name for measured in held_out),
        trust_positions,
    )
    if held_out and (folder / TEST_FOLDER).exists():
        if not is_trained(folder):  # else the training says that it has ended
            raise InputError(
                f"{folder / TEST_FOLDER} already exists; give another folder, or remove it if its "
                "scores are those of a model that no longer exists"
            )
    elif held_out and is_trained(folder):
        with only_run_in(folder):
            model = trained_earlier(folder, settings, training)
            if model is not None:
                best_epoch = int(model.config.training["best_epoch"])
                test.check_panel(model.config.panel)
                finished = TrainFinished(model, best_epoch, "in an earlier run", (), 0.0)
                yield finished
                yield from test.score_start(model.config.panel, stop)
                yield from test.score_trained(finished)
                return
    # With several, the others would wait in a collective step meanwhile, which times out.
    is_start_scored_first = settings.devices == 1
    events = train_events(training, settings, folder=folder, name=name, stop=stop)
    with closing(events):
        for event in events:
            if isinstance(event, TrainStarted):
                test.check_panel(event.panel)  # rather now than after hours of training
                record.write(folder)
            yield event
            if isinstance(event, TrainStarted) and is_start_scored_first:
                yield from test.score_start(event.panel, stop)
            elif isinstance(event, TrainFinished):
                if not is_start_scored_first:
                    yield from test.score_start(event.model.config.panel, stop)
                yield from test.score_trained(event)


@dataclass(frozen=True, eq=False)
class _Test:
    """The test of a training on held-out sections; none of it is done where there are none."""

    training: Sequence[MeasuredSection]
    held_out: Sequence[MeasuredSection]
    settings: TrainSettings
    folder: Path

    def check_panel(self, panel: Sequence[str]) -> None:
        """See that each section can be scored."""
        for section in self.held_out:
            if not set(panel) & set(section.spots.var_names):
                raise InputError(f"test section {section.name} has no gene of the panel")

    def score_start(
        self, panel: Sequence[str], stop: Callable[[], bool]
    ) -> Generator[TrainingRunEvent, None, None]:
        """Score the start model on those genes of the panel that it knows."""
        if self.settings.start is None or not self.held_out:
            return
        try:
            start = load_model(self.settings.start)
        except InputError as error:  # a training that is finished does not need it
            yield Notice(f"The start model was not scored before the training: {error}.")
            return
        place = self.folder / TEST_BEFORE_FOLDER
        if (earlier := self._earlier(start, place)) is not None:
            yield _held_out_before(earlier, panel)
            return
        name, n_known = start.config.name, len(set(panel) & set(start.config.panel))
        if not n_known:
            yield Notice(
                f"The start model {name} knows none of the panel's {len(panel)} genes, so it was "
                "not scored before the training."
            )
            return
        try:
            evaluation = yield from self._score("before", start, stop)
        except InputError as error:  # such as another target; the training is good nevertheless
            yield Notice(f"The start model was not scored before the training: {error}.")
            return
        if evaluation is None:
            return
        if n_known < len(panel):
            notice = (
                f"The start model {name} knows {n_known} of the panel's {len(panel)} genes: only "
                "these were scored before the training."
            )
            evaluation = replace(evaluation, notices=(notice, *evaluation.notices))
        yield _held_out_before(evaluation, panel)
        is_ours = (place / SUMMARY_FILE).is_file()
        if is_ours or not place.exists():
            write_evaluation(evaluation, place, overwrite=is_ours)

    def score_trained(self, finished: TrainFinished) -> Generator[TrainingRunEvent, None, None]:
        """Score the new model, and write its reliability into its folder."""
        if not self.held_out:
            return
        evaluation = yield from self._score("after", finished.model, lambda: False)
        assert evaluation is not None
        donors = {section.donor for section in self.training}
        write_reliability(
            finished.model, evaluation, donors, self.held_out, self.folder / MODEL_FOLDER
        )
        yield HeldOut("after", evaluation.summary, evaluation.scores, evaluation.notices)
        if finished.ended != "stopped":
            # Last: where it is, nothing is left to be done.
            write_evaluation(evaluation, self.folder / TEST_FOLDER)

    def _earlier(self, start: Model, folder: Path) -> Evaluation | None:
        """Scores of the start model from an earlier run; None where they are of anything else."""
        try:
            evaluation = read_evaluation(folder)
        except InputError:
            return None
        if list(evaluation.predictions) != [section.name for section in self.held_out]:
            return None
        for section, prediction in zip(self.held_out, evaluation.predictions.values(), strict=True):
            if notes(prediction)["model"]["sha256"] != start.config.weights.get("sha256"):
                return None
            rows = section.spots.obs_names.get_indexer(prediction.obs_names)
            genes = [gene for gene in start.config.panel if gene in section.spots.var_names]
            if not genes or (rows < 0).any():
                return None
            target = expression_target(section.spots, genes)[rows]
            if not np.allclose(target, prediction[:, genes].layers[MEASURED]):
                return None
        return evaluation

    def _score(
        self, when: When, model: Model, stop: Callable[[], bool]
    ) -> Generator[Scoring, None, Evaluation | None]:
        """The evaluation of a model; None where it was stopped."""
        settings = EvaluateSettings(self.settings.device, self.settings.precision)
        for event in evaluate_events(model, self.held_out, settings):
            if isinstance(event, Evaluated):
                return event.evaluation
            if stop():
                return None
            yield Scoring(event.section, event.done, event.total, when)
        raise AssertionError("the last event is Evaluated")


def _held_out_before(evaluation: Evaluation, panel: Sequence[str]) -> HeldOut:
    return HeldOut(
        "before",
        _summary_over(evaluation, panel),
        _scores_over(evaluation, panel),
        evaluation.notices,
    )


def _scores_over(evaluation: Evaluation, panel: Sequence[str]) -> pd.DataFrame:
    """An evaluation's scores for the genes of another panel, in its order.

    NaN for a gene that was not evaluated, and for all errors where the two panels have not the
    same genes: targets are scaled to the sum of the panel, so errors are in another unit.
    """
    known = evaluation.scores.set_index("gene")
    scores = known.reindex(list(panel))
    if set(panel) != set(known.index):
        scores[[name for name in scores if not name.startswith("pcc")]] = np.nan
    return scores.reset_index()


def _summary_over(evaluation: Evaluation, panel: Sequence[str]) -> dict[str, Any]:
    """An evaluation's summary over those of its genes that another panel has."""
    evaluated = set(evaluation.scores["gene"])
    if evaluated == set(panel):
        return evaluation.summary
    shared = [gene for gene in panel if gene in evaluated]
    scores = _scores_over(evaluation, panel).set_index("gene").loc[shared].reset_index()
    predictions = [each[:, shared] for each in evaluation.predictions.values()]
    return summarize(scores, predictions)
