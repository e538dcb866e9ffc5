"""Evaluation of a model on measured sections."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.analysis.comparison import keep_comparison
from napari_nh2st.analysis.intervals import Coverage, interval_coverage
from napari_nh2st.analysis.scores import joint_scores, score_sections
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.events import Evaluated, EvaluateEvent, SpotsPredicted
from napari_nh2st.evaluation.notices import model_notices, section_notices
from napari_nh2st.evaluation.settings import EvaluateSettings
from napari_nh2st.evaluation.spot_prediction import measured_genes, predict_spots
from napari_nh2st.inference.device import place
from napari_nh2st.inference.settings import Precision
from napari_nh2st.model.config import PUBLISHED_TARGET, ModelConfig
from napari_nh2st.model.folder import Model
from napari_nh2st.prediction.schema import add_notices
from napari_nh2st.training.notices import check_overlaps
from napari_nh2st.training.study import MeasuredSection, tiles_for


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions and scores of a model on some sections.

    Parameters
    ----------
    predictions
        Predictions by section, each with the section's own scores, see
        :func:`~napari_nh2st.analysis.keep_comparison`.
    scores
        One row per gene, see :func:`~napari_nh2st.analysis.scores.gene_scores`.
    summary
        Scores over all genes and sections, see :func:`~napari_nh2st.analysis.scores.summarize`.
    section_summaries
        The same for each section alone.
    notices
        Sentences that a reader of the numbers should know.
    """

    predictions: dict[str, AnnData]
    scores: pd.DataFrame
    summary: dict[str, Any]
    section_summaries: dict[str, dict[str, Any]]
    notices: tuple[str, ...]

    @property
    def coverage(self) -> dict[str, Coverage]:
        """How many of a section's measured values lie within the model's 90 % intervals.

        By section, without sections in another unit; empty if the model has no intervals.
        """
        found = {name: interval_coverage(each) for name, each in self.predictions.items()}
        return {name: each for name, each in found.items() if each is not None}


