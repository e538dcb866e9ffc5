"""``nh2st crossval --compare``."""

import argparse
from collections.abc import Sequence
from contextlib import closing

from napari_nh2st.cli.options import given_settings
from napari_nh2st.cli.output import print_json, print_rows, show
from napari_nh2st.cli.score_tables import architecture_table, difference_table
from napari_nh2st.cli.study import (
    StoppedTraining,
    check_early,
    load_measured,
    panel_notices,
    unused_notices,
    watched_run,
)
from napari_nh2st.cli.training_progress import FoldReport, TrainingReport
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation import (
    ArchitectureComparison,
    ArchitecturesCompared,
    compare_architectures_events,
)
from napari_nh2st.evaluation.architecture_comparison import architecture_settings
from napari_nh2st.evaluation.settings import CompareSettings
from napari_nh2st.spots import read_sections
from napari_nh2st.training import MeasuredSection, TrainSettings
from napari_nh2st.training.checks import check_place, section_donors
from napari_nh2st.training.split import folds

_WITHOUT = {
    "contexts": "write the context after the architecture, as in nh2st:average",
    "no_final": "a comparison does not train a model on all sections",
    "intervals": "they belong to a model of all sections, which a comparison does not train",
    "architecture": "--compare names the architectures",
}
"""Options of a cross-validation that a comparison does not have, and why."""


def compare(args: argparse.Namespace, settings: TrainSettings) -> None:
    """Compare the architectures that ``--compare`` names."""
    for name, why in _WITHOUT.items():
        if name in args:
            raise InputError(f"--{name.replace('_', '-')} cannot be used with --compare: {why}")
    plan = CompareSettings(args.compare, **given_settings(args, CompareSettings))
    architecture_settings(plan, settings)
    check_place(args.output)
    sections = read_sections(args.sections)
    folds(section_donors(sections), plan.leave)
    check_early(settings, [section.section_id for section in sections])
    with watched_run(args) as report:
        report.notices(unused_notices(args, settings, [each.key for each in plan.parsed.values()]))
        study = load_measured(sections, args, report)
        report.notices(panel_notices(settings, study))
        result = _compare(study, settings, plan, args, report)
        report.notices(result.notices)
    if args.json:
        content = {"output": str(args.output), "leave": plan.leave, **result.to_json()}
        print_json(content | {"notices": list(report.noticed)})
        return
    print_rows(architecture_table(result))
    show()
    print_rows(difference_table(result, plan.leave))


def _compare(
    study: Sequence[MeasuredSection],
    settings: TrainSettings,
    plan: CompareSettings,
    args: argparse.Namespace,
    report: TrainingReport,
) -> ArchitectureComparison:
    events = compare_architectures_events(study, plan, settings, folder=args.output)
    show_progress = FoldReport(report, plan.leave)
    with closing(events):
        for event in events:
            if isinstance(event, ArchitecturesCompared):
                return event.result
            show_progress(event.progress, event.architecture)
            if args.stop():
                break
    raise StoppedTraining(
        f"Finished work is in {args.output}; the same command continues from there."
    )
