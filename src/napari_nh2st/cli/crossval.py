"""``nh2st crossval``."""

import argparse
from collections.abc import Sequence
from contextlib import closing

from napari_nh2st.cli.crossval_compare import compare
from napari_nh2st.cli.options import given_settings
from napari_nh2st.cli.output import print_json, print_rows, show
from napari_nh2st.cli.score_tables import fold_table
from napari_nh2st.cli.study import (
    StoppedTraining,
    check_early,
    load_measured,
    panel_notices,
    unused_notices,
    watched_run,
)
from napari_nh2st.cli.training_arguments import train_settings
from napari_nh2st.cli.training_progress import FoldReport, TrainingReport
from napari_nh2st.evaluation import (
    CrossValidated,
    CrossValidation,
    cross_validate_events,
)
from napari_nh2st.evaluation.settings import CrossValidateSettings
from napari_nh2st.spots import read_sections
from napari_nh2st.training import MeasuredSection, TrainSettings
from napari_nh2st.training.checks import check_place, section_donors
from napari_nh2st.training.record import MODEL_FOLDER
from napari_nh2st.training.split import folds


def run(args: argparse.Namespace) -> None:
    """Run ``nh2st crossval``."""
    settings = train_settings(args)
    if args.compare:
        compare(args, settings)
        return
    plan = CrossValidateSettings(**given_settings(args, CrossValidateSettings))
    check_place(args.output)
    sections = read_sections(args.sections)
    splits = folds(section_donors(sections), plan.leave)
    check_early(settings, [section.section_id for section in sections])
    with watched_run(args) as report:
        report.notices(unused_notices(args, settings))
        study = load_measured(sections, args, report)
        report.notices(panel_notices(settings, study))
        result = _cross_validate(study, settings, plan, args, report)
        for evaluation in result.evaluations.values():
            report.notices(evaluation.notices)
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
                "coverage": {name: each.to_json() for name, each in result.coverage.items()},
                "model": model,
                "notices": list(report.noticed),
            }
        )
        return
    left_out = {name: [row.name for row in rows] for name, rows in splits}
    print_rows(fold_table(result, left_out, plan.leave))
    if len(result.evaluations) > 1:
        show(f"Taken: context {result.context}")
    if model is not None:
        show(
            f"{model}: trained on all sections, with each gene's held-out PCC as reliability and "
            "the 90 % interval of its values"
        )


def _cross_validate(
    study: Sequence[MeasuredSection],
    settings: TrainSettings,
    plan: CrossValidateSettings,
    args: argparse.Namespace,
    report: TrainingReport,
) -> CrossValidation:
    """Cross-validate, with a line before each training that says what is left out of it."""
    events = cross_validate_events(study, settings, plan, folder=args.output)
    show_progress = FoldReport(report, plan.leave)
    with closing(events):
        for event in events:
            if isinstance(event, CrossValidated):
                return event.result
            show_progress(event)
            if args.stop():
                break
    raise StoppedTraining(
        f"Finished work is in {args.output}; the same command continues from there."
    )
