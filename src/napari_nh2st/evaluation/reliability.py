"""Reliability of a model's genes: their correlation on held-out sections."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import safe_open

from napari_nh2st.evaluation.evaluation import Evaluation
from napari_nh2st.model.config import WEIGHTS_FILE, Context
from napari_nh2st.model.folder import Model, save_model_folder
from napari_nh2st.training.split import Leave
from napari_nh2st.training.study import MeasuredSection


def with_reliability(
    model: Model, evaluations: Mapping[Context, Evaluation], context: Context, leave: Leave
) -> Model:
    """A model with each gene's held-out PCC as its reliability.

    Parameters
    ----------
    model
        The model.
    evaluations
        Evaluations on sections left out of training, by context.
    context
        Context whose PCC are taken. Summaries of all go to ``training["held_out"]``.
    leave
        Whether donors were left out, or sections of donors that were seen.
    """
    scores = evaluations[context].scores
    reliability: dict[str, float | None] = {
        gene: None if np.isnan(pcc) else round(float(pcc), 4)
        for gene, pcc in zip(scores["gene"], scores["pcc"], strict=True)
    }
    contexts = {
        name: {
            "all": _rounded(evaluation.summary),
            "sections": {s: _rounded(v) for s, v in evaluation.section_summaries.items()},
        }
        for name, evaluation in evaluations.items()
    }
    held_out = {"left_out": leave, "contexts": contexts}
    training = dict(model.config.training) | {"held_out": held_out}
    return replace(model, config=replace(model.config, reliability=reliability, training=training))


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
        Its evaluation.
    trained_donors
        Those it has seen: a tested section of one of them says less.
    tested
        The sections of the evaluation.
    folder
        The model's folder, which is replaced.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    context = cast(Context, model.config.context)
    shared = any(section.donor in trained_donors for section in tested)
    scored = with_reliability(
        model, {context: evaluation}, context, "section" if shared else "donor"
    )
    with safe_open(folder / WEIGHTS_FILE, "pt") as weights:
        dtypes = {weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118
    floating = [dtype for dtype in dtypes if dtype.is_floating_point]
    # In the type they were: float16 would otherwise double.
    save_model_folder(scored, folder, *floating[:1], overwrite=True)


def _rounded(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in summary.items()}
