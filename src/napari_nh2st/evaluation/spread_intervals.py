"""Intervals in proportion to the spread, from trainings without every two donors or sections.

A spread calibrates an interval only where none of its heads was trained on the spots: the heads of
a section are those of the trainings that left it out together with another one. Trainings without
three give the same intervals once more for each section as if it had never been there, which tells
what they hold of a new one.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_nh2st.analysis.intervals import Coverage, half_width_by_spread
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.evaluation import Evaluation
from napari_nh2st.evaluation.events import FoldProgress, SpotsPredicted
from napari_nh2st.evaluation.fold_training import (
    fold_folder,
    settings_in_context,
    train_fold,
    with_context,
)
from napari_nh2st.evaluation.spot_prediction import predict_tiles
from napari_nh2st.inference.device import place
from napari_nh2st.model.folder import load_model_folder
from napari_nh2st.prediction.half_widths import scaled_half_width
from napari_nh2st.prediction.schema import MEASURED
from napari_nh2st.training.defaults import start_config
from napari_nh2st.training.record import MODEL_FOLDER
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.split import set_aside
from napari_nh2st.training.study import MeasuredSection, tiles_for

_FEWEST, _MOST = 4, 6
"""Donors or sections left out: of three, two heads would be trained on one each; of seven, there
would be 56 further trainings."""

Splits = Sequence[tuple[str, tuple[MeasuredSection, ...]]]
"""What is left out, by name."""

Values = NDArray[np.float64]


@dataclass
class LeftOutPredictions:
    """Predictions for every part of a study by models that have not seen it.

    Parameters
    ----------
    names
        Of the parts.
    measured
        By part (spots, genes).
    predicted
        By part and by what a model was left without, of the shape of what was measured.
    """

    names: frozenset[str]
    measured: dict[str, Values] = field(default_factory=dict)
    predicted: dict[tuple[str, frozenset[str]], Values] = field(default_factory=dict)

    def half_widths(self, parts: frozenset[str]) -> tuple[Values, Values]:
        """Usual spread and half width, (genes,) each, of a study that has these parts only.

        See :func:`~napari_nh2st.analysis.intervals.half_width_by_spread`.
        """
        each = [self.errors_and_spread(part, parts) for part in sorted(parts)]
        errors, spreads = zip(*each, strict=True)
        return half_width_by_spread(errors, spreads)

    def errors_and_spread(self, part: str, parts: frozenset[str]) -> tuple[Values, Values]:
        """Errors of the model of all other parts, and spread over those without one more of them.

        Parameters
        ----------
        part
            The part predicted.
        parts
            It and those that models are trained on.
        """
        unseen = self.names - parts | {part}
        heads = [self.predicted[part, unseen | {other}] for other in sorted(parts - {part})]
        return self.measured[part] - self.predicted[part, unseen], np.std(heads, axis=0)

    def coverage(self) -> dict[str, Coverage]:
        """What the intervals hold of each part, where nothing of them has seen it."""
        found = {}
        for part in sorted(self.names):
            usual, half = self.half_widths(self.names - {part})
            errors, spread = self.errors_and_spread(part, self.names)
            result = Coverage.of(errors, scaled_half_width(half, usual, spread))
            if result is not None:
                found[part] = result
        return found


def check_further_trainings(splits: Splits, settings: TrainSettings, leave: str) -> None:
    """See that what :func:`predict_left_out` trains can be trained, before hours of folds.

    Raises
    ------
    InputError
        There are too few or too many parts, folds do not share an encoder, genes are missing, or
        the validation cannot be set aside.
    """
    if not _FEWEST <= len(splits) <= _MOST:
        raise InputError(
            f"intervals by spread need {_FEWEST} to {_MOST} {leave}s to leave out; there are "
            f"{len(splits)}. Do without (--intervals gene)"
        )
    if settings.encoder != "frozen":
        raise InputError(
            "intervals by spread need heads around one encoder: give --encoder frozen, or do "
            "without (--intervals gene)"
        )
    start = start_config(settings)
    if settings.has_foreign_encoder or (start is not None and start.encoder is not None):
        key = settings.image_encoder or (start and start.encoder and start.encoder["key"])
        raise InputError(
            f"intervals by spread need the heads of all folds, which a model around {key} does not "
            "have; do without (--intervals gene)"
        )
    panel = () if settings.panel is None else settings.panel.genes or ()
    for _, tested in splits:
        for section in tested:
            if missing := set(panel) - set(section.spots.var_names):
                raise InputError(
                    f"{section.name} lacks {len(missing)} of the {len(panel)} genes, and intervals "
                    "by spread need all of them in every section"
                )
    for subset in further_subsets([name for name, _ in splits]):
        try:
            set_aside(_left(splits, subset), settings)
        except InputError as error:
            raise InputError(f"Without {in_words(subset)}: {error}") from None


def further_subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """What is left out together: every two, then every three."""
    return [subset for size in (2, 3) for subset in combinations(names, size)]


def in_words(names: Sequence[str]) -> str:
    """Names in a row: "C2, C3 and C4"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def predict_left_out(
    splits: Splits,
    settings: TrainSettings,
    context: str,
    evaluation: Evaluation,
    folder: Path,
) -> Generator[FoldProgress, None, LeftOutPredictions]:
    """Train without every two and every three parts, and predict what was left out.

    Trainings that an earlier run has finished are taken.

    Parameters
    ----------
    splits
        The parts.
    settings
        Of the folds.
    context
        The one that predicts.
    evaluation
        Of the folds, each without one part, with that context.
    folder
        Of the cross-validation.

    Yields
    ------
    FoldProgress
        Named by what is left out: "C2 and C3".

    Returns
    -------
    LeftOutPredictions
        The folds' own among them.
    """
    names = [name for name, _ in splits]
    subsets = further_subsets(names)
    for subset in subsets:
        yield from train_fold(
            in_words(subset),
            _left(splits, subset),
            settings_in_context(settings, context),
            fold_folder(folder, subset, context),
        )
    result = LeftOutPredictions(frozenset(names))
    for name, tested in splits:
        own = [evaluation.predictions[section.name] for section in tested]
        result.measured[name] = _joined([p.layers[MEASURED] for p in own])
        result.predicted[name, frozenset([name])] = _joined([p.X for p in own])
        found: dict[tuple[str, ...], list[NDArray[np.float32]]] = {
            subset: [] for subset in subsets if name in subset
        }
        for section in tested:
            yield from _predict_section(section, found, settings, context, folder)
        for subset, values in found.items():
            result.predicted[name, frozenset(subset)] = _joined(values)
    return result


