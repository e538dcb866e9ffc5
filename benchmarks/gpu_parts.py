"""The parts of gpu.py, which runs each as ``python gpu_parts.py PART OPTIONS``.

It prints a row a line, as JSON: what was measured, or why it could not be.
"""

import copy
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_nh2st.errors import first_line
from napari_nh2st.inference import Event, PredictSettings, Started, TilesDone, predict
from napari_nh2st.inference.device import Placement, place
from napari_nh2st.inference.encoder import Encoder
from napari_nh2st.inference.resample import Resampler
from napari_nh2st.inference.schedule import Schedule
from napari_nh2st.model.architectures import Predictor
from napari_nh2st.model.config import untrained_config
from napari_nh2st.model.folder import Model, new_model, save_model_folder
from napari_nh2st.model.sources import load_model
from napari_nh2st.slide import open_slide
from napari_nh2st.slide.bulk import BulkReader
from napari_nh2st.slide.reader_processes import ReaderProcesses
from napari_nh2st.tiles import tile_grid

_BUNDLED = "her2-breast-demo"
_MODELS = ("query", "neighborhood", "bundled")
_TILE_PX = 224
_GENES = 250
_STEP_UM = 112.0
_BUNDLED_STEP_UM, _BUNDLED_PITCH_UM = 50.0, 200.0
_FLOAT32_BOUND, _BOUND = 1e-4, 3e-2
"""Of the largest value, as PreparedNH2ST states them."""

_MB = 2**20

Row = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """What a part is given.

    Parameters
    ----------
    device
        torch's name of it.
    quick
        Whether little is measured.
    folder
        Holds the slides, and gets the models.
    """

    device: str
    quick: bool
    folder: str

    @cached_property
    def placement(self) -> Placement:
        """What ``predict()`` takes on this device; fewer tiles at a time to try it on a CPU."""
        chosen = place(self.device, "auto", None, None)
        if self.quick and chosen.device.type == "cpu":
            return replace(chosen, batch_size=4)
        return chosen

    @property
    def is_cuda(self) -> bool:
        """Whether it is a GPU of NVIDIA's."""
        return self.placement.device.type == "cuda"

    @property
    def seconds(self) -> float:
        """Of one row."""
        return 0.6 if self.quick else 3.0

    def slide(self, name: str) -> Path:
        """One of the slides that were made."""
        return Path(self.folder) / f"{name}.tiff"

    def model(self, name: str) -> Model:
        """A model as it is read from disk: of the published size with random weights, or ours."""
        if name == "bundled":
            return load_model(_BUNDLED)
        folder = Path(self.folder) / name
        if not folder.exists():
            panel = tuple(f"GENE{number}" for number in range(_GENES))
            save_model_folder(new_model(untrained_config(name, panel, context=name), 0), folder)
        return load_model(folder)

    def wait(self) -> None:
        """Wait until the device has done what it was given."""
        if self.is_cuda:
            torch.cuda.synchronize(self.placement.device)


def _row(name: str, value: float | str, unit: str = "", **more: Any) -> Row:
    return {"name": name, "value": value, "unit": unit} | more


def _rate(setup: Setup, work: Callable[[], object], amount: float) -> float:
    """Amount per second: the median of some rounds, after one call that does not count."""
    work()
    setup.wait()
    rounds = []
    for _ in range(1 if setup.quick else 5):
        calls, started = 0, time.perf_counter()
        while calls < 1 or time.perf_counter() - started < setup.seconds / 5:
            work()
            calls += 1
            if calls % 4 == 0:
                setup.wait()
        setup.wait()
        rounds.append(amount * calls / (time.perf_counter() - started))
    return median(rounds)


# --- reading ---


def reading(setup: Setup) -> Iterator[Callable[[], Iterator[Row]]]:
    """Tiles per second of the bulk reader alone, by format and number of threads."""
    cores = os.cpu_count() or 1
    for codec in ("jpeg", "jpeg2000"):
        for threads in (1, 4, 16):
            if threads <= max(cores, 4) and not (setup.quick and threads > 4):
                yield lambda codec=codec, threads=threads: _reading(setup, codec, threads, False)
        if sys.platform == "linux":
            places = 4 if setup.quick else 16
            yield lambda codec=codec, places=places: _reading(setup, codec, places, True)


