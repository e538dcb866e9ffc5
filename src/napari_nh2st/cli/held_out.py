"""``nh2st train --test-sections``: scores before and after, written beside the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_nh2st.cli.training_progress import TrainingReport
from napari_nh2st.evaluation import evaluate, write_evaluation
from napari_nh2st.evaluation.training_run import (
    TEST_BEFORE_FOLDER,
    TEST_FOLDER,
    evaluate_start,
    summary_over,
    write_reliability,
)
from napari_nh2st.model.folder import Model
from napari_nh2st.training import MeasuredSection, TrainSettings
from napari_nh2st.training.loop import MODEL_FOLDER


def score_held_out(
    model: Model,
    settings: TrainSettings,
    training: Sequence[MeasuredSection],
    test: Sequence[MeasuredSection],
    folder: Path,
    report: TrainingReport,
) -> dict[str, Any]:
    """Score a trained model, and what it started from, on test sections: summaries by name.

    The scores are written beside the model, whose reliability they become.
    """
    scores: dict[str, Any] = {}
    before, reason = evaluate_start(model.config.panel, settings, test, report.counted)
    if before is None:
        report.notices([reason] if reason else [])
    else:
        report.notices(before.notices)
        scores["before"] = summary_over(before, model.config.panel)
        if not (folder / TEST_BEFORE_FOLDER).exists():
            write_evaluation(before, folder / TEST_BEFORE_FOLDER)
    after = evaluate(
        model, test, device=settings.device, precision=settings.precision, on_event=report.counted
    )
    report.notices(after.notices)
    write_reliability(
        model, after, {section.donor for section in training}, test, folder / MODEL_FOLDER
    )
    # Last: where it is, nothing is left to be done.
    write_evaluation(after, folder / TEST_FOLDER)
    return scores | {"after": after.summary}
