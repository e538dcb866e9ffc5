"""Measures how napari feels with the plugin; needs a display, see README.md.

The slide is opened and predicted at the pitch, at the default step and at a fine one; the event
loop is watched while the camera pans, alone, while the fine map is predicted, and over maps of
random numbers whose gene is switched. What a fine map's first round has more than the others is the
new layer: napari makes it, its colorbar and their shaders. Gaps are held against a bound in ms, not
against those of panning alone: these are one frame, and a run's start draws a map and a bar.

Usage: ``xvfb-run -a python benchmarks/interactive.py [-o results.json] [--rounds 3]``
"""

import argparse
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from predict import Comparison

LONGEST_S = 600
_WIDTH = 86


def main() -> None:
    """Measure, print the tables and write them as JSON."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="nh2st-benchmark-") as folder:
        # The user's settings stay as they are. napari reads this when it is imported.
        os.environ["NAPARI_CONFIG"] = str(Path(folder) / "settings.yaml")
        report = measure(options)
    options.output.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"written to {options.output}")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All parts, in one viewer."""
    import napari

    from napari_nh2st.sample_data import synthetic_slide_path

    slide = synthetic_slide_path()  # drawn before anything is timed
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)
    rounds: dict[str, list[float]] = {}

    opening = [_open(viewer, slide) for _ in range(options.rounds)]
    rounds["open the sample slide until it is drawn, s"] = opening
    _, widget = viewer.window.add_plugin_dock_widget("napari-nh2st", "Predict")
    widget.settings.keep.setChecked(False)
    _wait(lambda: _is_warm(widget))

    resting = [_gaps(lambda: False, viewer, options.seconds, True) for _ in range(options.rounds)]
    (loading, _), _ = _predict(viewer, widget, pan=False)
    rounds["Run until the first values are there, model not loaded, s"] = [loading]
    pitch_um = widget.model.config.pitch_um
    by_step: dict[str, list[float]] = {}
    for name, step_um in (("the pitch", pitch_um), ("the default step", None)):
        widget.detail.show_value(step_um)
        runs = [_predict(viewer, widget, pan=False)[0] for _ in range(options.rounds)]
        tiles = f"{widget.prediction.n_obs:,} tiles"
        by_step[name] = [seconds[0] for seconds in runs]
        rounds[f"the same, model loaded, {name}, {tiles}, s"] = by_step[name]
        rounds[f"the whole slide, {name}, {tiles}, s"] = [seconds[1] for seconds in runs]
    widget.detail.show_value(options.fine_step_um)
    _wait(lambda: widget.detail.value() == options.fine_step_um)
    fine_runs = [_predict(viewer, widget, pan=False, seconds=0)[0] for _ in range(options.rounds)]
    panned = [
        _predict(viewer, widget, pan=True, seconds=options.seconds) for _ in range(options.rounds)
    ]
    fine = f"step of {options.fine_step_um:g} µm, {widget.prediction.n_obs:,} tiles"
    first = [seconds[0] for seconds in fine_runs]
    rounds[f"first values, {fine}, s"] = first
    rounds[f"the same, {fine}, panning, s"] = [seconds[0] for seconds, _ in panned]
    running = [gaps for _, gaps in panned]
    for name, gaps in (("panning alone", resting), (f"panning while predicting, {fine}", running)):
        rounds[f"longest gap of the event loop, {name}, ms"] = [1e3 * max(g) for g in gaps]
        rounds[f"99 % of the gaps are shorter, {name}, ms"] = [
            1e3 * float(np.percentile(g, 99)) for g in gaps
        ]

    shown = []
    for tiles in options.tiles:
        for smooth in (False, True):
            size = f"{tiles:,} tiles × {options.genes} genes" + (", smooth" if smooth else "")
            switches, painted, bare, gaps = _switch_genes(viewer, tiles, options, smooth)
            rounds[f"switch the gene, {size}, ms"] = switches
            rounds[f"the same, and what Qt paints after it, {size}, ms"] = painted
            rounds[f"set the data of such a layer, and what Qt paints, {size}, ms"] = bare
            rounds[f"longest gap of the event loop, panning over it, {size}, ms"] = [
                1e3 * max(gaps)
            ]
            shown.append((size, switches, painted, bare, 1e3 * max(gaps)))
    viewer.close()

    print(f"{'In napari':<{_WIDTH}}{'median':>9}{'over the rounds':>21}")
    for name, values in rounds.items():
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"{name:<{_WIDTH}}{median(values):>9.2f}{spread:>21}")
    predicting = [1e3 * max(gaps) for gaps in running]
    comparisons = [
        Comparison("first values, default step, s", by_step["the default step"], 1.0, at_most=True),
        Comparison(f"first values, {fine}, s", first, 1.0, at_most=True),
        Comparison("longest gap while predicting, ms", predicting, 200.0, at_most=True),
    ]
    for size, switches, painted, bare, gap in shown:
        comparisons += [
            Comparison(f"gene switch, {size}, ms", switches, 50.0, at_most=True),
            Comparison(f"painted : data set, {size}", [median(painted) / median(bare)], 3, True),
            Comparison(f"longest gap, {size}, ms", [gap], 200.0, at_most=True),
        ]
    print(f"\n{'Ratios and bounds':<56}{'median':>8}{'over the rounds':>18}{'wanted':>8}")
    for comparison in comparisons:
        print(comparison)
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    print(f"\n{machine}; load average {load:.1f} before")
    return {
        "machine": machine,
        "versions": {name: metadata.version(name) for name in ("napari-nh2st", "napari", "torch")},
        "options": vars(options) | {"output": str(options.output)},
        "load_average_before": load,
        "rounds": rounds,
        "comparisons": [
            asdict(c) | {"measured": c.measured, "verdict": c.verdict} for c in comparisons
        ],
    }


