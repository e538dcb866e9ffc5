"""Parts of a prediction that several processes compute at the same time.

A part is a band of the slide. Its results lie in a store of its own beside the output, so that no
two processes write to one; a prediction with that output takes them over, see
:class:`~napari_nh2st.inference.run_results.RunResults`.
"""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.inference.device import place
from napari_nh2st.inference.int8 import calibrated
from napari_nh2st.inference.plan import Plan, Survey, plan_prediction, survey
from napari_nh2st.inference.run import Run
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.inference.speed import SpeedMeter
from napari_nh2st.inference.store import ResultStore, of_part, store_beside
from napari_nh2st.inference.tile_values import tile_values
from napari_nh2st.model.folder import Model
from napari_nh2st.prediction.schema import PENDING, STATUS
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask


@dataclass(frozen=True)
class Part:
    """One of several parts of a prediction.

    Parameters
    ----------
    number
        From 0.
    count
        Of all.
    """

    number: int
    count: int


def part_events(
    slide: Slide,
    model: Model,
    settings: PredictSettings,
    *,
    output: Path,
    part: Part,
    tissue: TissueMask | None = None,
) -> Generator[tuple[int, int], None, None]:
    """Compute a part of a prediction. Closing the generator keeps what is done.

    Values are those that the whole prediction has, to the bit.

    Parameters
    ----------
    slide, model, tissue
        As for :func:`~napari_nh2st.predict`.
    settings
        The same for all parts, with a step, a precision and a batch size.
    output
        Of the whole prediction; it is not written.
    part
        Which.

    Yields
    ------
    done, total
        Tiles of the part that have a value, and all; first those of an earlier run.

    Raises
    ------
    InputError
        As :func:`~napari_nh2st.predict`, or another process computes the same part.
    """
    placement = place(
        settings.device, settings.precision, settings.batch_size, settings.reader_threads
    )
    found = survey(slide, model, settings, tissue, with_stain=False)
    found, placement = calibrated(found, placement)
    if len(found.grids.divisions) != 1:
        raise InputError("the parts of a prediction need a step: give step_um")
    plan = plan_prediction(found, found.grids.divisions[0])
    rows = rows_of_part(slide, plan, part)
    identity = of_part(plan.identity_in(placement.precision), part.number, part.count)
    run = Run(plan, _empty_prediction(found, plan))
    run.leave_out(rows)
    store = ResultStore(store_beside(output, identity), identity, found.n_columns)
    try:
        run.take_over(store.stored())
        yield len(rows) - len(run.left), len(rows)
        for tiles, new, failures in tile_values(found, plan, placement, run, None, SpeedMeter()):
            run.fill(tiles, new, failures)
            store.append(*run.as_stored(tiles, new))
            yield len(rows) - len(run.left), len(rows)
    finally:
        try:
            store.flush()
        finally:
            store.close()


def rows_of_part(slide: Slide, plan: Plan, part: Part) -> NDArray[np.int64]:
    """The tiles of a part, (m,) rows of the prediction.

    Parts are bands of about as many tiles, with borders where rows of the slide's segments begin:
    what is decoded for one is hardly decoded for another. A slide whose segments are very high has
    fewer bands, and parts without a tile.
    """
    high = slide.levels[plan.source.level].segment_shape[0]
    band = plan.source.top_left[: len(plan.grid), 0] // high
    bands, tiles_in = np.unique(band, return_counts=True)
    before = np.cumsum(tiles_in) - tiles_in
    part_of_band = before * part.count // len(band)
    return np.flatnonzero(part_of_band[np.searchsorted(bands, band)] == part.number)


def _empty_prediction(found: Survey, plan: Plan) -> AnnData:
    """Room for values and status, without the rest of a prediction."""
    values = np.full((len(plan.grid), len(plan.genes)), np.nan, np.float32)
    names = [str(number) for number in range(len(values))]
    prediction = AnnData(values, obs=pd.DataFrame({STATUS: [PENDING] * len(values)}, names))
    found.layout.add_room(prediction)
    return prediction
