"""``nh2st train``."""

import argparse
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from napari_nh2st.cli.output import print_json, print_rows, show
from napari_nh2st.cli.score_tables import score_table
from napari_nh2st.cli.study import (
    StoppedTraining,
    check_early,
    check_named,
    load_measured,
    panel_notices,
    unused_notices,
    watched_run,
)
from napari_nh2st.cli.training_arguments import train_settings
from napari_nh2st.cli.training_progress import TrainingReport
from napari_nh2st.evaluation import training_run_events
from napari_nh2st.evaluation.events import HeldOut, Notice, Scoring
from napari_nh2st.spots import read_sections
from napari_nh2st.training import MeasuredSection, TrainFinished, TrainSettings
from napari_nh2st.training.checks import check_place, section_donors
from napari_nh2st.training.first_process import is_helper
from napari_nh2st.training.known_models import remember_model, remember_run
from napari_nh2st.training.notices import held_out_notice
from napari_nh2st.training.record import MODEL_FOLDER, TEST_FOLDER
from napari_nh2st.training.split import set_aside


def run(args: argparse.Namespace) -> None:
    """Run ``nh2st train``."""
    settings = train_settings(args)
    check_place(args.output)
    sections = read_sections(args.sections)
    tested = args.test_sections
    check_named(sections, tested)
    check_early(settings, tested)
    set_aside(section_donors(s for s in sections if s.section_id not in tested), settings)
    scores: dict[str, Any] = {}
    with watched_run(args) as report:
        report.notices(unused_notices(args, settings))
        study = load_measured(sections, args, report)
        training = [section for section in study if section.name not in tested]
        held_out = [section for section in study if section.name in tested]
        nothing_held_out = held_out_notice(len(held_out))
        report.notices([nothing_held_out] if nothing_held_out else [])
        report.notices(panel_notices(settings, training))
        finished = _train(training, held_out, settings, args, report, scores)
    if finished is None:
        return
    _report_trained(args, finished, scores, report.noticed)
    if finished.ended == "stopped":
        raise StoppedTraining(
            f"{_kept_in_words(finished)} in {args.output / MODEL_FOLDER}; the same command "
            "continues from there."
        )


def _kept_in_words(finished: TrainFinished) -> str:
    """Say which weights a stopped training has kept."""
    if finished.unfinished_epoch:
        return f"The weights of epoch {finished.unfinished_epoch} so far are"
    best = f"epoch {finished.best_epoch}" if finished.best_epoch else "as it started"
    return f"The best so far ({best}) is"


def _train(
    training: Sequence[MeasuredSection],
    held_out: Sequence[MeasuredSection],
    settings: TrainSettings,
    args: argparse.Namespace,
    report: TrainingReport,
    scores: dict[str, Any],
) -> TrainFinished | None:
    """Train and test, showing progress; None in a process that helps another one.

    ``scores`` gets the summaries from before and after.
    """
    finished: TrainFinished | None = None
    events = training_run_events(
        training,
        held_out,
        settings,
        folder=args.output,
        name=args.name,
        trust_positions=args.trust_positions,
        stop=args.stop,
    )
    if not is_helper():
        remember_run(args.output)  # the Train dock offers it if it is not finished
    with closing(events):
        for event in events:
            match event:
                case Scoring():
                    report.counted(event.section, event.done, event.total)
                case HeldOut():
                    report.notices(event.notices)
                    scores[event.when] = event.summary
                case Notice():
                    report.notices([event.text])
                case _:
                    report(event)
            if isinstance(event, TrainFinished):
                finished = event
                remember_model(args.output / MODEL_FOLDER)
                if event.ended == "stopped":
                    break
                if event.ended == "in an earlier run":
                    report.line(
                        f"{args.output / MODEL_FOLDER} is trained; it has not been tested yet."
                    )
    return finished


def _report_trained(
    args: argparse.Namespace,
    finished: TrainFinished,
    scores: dict[str, Any],
    notices: Sequence[str],
) -> None:
    """Print the result of a training."""
    panel, training = finished.model.config.panel, finished.model.config.training
    pcc = training["validation_pcc"]
    if args.json:
        print_json(
            {
                "model": str(args.output / MODEL_FOLDER),
                "ended": finished.ended,
                "epochs": training["epochs"],
                "best_epoch": training["best_epoch"],
                "validation_pcc": pcc,
                "genes": len(panel),
                "test": scores,
                "notices": list(notices),
            }
        )
        return
    validated = "" if pcc is None else f", validation PCC {pcc:.3f}"
    best, epochs = training["best_epoch"], training["epochs"]
    if finished.unfinished_epoch:
        chosen = f"weights as they were in epoch {finished.unfinished_epoch}"
        validated = ""
    elif finished.ended == "closed form":
        chosen = "solved in closed form"
    elif best:
        chosen = f"epoch {best} of {epochs}"
    else:
        chosen = f"the start, not improved in {epochs} epochs"
    show(f"{args.output / MODEL_FOLDER}: {len(panel)} genes, {chosen}{validated}")
    if scores:
        print_rows(score_table("test", scores))
    if "after" in scores:  # a stopped training is not tested
        show(f"{args.output / TEST_FOLDER}: scores, figures and predictions")
