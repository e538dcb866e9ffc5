"""Prediction over a slide, as events and as a whole."""

import logging
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import numpy as np
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.files import make_folder
from napari_nh2st.inference.device import place
from napari_nh2st.inference.events import Event, Finished, Started, TilesDone
from napari_nh2st.inference.int8 import calibrated
from napari_nh2st.inference.plan import survey
from napari_nh2st.inference.precision import auto_placements, int8_offer
from napari_nh2st.inference.run import Run
from napari_nh2st.inference.run_results import RunResults
from napari_nh2st.inference.schedule import Focus
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.inference.slide_rows import SlideRows
from napari_nh2st.inference.speed import SpeedMeter, remember_speed
from napari_nh2st.inference.step_choice import choose_step
from napari_nh2st.inference.tile_values import tile_values
from napari_nh2st.inference.whole_slide import region_notices, whole_slide_events
from napari_nh2st.model.folder import Model
from napari_nh2st.prediction.files import check_output, is_within, write_anndata
from napari_nh2st.prediction.new import new_prediction
from napari_nh2st.prediction.reliability import unfamiliar_notices
from napari_nh2st.prediction.rows import rows_of
from napari_nh2st.prediction.schema import add_notices, notes
from napari_nh2st.prediction.tissue_cells import tissue_cells
from napari_nh2st.slide import Slide
from napari_nh2st.tiles import TissueMask

_log = logging.getLogger(__name__)

_ENOUGH_BATCHES = 4
"""A speed is remembered of runs of at least so many."""


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
        ``.h5ad`` or ``.zarr`` to write. Results are kept beside it during the run, so that a
        stopped run can be resumed by calling this again.
    overwrite
        Whether an existing output may be replaced.
    tissue
        Tissue mask made by hand; None to find the tissue on the slide.
    on_event
        Called with every event.

    Returns
    -------
    AnnData
        Tiles × genes, see :func:`~napari_nh2st.prediction.new.new_prediction`.

    Raises
    ------
    InputError
        An argument or the slide cannot be used; the message says what is wrong.

    Examples
    --------
    .. code-block:: python

        from napari_nh2st import load_model, open_slide, predict

        with open_slide("slide.svs") as slide:
            prediction = predict(slide, load_model("model"), output="slide.h5ad")
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

    Closing the generator stops the work; finished tiles stay in the store beside the output.

    Parameters
    ----------
    slide, model, settings, output, overwrite, tissue
        As for :func:`predict`.
    kept
        A folder that keeps results after the run: a tile that an earlier run with the same slide,
        model and genes has computed is taken from there, whatever its region was. See
        :func:`~napari_nh2st.inference.store.forget_oldest`.
    focus
        Where the user is looking: tiles there come first. It may be moved during the run.

    Yields
    ------
    Event
        :class:`~napari_nh2st.inference.events.Started`; for a model that predicts from the whole
        slide, a :class:`~napari_nh2st.inference.events.TilesEncoded` per batch; then a
        :class:`~napari_nh2st.inference.events.TilesDone` per batch, and
        :class:`~napari_nh2st.inference.events.Finished`.

    Raises
    ------
    InputError
        As for :func:`predict`, with the first event or later.

    Examples
    --------
    .. code-block:: python

        for event in predict_events(slide, model, output="slide.h5ad"):
            if isinstance(event, TilesDone):
                print(f"{event.done} of {event.total}")
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
    found, placement = calibrated(survey(slide, model, settings, tissue), placement)
    folder = None if kept is None else Path(kept)
    placements, times = auto_placements(found, placement, may_time=path is not None)
    choice = choose_step(found, placements, path, folder, focus)
    plan, placement = choice.plan, choice.placement
    if path is not None:
        folder = path.absolute().parent
    elif folder is not None:
        make_folder(folder)
    prediction = new_prediction(
        slide,
        plan.grid,
        model.config,
        plan.genes,
        settings.to_json(),
        layout=found.layout,
        cells=tissue_cells(slide, plan.grid, found.mask),
        folder=folder,
    )
    about = notes(prediction)
    about["run"] = placement.notes()
    if found.calibration is not None:
        about["run"] |= found.calibration.notes()
    about["tissue"] = plan.tissue
    about["notices"] = np.array(plan.notices, object)
    if plan.stain_distance is not None:
        about["stain_distance"] = plan.stain_distance
    run = Run(plan, prediction)
    encoded = None
    if plan.whole_slide:
        assert slide.mpp is not None
        encoded = SlideRows(plan.tiles, slide.mpp)
    identity = plan.identity_in(placement.precision)
    results = RunResults(
        identity,
        found.n_columns,
        path,
        None if kept is None else Path(kept),
        plan.whole_slide,
    )
    all_encoded = None if encoded is None else encoded.all_as_stored
    meter = SpeedMeter()
    started = time.perf_counter()
    try:
        run.take_over(results.stored())
        done, total = run.done, run.total
        if encoded is not None:
            encoded.take_over(results.stored_encoded())
            total = len(plan.tiles)
            done = total if run.is_done.all() else encoded.n_rows
        seconds = choice.detail(total - done).seconds
        offer = int8_offer(times, placement.precision, seconds)
        _log.info(
            "%s with %s: %d tiles (%d done), step %g µm, pitch %g µm, %d genes; %s",
            *(slide.path, model.source, total, done, plan.grid.step_um, plan.grid.pitch_um),
            *(len(plan.genes), about["run"]),
        )
        yield Started(
            prediction,
            plan.grid,
            done,
            total,
            str(placement.device),
            placement.precision,
            (
                *plan.notices,
                *region_notices(plan),
                *results.notices,
                *(() if offer is None else (offer,)),
            ),
            plan.stain_distance,
            seconds,
        )
        if len(early := run.take_over([choice.timed])):
            results.append(run.as_stored(early, rows_of(prediction, early)))
            rate = choice.tiles_per_s or 1.0
            left = (run.total - run.done) / rate
            yield TilesDone(prediction, early, run.done, run.total, rate, left)
        before, began = run.done, time.perf_counter()
        if encoded is not None:
            yield from whole_slide_events(
                found, plan, placement, run, encoded, results, focus, meter
            )
        else:
            for tiles, rows, failures in tile_values(found, plan, placement, run, focus, meter):
                run.fill(tiles, rows, failures)
                results.append(run.as_stored(tiles, rows))
                rate = (run.done - before) / (time.perf_counter() - began)
                left = (run.total - run.done) / rate
                _log.debug("%d of %d tiles, %.1f tiles/s", run.done, run.total, rate)
                yield TilesDone(prediction, tiles, run.done, run.total, rate, left)
        if meter.batches >= _ENOUGH_BATCHES and meter.tiles_per_s is not None:
            remember_speed(model.config, settings, meter.tiles_per_s)
        if len(run.failures) == run.total:
            reason = next(iter(run.failures.values()))
            raise InputError(f"{slide.path}: none of {run.total} tiles can be read: {reason}")
        late_notices = unfamiliar_notices(prediction)
        add_notices(prediction, late_notices)
        if path is not None:
            run.write_status()
            try:
                write_anndata(prediction, path, overwrite)
            except InputError as error:
                where = results.secure(run.all_as_stored, all_encoded)
                raise InputError(
                    f"{error}. All {run.total} tiles are kept in {where}: the same command "
                    "continues from there."
                ) from error
            results.remove()
    finally:
        run.write_status()
        try:
            results.secure(run.all_as_stored, all_encoded)
        finally:
            results.close()
    duration = time.perf_counter() - started
    yield Finished(prediction, len(run.failures), duration, late_notices)
