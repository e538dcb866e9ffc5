"""Values of tiles: read → encode → gather, stages overlapping."""

import logging
import math
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_nh2st.inference.batch_size import CudaMemory, with_fitting_batch
from napari_nh2st.inference.device import Placement
from napari_nh2st.inference.encoder import Encoder
from napari_nh2st.inference.feature_grids import given_rows
from napari_nh2st.inference.gathering import NeighborhoodGatherer
from napari_nh2st.inference.image_features import WithImageFeatures
from napari_nh2st.inference.nuclei import WithNuclei
from napari_nh2st.inference.plan import Plan, Survey
from napari_nh2st.inference.resample import Resampler
from napari_nh2st.inference.run import Run
from napari_nh2st.inference.schedule import Focus, Schedule
from napari_nh2st.inference.source import TileSource
from napari_nh2st.inference.speed import SpeedMeter
from napari_nh2st.inference.transfer import Fetched
from napari_nh2st.model.architectures import Predictor
from napari_nh2st.model.prepared import Prepared
from napari_nh2st.slide import Slide
from napari_nh2st.slide.bulk import BulkReader, TileBatch
from napari_nh2st.slide.reader_processes import ReaderProcesses, places_of_processes

_log = logging.getLogger(__name__)

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
    slide, model = found.slide, found.model
    wanted = run.left
    if not len(wanted):
        return
    predictor = prepared_predictor(found, placement)
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
    batches = encoded_batches(
        found, plan, placement, predictor, needed, gatherer is not None, focus, meter
    )
    in_flight: deque[tuple[NDArray[np.int64], Fetched, dict[int, str]]] = deque()
    try:
        for tiles, encoded, failures in batches:
            if gatherer is None:
                in_flight.append((tiles, Fetched(encoded[0]), failures))
            else:
                failed = np.isin(tiles, list(failures))
                ready, values = gatherer.add(tiles, encoded, failed)
                failures = run.own_failures(failures)
                if values is not None:
                    in_flight.append((ready, Fetched(values), {}))
                if failures:
                    in_flight.append(_without_values(failures, found.n_columns))
            while len(in_flight) > most_in_flight(placement):
                yield _fetch(*in_flight.popleft())
        while in_flight:
            yield _fetch(*in_flight.popleft())
    finally:
        batches.close()
        del predictor, gatherer, batches
        if placement.device.type == "cuda":
            torch.cuda.empty_cache()


def prepared_predictor(found: Survey, placement: Placement) -> Predictor:
    """The network, made ready to predict the chosen genes."""
    model = found.model
    gene_rows = [model.config.panel.index(gene) for gene in found.genes]
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
    return WithNuclei(predictor, model.config.mpp) if found.layout.has_nuclei else predictor


def most_in_flight(placement: Placement) -> int:
    """Batches whose values are fetched late."""
    return 0 if placement.device.type == "cpu" else _IN_FLIGHT


def encoded_batches(
    found: Survey,
    plan: Plan,
    placement: Placement,
    predictor: Predictor,
    needed: NDArray[np.int64],
    whole_neighborhoods: bool,
    focus: Focus | None,
    meter: SpeedMeter,
) -> Generator[tuple[NDArray[np.int64], tuple[Tensor, ...], dict[int, str]], None, None]:
    """Read and encode tiles, what is looked at first.

    Parameters
    ----------
    found, plan, placement, focus, meter
        As for :func:`tile_values`.
    predictor
        Encodes them.
    needed
        Which of the plan's tiles.
    whole_neighborhoods
        See :class:`~napari_nh2st.inference.schedule.Schedule`.

    Yields
    ------
    tiles, encoded, failures
        (m,) tiles, what :meth:`Predictor.encode` makes of them, and why tiles could not be read.
    """
    tile_px = found.model.config.tile_px
    level = found.slide.levels[plan.source.level]
    resample = Resampler(plan.source.extent, tile_px, placement.device, found.stain)
    is_open = found.settings.batch_size is None and found.given is None
    if is_open and placement.device.type == "cuda":
        memory = CudaMemory(
            lambda tiles: predictor.encode(resample(tiles)), plan.source.size, placement.device
        )
        placement = with_fitting_batch(placement, memory, len(needed))
    schedule = Schedule(
        plan.tiles,
        needed,
        placement.batch_size,
        found.settings.order,
        whole_neighborhoods,
        focus,
        # Strips of a width that decodes wide segments once; usual ones are a tile wide.
        strip_tiles=len(plan.tiles) if level.segment_shape[1] > _WIDE_SEGMENT_PX else None,
    )
    if found.given is not None:
        size = placement.batch_size
        for tiles, features in given_rows(found.given, plan.tiles, schedule, size):
            encoded = predictor.encode(torch.from_numpy(features).to(placement.device))
            meter.note(len(tiles))
            yield tiles, tuple(rows[: len(tiles)] for rows in encoded), {}
        return
    source = plan.source
    reader = BulkReader(level, source.top_left, source.size)
    encode = Encoder(predictor, resample, placement, tile_px)
    with ExitStack() as stack:
        processes = None
        if found.settings.reader_threads is None:
            processes = reader_processes(found.slide, source, placement, len(needed))
        if processes is not None:
            stack.callback(processes.close)
        batches = stack.enter_context(
            closing(_read_ahead(reader, processes, schedule, encode, placement.reader_threads))
        )
        for batch, pixels in batches:
            encoded = tuple(rows[: len(batch.index)] for rows in encode(pixels))
            meter.note(len(batch.index))
            yield (
                batch.index,
                encoded,
                {int(batch.index[i]): why for i, why in batch.failures.items()},
            )


def reader_processes(
    slide: Slide, source: TileSource, placement: Placement, n_tiles: int
) -> ReaderProcesses | None:
    """Processes that read many tiles for a GPU; None where threads do.

    A CPU encodes more slowly than a few threads read.
    """
    if placement.device.type != "cuda":
        return None
    places = min(
        places_of_processes(slide.levels[source.level], n_tiles),
        _WAITING_BYTES // (3 * placement.batch_size * math.prod(source.size)),
    )
    if places <= placement.reader_threads // 2:
        return None
    try:
        return ReaderProcesses(
            slide, source.level, source.top_left, source.size, placement.batch_size, places
        )
    except OSError as error:  # too many open files or processes, too little memory
        _log.warning("%s is read by threads alone: %s", slide.path, error)
        return None


def _read_ahead(
    reader: BulkReader,
    processes: ReaderProcesses | None,
    schedule: Schedule,
    encode: Encoder,
    threads: int,
) -> Generator[tuple[TileBatch, Tensor], None, None]:
    """Batches in the schedule's order, decoded by threads or processes, a bounded number ahead.

    With each comes the memory that it was read into, which is always that of a whole batch: few
    tiles at a time round otherwise than many, and those of a last, short batch would have other
    values than in a run in which they come earlier.
    """

    def read(index: NDArray[np.int64]) -> tuple[TileBatch, Tensor]:
        pixels = encode.empty_batch(*reader.size)
        out = pixels.numpy()[: len(index)]
        batch = None if processes is None else processes.read(index, out)
        if batch is None:
            with themselves:
                batch = reader.read(index, out)
        pixels[len(index) :] = pixels[len(index) - 1]
        return batch, pixels

    themselves = threading.Semaphore(threads)  # those that wait for a process are more
    threads = threads if processes is None else processes.places
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