def _open(viewer: Any, slide: Path) -> float:
    """Seconds from asking for the slide to its being drawn; the last one stays open."""
    viewer.layers.clear()
    started = time.perf_counter()
    viewer.open(slide, plugin="napari-nh2st")
    viewer.screenshot(canvas_only=True, flash=False)  # waits until it is drawn
    return time.perf_counter() - started


def _is_warm(widget: Any) -> bool:
    """Whether the child process has loaded its libraries: it sleeps, waiting for a job."""
    import psutil

    process = psutil.Process(widget.idle_jobs().processes[0].pid)
    return process.status() == psutil.STATUS_SLEEPING and process.cpu_times().user > 1


def _predict(
    viewer: Any, widget: Any, pan: bool, seconds: float = LONGEST_S
) -> tuple[tuple[float, float], list[float]]:
    """Seconds to the first values and to the end, and the gaps of the event loop meanwhile.

    It is stopped `seconds` after its first values.
    """
    started = time.perf_counter()
    first = math.nan
    former = widget.prediction
    widget.start()

    def done() -> bool:
        nonlocal first
        new = widget.prediction is not former and widget.heatmap is not None
        if math.isnan(first) and new and np.isfinite(widget.heatmap.layer.data).any():
            first = time.perf_counter() - started
        return not widget.is_running or time.perf_counter() - started > first + seconds

    gaps = _gaps(done, viewer, LONGEST_S, pan)
    ended = time.perf_counter() - started
    if widget.is_running:
        widget.stop()
        _wait(lambda: not widget.is_running)
        _wait(lambda: _is_warm(widget))
    return (first, ended), gaps


def _gaps(done: Callable[[], bool], viewer: Any, seconds: float, pan: bool) -> list[float]:
    """Wait for something, panning or not; how long the event loop was away each time, in s."""
    from qtpy.QtCore import Qt, QTimer

    gaps: list[float] = []
    last = time.perf_counter()

    def tick() -> None:
        nonlocal last
        now = time.perf_counter()
        gaps.append(now - last)
        last = now

    clock = QTimer()
    clock.setTimerType(Qt.TimerType.PreciseTimer)
    clock.timeout.connect(tick)
    clock.start(2)
    camera = getattr(viewer, "scene", viewer).camera
    middle, extent = np.array(camera.center), np.ptp(viewer.layers[0].extent.world, axis=0)[-2]
    panning = QTimer()
    panning.timeout.connect(
        lambda: setattr(
            camera,
            "center",
            (middle[0], middle[1] + 0.1 * extent * math.sin(3 * time.perf_counter()), middle[2]),
        )
    )
    if pan:
        panning.start(33)
    _wait(done, seconds)
    clock.stop()
    panning.stop()
    camera.center = middle
    return gaps


