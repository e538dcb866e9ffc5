"""Scores on sections that a model has not seen, and what they make of its reliability."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, cast

from safetensors import safe_open

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import CONFIG_FILE, WEIGHTS_FILE, Context, ModelConfig, read_config
from napari_nh2st.model.folder import Model, load_model_folder, save_model_folder
from napari_nh2st.model.sources import load_model
from napari_nh2st.training.crossval import with_held_out
from napari_nh2st.training.defaults import same_settings
from napari_nh2st.training.evaluation import Evaluation, evaluate
from napari_nh2st.training.fit import MODEL_FOLDER
from napari_nh2st.training.metrics import summarize
from napari_nh2st.training.run_state import LAST
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.study import MeasuredSection

TEST_FOLDER, TEST_BEFORE_FOLDER = "test", "test-before"
"""Where a training leaves the model's scores, and those of what it started from."""


def check_not_seen(name: str, config: ModelConfig, tested: Collection[str], other: str) -> None:
    """Refuse to call sections held out that a model was trained on.

    Parameters
    ----------
    name, config
        The model.
    tested
        Names of the sections.
    other
        What else can be done about it, for the message.

    Raises
    ------
    InputError
        It was trained on sections of such names.
    """
    seen = [section for section in config.training.get("sections", ()) if section in tested]
    if seen:
        raise InputError(
            f"{name} was trained on {', '.join(seen)} (sections of that name): scores there do "
            f"not tell how far to trust it. Give the sections other names if they are others, "
            f"leave them out, {other}"
        )


def check_panel(panel: Sequence[str], test: Sequence[MeasuredSection]) -> None:
    """See that each section can be scored.

    Raises
    ------
    InputError
        One has no gene of the panel.
    """
    for section in test:
        if not set(panel) & set(section.spots.var_names):
            raise InputError(f"test section {section.name} has no gene of the panel")


def evaluate_start(
    panel: Sequence[str],
    settings: TrainSettings,
    test: Sequence[MeasuredSection],
    on_event: Callable[[str, int, int], None] | None = None,
) -> tuple[Evaluation | None, str]:
    """Score the start model on test sections.

    Parameters
    ----------
    panel
        Of the model that is trained.
    settings
        Of the training: ``start``, ``device`` and ``precision``.
    test
        The sections.
    on_event
        As for :func:`~napari_nh2st.training.evaluate`.

    Returns
    -------
    evaluation
        None without a start model, or where it lacks genes or has another target.
    reason
        Why there is none, as a sentence; empty where no start model was given.
    """
    if settings.start is None:
        return None, ""
    start = load_model(settings.start)
    missing = set(panel) - set(start.config.panel)
    if missing:
        return None, (
            f"The start model {start.config.name} lacks {len(missing)} of the panel's genes: "
            "there are no scores from before the training."
        )
    try:
        return evaluate(
            start, test, device=settings.device, precision=settings.precision, on_event=on_event
        ), ""
    except InputError as error:  # such as another target; the training is good nevertheless
        return None, f"There are no scores from before the training: {error}."


def summary_over(evaluation: Evaluation, panel: Sequence[str]) -> dict[str, Any]:
    """An evaluation's summary over the genes of a smaller panel."""
    scores = evaluation.scores.set_index("gene").loc[list(panel)].reset_index()
    if len(scores) == len(evaluation.scores):
        return evaluation.summary
    # Targets are scaled to the sum of the panel: errors are in another unit.
    scores.iloc[:, 4:] = float("nan")
    predictions = [each[:, list(panel)] for each in evaluation.predictions.values()]
    return summarize(scores, predictions)


def write_reliability(
    model: Model,
    evaluation: Evaluation,
    trained_donors: Collection[str],
    tested: Sequence[MeasuredSection],
    folder: Path,
) -> None:
    """Write a model again, with each gene's PCC on the tested sections as its reliability.

    Parameters
    ----------
    model
        As it lies in the folder.
    evaluation
        Of this model.
    trained_donors
        Those it has seen: a tested section of one of them says less.
    tested
        The sections of the evaluation.
    folder
        Of the model, which is replaced.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    context = cast(Context, model.config.context)
    shared = any(section.donor in trained_donors for section in tested)
    told = with_held_out(model, {context: evaluation}, context, "section" if shared else "donor")
    with safe_open(folder / WEIGHTS_FILE, "pt") as weights:
        dtypes = {weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118
    floating = [dtype for dtype in dtypes if dtype.is_floating_point]
    # In the type they were: float16 would otherwise double.
    save_model_folder(told, folder, *floating[:1], overwrite=True)


def trained_earlier(
    folder: Path, settings: TrainSettings, training: Sequence[MeasuredSection]
) -> Model | None:
    """The model of a run that was killed after training and before its test was written."""
    model = folder / MODEL_FOLDER
    if (
        not (model / CONFIG_FILE).is_file()
        or (folder / LAST).exists()
        or (folder / TEST_FOLDER).exists()
    ):
        return None
    config = read_config(model)
    told = config.training
    same = same_settings(told.get("settings", {}), settings, config.panel)
    if not same or told.get("own_sections") != [section.name for section in training]:
        return None
    return load_model_folder(model)
