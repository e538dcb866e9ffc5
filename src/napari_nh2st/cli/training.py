"""``nh2st train``, ``evaluate`` and ``crossval``."""

import os
from argparse import Namespace
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from napari_nh2st.cli.held_out import score_held_out
from napari_nh2st.cli.main import print_json
from napari_nh2st.cli.score_tables import fold_table, print_evaluation, print_rows, score_row
from napari_nh2st.cli.training_arguments import train_settings
from napari_nh2st.cli.training_progress import StopRequest, TrainingReport
from napari_nh2st.errors import InputError
from napari_nh2st.inference.device import place
from napari_nh2st.model import find_model, load_model, read_config
from napari_nh2st.model.folder import Model
from napari_nh2st.spots import Section, read_sections
from napari_nh2st.training import (
    MeasuredSection,
    TrainEvent,
    TrainFinished,
    TrainSettings,
    TrainStarted,
    cross_validate,
    evaluate,
    load_study,
    train_events,
    write_evaluation,
)
from napari_nh2st.training.crossval import Stopped
from napari_nh2st.training.fit import MODEL_FOLDER
from napari_nh2st.training.held_out import (
    TEST_FOLDER,
    check_not_seen,
    check_panel,
    trained_earlier,
    write_reliability,
)
from napari_nh2st.training.split import folds, set_aside


class StoppedTraining(KeyboardInterrupt):
    """A training was stopped; the text says what there is of it."""


class _Row(NamedTuple):
    """A section as the table has it, before anything of it is read."""

    name: str
    donor: str


@dataclass(frozen=True, eq=False)
class _Watched:
    """What a command shows its work to, and asks whether to go on."""

    report: TrainingReport
    stop: StopRequest


def _train(args: Namespace) -> None:
    settings = train_settings(args)
    folder: Path = args.output
    _check_output(folder)
    sections = read_sections(args.sections)
    tested = _named(sections, args.test_sections)
    trained = [section for section in sections if section.section_id not in tested]
    if not trained:
        raise InputError("--test-sections names all sections; none is left to train on")
    _check_early(settings, tested)
    set_aside(_rows(trained), settings)
    finished: TrainFinished | None = None
    scores: dict[str, Any] = {}
    with _watched(args) as watched:
        study = _load(sections, args, watched.report)
        training = [section for section in study if section.name not in tested]
        test = [section for section in study if section.name in tested]
        model = trained_earlier(folder, settings, training) if test else None
        if model is not None:
            watched.report.line(
                f"{folder / MODEL_FOLDER} is trained; the test is still to be done."
            )
        else:
            finished = _run_training(training, test, settings, args, watched)
            if finished is None:
                return
            model = finished.model
        if test and (finished is None or finished.ended != "stopped"):
            scores = score_held_out(model, settings, training, test, folder, watched.report)
    _tell_trained(args, model, scores, finished)
    if finished is not None and finished.ended == "stopped":
        raise StoppedTraining(
            f"{_kept_in_words(finished)} in {folder / MODEL_FOLDER}; the same command goes on from "
            "there."
        )


def _kept_in_words(finished: TrainFinished) -> str:
    """What there is of a training that was stopped."""
    if finished.unfinished_epoch:
        return f"The weights as they were in epoch {finished.unfinished_epoch} are"
    best = f"epoch {finished.best_epoch}" if finished.best_epoch else "as it started"
    return f"The best so far ({best}) is"


def _run_training(
    training: Sequence[MeasuredSection],
    test: Sequence[MeasuredSection],
    settings: TrainSettings,
    args: Namespace,
    watched: _Watched,
) -> TrainFinished | None:
    """Train, and show it; None in a process that helps another one, with several devices."""
    for event in train_events(
        training, settings, folder=args.output, name=args.name, stop=watched.stop
    ):
        watched.report(event)
        if isinstance(event, TrainStarted):
            # Now that the panel is known, and not after hours of training.
            check_panel(event.panel, test)
        if isinstance(event, TrainFinished):
            return event
    return None


def _tell_trained(
    args: Namespace, model: Model, scores: dict[str, Any], finished: TrainFinished | None
) -> None:
    """Print what a training came to."""
    training = model.config.training
    pcc = training["validation_pcc"]
    if args.json:
        print_json(
            {
                "model": str(args.output / MODEL_FOLDER),
                "ended": finished.ended if finished else "in an earlier run",
                "epochs": training["epochs"],
                "best_epoch": training["best_epoch"],
                "validation_pcc": pcc,
                "genes": len(model.config.panel),
                "test": scores,
            }
        )
        return
    validated = "" if pcc is None else f", validation PCC {pcc:.3f}"
    best, epochs = training["best_epoch"], training["epochs"]
    if finished is not None and finished.unfinished_epoch:
        chosen = f"weights as they were in epoch {finished.unfinished_epoch}"
        validated = ""
    elif best:
        chosen = f"epoch {best} of {epochs}"
    else:
        chosen = f"as it started, no better in {epochs} epochs"
    print(f"{args.output / MODEL_FOLDER}: {len(model.config.panel)} genes, {chosen}{validated}")
    if scores:
        rows = [score_row(summary, name) for name, summary in scores.items()]
        print_rows([score_row(None, "test"), *rows])
        print(f"{args.output / TEST_FOLDER}: scores, figures and predictions")


