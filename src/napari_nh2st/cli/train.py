"""``nh2st train``."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_nh2st.cli.held_out import score_held_out
from napari_nh2st.cli.output import print_json, print_rows, show
from napari_nh2st.cli.study import (
    StoppedTraining,
    Watched,
    as_rows,
    check_early,
    check_run_folder,
    load_measured,
    named_sections,
    panel_notices,
    watched_run,
)
from napari_nh2st.cli.training_arguments import train_settings
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.score_tables import score_table
from napari_nh2st.evaluation.training_run import TEST_FOLDER, check_panel, trained_earlier
from napari_nh2st.model.folder import Model
from napari_nh2st.spots import read_sections
from napari_nh2st.training import (
    MeasuredSection,
    TrainFinished,
    TrainSettings,
    TrainStarted,
    train_events,
)
from napari_nh2st.training.loop import MODEL_FOLDER
from napari_nh2st.training.notices import held_out_notice
from napari_nh2st.training.split import set_aside


def train_on_sections(args: argparse.Namespace) -> None:
    """Run ``nh2st train``.

    Raises
    ------
    InputError
        As :func:`~napari_nh2st.training.train_events`.
    StoppedTraining
        It was stopped.
    """
    settings = train_settings(args)
    folder: Path = args.output
    check_run_folder(folder)
    sections = read_sections(args.sections)
    tested = named_sections(sections, args.test_sections)
    trained = [section for section in sections if section.section_id not in tested]
    if not trained:
        raise InputError("--test-sections names all sections; none is left to train on")
    check_early(settings, tested)
    set_aside(as_rows(trained), settings)
    finished: TrainFinished | None = None
    scores: dict[str, Any] = {}
    with watched_run(args) as watched:
        study = load_measured(sections, args, watched.report)
        training = [section for section in study if section.name not in tested]
        test = [section for section in study if section.name in tested]
        nothing_held_out = held_out_notice(len(test))
        watched.report.notices([nothing_held_out] if nothing_held_out else [])
        watched.report.notices(panel_notices(settings, training))
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
    _report_trained(args, model, scores, finished, watched.report.noticed)
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
    args: argparse.Namespace,
    watched: Watched,
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


def _report_trained(
    args: argparse.Namespace,
    model: Model,
    scores: dict[str, Any],
    finished: TrainFinished | None,
    notices: Sequence[str],
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
                "notices": list(notices),
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
    show(f"{args.output / MODEL_FOLDER}: {len(model.config.panel)} genes, {chosen}{validated}")
    if scores:
        print_rows(score_table("test", scores))
        show(f"{args.output / TEST_FOLDER}: scores, figures and predictions")
