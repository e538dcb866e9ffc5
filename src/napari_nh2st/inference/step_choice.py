"""Step of a prediction, where none was asked for: as fine as the time that it may take allows."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.inference.device import Placement
from napari_nh2st.inference.plan import Plan, Survey, plan_prediction, survey
from napari_nh2st.inference.run import Run
from napari_nh2st.inference.run_results import Rows, has_kept, has_results, has_stopped_runs
from napari_nh2st.inference.schedule import Focus
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.inference.slide_rows import SlideRows
from napari_nh2st.inference.speed import SpeedMeter, known_speed, remember_speed
from napari_nh2st.inference.steps import FEW_TILES, Detail, finest_that_fits
from napari_nh2st.inference.tile_values import prepared_predictor, tile_values
from napari_nh2st.inference.whole_slide import encode_slide
from napari_nh2st.model.folder import Model
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask
from napari_nh2st.tiles.grid import array_shape

_TIMED_BATCHES = 3


@dataclass(frozen=True)
class StepChoice:
    """A step, and what is known of the time that it takes.

    Parameters
    ----------
    plan
        Of the prediction.
    placement
        Where it runs; where precision was left open, that of the results which are there.
    tiles_per_s
        Speed of this machine; None where it is not known.
    timed
        Rows that were computed to find it out, by their places in the store.
    """

    plan: Plan
    placement: Placement
    tiles_per_s: float | None
    timed: Rows

    def detail(self, n_tiles: int) -> Detail:
        """What some of its tiles cost."""
        return Detail(self.plan.grid.step_um, n_tiles, None).at_speed(self.tiles_per_s)


def choose_step(
    found: Survey,
    placements: Sequence[Placement],
    output: Path | None,
    kept: Path | None = None,
    focus: Focus | None = None,
) -> StepChoice:
    """Take the step of the settings, or that of a stopped run, or else the finest in time.

    Parameters
    ----------
    found
        Of the slide.
    placements
        Where the prediction runs, and others in which a run that was stopped may have begun.
    output
        What it writes: a run of it that was stopped goes on with its own step and precision.
    kept
        Folder of kept results: those that are there are gone on with in their own precision.
    focus
        Where the user looks: where the speed is not known, tiles there are timed.

    Raises
    ------
    InputError
        There is no tissue, or the step that was asked for is no part of the pitch.
    """
    grids, placement = found.grids, placements[0]
    nothing = np.empty(0, np.int64), np.empty((0, found.n_columns), np.float32)
    speed, timed = known_speed(found.model.config, found.settings), nothing
    possible = grids.divisions
    if len(possible) == 1:
        plan = plan_prediction(found, possible[0])
        return StepChoice(plan, _begun(plan, placements, output, kept) or placement, speed, nothing)
    # Where a region costs what the slide does, it is predicted at the step that is encoded already.
    in_kept = kept if found.model.config.reach == "slide" else None
    if in_kept is not None or (output is not None and has_stopped_runs(output)):
        for divisions in possible:
            plan = plan_prediction(found, divisions)
            if (begun := _begun(plan, placements, output, in_kept)) is not None:
                return StepChoice(plan, begun, speed, nothing)
    known = grids.details(speed)
    details = list(known.values())
    if speed is None and 1 in known and details[0].n_tiles > FEW_TILES:
        speed, timed = _time_first_tiles(found, placement, focus)
        details = [detail.at_speed(speed) for detail in details]
    number, notice = finest_that_fits(details, found.n_columns, found.settings.detail_seconds)
    plan = plan_prediction(found, list(known)[number], *(() if notice is None else (notice,)))
    begun = _begun(plan, placements, None, kept) or placement
    if begun.precision != placement.precision:
        timed = nothing
    return StepChoice(plan, begun, speed, (_in_fine_array(timed[0], found, plan), timed[1]))


def _begun(
    plan: Plan, placements: Sequence[Placement], output: Path | None, kept: Path | None
) -> Placement | None:
    """The first placement of which there are results; None where there are none at all."""
    for placement in placements:
        identity = plan.identity_in(placement.precision)
        if kept is not None and has_kept(kept, identity):
            return placement
        if kept is None and output is not None and has_results(output, identity):
            return placement
    return None


def estimate(
    slide: Slide,
    model: Model,
    settings: PredictSettings | None = None,
    tissue: TissueMask | None = None,
) -> list[Detail]:
    """Estimate what each step would cost, before anything is predicted.

    Parameters
    ----------
    slide, model, settings, tissue
        As for :func:`~napari_nh2st.predict`.

    Returns
    -------
    list of Detail
        Coarsest step first, only steps with a tile; if the settings give a step or a pitch, that
        one alone. Durations rest on earlier predictions with such a model on this machine, and are
        None before the first.

    Raises
    ------
    InputError
        As for :func:`~napari_nh2st.predict`.

    Examples
    --------
    .. code-block:: python

        for detail in estimate(slide, model):
            print(detail)
        # 200 µm · 20 tiles · 2 s
        # 100 µm · 76 tiles · 3 s
        # 50 µm · 298 tiles · 6 s
    """
    settings = settings or PredictSettings()
    grids = survey(slide, model, settings, tissue, with_stain=False).grids
    details = grids.details(known_speed(model.config, settings))
    return list(details.values())[::-1]


def estimate_chosen(
    slide: Slide, model: Model, settings: PredictSettings, tissue: TissueMask | None = None
) -> Detail:
    """What a prediction costs at the step that it would take.

    Where the speed of this machine is not known yet, a prediction times its first tiles; here the
    finest step is taken, and its duration is None.

    Raises
    ------
    InputError
        As :func:`estimate`.
    """
    found = survey(slide, model, settings, tissue, with_stain=False)
    details = list(found.grids.details(known_speed(model.config, settings)).values())
    return details[finest_that_fits(details, found.n_columns, settings.detail_seconds)[0]]


def _time_first_tiles(
    found: Survey, placement: Placement, focus: Focus | None
) -> tuple[float | None, Rows]:
    """Compute the first tiles at the pitch, which every step has; remember how fast it was."""
    plan = plan_prediction(found, 1)
    prediction = AnnData(np.full((len(plan.grid), len(found.genes)), np.nan, np.float32))
    found.layout.add_room(prediction)
    run = Run(plan, prediction)
    meter, parts = SpeedMeter(), [run.all_as_stored()]
    if plan.whole_slide:
        # A few tiles have no values yet: what is encoded of them is for the time alone.
        assert found.slide.mpp is not None
        scratch = SlideRows(plan.tiles, found.slide.mpp)
        predictor, every = prepared_predictor(found, placement), scratch.missing
        with closing(
            encode_slide(found, plan, placement, predictor, scratch, every, focus, meter)
        ) as batches:
            for _ in batches:
                if meter.batches > _TIMED_BATCHES:
                    break
    else:
        for tiles, rows, failures in tile_values(found, plan, placement, run, focus, meter):
            run.fill(tiles, rows, failures)
            parts.append(run.as_stored(tiles, rows))
            if meter.batches > _TIMED_BATCHES:
                break
    speed = meter.tiles_per_s
    if speed is not None:
        remember_speed(found.model.config, found.settings, speed)
    places, known = (np.concatenate(each) for each in zip(*parts, strict=True))
    return speed, (places, known)


def _in_fine_array(places: NDArray[np.int64], found: Survey, plan: Plan) -> NDArray[np.int64]:
    """Places in the array of the pitch → those of the same centers in a plan's array."""
    grids, divisions = found.grids, plan.grid.divisions
    _, columns = array_shape(found.slide, pitch_um=grids.pitch_um, layout=grids.layout)
    row, column = np.divmod(places, columns)
    row, column = (divisions * index + divisions // 2 for index in (row, column))
    return np.asarray(row * plan.grid.array_shape[1] + column, np.int64)
