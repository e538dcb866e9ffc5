"""Parts of a prediction that several processes compute at the same time.

A part is a band of the slide. Its results lie in a store of its own beside the output, so that no
two processes write to one; a prediction with that output takes them over, see
:class:`~napari_nh2st.inference.run_results.RunResults`.
"""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.inference.device import Placement, place
from napari_nh2st.inference.int8 import calibrated
from napari_nh2st.inference.plan import Plan, Survey, plan_prediction, survey
from napari_nh2st.inference.run import Run
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.inference.slide_rows import SlideRows
from napari_nh2st.inference.speed import SpeedMeter
from napari_nh2st.inference.store import ResultStore, of_part, store_beside
from napari_nh2st.inference.tile_values import prepared_predictor, tile_values
from napari_nh2st.inference.whole_slide import encode_slide
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

    Values are those that the whole prediction has, to the bit. Where the model predicts from the
    whole slide, a part is encoded: values are computed by the prediction that takes the parts over.

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
    store = ResultStore(
        store_beside(output, identity), identity, found.n_columns, with_encoded=plan.whole_slide
    )
    try:
        if store.encoded is not None:
            yield from _encode_part(found, plan, placement, store.encoded, rows)
            return
        run = Run(plan, _empty_prediction(found, plan))
        run.leave_out(rows)
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


def _encode_part(
    found: Survey, plan: Plan, placement: Placement, store: ResultStore, part: NDArray[np.int64]
) -> Generator[tuple[int, int], None, None]:
    """Encode some tiles of a slide, see :func:`part_events`."""
    assert found.slide.mpp is not None
    rows = SlideRows(plan.tiles, found.slide.mpp)
    rows.take_over(store.stored())
    needed = part[~rows.has_row[part]]
    done, total = len(part) - len(needed), len(part)
    yield done, total
    predictor = prepared_predictor(found, placement)
    batches = encode_slide(found, plan, placement, predictor, rows, needed, None, SpeedMeter())
    with closing(batches):
        for tiles, _, _ in batches:
            store.append(*rows.as_stored(tiles[rows.has_row[tiles]]))
            done += len(tiles)
            yield done, total


def rows_of_part(slide: Slide, plan: Plan, part: Part) -> NDArray[np.int64]:
    """The tiles of a part, (m,) of the plan's.

    Parts are bands of about as many tiles, with borders where rows of the slide's segments begin:
    what is decoded for one is hardly decoded for another. A slide whose segments are very high has
    fewer bands, and parts without a tile.
    """
    high = slide.levels[plan.source.level].segment_shape[0]
    # What a whole slide is predicted from has no rows of the prediction apart.
    count = len(plan.tiles) if plan.whole_slide else len(plan.grid)
    band = plan.source.top_left[:count, 0] // high
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
