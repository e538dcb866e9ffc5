"""``nh2st crossval``."""

import argparse

from napari_nh2st.cli.output import print_json, print_rows, show
from napari_nh2st.cli.study import (
    StoppedTraining,
    as_rows,
    check_early,
    check_run_folder,
    load_measured,
    panel_notices,
    watched_run,
)
from napari_nh2st.cli.training_arguments import train_settings
from napari_nh2st.cli.training_progress import TrainingReport
from napari_nh2st.evaluation import cross_validate
from napari_nh2st.evaluation.crossval import Stopped
from napari_nh2st.evaluation.score_tables import fold_table
from napari_nh2st.spots import read_sections
from napari_nh2st.training import TrainEvent, TrainFinished
from napari_nh2st.training.loop import MODEL_FOLDER
from napari_nh2st.training.split import folds


def cross_validate_sections(args: argparse.Namespace) -> None:
    """Run ``nh2st crossval``.

    Raises
    ------
    InputError
        As :func:`~napari_nh2st.cross_validate`.
    StoppedTraining
        It was stopped.
    """
    settings = train_settings(args)
    check_run_folder(args.output)
    sections = read_sections(args.sections)
    splits = folds(as_rows(sections), args.leave)
    check_early(settings, [section.section_id for section in sections])
    with watched_run(args) as watched:
        study = load_measured(sections, args, watched.report)
        watched.report.notices(panel_notices(settings, study))
        fold_report = _FoldReport(args.leave, watched.report)
        try:
            result = cross_validate(
                study,
                settings,
                folder=args.output,
                leave=args.leave,
                contexts=args.contexts,
                final=args.final,
                on_event=fold_report,
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
                "notices": list(watched.report.noticed),
            }
        )
        return
    left_out = {name: [row.name for row in rows] for name, rows in splits}
    print_rows(fold_table(result, left_out, args.leave))
    if len(result.evaluations) > 1:
        show(f"Taken: context {result.context}")
    if model is not None:
        show(f"{model}: trained on all sections, with each gene's held-out PCC as reliability")


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
