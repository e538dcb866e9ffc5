"""Costs of the steps that a prediction may take, before it starts; needs no torch."""

from dataclasses import dataclass

from napari_nh2st.errors import InputError
from napari_nh2st.inference.feature_grids import FeatureGrids, given_features
from napari_nh2st.inference.grids import Grids
from napari_nh2st.inference.settings import PredictSettings, row_layout
from napari_nh2st.inference.speed import known_speed
from napari_nh2st.inference.steps import FEW_TILES, Detail, finest_that_fits
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.slide import Slide
from napari_nh2st.tiles.mask import TissueMask, scanned_area


@dataclass(frozen=True)
class StepCosts:
    """What each step costs.

    Parameters
    ----------
    details
        The coarsest first.
    automatic
        What is taken where no step is asked for; None where the speed of this machine has to be
        measured first.
    """

    details: tuple[Detail, ...]
    automatic: Detail | None


def step_costs(
    slide: Slide, config: ModelConfig, settings: PredictSettings, tissue: TissueMask | None
) -> StepCosts:
    """Count the tiles of each step that is worth offering, and of that of the settings.

    Parameters
    ----------
    slide
        Knows its µm/px.
    config
        Of the model.
    settings
        Of the prediction.
    tissue
        Where tiles are laid; None for all that was scanned, or all that have features.

    Raises
    ------
    InputError
        The step of the settings is no part of the pitch; or the model takes features, and those
        cannot be used.
    """
    given = given_features(slide, config, settings.features)
    if given is not None:
        own = FeatureGrids(slide, config, settings, tissue, given)
        detail = _cost(own, own.divisions[0], known_speed(config, settings))
        return StepCosts((detail,), detail)
    mask = scanned_area(slide) if tissue is None else tissue
    grids = Grids(slide, config, settings, mask)
    speed = known_speed(config, settings)
    divisions = {*grids.offered, *(grids.divisions if settings.step_um else ())}
    costs = {n: _cost(grids, n, speed) for n in sorted(divisions)}
    automatic: Detail | None = costs[1]
    if settings.pitch_um is None:
        # Those that have a tile, unless none has.
        finest_first = [costs[n] for n in grids.offered if costs[n].n_tiles] or [costs[1]]
        n_genes = len(config.panel if settings.genes is None else settings.genes)
        count = 0 if config.heads is None else int(config.heads["count"])
        numbers = row_layout(n_genes, count, settings).n_columns
        number, _ = finest_that_fits(finest_first, numbers, settings.detail_seconds)
        has_choice = len(finest_first) > 1 and costs[1].n_tiles > 0
        is_timed = speed is None and has_choice and finest_first[0].n_tiles > FEW_TILES
        automatic = None if is_timed else finest_first[number]
    return StepCosts(tuple(costs.values()), automatic)


def _cost(grids: Grids, divisions: int, tiles_per_s: float | None) -> Detail:
    try:
        return grids.detail(divisions, tiles_per_s)
    except InputError:  # a small region may lie between the tiles of a coarse grid
        return Detail(grids.pitch_um / divisions, 0, None)