def _reading(setup: Setup, codec: str, threads: int, in_processes: bool) -> Iterator[Row]:
    batch_size = setup.placement.batch_size
    with open_slide(setup.slide(codec)) as slide, ExitStack() as stack:
        grid = tile_grid(slide, tile_um=_TILE_PX / 2, pitch_um=_TILE_PX / 2, mask=None)
        corners = (grid.centers - _TILE_PX / 2).round().astype(np.int64)
        side = _TILE_PX, _TILE_PX
        reader: BulkReader | ReaderProcesses = BulkReader(slide.levels[0], corners, side)
        if in_processes:
            reader = ReaderProcesses(slide, 0, corners, side, batch_size, threads)
            stack.callback(reader.close)
            reader.wait()
        batches = iter(Schedule(grid, np.arange(len(grid)), batch_size, "raster", False))
        lock, counts = threading.Lock(), [0] * threads
        started, cpu = time.perf_counter(), time.process_time()

        def read(thread: int) -> None:
            out = np.empty((batch_size, _TILE_PX, _TILE_PX, 3), np.uint8)
            while time.perf_counter() - started < 2 * setup.seconds:
                with lock:
                    index = next(batches, None)
                if index is None:
                    return
                reader.read(index, out[: len(index)])
                counts[thread] += len(index)

        pool = [threading.Thread(target=read, args=(number,)) for number in range(threads)]
        for thread in pool:
            thread.start()
        late = _lateness(pool)
        taken, cpu = time.perf_counter() - started, time.process_time() - cpu
    name = f"bulk reader, {codec}, {threads} thread{'s' if threads > 1 else ''}"
    if in_processes:
        name += f" of {threads // 4} processes"
    yield _row(name, sum(counts) / taken, "tiles/s", per_cpu_second=sum(counts) / cpu)
    if in_processes:
        return
    yield _row(f"  another thread waits for the lock, {codec}, {threads}", 1e3 * late, "ms")


def _lateness(pool: Sequence[threading.Thread]) -> float:
    """Seconds that a thread which sleeps wakes up late, as it has to wait for the lock: mean."""
    late = [0.0]
    while any(thread.is_alive() for thread in pool):
        asked = time.perf_counter() + 0.002
        time.sleep(0.002)
        late.append(time.perf_counter() - asked)
    return sum(late) / len(late)


# --- encoders ---


def encoders(setup: Setup) -> Iterator[Callable[[], Iterator[Row]]]:
    """Tiles per second of the encoder alone, on one batch again and again."""
    yield lambda: _bare(setup, "")
    if setup.is_cuda:
        yield lambda: _bare(setup, ", cuDNN's fastest")
    for name in _MODELS:
        yield lambda name=name: _ours(setup, name)
    if setup.is_cuda:
        yield lambda: _graph(setup)
        yield lambda: _batch_sizes(setup)


def compiling(setup: Setup) -> Iterator[Callable[[], Iterator[Row]]]:
    """The same, compiled: last and by itself, as the time that it takes is the compiler's."""
    yield lambda: _bare(setup, ", compiled")
    if setup.is_cuda:
        yield lambda: _compiled(setup)


