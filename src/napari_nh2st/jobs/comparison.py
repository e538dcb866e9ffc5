"""Jobs of the Compare dock: compare a section with measured expression, and write a report."""

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData

from napari_nh2st.analysis.comparison import comparison_of
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.events import Evaluated, SpotsPredicted
from napari_nh2st.evaluation.settings import EvaluateSettings
from napari_nh2st.jobs.child import Inbox
from napari_nh2st.prediction.schema import MARK, notes, slide_stem
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import Section, SpotChoice, check_section, read_spots
from napari_nh2st.spots.orientation import Fix, apply_fix
from napari_nh2st.spots.overlap import panel_overlap

ANOTHER_SLIDE_BELOW = 0.05
"""Share of the spots' area that is tissue; with less, they were measured on another slide."""

_SPACE_RANGER_FOLDER = "outs"

_NO_DONOR = "not known"


@dataclass(frozen=True)
class Reading:
    """Spots, slide and model are being read."""

    model: str


@dataclass(frozen=True)
class Predicting:
    """Some of the spots are predicted.

    Parameters
    ----------
    done, total
        Spots.
    """

    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Compared:
    """A comparison.

    Parameters
    ----------
    prediction
        Spots × the model's panel with ``layers["measured"]``, as
        :func:`~napari_nh2st.evaluation.spot_prediction.predict_spots` gives it. The rest is in it
        as well, see :func:`~napari_nh2st.analysis.comparison.keep_comparison`.
    scores
        One row a gene, see :func:`~napari_nh2st.analysis.scores.gene_scores`.
    summary
        Over all genes, see :func:`~napari_nh2st.analysis.scores.summarize`.
    notices
        Warnings about the numbers.
    """

    prediction: AnnData
    scores: pd.DataFrame
    summary: dict[str, Any]
    notices: tuple[str, ...]


def compare(
    inbox: Inbox,
    *,
    slide: Path,
    mpp: tuple[float, float] | None,
    expression: Path,
    positions: Path | None,
    fix: Fix | None,
    model: str,
    choice: SpotChoice | None = None,
    device: str = "auto",
    bootstrap: int = 1000,
    image: int | None = None,
) -> Iterator[Reading | Predicting | Compared]:
    """Predict a section at its spots and score it.

    Parameters
    ----------
    inbox
        Stops it between two batches.
    slide, mpp
        Its path, and the µm/px (y, x) to take; None for its own, or that of the spots' distance.
    expression, positions
        As :func:`~napari_nh2st.spots.read_spots` takes them.
    fix
        Correction of the positions; None for none.
    model
        Name, folder or Hub id.
    choice
        Part of the expression file, where it holds several.
    device
        As in :class:`~napari_nh2st.inference.PredictSettings`.
    bootstrap
        Resamples of the intervals.
    image
        Number of the image in the slide's file.

    Raises
    ------
    InputError
        Spots and slide, or spots and model, do not fit each other.
    """
    yield Reading(model)
    from napari_nh2st.evaluation.evaluation import evaluate_events
    from napari_nh2st.jobs.prediction import load
    from napari_nh2st.training.study import measured_section

    loaded = load(model)
    name = section_name(slide, expression, loaded.config.training.get("sections", ()))
    part = asdict(choice or SpotChoice())
    spots = read_spots(expression, positions, **part)
    overlap = panel_overlap(loaded.config.panel, spots.var_names, name=name)
    if overlap.is_refused and overlap.sentence is not None:
        raise InputError(overlap.sentence)
    with open_slide(slide, mpp=mpp, image=image) as opened:
        if fix is not None:
            spots = apply_fix(spots, fix, opened.shape)
        # Where the user wants them is where they are: that was asked when they were loaded.
        check = check_section(spots, opened, name=name, trust_positions=True)
    if check.on_tissue < ANOTHER_SLIDE_BELOW:
        raise InputError(
            f"{name}: {check.on_tissue:.0%} of the spots' area is tissue of {slide.name}; choose "
            "the slide that they were measured on, or correct their positions"
        )
    section = Section(name, _NO_DONOR, slide, expression, positions, fix=fix, image=image, **part)
    settings = EvaluateSettings(device, bootstrap=bootstrap)
    events = evaluate_events(loaded, [measured_section(section, spots, check)], settings)
    with closing(events):
        for event in events:
            match event:
                case SpotsPredicted(done=done, total=total):
                    if inbox.stopped():
                        return
                    yield Predicting(done, total)
                case Evaluated(evaluation):
                    yield Compared(
                        evaluation.predictions[name],
                        evaluation.scores,
                        evaluation.summary,
                        evaluation.notices,
                    )


def kept_comparison(prediction: AnnData) -> Compared:
    """A comparison from its prediction alone, for example from a file.

    Parameters
    ----------
    prediction
        Spots × genes with ``layers["measured"]``; see
        :func:`~napari_nh2st.analysis.comparison.comparison_of`.

    Raises
    ------
    InputError
        There is no ``layers["measured"]``, or fewer than two spots have both values.
    """
    found = comparison_of(prediction)
    return Compared(prediction, found.scores, found.summary, found.notices)


def write_report(_inbox: Inbox, *, compared: Compared, folder: Path) -> Iterator[Path]:
    """Write a comparison as a folder of tables, figures and the prediction.

    Parameters
    ----------
    compared
        From :func:`compare`.
    folder
        See :func:`~napari_nh2st.evaluation.write_evaluation`.

    Yields
    ------
    Path
        The folder, once it is whole.

    Raises
    ------
    InputError
        The folder exists or cannot be written.
    """
    from napari_nh2st.evaluation.evaluation import Evaluation
    from napari_nh2st.evaluation.evaluation_folder import write_evaluation

    name = section_of(compared.prediction)
    prediction = compared.prediction.copy()
    # The donor of a slide in the viewer is not asked for.
    prediction.uns[MARK] = {"donor": _NO_DONOR, **notes(prediction), "section": name}
    evaluation = Evaluation(
        {name: prediction},
        compared.scores,
        compared.summary,
        {name: compared.summary},
        compared.notices,
    )
    write_evaluation(evaluation, folder)
    yield folder


def section_name(slide: Path, expression: Path, trained_on: Collection[str] = ()) -> str:
    """Name of a section that no table names: as its slide, else as its counts.

    Parameters
    ----------
    slide, expression
        Their paths.
    trained_on
        Names of sections. If one of the two is among them it is taken, so that a section that
        the model was trained on is recognized.
    """
    source = expression.absolute()
    if source.name == _SPACE_RANGER_FOLDER:
        source = source.parent
    names = slide.name.split(".")[0], source.name.split(".")[0]
    return next((name for name in names if name in trained_on), names[0])


def section_of(prediction: AnnData) -> str:
    """Name of a comparison's section; as its slide where none was recorded."""
    return str(notes(prediction).get("section", slide_stem(prediction)))
