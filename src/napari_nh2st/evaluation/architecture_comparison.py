"""Comparison of architectures: a cross-validation of each, on the same folds and encoder."""

import json
import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.architecture_figure import save_architecture_figure
from napari_nh2st.evaluation.architecture_scores import (
    ArchitectureComparison,
    ArchitectureScores,
    comparison_notices,
    fold_scores,
    top_genes,
)
from napari_nh2st.evaluation.crossval import (
    Stopped,
    checked_cross_validation,
    cross_validate_events,
    own_context,
    with_fixed_panel,
)
from napari_nh2st.evaluation.evaluation import Evaluation
from napari_nh2st.evaluation.events import (
    ArchitectureProgress,
    ArchitecturesCompared,
    CompareEvent,
    CrossValidated,
    FoldProgress,
    SpotsPredicted,
)
from napari_nh2st.evaluation.fold_training import settings_in_context, trained_context, without
from napari_nh2st.evaluation.settings import CompareSettings, CrossValidateSettings
from napari_nh2st.files import make_folder, whole_output, write_text
from napari_nh2st.model.architectures import ARCHITECTURES
from napari_nh2st.model.catalogue import entry_of
from napari_nh2st.model.config import CONTEXTS, ModelConfig
from napari_nh2st.model.encoders.foreign import ForeignEncoder
from napari_nh2st.model.folder import Model
from napari_nh2st.model.hyperparameters import names_of
from napari_nh2st.model.sources import load_model
from napari_nh2st.table_cells import write_csv
from napari_nh2st.training.defaults import (
    filled_by_start,
    resolved_settings,
    start_config,
)
from napari_nh2st.training.events import Preparing, TrainEvent, TrainFinished
from napari_nh2st.training.inputs import TrainedPart, first_trained_stage
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.split import Leave, folds
from napari_nh2st.training.start import SHAPES, image_encoder, starting_network
from napari_nh2st.training.study import MeasuredSection

TABLE_FILE, FOLDS_FILE, FIGURE_FILE = "comparison.csv", "folds.csv", "comparison.png"
_SECONDS_FILE = "seconds.json"


