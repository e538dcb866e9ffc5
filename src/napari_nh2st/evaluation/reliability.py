"""Reliability of a model's genes: their correlation on held-out sections."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from safetensors import safe_open

from napari_nh2st.analysis.intervals import (
    Coverage,
    errors_of,
    held_out_coverage,
    widest_half_width,
)
from napari_nh2st.analysis.scores import pearson
from napari_nh2st.evaluation.evaluation import Evaluation
from napari_nh2st.evaluation.spread_intervals import LeftOutPredictions
from napari_nh2st.model.config import WEIGHTS_FILE
from napari_nh2st.model.folder import Model, save_model_folder
from napari_nh2st.model.held_out import PCC_BY_FOLD
from napari_nh2st.prediction.schema import MEASURED
from napari_nh2st.training.split import Leave
from napari_nh2st.training.study import MeasuredSection


def with_reliability(
    model: Model, evaluations: Mapping[str, Evaluation], context: str, leave: Leave
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

    Returns
    -------
    Model
        Its config says as well what the reliability is of.
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
    return replace(
        model,
        config=replace(
            model.config,
            reliability=reliability,
            reliability_of=_reliability_of(model.config.training.get("donors", ()), leave),
            training=training,
        ),
    )


def with_pcc_by_fold(model: Model, folds: Mapping[str, Sequence[AnnData]]) -> Model:
    """A model that says how well each gene was predicted in each fold of its cross-validation.

    Parameters
    ----------
    model
        With its reliability.
    folds
        Predictions at the spots of what was left out, by its name. Of a donor's sections the mean
        counts.
    """
    by_fold = {}
    for left_out, predictions in folds.items():
        each = np.array([pearson(p.X, p.layers[MEASURED]) for p in predictions])
        known: NDArray[np.bool_] = np.isfinite(each)
        count = known.sum(0)
        mean = np.where(known, each, 0).sum(0) / np.maximum(count, 1)
        by_fold[left_out] = [
            round(float(pcc), 3) if n else None for pcc, n in zip(mean, count, strict=True)
        ]
    held_out = dict(model.config.training["held_out"]) | {PCC_BY_FOLD: by_fold}
    training = dict(model.config.training) | {"held_out": held_out}
    return replace(model, config=replace(model.config, training=training))


def errors_by_fold(folds: Mapping[str, Sequence[AnnData]]) -> dict[str, NDArray[np.float64]]:
    """(spots, genes) errors by what was left out, from predictions at its spots.

    Without sections that lack genes, whose values are in another unit.
    """
    found = {}
    for left_out, predictions in folds.items():
        each = [errors for errors in map(errors_of, predictions) if errors is not None]
        if each:
            found[left_out] = np.concatenate(each)
    return found


def with_intervals(model: Model, errors: Mapping[str, NDArray[np.float64]]) -> Model:
    """A model with the half width of each gene's 90 % interval, from its cross-validation.

    Parameters
    ----------
    model
        The model. Its ``training["held_out"]`` gets the coverage on each fold of intervals that are
        calibrated on the others.
    errors
        From :func:`errors_by_fold`.

    Returns
    -------
    Model
        The half width of a gene is the widest of the folds' own, see
        :func:`~napari_nh2st.analysis.intervals.widest_half_width`. The same model where there are
        too few errors.
    """
    half_widths = widest_half_width(list(errors.values()))
    if not np.isfinite(half_widths).any():
        return model
    config = replace(
        model.config,
        interval_90=_by_gene(model, half_widths),
        usual_spread=None,
        training=_with_coverage(model, held_out_coverage(errors)),
    )
    return replace(model, config=config)


def with_spread_intervals(
    model: Model, predictions: LeftOutPredictions
) -> tuple[Model, dict[str, Coverage]]:
    """A model with intervals in proportion to the spread of its heads.

    Parameters
    ----------
    model
        The model, with heads.
    predictions
        For what was left out of its cross-validation.

    Returns
    -------
    model
        With them instead of those of :func:`with_intervals`, in its ``training["held_out"]`` too.
    coverage
        On each part, by models and intervals that have not seen it.
    """
    usual, half_widths = predictions.half_widths(predictions.names)
    coverage = predictions.coverage()
    config = replace(
        model.config,
        interval_90=_by_gene(model, half_widths),
        usual_spread=_by_gene(model, usual),
        training=_with_coverage(model, coverage),
    )
    return replace(model, config=config), coverage


def _by_gene(model: Model, values: NDArray[np.float64]) -> dict[str, float | None]:
    """Four digits of each number; None for one that is not finite."""
    return {
        gene: float(f"{value:.4g}") if np.isfinite(value) else None
        for gene, value in zip(model.config.panel, values, strict=True)
    }


def _with_coverage(model: Model, coverage: Mapping[str, Coverage]) -> dict[str, Any]:
    found = {name: each.to_json() for name, each in coverage.items()}
    held_out = dict(model.config.training.get("held_out", {})) | {"coverage": found}
    return dict(model.config.training) | {"held_out": held_out}


def _reliability_of(donors: Collection[str], leave: Leave) -> str:
    """What was predicted where these donors, or sections of them, were left out."""
    if leave == "donor":
        return "sections of other donors"
    return f"other sections of the same donor{'' if len(donors) == 1 else 's'}"


def write_reliability(
    model: Model,
    evaluation: Evaluation,
    trained_donors: Collection[str],
    tested: Sequence[MeasuredSection],
    folder: Path,
) -> None:
    """Write a model again, with each gene's PCC on the tested sections as its reliability.

    Intervals that a cross-validation gave it stay, since they come from more sections; the coverage
    recorded with them is that on the tested ones from then on. A model without gets them from the
    errors on the tested sections.

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
    context = model.config.context
    shared = any(section.donor in trained_donors for section in tested)
    scored = with_reliability(
        model, {context: evaluation}, context, "section" if shared else "donor"
    )
    if model.config.interval_90 is None:
        predictions = evaluation.predictions
        scored = with_intervals(scored, errors_by_fold({n: [p] for n, p in predictions.items()}))
    else:
        training = _with_coverage(scored, evaluation.coverage)
        training["intervals"] = (
            "as they were before the reliability was measured again, and tested with it"
        )
        scored = replace(scored, config=replace(scored.config, training=training))
    with safe_open(folder / WEIGHTS_FILE, "pt") as weights:
        dtypes = {weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118
    floating = [dtype for dtype in dtypes if dtype.is_floating_point]
    # In the type they were: float16 would otherwise double.
    save_model_folder(scored, folder, *floating[:1], overwrite=True)


def _rounded(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {k: round(v, 5) if isinstance(v, float) else v for k, v in summary.items()}