def _predict_section(
    section: MeasuredSection,
    found: Mapping[tuple[str, ...], list[NDArray[np.float32]]],
    settings: TrainSettings,
    context: str,
    folder: Path,
) -> Generator[FoldProgress, None, None]:
    """Add what each model predicts for a section, whose tiles are read once."""
    placement, tiles = place(settings.device, settings.precision, None, None), None
    for subset, values in found.items():
        path = fold_folder(folder, subset, context) / MODEL_FOLDER
        model = with_context(load_model_folder(path), context)
        config = model.config
        if tiles is None:
            tiles = tiles_for(section, config, config.panel)
        values.append((yield from _of_fold(subset, predict_tiles(model, tiles, placement))))


def _of_fold(
    left_out: Sequence[str], predicting: Generator[SpotsPredicted, None, NDArray[np.float32]]
) -> Generator[FoldProgress, None, NDArray[np.float32]]:
    """Progress of a prediction as that of a fold."""
    rows = []

    def keep() -> Generator[SpotsPredicted, None, None]:
        rows.append((yield from predicting))

    for event in keep():
        yield FoldProgress(in_words(left_out), event)
    return rows[0]


def _joined(sections: Sequence[ArrayLike]) -> Values:
    return np.concatenate([np.asarray(values, np.float64) for values in sections])


def _left(splits: Splits, subset: Sequence[str]) -> list[MeasuredSection]:
    """The sections that a training without some parts has."""
    return [section for name, tested in splits if name not in subset for section in tested]
