"""Prediction by a model that looks at the whole slide: encode all tiles, then combine them."""

import time
from collections import deque
from collections.abc import Generator
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray

from napari_nh2st.inference.device import Placement
from napari_nh2st.inference.events import TilesDone, TilesEncoded
from napari_nh2st.inference.plan import Plan, Survey
from napari_nh2st.inference.run import Run
from napari_nh2st.inference.run_results import RunResults
from napari_nh2st.inference.schedule import Focus
from napari_nh2st.inference.slide_rows import NOT_FINITE, SlideRows
from napari_nh2st.inference.speed import SpeedMeter
from napari_nh2st.inference.tile_values import (
    encoded_batches,
    most_in_flight,
    prepared_predictor,
)
from napari_nh2st.inference.transfer import Fetched
from napari_nh2st.model.architectures import Predictor

_Encoded = tuple[NDArray[np.int64], NDArray[np.float32] | None, dict[int, str]]


def region_notices(plan: Plan) -> tuple[str, ...]:
    """Say that more is encoded than a region has, which the result need not record."""
    more = len(plan.tiles) - len(plan.grid)
    if not plan.whole_slide or not more:
        return ()
    return (
        "This model predicts each tile from the whole slide: for the region's "
        f"{len(plan.grid):,} tiles, {more:,} others are encoded as well.",
    )


def whole_slide_events(
    found: Survey,
    plan: Plan,
    placement: Placement,
    run: Run,
    rows: SlideRows,
    results: RunResults,
    focus: Focus | None,
    meter: SpeedMeter,
) -> Generator[TilesEncoded | TilesDone, None, None]:
    """Compute what a run has left.

    Parameters
    ----------
    found, plan, placement, focus, meter
        As for :func:`~napari_nh2st.inference.tile_values.tile_values`.
    run
        Says what is left, and takes in the values.
    rows
        Those of earlier runs; takes in the others.
    results
        Keeps what comes.
    """
    if not len(run.left):
        return
    predictor = prepared_predictor(found, placement)
    total, began, before = len(plan.tiles), time.perf_counter(), rows.n_rows
    rate = 1.0
    try:
        needed = rows.missing
        with closing(
            encode_slide(found, plan, placement, predictor, rows, needed, focus, meter)
        ) as batches:
            for tiles, preview, failures in batches:
                results.append_encoded(rows.as_stored(tiles[rows.has_row[tiles]]))
                if own := run.own_failures(failures):
                    _fail(run, results, own, found.n_columns)
                done = total - len(rows.missing)
                rate = max(done - before, 1) / (time.perf_counter() - began)
                shown = tiles < run.total
                yield TilesEncoded(
                    run.prediction,
                    tiles[shown],
                    None if preview is None else preview[shown],
                    done,
                    total,
                    rate,
                    (total - done) / rate,
                )
        for tiles, values in rows.combined(predictor, placement.device, run.left):
            run.fill(tiles, values, {})
            results.append(run.as_stored(tiles, values))
            yield TilesDone(run.prediction, tiles, total, total, rate, 0.0)
    finally:
        del predictor
        if placement.device.type == "cuda":
            torch.cuda.empty_cache()


def encode_slide(
    found: Survey,
    plan: Plan,
    placement: Placement,
    predictor: Predictor,
    rows: SlideRows,
    needed: NDArray[np.int64],
    focus: Focus | None,
    meter: SpeedMeter,
) -> Generator[_Encoded, None, None]:
    """Encode tiles of a slide.

    Parameters
    ----------
    found, plan, placement, focus, meter
        As for :func:`~napari_nh2st.inference.tile_values.tile_values`.
    predictor
        With the reach ``"slide"``.
    rows
        Takes in what is encoded, and which tiles could not be read.
    needed
        (m,) which of the plan's tiles.

    Yields
    ------
    tiles, preview, failures
        (m,) tiles that were encoded, or failed; (m, columns) what the network predicts of each for
        itself, NaN where one failed, or None; and why tiles failed.
    """
    batches = encoded_batches(found, plan, placement, predictor, needed, False, focus, meter)
    in_flight: deque[tuple[NDArray[np.int64], list[Fetched], dict[int, str]]] = deque()

    def taken_in() -> _Encoded:
        tiles, fetched, failures = in_flight.popleft()
        encoded, *more = (each.numpy() for each in fetched)
        with np.errstate(over="ignore"):
            half = encoded.astype(np.float16)
        spoiled = tiles[~np.isfinite(half).all(1)]
        failures = dict.fromkeys(spoiled.tolist(), NOT_FINITE) | failures
        failed = np.isin(tiles, list(failures))
        rows.add(tiles[~failed], half[~failed])
        rows.fail(tiles[failed])
        preview = np.where(failed[:, None], np.float32(np.nan), more[0]) if more else None
        return tiles, preview, failures

    with closing(batches):
        for tiles, encoded, failures in batches:
            in_flight.append((tiles, [Fetched(each) for each in encoded], failures))
            while len(in_flight) > most_in_flight(placement):
                yield taken_in()
        while in_flight:
            yield taken_in()


def _fail(run: Run, results: RunResults, failures: dict[int, str], n_columns: int) -> None:
    """Leave tiles of a run without values."""
    tiles = np.array(list(failures), np.int64)
    nothing = np.full((len(tiles), n_columns), np.nan, np.float32)
    run.fill(tiles, nothing, failures)
    results.append(run.as_stored(tiles, nothing))