def _bare(setup: Setup, kind: str) -> Iterator[Row]:
    placement = setup.placement
    encoder: Any = copy.deepcopy(setup.model("query").network.image_encoder).eval()
    encoder.to(placement.device, placement.dtype).to(memory_format=torch.channels_last)
    if kind == ", compiled":
        encoder = torch.compile(encoder)
    shape = (placement.batch_size, 3, _TILE_PX, _TILE_PX)
    batch = torch.randn(shape, dtype=placement.dtype, device=placement.device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = kind == ", cuDNN's fastest"
    try:
        with torch.inference_mode():
            rate = _rate(setup, lambda: encoder(batch), len(batch))
    finally:
        torch.backends.cudnn.benchmark = before
    yield _row(f"bare ResNet-18, {placement.precision}, channels last{kind}", rate, "tiles/s")


def _predictor(setup: Setup, model: Model, precision: str | None = None) -> Predictor:
    placement = setup.placement if precision is None else place(setup.device, precision, None, None)
    genes = range(len(model.config.panel))
    return model.architecture.prepare(
        model.network, genes, placement.device, placement.dtype, model.heads
    )


def _tiles(count: int, side: int) -> Tensor:
    return torch.randint(256, (count, side, side, 3), dtype=torch.uint8)


def _ours(setup: Setup, name: str) -> Iterator[Row]:
    placement, model = setup.placement, setup.model(name)
    predictor, side = _predictor(setup, model), model.config.tile_px
    tiles = _tiles(placement.batch_size, side)
    there = tiles.to(placement.device)
    rate = _rate(setup, lambda: predictor.encode(there), len(tiles))
    yield _row(f"our encoder, {name}, {side} px", rate, "tiles/s")
    encode = Encoder(predictor, Resampler((side, side), side, placement.device), placement, side)
    sent = encode.empty_batch(side, side)
    sent.copy_(tiles)
    rate = _rate(setup, lambda: encode(sent), len(tiles))
    yield _row(f"  and sent there from the host, {name}", rate, "tiles/s")
    if predictor.reach == "neighborhood":
        rows = predictor.encode(there)
        around = torch.randint(len(tiles), (len(tiles), 9), device=placement.device)
        gathered, mask = tuple(row[around] for row in rows), torch.ones_like(around).bool()
        rate = _rate(setup, lambda: predictor.combine(gathered, mask), len(tiles))
        yield _row(f"  neighborhoods combined, {name}", rate, "tiles/s")


def _graph(setup: Setup) -> Iterator[Row]:
    """One launch in place of some eighty a batch."""
    predictor = _predictor(setup, setup.model("query"))
    tiles = _tiles(setup.placement.batch_size, _TILE_PX).to(setup.placement.device)
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        for _ in range(3):
            predictor.encode(tiles)
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        predictor.encode(tiles)
    rate = _rate(setup, graph.replay, len(tiles))
    yield _row("our encoder, query, 224 px, CUDA graph", rate, "tiles/s")


def _batch_sizes(setup: Setup) -> Iterator[Row]:
    predictor = _predictor(setup, setup.model("query"))
    for size in (32, 64, 128, 512, 1024):
        tiles = _tiles(size, _TILE_PX).to(setup.placement.device)
        rate = _rate(setup, lambda tiles=tiles: predictor.encode(tiles), size)
        yield _row(f"our encoder, query, 224 px, batches of {size}", rate, "tiles/s")


def _compiled(setup: Setup) -> Iterator[Row]:
    predictor: Any = _predictor(setup, setup.model("query"))
    tiles = _tiles(setup.placement.batch_size, _TILE_PX).to(setup.placement.device)
    assert isinstance(predictor.encoder, nn.Module)
    predictor.encoder = torch.compile(predictor.encoder)
    rate = _rate(setup, lambda: predictor.encode(tiles), len(tiles))
    yield _row("our encoder, query, 224 px, compiled", rate, "tiles/s")


# --- predicting ---


def predicting(setup: Setup) -> Iterator[Callable[[], Iterator[Row]]]:
    """Tiles per second from slide to AnnData, memory, and how busy the device was."""
    for name in _MODELS:
        yield lambda name=name: _predicting(setup, name, "jpeg")
    yield lambda: _predicting(setup, "query", "jpeg2000")
    yield lambda: _predicting(setup, "neighborhood", "large")
    if setup.is_cuda:
        for name, slide in (("query", "jpeg"), ("bundled", "jpeg"), ("neighborhood", "large")):
            yield lambda name=name, slide=slide: _busy(setup, name, slide)


def _settings(setup: Setup, name: str, **more: Any) -> PredictSettings:
    step = _STEP_UM
    if name == "bundled":
        step = _BUNDLED_PITCH_UM if setup.quick else _BUNDLED_STEP_UM
    return PredictSettings(step_um=step, tissue_only=False, device=setup.device, **more)


def _predicting(setup: Setup, name: str, slide_name: str) -> Iterator[Row]:
    begun, marks = [], []

    def note(event: Event) -> None:
        if isinstance(event, Started):
            begun.append(time.perf_counter())
        if isinstance(event, TilesDone):
            marks.append(time.perf_counter())

    model = setup.model(name)
    with open_slide(setup.slide("small")) as slide:
        predict(slide, model, _settings(setup, name))  # what is loaded at the first time is
    if setup.is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    with open_slide(setup.slide(slide_name)) as slide:
        predicted = predict(slide, model, _settings(setup, name), on_event=note)
    seconds = time.perf_counter() - started
    of = f"{name}, {slide_name}"
    rate = predicted.n_obs / (marks[-1] - begun[0])
    yield _row(f"predict(), {of}", rate, "tiles/s", tiles=predicted.n_obs)
    yield _row(f"  tissue, stain and grid before, {of}", begun[0] - started, "s")
    yield _row(f"  first values after these, {of}", marks[0] - begun[0], "s")
    yield _row(f"  the whole call, {predicted.n_obs:,} tiles, {of}", seconds, "s")
    if setup.is_cuda:
        peak = torch.cuda.max_memory_allocated() / _MB
        yield _row(f"  peak of the GPU's memory, {of}", peak, "MB")


def _busy(setup: Setup, name: str, codec: str) -> Iterator[Row]:
    """Share of the time from the first kernel to the last in which one ran."""
    from torch.profiler import ProfilerActivity, profile

    with (
        open_slide(setup.slide(codec)) as slide,
        profile(activities=[ProfilerActivity.CUDA]) as profiled,
    ):
        predict(slide, setup.model(name), _settings(setup, name))
        setup.wait()
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiled.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
        and not event.name.startswith(("Memcpy", "Memset"))
    )
    busy, until = 0.0, spans[0][0]
    for start, end in spans:
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    yield _row(f"GPU busy, predict(), {name}, {codec}", busy / (until - spans[0][0]), "")


