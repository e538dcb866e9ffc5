"""Training as a job: what ``nh2st train`` does, told in events that need no torch."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pandas as pd

from napari_nh2st.jobs.child import Inbox
from napari_nh2st.model.config import read_config
from napari_nh2st.model.sources import find_model
from napari_nh2st.spots import Section
from napari_nh2st.training.checks import check_record
from napari_nh2st.training.events import (
    EpochDone,
    Preparing,
    StepDone,
    TrainFinished,
    TrainStarted,
)
from napari_nh2st.training.record import RunRecord
from napari_nh2st.training.settings import TrainSettings

if TYPE_CHECKING:
    from typing import Literal

    from napari_nh2st.evaluation import Evaluation
    from napari_nh2st.model.folder import Model
    from napari_nh2st.training import MeasuredSection

_SECONDS_BETWEEN_STEPS = 0.1
"""No viewer shows more of them, and small networks make hundreds a second."""


@dataclass(frozen=True)
class Reading:
    """A section is being read and checked.

    Parameters
    ----------
    section
        Its name.
    done, total
        Sections.
    """

    section: str
    done: int
    total: int


@dataclass(frozen=True)
class Scoring:
    """A held-out section is being predicted.

    Parameters
    ----------
    when
        ``"before"``: by the start model; ``"after"``: by the new one.
    section
        Its name.
    done, total
        Its spots.
    """

    when: "Literal['before', 'after']"
    section: str
    done: int
    total: int


@dataclass(frozen=True, eq=False)
class HeldOut:
    """How a model does on the sections that were held out.

    Parameters
    ----------
    when
        ``"before"``: the start model; ``"after"``: the new one.
    summary
        Over those genes of the new panel that the model knows; see
        :func:`~napari_nh2st.analysis.scores.summarize`.
    scores
        One row a gene of the new panel, NaN where the model does not know it; see
        :func:`~napari_nh2st.analysis.scores.gene_scores`.
    notices
        What a reader of the numbers has to know.
    """

    when: "Literal['before', 'after']"
    summary: dict[str, Any]
    scores: pd.DataFrame
    notices: tuple[str, ...]


@dataclass(frozen=True)
class Notice:
    """A sentence for the user."""

    text: str


@dataclass(frozen=True)
class Trained:
    """The model is written.

    Parameters
    ----------
    folder
        Of the model.
    best_epoch, ended, seconds, unfinished_epoch
        As in :class:`~napari_nh2st.training.TrainFinished`; ended may be ``"in an earlier run"``.
    """

    folder: Path
    best_epoch: int
    ended: str
    seconds: float
    unfinished_epoch: int = 0


TrainingEvent = (
    Reading | Preparing | TrainStarted | StepDone | EpochDone | Scoring | HeldOut | Notice | Trained
)


def train(
    inbox: Inbox,
    *,
    sections: Sequence[Section],
    settings: TrainSettings,
    folder: Path,
    name: str | None,
    held_out: Sequence[str] = (),
    trust_positions: bool = False,
) -> Iterator[TrainingEvent]:
    """Train a model, and score it on the held-out sections before and after.

    Asked to stop before the first step, it ends with nothing; after it, with the best model so
    far. A folder with a stopped run of the same is gone on with.

    Parameters
    ----------
    inbox
        Tells when to stop.
    sections
        Those that train, validate, and are held out.
    settings
        Of the training.
    folder
        Gets what :func:`~napari_nh2st.training.train_events` writes, a
        :class:`~napari_nh2st.training.record.RunRecord`, and the scores in ``test`` and
        ``test-before``.
    name
        Of the model; None for the folder's.
    held_out
        Names of the sections that only test. Their scores become the model's reliability.
    trust_positions
        As in :func:`~napari_nh2st.training.load_study`.

    Raises
    ------
    InputError
        As :func:`~napari_nh2st.training.train_events`; no section is left to train on, the start
        model has seen one that is held out, or one has no gene of the panel.
    """
    from napari_nh2st.evaluation.training_run import check_panel, trained_earlier
    from napari_nh2st.training import load_study

    record = RunRecord(tuple(sections), settings, name, tuple(held_out), trust_positions)
    _check_early(record)
    study: list[MeasuredSection] = []
    for section in sections:
        yield Reading(section.section_id, len(study), len(sections))
        study += load_study([section], trust_positions=trust_positions)
        if inbox.stopped():
            return
    training = [section for section in study if section.name not in held_out]
    test = [section for section in study if section.name in held_out]
    run = _Run(record, folder, training, test, inbox)
    model = trained_earlier(folder, settings, training) if test else None
    if model is not None:
        check_panel(model.config.panel, test)
        best = int(model.config.training["best_epoch"])
        yield Trained(folder / _model_folder(), best, "in an earlier run", 0.0)
        yield from run.score_start(model.config.panel)
        yield from run.score(model, keep=True)
        return
    yield from run.train()


def _check_early(record: RunRecord) -> None:
    """Refuse what can be refused before slides and counts are read."""
    from napari_nh2st.inference.device import place

    settings = record.settings
    start = None if settings.start is None else read_config(find_model(settings.start))
    check_record(record, start)
    place(settings.device, settings.precision, settings.batch_size, None)


def _model_folder() -> str:
    from napari_nh2st.training.loop import MODEL_FOLDER

    return MODEL_FOLDER


class _Stopped(Exception):
    """The scores are not wanted any more."""


@dataclass(frozen=True, eq=False)
class _Run:
    """A training whose sections are read."""

    record: RunRecord
    folder: Path
    training: Sequence["MeasuredSection"]
    test: Sequence["MeasuredSection"]
    inbox: Inbox

    def train(self) -> Iterator[TrainingEvent]:
        from napari_nh2st.evaluation.training_run import check_panel
        from napari_nh2st.training import train_events

        stop = self.inbox.stopped
        told = 0.0
        events = train_events(
            self.training,
            self.record.settings,
            folder=self.folder,
            name=self.record.name,
            stop=stop,
        )
        with closing(events):
            for event in events:
                match event:
                    case Preparing():
                        yield event
                        if stop():
                            return
                    case TrainStarted():
                        check_panel(event.panel, self.test)
                        yield event
                        self.record.write(self.folder)
                        yield from self.score_start(event.panel)
                    case StepDone():
                        now = time.monotonic()
                        if now - told >= _SECONDS_BETWEEN_STEPS or event.step == event.steps:
                            told = now
                            yield event
                    case TrainFinished():
                        place = self.folder / _model_folder()
                        yield Trained(
                            place,
                            event.best_epoch,
                            event.ended,
                            event.seconds,
                            event.unfinished_epoch,
                        )
                        yield from self.score(event.model, keep=event.ended != "stopped")
                    case _:
                        yield event

    def score_start(self, panel: Sequence[str]) -> Iterator[TrainingEvent]:
        """Score what the training starts from."""
        from napari_nh2st.evaluation import write_evaluation
        from napari_nh2st.evaluation.training_run import (
            TEST_BEFORE_FOLDER,
            evaluate_start,
            scores_over,
            summary_over,
        )

        if not self.test:
            return
        try:
            before, reason = yield from _watched(
                "before",
                lambda tell: evaluate_start(panel, self.record.settings, self.test, tell),
                self.inbox.stopped,
            )
        except _Stopped:
            return
        if before is None:
            if reason:
                yield Notice(reason)
            return
        summary = summary_over(before, panel)
        yield HeldOut("before", summary, scores_over(before, panel), before.notices)
        if not (self.folder / TEST_BEFORE_FOLDER).exists():
            write_evaluation(before, self.folder / TEST_BEFORE_FOLDER)

    def score(self, model: "Model", *, keep: bool) -> Iterator[TrainingEvent]:
        """Score the new model, and write how far it can be trusted into its folder.

        ``keep``: write the scores as well, which says that nothing is left to be done.
        """
        from napari_nh2st.evaluation import evaluate, write_evaluation
        from napari_nh2st.evaluation.training_run import TEST_FOLDER, write_reliability

        if not self.test:
            return
        settings = self.record.settings
        after: Evaluation = yield from _watched(
            "after",
            lambda tell: evaluate(
                model,
                self.test,
                device=settings.device,
                precision=settings.precision,
                on_event=tell,
            ),
            lambda: False,  # a stop ends the training; what it came to is still to be told
        )
        donors = {section.donor for section in self.training}
        write_reliability(model, after, donors, self.test, self.folder / _model_folder())
        yield HeldOut("after", after.summary, after.scores, after.notices)
        if keep:
            write_evaluation(after, self.folder / TEST_FOLDER)


def _watched(
    when: "Literal['before', 'after']",
    work: Callable[[Callable[[str, int, int], None]], Any],
    stop: Callable[[], bool],
) -> Generator[Scoring, None, Any]:
    """Do work that tells by calls how far it is, and tell it as events; gives its result."""
    told: SimpleQueue[Scoring | None] = SimpleQueue()

    def tell(section: str, done: int, total: int) -> None:
        if stop():
            raise _Stopped
        told.put(Scoring(when, section, done, total))

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(work, tell)
        future.add_done_callback(lambda _: told.put(None))
        while (event := told.get()) is not None:
            yield event
        return future.result()
