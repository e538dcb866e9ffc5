"""Values of tiles: read → encode → gather, stages overlapping."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.inference.device import Placement
from napari_nh2st.inference.gathering import NeighborhoodGatherer
from napari_nh2st.inference.plan import Plan, Survey
from napari_nh2st.inference.resample import Resampler
from napari_nh2st.inference.run import Run
from napari_nh2st.inference.schedule import Focus, Schedule
from napari_nh2st.inference.speed import SpeedMeter
from napari_nh2st.model.architectures import Predictor
from napari_nh2st.slide.bulk import BulkReader, TileBatch

_READ_AHEAD = 2
"""Batches that wait decoded, beside those being decoded: enough to bridge a slow segment."""

_WAITING_BYTES = 2**30
"""Bound on the pixels of all of them, whatever the number of threads."""

_WIDE_SEGMENT_PX = 4096


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
    gatherer, needed = None, wanted
    if plan.neighborhoods is not None:
        gatherer = NeighborhoodGatherer(
            predictor, *plan.neighborhoods, wanted, placement.batch_size
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
    # Results are fetched one batch late where the device works on its own, so that it never waits.
    in_flight: deque[tuple[NDArray[np.int64], Tensor, dict[int, str]]] = deque()
    lag = 0 if placement.device.type == "cpu" else 1
    try:
        for batch in _read_ahead(reader, schedule, placement.reader_threads):
            tiles = _to_device(batch, placement)
            encoded = _encode(predictor, resample, tiles)
            encoded = tuple(rows[: len(batch.index)] for rows in encoded)
            meter.note(len(batch.index))
            failed = np.zeros(len(batch.index), bool)
            failed[list(batch.failures)] = True
            failures = {int(batch.index[i]): why for i, why in batch.failures.items()}
            if gatherer is None:
                in_flight.append((batch.index, encoded[0], failures))
            else:
                ready, values = gatherer.add(batch.index, encoded, failed)
                failures = run.own_failures(failures)
                if values is not None:
                    in_flight.append((ready, values, {}))
                if failures:
                    in_flight.append(_without_values(failures, found.n_columns, placement.device))
            while len(in_flight) > lag:
                yield _fetch(*in_flight.popleft())
        while in_flight:
            yield _fetch(*in_flight.popleft())
    finally:
        del predictor, gatherer
        if placement.device.type == "cuda":
            torch.cuda.empty_cache()


def _read_ahead(reader: BulkReader, schedule: Schedule, threads: int) -> Iterator[TileBatch]:
    """Batches in the schedule's order, decoded by threads, a bounded number ahead."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="nh2st-reader")
    waiting: deque[Future[TileBatch]] = deque()
    try:
        for index in schedule:
            waiting.append(pool.submit(reader.read, index))
            batch_bytes = 3 * len(index) * reader.size[0] * reader.size[1]
            if len(waiting) >= min(threads + _READ_AHEAD, max(2, _WAITING_BYTES // batch_bytes)):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _to_device(batch: TileBatch, placement: Placement) -> Tensor:
    """The tiles, filled up to a whole batch.

    Few tiles at a time round otherwise than many: those of a last, short batch would have other
    values than in a run in which they come earlier.
    """
    tiles = torch.from_numpy(batch.pixels)
    missing = placement.batch_size - len(tiles)
    if missing:
        tiles = torch.cat([tiles, tiles[-1:].expand(missing, -1, -1, -1)])
    if placement.device.type == "cuda":
        return tiles.pin_memory().to(placement.device, non_blocking=True)
    return tiles.to(placement.device)


def _encode(predictor: Predictor, resample: Resampler, tiles: Tensor) -> tuple[Tensor, ...]:
    """Encode a batch, in halves where it does not fit the device's memory."""
    try:
        return predictor.encode(resample(tiles))
    except torch.OutOfMemoryError:
        if len(tiles) == 1:
            raise InputError(
                "the device has too little free memory for a single tile; close other programs "
                "that use it, or take device cpu"
            ) from None
    torch.cuda.empty_cache()
    halves = [_encode(predictor, resample, half) for half in tiles.chunk(2)]
    return tuple(torch.cat(parts) for parts in zip(*halves, strict=True))


def _without_values(
    failures: dict[int, str], n_columns: int, device: torch.device
) -> tuple[NDArray[np.int64], Tensor, dict[int, str]]:
    tiles = np.array(list(failures), np.int64)
    return tiles, torch.empty((len(tiles), n_columns), device=device), failures


def _fetch(
    tiles: NDArray[np.int64], values: Tensor, failures: dict[int, str]
) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[int, str]]:
    fetched = values.float().cpu().numpy()
    if failures:
        fetched = fetched.copy()
        fetched[np.isin(tiles, list(failures))] = np.nan
    return tiles, fetched, failures