def _evaluate(args: Namespace) -> None:
    if args.output.exists():
        raise InputError(f"{args.output} exists already; give another folder or remove it first")
    if args.bootstrap < 0:
        raise InputError(f"--bootstrap is {args.bootstrap}; it must be 0 or more")
    place(args.device, args.precision, None, None)
    sections = read_sections(args.sections)
    config = read_config(find_model(args.model))
    if args.write_reliability:
        if not Path(args.model).expanduser().is_dir():
            raise InputError(f"--write-reliability needs a model folder; {args.model} is none")
        names = [section.section_id for section in sections]
        check_not_seen(args.model, config, names, "or do without --write-reliability")
    model = load_model(args.model)
    with _watched(args) as watched:
        study = _load(sections, args, watched.report)
        result = evaluate(
            model,
            study,
            device=args.device,
            precision=args.precision,
            bootstrap=args.bootstrap,
            on_event=watched.report.counted,
        )
        watched.report.close()
        watched.report.notices(result.notices)
    write_evaluation(result, args.output)
    if args.write_reliability:
        donors = config.training.get("donors", ())
        write_reliability(model, result, donors, study, Path(args.model).expanduser())
    if args.json:
        print_json(
            {
                "output": str(args.output),
                "summary": result.summary,
                "sections": result.section_summaries,
                "notices": list(result.notices),
                "reliability_written": args.write_reliability,
            }
        )
        return
    print_evaluation(result)
    print(f"{args.output}: summary.json, genes.csv, figures and predictions")
    if args.write_reliability:
        print(f"{args.model}: each gene's PCC is its reliability now")


def _crossval(args: Namespace) -> None:
    settings = train_settings(args)
    _check_output(args.output)
    sections = read_sections(args.sections)
    splits = folds(_rows(sections), args.leave)
    _check_early(settings, [section.section_id for section in sections])
    with _watched(args) as watched:
        study = _load(sections, args, watched.report)
        show = _FoldReport(args.leave, watched.report)
        try:
            result = cross_validate(
                study,
                settings,
                folder=args.output,
                leave=args.leave,
                contexts=args.contexts,
                final=args.final,
                on_event=show,
                stop=watched.stop,
            )
        except Stopped:
            raise StoppedTraining(
                f"What is done is in {args.output}; the same command goes on from there."
            ) from None
        for evaluation in result.evaluations.values():
            watched.report.notices(evaluation.notices)
    model = None if result.model is None else str(args.output / MODEL_FOLDER)
    if args.json:
        print_json(
            {
                "output": str(args.output),
                "context": result.context,
                "contexts": {
                    name: {"all": each.summary, "sections": each.section_summaries}
                    for name, each in result.evaluations.items()
                },
                "model": model,
            }
        )
        return
    left_out = {name: [row.name for row in rows] for name, rows in splits}
    print_rows(fold_table(result, left_out, args.leave))
    if len(result.evaluations) > 1:
        print(f"Taken: context {result.context}")
    if model is not None:
        print(f"{model}: trained on all sections, with each gene's held-out PCC as reliability")


class _FoldReport:
    """Shows the events of each training under a line that says what was left out of it."""

    def __init__(self, leave: str, report: TrainingReport) -> None:
        self._leave = leave
        self._report = report
        self._begun = False

    def __call__(self, left_out: str, event: TrainEvent) -> None:
        if not self._begun:
            what = f"without {self._leave} {left_out}" if left_out else "on all sections"
            self._report.line(f"Training {what}")
        self._begun = not isinstance(event, TrainFinished)
        self._report(event)


@contextmanager
def _watched(args: Namespace) -> Iterator[_Watched]:
    """Show the work inside; Ctrl-C at a time when it cannot be granted ends it there."""
    # Several devices: the first process starts this same command again for the others.
    helps = int(os.environ.get("LOCAL_RANK", "0")) > 0
    with StopRequest() as stop:
        stop.graceful = helps  # the first process hears it too, and tells the others when to end
        report = TrainingReport(quiet=args.json, silent=helps, stop=stop)
        try:
            yield _Watched(report, stop)
        except StoppedTraining:
            raise
        except KeyboardInterrupt:
            again = "" if args.command == "evaluate" else "; the same command goes on from there"
            kept = f"What had been written is in {args.output}{again}."
            raise StoppedTraining(
                kept if args.output.exists() else "Nothing was written."
            ) from None
        finally:
            report.close()


def _load(
    sections: Sequence[Section], args: Namespace, report: TrainingReport
) -> tuple[MeasuredSection, ...]:
    def tell(section: MeasuredSection) -> None:
        report.line(
            f"{section.name}: {section.spots.n_obs} spots, {section.pitch_um:.0f} µm apart "
            f"({section.layout}), {section.mpp[0]:.4g} µm/px"
        )

    return load_study(sections, trust_positions=args.trust_positions, on_section=tell)


def _check_output(folder: Path) -> None:
    """Refuse a place that cannot take a run, before anything is read."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder")
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise InputError(f"{folder} cannot be written: {there} is no folder that may be written to")


def _check_early(settings: TrainSettings, tested: Collection[str]) -> None:
    """Refuse what can be refused before slides and counts are read."""
    place(settings.device, settings.precision, settings.batch_size, None)
    if settings.start is not None:
        config = read_config(find_model(settings.start))
        check_not_seen(settings.start, config, tested, "or start from another model")
    if settings.encoder_weights is not None and not Path(settings.encoder_weights).is_file():
        raise InputError(f"--encoder-weights: there is no file {settings.encoder_weights}")


def _named(sections: Sequence[Section], names: Sequence[str]) -> set[str]:
    known = [section.section_id for section in sections]
    for name in names:
        if name not in known:
            raise InputError(f"--test-sections: there is no {name!r}; there are {', '.join(known)}")
    return set(names)


def _rows(sections: Sequence[Section]) -> list[_Row]:
    return [_Row(section.section_id, section.donor_id) for section in sections]


TRAINING_COMMANDS: dict[str, Callable[[Namespace], None]] = {
    "train": _train,
    "evaluate": _evaluate,
    "crossval": _crossval,
}
