"""Scores on sections that a model has not seen, and what they make of its reliability."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

from safetensors import safe_open

from napari_nh2st.cli.training_progress import TrainingReport
from napari_nh2st.errors import InputError
from napari_nh2st.model import load_model
from napari_nh2st.model.config import WEIGHTS_FILE, Context, ModelConfig
from napari_nh2st.model.folder import Model, save_model_folder
from napari_nh2st.training import (
    Evaluation,
    MeasuredSection,
    TrainSettings,
    evaluate,
    write_evaluation,
)
from napari_nh2st.training.crossval import with_held_out
from napari_nh2st.training.fit import MODEL_FOLDER
from napari_nh2st.training.metrics import summarize

TEST_FOLDER, TEST_BEFORE_FOLDER = "test", "test-before"
"""Where ``train --test-sections`` leaves the model's scores, and those of what it started from."""


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
    before = _start_scores(model, settings, test, report)
    if before is not None:
        scores["before"] = _summary_over(before, model.config.panel)
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


def _start_scores(
    model: Model,
    settings: TrainSettings,
    test: Sequence[MeasuredSection],
    report: TrainingReport,
) -> Evaluation | None:
    """The start model on the test sections, if it has all genes and the same target."""
    if settings.start is None:
        return None
    start = load_model(settings.start)
    missing = set(model.config.panel) - set(start.config.panel)
    if missing:
        report.notices(
            [
                f"The start model {start.config.name} lacks {len(missing)} of the panel's genes: "
                "there are no scores from before the training."
            ]
        )
        return None
    try:
        before = evaluate(
            start,
            test,
            device=settings.device,
            precision=settings.precision,
            on_event=report.counted,
        )
    except InputError as error:  # such as another target; the training is good nevertheless
        report.notices([f"There are no scores from before the training: {error}."])
        return None
    report.notices(before.notices)
    return before


def _summary_over(evaluation: Evaluation, panel: Sequence[str]) -> dict[str, Any]:
    """An evaluation's summary over the genes of a smaller panel."""
    scores = evaluation.scores.set_index("gene").loc[list(panel)].reset_index()
    if len(scores) == len(evaluation.scores):
        return evaluation.summary
    # Targets are scaled to the sum of the panel: errors are in another unit.
    scores.iloc[:, 4:] = float("nan")
    predictions = [each[:, list(panel)] for each in evaluation.predictions.values()]
    return summarize(scores, predictions)


def check_not_seen(name: str, config: ModelConfig, tested: Collection[str], other: str) -> None:
    """Refuse to call sections held out that a model was trained on."""
    seen = [section for section in config.training.get("sections", ()) if section in tested]
    if seen:
        raise InputError(
            f"{name} was trained on {', '.join(seen)} (sections of that name): scores there do "
            f"not tell how far to trust it. Give the sections other names if they are others, "
            f"leave them out, {other}"
        )


def write_reliability(
    model: Model,
    evaluation: Evaluation,
    trained_donors: Collection[str],
    tested: Sequence[MeasuredSection],
    folder: Path,
) -> None:
    """Write a model again, with each gene's PCC on the tested sections as its reliability."""
    context = cast(Context, model.config.context)
    shared = any(section.donor in trained_donors for section in tested)
    told = with_held_out(model, {context: evaluation}, context, "section" if shared else "donor")
    with safe_open(folder / WEIGHTS_FILE, "pt") as weights:
        dtypes = {weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118
    floating = [dtype for dtype in dtypes if dtype.is_floating_point]
    # In the type they were: float16 would otherwise double.
    save_model_folder(told, folder, *floating[:1], overwrite=True)