# --- training, agreement, shortage ---


def training(setup: Setup) -> Iterator[Callable[[], Iterator[Row]]]:
    """Spots per second of a step that trains the whole encoder."""
    for precision in dict.fromkeys(["float32", setup.placement.precision]):
        yield lambda precision=precision: _training(setup, precision)


def _training(setup: Setup, precision: str) -> Iterator[Row]:
    from training import Size, training_steps

    size = Size(tile_px=64, dim=64, panel=20, spots=64) if setup.quick else Size()
    steps = training_steps(size, setup.device, precision)
    for _ in range(2):
        next(steps)
    setup.wait()
    rates = []
    for _ in range(2 if setup.quick else 10):
        started = time.perf_counter()
        spots = next(steps)
        setup.wait()
        rates.append(spots / (time.perf_counter() - started))
    yield _row(f"training step, {size.tile_px} px, {precision}", median(rates), "spots/s")


def agreement(setup: Setup) -> Iterator[Callable[[], Iterator[Row]]]:
    """How far predictions differ from those in float32 on the CPU, and between two runs."""
    for name in _MODELS:
        yield lambda name=name: _agreement(setup, name)


def _values(setup: Setup, name: str, **settings: Any) -> NDArray[np.float32]:
    with open_slide(setup.slide("small")) as slide:
        predicted = predict(slide, setup.model(name), _settings(setup, name, **settings))
    assert (predicted.obs["status"] == "predicted").all()
    return np.asarray(predicted.X, np.float32)


def _agreement(setup: Setup, name: str) -> Iterator[Row]:
    on_cpu = Setup("cpu", setup.quick, setup.folder)
    reference = _values(on_cpu, name, precision="float32")
    for precision in dict.fromkeys(["float32", setup.placement.precision]):
        found = _values(setup, name, precision=precision)
        off = float(np.abs(found - reference).max() / np.abs(reference).max())
        bound = _FLOAT32_BOUND if precision == "float32" else _BOUND
        what = f"{setup.device} to CPU's float32, {name}, {precision}"
        yield _row(f"largest difference, {what}", off, "", wanted=bound, at_most=True)
        pairs = zip(found.T, reference.T, strict=True)
        pcc = min(float(np.corrcoef(one, other)[0, 1]) for one, other in pairs)
        trained = {"wanted": 0.999} if name == "bundled" else {}
        yield _row(f"  least PCC of a gene, {name}, {precision}", pcc, "", **trained)
    same = (_values(setup, name) == _values(setup, name)).all()
    yield _row(f"  two runs, {name}", "the same to the bit" if same else "NOT THE SAME")


def shortage(setup: Setup) -> Iterator[Callable[[], Iterator[Row]]]:
    """Batches far too large for the memory that this process may use."""
    yield lambda: _shortage(setup)


def _shortage(setup: Setup) -> Iterator[Row]:
    if not setup.is_cuda:
        yield _row("out of memory", "needs a GPU")
        return
    usual = _values(setup, "query", precision="float32")
    free, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(free, 3 * 2**30) / total)
    before = torch.cuda.memory_stats()["num_ooms"]
    found = _values(setup, "query", precision="float32", batch_size=2048)
    times = torch.cuda.memory_stats()["num_ooms"] - before
    yield _row("out of memory, batches of 2,048 tiles in 3 GB", times, "times", wanted=1)
    off = float(np.abs(found - usual).max() / np.abs(usual).max())
    yield _row("  largest difference of the values", off, "", wanted=_FLOAT32_BOUND, at_most=True)


_PARTS = {
    f.__name__: f for f in (reading, encoders, predicting, training, agreement, shortage, compiling)
}


def _main(part: str, options: str) -> None:
    setup = Setup(**json.loads(options))
    about = f"{setup.placement.device}, {setup.placement.precision}, torch {torch.__version__}"
    name = (
        torch.cuda.get_device_name(setup.placement.device) if setup.is_cuda else platform.machine()
    )
    print(json.dumps(_row("device", f"{name}: {about}")), flush=True)
    for measure in _PARTS[part](setup):
        try:
            for row in measure():
                print(json.dumps(row), flush=True)
        except Exception as error:  # the other rows are to be measured all the same
            print(json.dumps({"name": "a row of it", "error": _why(error)}), flush=True)


def _why(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    line = (
        f" (line {trace.tb_lineno} of {Path(trace.tb_frame.f_code.co_filename).name})"
        if trace
        else ""
    )
    return f"{type(error).__name__}: {first_line(error)}{line}"


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
