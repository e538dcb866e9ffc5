"""Scores on sections that a model has not seen, and what they make of its reliability."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from safetensors import safe_open

from napari_nh2st.analysis.scores import summarize
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.crossval import with_held_out
from napari_nh2st.evaluation.evaluation import Evaluation, evaluate
from napari_nh2st.files import recover
from napari_nh2st.model.config import CONFIG_FILE, WEIGHTS_FILE, Context, read_config
from napari_nh2st.model.folder import Model, load_model_folder, save_model_folder
from napari_nh2st.model.sources import load_model
from napari_nh2st.training.checks import check_not_seen as check_not_seen  # for the command line
from napari_nh2st.training.defaults import same_settings
from napari_nh2st.training.loop import MODEL_FOLDER
from napari_nh2st.training.run_state import LAST
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.study import MeasuredSection

TEST_FOLDER, TEST_BEFORE_FOLDER = "test", "test-before"
"""Where a training leaves the model's scores, and those of what it started from."""


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
        Of the genes that the start model knows; a notice says so where others are learned as
        well. None without a start model, or where it knows none of them or has another target.
    reason
        Why there is none, as a sentence; empty where no start model was given.
    """
    if settings.start is None:
        return None, ""
    start = load_model(settings.start)
    name, n_known = start.config.name, len(set(panel) & set(start.config.panel))
    if not n_known:
        return None, (
            f"The start model {name} knows none of the panel's {len(panel)} genes: there are no "
            "scores from before the training."
        )
    try:
        evaluation = evaluate(
            start, test, device=settings.device, precision=settings.precision, on_event=on_event
        )
    except InputError as error:  # such as another target; the training is good nevertheless
        return None, f"There are no scores from before the training: {error}."
    if n_known == len(panel):
        return evaluation, ""
    notice = (
        f"The start model {name} knows {n_known} of the panel's {len(panel)} genes: only these "
        "have scores from before the training."
    )
    return replace(evaluation, notices=(notice, *evaluation.notices)), ""


def scores_over(evaluation: Evaluation, panel: Sequence[str]) -> pd.DataFrame:
    """An evaluation's scores for the genes of another panel.

    Parameters
    ----------
    evaluation
        Of some genes.
    panel
        The genes that are wanted, in their order.

    Returns
    -------
    DataFrame
        One row a gene of the panel, as :func:`~napari_nh2st.analysis.scores.gene_scores` has
        them. NaN for a gene that was not evaluated, and for all errors where the two panels have
        not the same genes: targets are scaled to the sum of the panel, so errors are in another
        unit.
    """
    known = evaluation.scores.set_index("gene")
    scores = known.reindex(list(panel))
    if set(panel) != set(known.index):
        scores[[name for name in scores if not name.startswith("pcc")]] = np.nan
    return scores.reset_index()


def summary_over(evaluation: Evaluation, panel: Sequence[str]) -> dict[str, Any]:
    """An evaluation's summary over those of its genes that another panel has."""
    evaluated = set(evaluation.scores["gene"])
    if evaluated == set(panel):
        return evaluation.summary
    shared = [gene for gene in panel if gene in evaluated]
    scores = scores_over(evaluation, panel).set_index("gene").loc[shared].reset_index()
    predictions = [each[:, shared] for each in evaluation.predictions.values()]
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
    recover(model)
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