def compare_architectures(
    sections: Sequence[MeasuredSection],
    architectures: Sequence[str],
    settings: TrainSettings | None = None,
    *,
    folder: str | os.PathLike[str],
    leave: Leave = "donor",
    on_event: Callable[[str, str, TrainEvent], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> ArchitectureComparison:
    """Cross-validate several architectures on the same folds, labels and encoder.

    :func:`compare_architectures_events` does the same as a generator of events.

    Parameters
    ----------
    sections
        From :func:`~napari_nh2st.training.load_study`.
    settings
        Settings of each training, without an architecture; None for the defaults.
    folder
        Folder for the cross-validation of each architecture. A stopped run is resumed if it is
        started again with it.
    architectures, leave
        See :class:`~napari_nh2st.evaluation.settings.CompareSettings`.
    on_event
        Called with the architecture, what is left out, and each event of that training.
    stop
        Called after every event; the work stops when it returns True.

    Raises
    ------
    Stopped
        ``stop`` returned True.

    Examples
    --------
    .. code-block:: python

        compared = compare_architectures(sections, ("linear", "sepal"), folder=Path("compared"))
        compared.table()
    """
    plan = CompareSettings(tuple(architectures), leave)
    with closing(compare_architectures_events(sections, plan, settings, folder=folder)) as events:
        for event in events:
            if isinstance(event, ArchitecturesCompared):
                return event.result
            inner = event.progress.event
            if on_event is not None and not isinstance(inner, SpotsPredicted):
                on_event(event.architecture, event.progress.left_out, inner)
            if stop is not None and stop():
                break
    raise Stopped(f"Stopped. Finished work is in {folder}; the same command continues from there")


def compare_architectures_events(
    sections: Sequence[MeasuredSection],
    plan: CompareSettings,
    settings: TrainSettings | None = None,
    *,
    folder: str | os.PathLike[str],
) -> Generator[CompareEvent, None, None]:
    """Cross-validate several architectures on the same folds, labels and encoder.

    The panel is chosen once for all. Each architecture gets the settings, except sizes that it does
    not have, and a frozen encoder unless they say otherwise. Closing the generator stops the work;
    started again with the same arguments, it resumes.

    Parameters
    ----------
    sections
        From :func:`~napari_nh2st.training.study.load_study`.
    plan
        Which architectures to compare, and what to leave out.
    settings
        Settings of each training, without an architecture; None for the defaults.
    folder
        Folder for ``<architecture>/``, or ``<architecture>-<guides>/``, with the cross-validation
        of each, ``comparison.csv``, ``folds.csv`` and ``comparison.png``.

    Yields
    ------
    ArchitectureProgress
        Progress of each training and test.
    ArchitecturesCompared
        At the end.

    Raises
    ------
    InputError
        An architecture cannot run with the settings (raised before anything is trained), or as for
        :func:`~napari_nh2st.evaluation.cross_validate_events`.
    """
    folder = Path(folder)
    settings = settings or TrainSettings()
    by_name = architecture_settings(plan, settings)
    config = start_config(settings)
    fixed = with_fixed_panel(sections, settings, config)
    assert fixed.panel is not None
    splits = dict(folds(sections, plan.leave))
    candidates = _checked(sections, by_name, plan, fixed, folder)
    top = {
        left_out: top_genes(without(sections, tested), fixed.panel.genes)
        for left_out, tested in splits.items()
    }
    scores = []
    for candidate in candidates:
        evaluation, seconds = yield from _cross_validated(candidate, sections)
        rows = {
            left_out: fold_scores(evaluation, [each.name for each in tested], top[left_out])
            | {"seconds": seconds.get(left_out, np.nan)}
            for left_out, tested in splits.items()
        }
        scores.append(
            ArchitectureScores(
                candidate.name,
                pd.DataFrame.from_dict(rows, orient="index"),
                candidate.n_trained,
                candidate.n_parameters,
                int(evaluation.summary["n_genes_without_pcc"]),
            )
        )
    reference = next((s.name for s in scores if s.name == "linear"), scores[0].name)
    notices = (
        *comparison_notices(scores, splits, plan.leave),
        *_start_notice(candidates, config, fixed.panel.genes),
    )
    result = ArchitectureComparison(tuple(scores), reference, notices)
    write_comparison(result, folder)
    yield ArchitecturesCompared(result)


def architecture_settings(
    plan: CompareSettings, settings: TrainSettings
) -> dict[str, TrainSettings]:
    """The settings of each architecture that is compared, by its name in the plan.

    Raises
    ------
    InputError
        The settings name an architecture themselves, or one cannot have them.
    """
    if settings.architecture is not None:
        raise InputError(
            f"architecture is {settings.architecture}; a comparison has its own list of them"
        )
    shapes = {
        name: set(names_of(kind)) | {"tile_px"}
        for name, compared in plan.parsed.items()
        if (kind := ARCHITECTURES[compared.key].hyperparameters) is not None
    }
    known = set().union(*shapes.values())
    given = [name for name in SHAPES if getattr(settings, name) is not None]
    if unknown := [name for name in given if name not in known]:
        raise InputError(f"none of {', '.join(plan.architectures)} has {unknown[0]}; leave it out")
    found = {}
    for name, (key, context, guides) in plan.parsed.items():
        # Contexts are NH2ST's; what another architecture predicts from is fixed.
        trained = None if entry_of(key).reach is not None else context or settings.context
        changed: dict[str, Any] = {"architecture": key, "context": trained}
        changed |= {shape: None for shape in given if shape not in shapes[name]}
        changed |= {} if guides is None else {"guides": guides}
        try:
            found[name] = replace(settings, encoder=settings.encoder or "frozen", **changed)
        except InputError as error:
            raise InputError(f"{name} cannot be compared with these settings: {error}") from None
    return found


def write_comparison(result: ArchitectureComparison, folder: Path) -> None:
    """Write the tables and the figure of a comparison, in the place of earlier ones.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    make_folder(folder)
    write_csv(folder / TABLE_FILE, result.table().to_csv(index=False))
    write_csv(folder / FOLDS_FILE, result.fold_table().to_csv(index=False))
    with whole_output(folder / FIGURE_FILE) as draft:
        save_architecture_figure(result, draft)


@dataclass(frozen=True)
class _Candidate:
    """An architecture whose cross-validation can begin."""

    name: str
    context: str
    settings: TrainSettings
    plan: CrossValidateSettings
    folder: Path
    n_trained: int
    n_parameters: int


def _checked(
    sections: Sequence[MeasuredSection],
    by_name: dict[str, TrainSettings],
    plan: CompareSettings,
    fixed: TrainSettings,
    folder: Path,
) -> list[_Candidate]:
    """The candidates, each network built once: none is to fail after hours of the others."""
    start = None if fixed.start is None else load_model(fixed.start)
    config = None if start is None else start.config
    encoder = image_encoder(replace(fixed, encoder=fixed.encoder or "frozen"), start)
    candidates = []
    for name, own in by_name.items():
        key, asked, guides = plan.parsed[name]
        own_folder = folder / (key if guides is None else f"{key}-{guides}")
        context = asked or own_context(own, config)
        settings = replace(own, panel=fixed.panel)
        contexts = (context,) if context in CONTEXTS else None
        of_fold = CrossValidateSettings(plan.leave, contexts, final=False)
        try:
            checked_cross_validation(sections, settings, of_fold, own_folder)
            sizes = _sizes(settings_in_context(settings, context), start, encoder)
        except InputError as error:
            raise InputError(f"{name} cannot be compared with these settings: {error}") from None
        candidates.append(_Candidate(name, context, settings, of_fold, own_folder, *sizes))
    return candidates


def _sizes(
    settings: TrainSettings, start: Model | None, encoder: ForeignEncoder | None
) -> tuple[int, int]:
    """How many weights are trained, and how many the network has."""
    assert settings.panel is not None
    panel = settings.panel.genes
    resolved = resolved_settings(settings, None if start is None else start.config, panel)
    network = starting_network(panel, np.zeros(len(panel)), settings, start, encoder)
    part = TrainedPart(network, first_trained_stage(network.image_encoder, resolved.encoder))
    weights = list(part.parameters())
    return sum(w.numel() for w in weights if w.requires_grad), sum(w.numel() for w in weights)


def _cross_validated(
    candidate: _Candidate, sections: Sequence[MeasuredSection]
) -> Generator[ArchitectureProgress, None, tuple[Evaluation, dict[str, float]]]:
    """The cross-validation of an architecture, and the seconds of each fold's training."""
    watch = _Stopwatch(candidate.folder, trained_context(candidate.context))
    events = cross_validate_events(
        sections, candidate.settings, candidate.plan, folder=candidate.folder
    )
    try:
        with closing(events):
            for event in events:
                if isinstance(event, CrossValidated):
                    return event.result.evaluations[candidate.context], watch.seconds
                watch(event)
                yield ArchitectureProgress(candidate.name, event)
                watch.went_on()
    finally:
        watch.save()
    raise AssertionError("the last event is CrossValidated")


class _Stopwatch:
    """Seconds of the training of each fold, over several runs, kept beside the folds.

    Reading and encoding tiles does not count: what encodes first does so for all architectures.
    The ridge regression that follows it does.
    """

    def __init__(self, folder: Path, context: str) -> None:
        self._path, self._context = folder / _SECONDS_FILE, context
        self._all: dict[str, dict[str, float]] = {}
        with suppress(OSError, ValueError):
            self._all = json.loads(self._path.read_text(encoding="utf-8"))
        self.seconds = self._all.setdefault(context, {})
        self._since: float | None = None

    def __call__(self, progress: FoldProgress) -> None:
        """Count what was done before an event, unless it was a preparation."""
        event = progress.event
        if isinstance(event, SpotsPredicted):
            self._since = None
            return
        if self._since is not None and not isinstance(event, Preparing):
            done = self.seconds.get(progress.left_out, 0.0)
            self.seconds[progress.left_out] = done + time.perf_counter() - self._since
        if isinstance(event, TrainFinished):
            self.save()

    def went_on(self) -> None:
        """Begin with what comes next: what the caller does with an event does not count."""
        self._since = time.perf_counter()

    def save(self) -> None:
        """Keep what was counted, if anything was."""
        if self.seconds:
            make_folder(self._path.parent)
            write_text(self._path, json.dumps(self._all, indent=1) + "\n")


def _start_notice(
    candidates: Sequence[_Candidate], start: ModelConfig | None, panel: Sequence[str]
) -> tuple[str, ...]:
    """Say which architectures begin with a head that has learned from other sections."""
    if start is None:
        return ()
    names = [c.name for c in candidates if filled_by_start(c.settings, start, panel)]
    if not names or len(names) == len(candidates):
        return ()
    return (
        f"{', '.join(names)} starts from the head of {start.name}, which has learned from other "
        "sections; the others take only its encoder.",
    )
