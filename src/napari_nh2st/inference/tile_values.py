"""Values of tiles: read → encode → gather, stages overlapping."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_nh2st.inference.device import Placement
from napari_nh2st.inference.encoder import Encoder
from napari_nh2st.inference.gathering import NeighborhoodGatherer
from napari_nh2st.inference.image_features import WithImageFeatures
from napari_nh2st.inference.plan import Plan, Survey
from napari_nh2st.inference.resample import Resampler
from napari_nh2st.inference.run import Run
from napari_nh2st.inference.schedule import Focus, Schedule
from napari_nh2st.inference.speed import SpeedMeter
from napari_nh2st.inference.transfer import Fetched
from napari_nh2st.model.prepared import Prepared
from napari_nh2st.slide.bulk import BulkReader, TileBatch

_READ_AHEAD = 2
"""Batches that wait decoded, beside those being decoded: enough to bridge a slow segment."""

_WAITING_BYTES = 2**30
"""Bound on the pixels of all of them, whatever the number of threads."""

_WIDE_SEGMENT_PX = 4096

_IN_FLIGHT = 2
"""Batches whose values are fetched late where the device works on its own, so that it has the next
one before it is done with one."""

_MOST_COMBINED = 256
"""Neighborhoods that are combined at a time, whatever the batch size: each is nine rows."""


def tile_values(
    found: Survey,
    plan: Plan,
    placement: Placement,
    run: Run,
    focus: Focus | None,
    meter: SpeedMeter,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], dict[int, str]]]:
    """Compute what a run has left.

    Parameters
    ----------
    found, plan
        Of the prediction.
    placement
        Where it runs.
    run
        Says what is left.
    focus
        Where the user looks.
    meter
        Counts the batches.

    Yields
    ------
    tiles, values, failures
        (m,) tiles and their rows (m, columns) as they come, NaN where a tile failed, and why it
        did; see :mod:`napari_nh2st.prediction.rows`.
    """
    slide, model, settings = found.slide, found.model, found.settings
    wanted = run.left
    if not len(wanted):
        return
    gene_rows = [model.config.panel.index(gene) for gene in plan.genes]
    predictor = model.architecture.prepare(
        model.network, gene_rows, placement.device, placement.dtype, found.heads
    )
    if found.calibration is not None:
        predictor = found.calibration.apply(predictor)
    if found.layout.n_heads:
        assert isinstance(predictor, Prepared)  # as all are that have heads
        predictor.keeps_head_values = True
    if found.layout.has_image:
        predictor = WithImageFeatures(predictor)
    gatherer, needed = None, wanted
    if plan.neighborhoods is not None:
        positions = None
        if model.config.needs_offsets:
            positions = plan.tiles.centers * np.asarray(slide.mpp)
        gatherer = NeighborhoodGatherer(
            predictor,
            *plan.neighborhoods,
            wanted,
            min(placement.batch_size, _MOST_COMBINED),
            positions,
        )
        needed = gatherer.needed
    level = slide.levels[plan.source.level]
    schedule = Schedule(
        plan.tiles,
        needed,
        placement.batch_size,
        settings.order,
        gatherer is not None,
        focus,
        # Strips of a width that decodes wide segments once; usual ones are a tile wide.
        strip_tiles=len(plan.tiles) if level.segment_shape[1] > _WIDE_SEGMENT_PX else None,
    )
    reader = BulkReader(level, plan.source.top_left, plan.source.size)
    resample = Resampler(plan.source.extent, model.config.tile_px, placement.device)
    encode = Encoder(predictor, resample, placement, model.config.tile_px)
    in_flight: deque[tuple[NDArray[np.int64], Fetched, dict[int, str]]] = deque()
    most_in_flight = 0 if placement.device.type == "cpu" else _IN_FLIGHT
    try:
        for batch, pixels in _read_ahead(reader, schedule, encode, placement.reader_threads):
            encoded = tuple(rows[: len(batch.index)] for rows in encode(pixels))
            meter.note(len(batch.index))
            failed = np.zeros(len(batch.index), bool)
            failed[list(batch.failures)] = True
            failures = {int(batch.index[i]): why for i, why in batch.failures.items()}
            if gatherer is None:
                in_flight.append((batch.index, Fetched(encoded[0]), failures))
            else:
                ready, values = gatherer.add(batch.index, encoded, failed)
                failures = run.own_failures(failures)
                if values is not None:
                    in_flight.append((ready, Fetched(values), {}))
                if failures:
                    in_flight.append(_without_values(failures, found.n_columns))
            while len(in_flight) > most_in_flight:
                yield _fetch(*in_flight.popleft())
        while in_flight:
            yield _fetch(*in_flight.popleft())
    finally:
        del predictor, gatherer, encode
        if placement.device.type == "cuda":
            torch.cuda.empty_cache()


def _read_ahead(
    reader: BulkReader, schedule: Schedule, encode: Encoder, threads: int
) -> Iterator[tuple[TileBatch, Tensor]]:
    """Batches in the schedule's order, decoded by threads, a bounded number ahead.

    With each comes the memory that it was read into, which is always that of a whole batch: few
    tiles at a time round otherwise than many, and those of a last, short batch would have other
    values than in a run in which they come earlier.
    """

    def read(index: NDArray[np.int64]) -> tuple[TileBatch, Tensor]:
        pixels = encode.empty_batch(*reader.size)
        batch = reader.read(index, out=pixels.numpy()[: len(index)])
        pixels[len(index) :] = pixels[len(index) - 1]
        return batch, pixels

    pool = ThreadPoolExecutor(threads, thread_name_prefix="nh2st-reader")
    waiting: deque[Future[tuple[TileBatch, Tensor]]] = deque()
    try:
        for index in schedule:
            waiting.append(pool.submit(read, index))
            batch_bytes = 3 * len(index) * reader.size[0] * reader.size[1]
            if len(waiting) >= min(threads + _READ_AHEAD, max(2, _WAITING_BYTES // batch_bytes)):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _without_values(
    failures: dict[int, str], n_columns: int
) -> tuple[NDArray[np.int64], Fetched, dict[int, str]]:
    tiles = np.array(list(failures), np.int64)
    return tiles, Fetched(torch.empty((len(tiles), n_columns))), failures


def _fetch(
    tiles: NDArray[np.int64], values: Fetched, failures: dict[int, str]
) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[int, str]]:
    fetched = values.numpy()
    if failures:
        fetched = fetched.copy()
        fetched[np.isin(tiles, list(failures))] = np.nan
    return tiles, fetched, failures