def _switch_genes(
    viewer: Any, tiles: int, options: argparse.Namespace, smooth: bool
) -> tuple[list[float], ...]:
    """Milliseconds to show another gene, with what Qt paints then, and to set a layer's data.

    Last, the gaps of the event loop in seconds while the camera pans over the map.
    """
    from qtpy.QtWidgets import QApplication

    from napari_nh2st.layers.reader import SLIDE_KEY
    from napari_nh2st.session import Session

    layer = viewer.layers[0]
    prediction = drawn_prediction(layer.metadata[SLIDE_KEY], tiles, options.genes)
    heatmap = Session.of(viewer).add_heatmap(layer, prediction, prediction.var_names[0])
    heatmap.layer.interpolation2d = "linear" if smooth else "nearest"
    images = [heatmap.raster.image(np.asarray(prediction.X[:, k]), smooth) for k in range(2)]
    switches, painted, bare = [], [], []
    for number in range(1, 21):
        started = time.perf_counter()
        heatmap.gene = prediction.var_names[number % options.genes]
        switches.append(1e3 * (time.perf_counter() - started))
        QApplication.processEvents()
        painted.append(1e3 * (time.perf_counter() - started))
        _wait(lambda: False, 0.05)
        started = time.perf_counter()
        heatmap.layer.data = images[number % 2]
        QApplication.processEvents()
        bare.append(1e3 * (time.perf_counter() - started))
        _wait(lambda: False, 0.05)
    gaps = _gaps(lambda: False, viewer, options.seconds, True)
    viewer.layers.remove(heatmap.layer)
    return switches, painted, bare, gaps


def drawn_prediction(slide: Any, tiles: int, genes: int) -> Any:
    """A prediction of random numbers on a square of tiles, over tissue that is a disc."""
    from napari_nh2st.inference.settings import PredictSettings
    from napari_nh2st.model.config import untrained_config
    from napari_nh2st.prediction.new import new_prediction
    from napari_nh2st.prediction.tissue_cells import tissue_cells
    from napari_nh2st.tiles import TileGrid, TissueMask

    side = round(math.sqrt(tiles))
    array = np.stack(np.meshgrid(range(side), range(side), indexing="ij"), -1).reshape(-1, 2)
    step = (slide.shape[0] / side, slide.shape[1] / side)
    pitch = step[0] * slide.mpp[0]
    grid = TileGrid(array, (array + 0.5) * step, step, pitch, step, "square", (side, side))
    panel = tuple(f"gene-{number}" for number in range(genes))
    config = untrained_config("random", panel)
    y, x = np.ogrid[-1:1:1000j, -1:1:1000j]
    mask = TissueMask(np.hypot(y, x) < 1, (slide.shape[0] / 1000, slide.shape[1] / 1000))
    cells = tissue_cells(slide, grid, mask)
    prediction = new_prediction(
        slide, grid, config, panel, PredictSettings().to_json(), cells=cells
    )
    random = np.random.default_rng(0)
    prediction.X[:] = random.normal(size=prediction.shape).astype(np.float32)
    return prediction


def _wait(done: Callable[[], bool], seconds: float = LONGEST_S) -> None:
    from qtpy.QtWidgets import QApplication

    end = time.perf_counter() + seconds
    while not done() and time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.0005)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("interactive.json"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fine-step-um", type=float, default=12.5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of panning alone")
    parser.add_argument("--tiles", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--genes", type=int, default=250)
    return parser.parse_args()


if __name__ == "__main__":
    main()
