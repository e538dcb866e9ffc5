"""Prediction over a slide: read → encode → gather, stages overlapping."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray
from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.inference.device import Placement, place
from napari_nh2st.inference.events import Event, Finished, Started, TilesDone
from napari_nh2st.inference.gathering import NeighborhoodGatherer
from napari_nh2st.inference.plan import Plan, plan_prediction
from napari_nh2st.inference.resample import Resampler
from napari_nh2st.inference.run import Run
from napari_nh2st.inference.run_results import RunResults
from napari_nh2st.inference.schedule import Focus, Schedule
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.model.architectures import Predictor
from napari_nh2st.model.folder import Model
from napari_nh2st.prediction.files import check_output, is_within, write_anndata
from napari_nh2st.prediction.new import new_prediction
from napari_nh2st.prediction.schema import notes
from napari_nh2st.slide import Slide
from napari_nh2st.slide.bulk import BulkReader, TileBatch
from napari_nh2st.tiles import TissueMask

_READ_AHEAD = 2
"""Batches that wait decoded, beside those being decoded: enough to bridge a slow segment."""

_WAITING_BYTES = 2**30
"""Bound on the pixels of all of them, whatever the number of threads."""

_WIDE_SEGMENT_PX = 4096


def predict(
    slide: Slide,
    model: Model,
    settings: PredictSettings | None = None,
    *,
    output: Path | str | None = None,
    overwrite: bool = False,
    tissue: TissueMask | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> AnnData:
    """Predict gene expression over a slide.

    Parameters
    ----------
    slide
        From :func:`~napari_nh2st.slide.open_slide`.
    model
        From :func:`~napari_nh2st.model.load_model`.
    settings
        Genes, region, pitch, device and so on.
    output
        ``.h5ad`` or ``.zarr`` to write. While it runs, results are kept beside it, and a run that
        was stopped goes on from there.
    overwrite
        An existing output may be replaced.
    tissue
        A mask made by hand; found on the slide by default.
    on_event
        Called with every event.

    Returns
    -------
    AnnData
        Tiles × genes, see :func:`~napari_nh2st.prediction.new.new_prediction`.

    Raises
    ------
    InputError
        Something given cannot be used; the message says what.

    Examples
    --------
    >>> from napari_nh2st import load_model, open_slide, predict
    >>> with open_slide("slide.svs") as slide:  # doctest: +SKIP
    ...     prediction = predict(slide, load_model("model"), output="slide.h5ad")
    """
    event: Event | None = None
    # Closed here and now, whatever is raised: left to the interpreter, what is raised while the
    # results are stored would be lost.
    with closing(
        predict_events(slide, model, settings, output=output, overwrite=overwrite, tissue=tissue)
    ) as events:
        for event in events:
            if on_event is not None:
                on_event(event)
    assert isinstance(event, Finished)
    return event.prediction


def predict_events(
    slide: Slide,
    model: Model,
    settings: PredictSettings | None = None,
    *,
    output: Path | str | None = None,
    overwrite: bool = False,
    tissue: TissueMask | None = None,
    focus: Focus | None = None,
    kept: Path | str | None = None,
) -> Generator[Event, None, None]:
    """Predict as :func:`predict` does, as a generator of events.

    Closing the generator stops the work; what was done stays in the store beside the output.

    Parameters
    ----------
    kept
        A folder in which results stay, also when the run is over: a tile that a run with the same
        slide, model and genes has computed is taken from there, whatever the region was. See
        :func:`~napari_nh2st.inference.store.forget_oldest`.
    focus
        Where the user looks: the tiles there come first. May be moved while this runs.

    Yields
    ------
    Event
        :class:`~napari_nh2st.inference.events.Started`, then
        :class:`~napari_nh2st.inference.events.TilesDone` per batch, then
        :class:`~napari_nh2st.inference.events.Finished`.

    Raises
    ------
    InputError
        As :func:`predict`, when the first event is asked for or later.
    """
    settings = settings or PredictSettings()
    path = Path(output) if output is not None else None
    if path is not None:
        if is_within(path, slide.path):
            raise InputError(f"{path} is the slide, or inside it; give another output")
        check_output(path, overwrite)
    placement = place(
        settings.device, settings.precision, settings.batch_size, settings.reader_threads
    )
    plan = plan_prediction(slide, model, settings, tissue)
    prediction = new_prediction(slide, plan.grid, model.config, plan.genes, settings.to_json())
    about = notes(prediction)
    about["run"] = placement.notes()
    about["tissue"] = plan.tissue
    about["notices"] = np.array(plan.notices, object)
    if plan.stain_distance is not None:
        about["stain_distance"] = plan.stain_distance
    run = Run(plan, prediction)
    identity = plan.identity | {"precision": placement.precision}
    results = RunResults(identity, len(plan.genes), path, None if kept is None else Path(kept))
    started = time.perf_counter()
    try:
        run.take_over(*results.stored())
        yield Started(
            prediction,
            plan.grid,
            run.done,
            run.total,
            str(placement.device),
            placement.precision,
            (*plan.notices, *results.notices),
            plan.stain_distance,
        )
        before = run.done
        for tiles, values, failures in _compute(
            slide, model, plan, placement, settings, run, focus
        ):
            run.fill(tiles, values, failures)
            results.append(run.as_stored(tiles, values))
            rate = (run.done - before) / (time.perf_counter() - started)
            left = (run.total - run.done) / rate
            yield TilesDone(prediction, tiles, run.done, run.total, rate, left)
        if len(run.failures) == run.total:
            reason = next(iter(run.failures.values()))
            raise InputError(f"{slide.path}: none of {run.total} tiles can be read: {reason}")
        if path is not None:
            run.write_status()
            try:
                write_anndata(prediction, path, overwrite)
            except InputError as error:
                where = results.secure(run.all_as_stored)
                raise InputError(
                    f"{error}. All {run.total} tiles are kept in {where}: the same command goes on "
                    "from there."
                ) from error
            results.remove()
    finally:
        run.write_status()
        try:
            results.secure(run.all_as_stored)
        finally:
            results.close()
    yield Finished(prediction, len(run.failures), time.perf_counter() - started)


def _compute(
    slide: Slide,
    model: Model,
    plan: Plan,
    placement: Placement,
    settings: PredictSettings,
    run: Run,
    focus: Focus | None,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], dict[int, str]]]:
    """Tiles, their values and the failed ones among them, as they come."""
    wanted = run.left
    if not len(wanted):
        return
    gene_rows = [model.config.panel.index(gene) for gene in plan.genes]
    predictor = model.architecture.prepare(
        model.network, gene_rows, placement.device, placement.dtype
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
                    in_flight.append(_without_values(failures, len(plan.genes), placement.device))
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
    failures: dict[int, str], n_genes: int, device: torch.device
) -> tuple[NDArray[np.int64], Tensor, dict[int, str]]:
    tiles = np.array(list(failures), np.int64)
    return tiles, torch.empty((len(tiles), n_genes), device=device), failures


def _fetch(
    tiles: NDArray[np.int64], values: Tensor, failures: dict[int, str]
) -> tuple[NDArray[np.int64], NDArray[np.float32], dict[int, str]]:
    fetched = values.float().cpu().numpy()
    if failures:
        fetched = fetched.copy()
        fetched[np.isin(tiles, list(failures))] = np.nan
    return tiles, fetched, failures