def evaluate(
    model: Model,
    sections: Sequence[MeasuredSection],
    *,
    device: str = "auto",
    precision: Precision = "auto",
    bootstrap: int = 1000,
    seed: int = 0,
    on_event: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Predict measured sections and score the predictions.

    :func:`evaluate_events` does the same as a generator of events.

    Parameters
    ----------
    model
        From :func:`~napari_nh2st.model.load_model`, trained on other sections.
    sections
        From :func:`~napari_nh2st.training.load_study`.
    device, precision, bootstrap, seed
        See :class:`~napari_nh2st.evaluation.settings.EvaluateSettings`.
    on_event
        Called with a section's name, how many of its spots are done, and how many it has.

    Returns
    -------
    Evaluation
        ``scores``, one row per gene; ``summary`` over all genes and sections; ``predictions``
        by section, each with the measured values beside the predicted ones.

    Examples
    --------
    .. code-block:: python

        evaluation = evaluate(load_model("run/model"), load_study(read_sections("test.csv")))
        evaluation.summary["mean_pcc"]
        evaluation.scores.nlargest(10, "pcc")
    """
    settings = EvaluateSettings(device, precision, bootstrap, seed)
    for event in evaluate_events(model, sections, settings):
        if isinstance(event, Evaluated):
            return event.evaluation
        if on_event is not None:
            on_event(event.section, event.done, event.total)
    raise AssertionError("the last event is Evaluated")


def evaluate_events(
    model: Model,
    sections: Sequence[MeasuredSection],
    settings: EvaluateSettings | None = None,
) -> Generator[EvaluateEvent, None, None]:
    """Predict measured sections and score the predictions, reporting progress.

    Closing the generator stops the work.

    The baseline is the mean of the training target (``training["target_mean"]`` of the config:
    values by gene, or a list in the panel's order); without it there are no baseline scores.

    If a section lacks genes of the panel, its target is scaled to 10,000 over the genes that it
    has. The counts of the others are unknown, so its values are in another unit than the model's:
    the section counts for correlations, where that hardly matters, and not for errors. A notice
    says so.

    Parameters
    ----------
    model
        Model trained on other sections; if it was not, a notice says so.
    sections
        From :func:`~napari_nh2st.training.study.load_study`.
    settings
        Settings of the evaluation; None for the defaults.

    Yields
    ------
    SpotsPredicted
        At the start of a section, and after each of its batches.
    Evaluated
        At the end.

    Raises
    ------
    InputError
        There is no section, one shares hardly any genes with the panel or its tiles cannot be read,
        the model's target is not the published one, or the device does not exist.
    """
    if not sections:
        raise InputError("There is no section to evaluate on; the sections table names none")
    settings = settings or EvaluateSettings()
    device, precision, bootstrap = settings.device, settings.precision, settings.bootstrap
    config = model.config
    _check_target(config)
    place(device, precision, None, None)  # before tiles are read
    baseline = training_mean(config)
    check_overlaps(
        config.panel,
        {measured.name: measured.spots.var_names for measured in sections},
        advice="Choose another model.",
    )
    genes = {measured.name: measured_genes(config, measured) for measured in sections}
    predictions: dict[str, AnnData] = {}
    for measured in sections:
        yield SpotsPredicted(measured.name, 0, measured.spots.n_obs)
        tiles = tiles_for(measured, config, genes[measured.name])
        predictions[measured.name] = yield from predict_spots(
            model, measured, tiles, device=device, precision=precision
        )
    every = list(predictions.values())
    joint, own = score_sections(every, baseline, bootstrap=bootstrap, seed=settings.seed)
    notices = model_notices(config, list(predictions), baseline)
    for measured, prediction, scores in zip(sections, every, own, strict=True):
        own_notices = section_notices(config, measured, genes[measured.name], prediction)
        add_notices(prediction, (*model_notices(config, [measured.name], baseline), *own_notices))
        keep_comparison(
            prediction,
            scores.genes,
            scores.summary,
            (*model_notices(config, [measured.name], baseline), *own_notices),
            _origin(measured, baseline, bootstrap),
        )
        notices += own_notices
    summaries = {name: scores.summary for name, scores in zip(predictions, own, strict=True)}
    yield Evaluated(Evaluation(predictions, joint.genes, joint.summary, summaries, tuple(notices)))


def combine_evaluations(
    parts: Sequence[Evaluation],
    baselines: NDArray[np.floating],
    *,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """One evaluation of several, each of other sections by another model of the same panel.

    Parameters
    ----------
    parts
        The folds of a cross-validation.
    baselines
        (sections, panel) mean of the training target of the model that predicted each section.
    bootstrap, seed
        Resamples for the intervals, and their seed.
    """
    predictions = {name: p for part in parts for name, p in part.predictions.items()}
    every = list(predictions.values())
    if any(list(other.var_names) != list(every[0].var_names) for other in every):
        raise ValueError("evaluations of different panels cannot be combined")
    joint = joint_scores(every, baselines, bootstrap=bootstrap, seed=seed)
    return Evaluation(
        predictions,
        joint.genes,
        joint.summary,
        {name: summary for part in parts for name, summary in part.section_summaries.items()},
        tuple(dict.fromkeys(notice for part in parts for notice in part.notices)),
    )


def _check_target(config: ModelConfig) -> None:
    for name in ("scale_to", "transform", "smoothing"):
        if config.target[name] != PUBLISHED_TARGET[name]:
            raise InputError(
                f"The model {config.name} predicts {config.target['description']!r} "
                f"(target.{name} {config.target[name]!r}), but measured sections are brought to "
                f"{PUBLISHED_TARGET['description']!r}: the two cannot be compared"
            )


def training_mean(config: ModelConfig) -> NDArray[np.float64] | None:
    """Mean of the training target by gene, (panel,); None where the config does not have it.

    Raises
    ------
    InputError
        It has another number of values than genes.
    """
    mean = config.training.get("target_mean")
    if mean is None:
        return None
    if isinstance(mean, dict):
        mean = [mean.get(gene) for gene in config.panel]
    if len(mean) != len(config.panel):
        raise InputError(
            f"The config of {config.name}: training.target_mean has {len(mean)} values for "
            f"{len(config.panel)} genes"
        )
    return np.array([np.nan if value is None else value for value in mean], np.float64)


def _origin(
    measured: MeasuredSection, baseline: NDArray[np.float64] | None, bootstrap: int
) -> dict[str, Any]:
    """Origin of a comparison, as its prediction keeps it."""
    section = measured.section
    return {
        "section": measured.name,
        "expression": section.expression.name,
        "positions": None if section.positions is None else section.positions.name,
        "positions_taken": "" if section.fix is None else section.fix.spelled(),
        "part": section.choice.spelled(),
        "baseline": "not known" if baseline is None else "mean of the training target",
        "interval": f"95 %, {bootstrap} resamples of the spots" if bootstrap else "none",
    }
