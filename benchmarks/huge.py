"""Memory and time of a slide of 100,000 × 100,000 px; see README.md.

Usage: ``python benchmarks/huge.py [-o huge.json] [--side 100000] [--predicted 20000]``
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from predict import Comparison
from repeated_slide import write_repeated_slide

MB = 2**20
_STEP_UM = 50
_BATCH = 64
_SAMPLE_S = 0.05


def main() -> None:
    """Measure, print the table and write it as JSON."""
    options = _options()
    if options.job:
        print("\n" + json.dumps(_JOBS[options.job](options)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        options.folder = Path(folder)
        write_repeated_slide(options.folder / "huge.tiff", options.side, share_tiles=True)
        jobs = {job: _in_own_process(job, options) for job in _JOBS}
    tiles = jobs["predict"]["tiles"]
    print(f"\n{options.side:,} px, {tiles:,} tiles × {options.genes} genes")
    print(f"{'':<12}{'peak MB':>10}{'seconds':>10}  of which")
    for job, found in jobs.items():
        parts = ", ".join(f"{what} {s:.1f}" for what, s in found["parts"].items())
        print(f"{job:<12}{found['peak_mb']:>10,.0f}{found['seconds']:>10,.1f}  {parts}")
    viewer = jobs["view"]
    wanted = [
        Comparison("peak of predicting, MB", [jobs["predict"]["peak_mb"]], 2048, True),
        Comparison("peak of the viewer, MB", [viewer["peak_mb"]], 2048, True),
        Comparison("the viewer opens the result, s", viewer["open_s"], 2, True),
        Comparison("the same, CPU s of all threads", viewer["open_cpu_s"], 2, True),
        Comparison("switch the gene, ms", viewer["switch_ms"], 50, True),
        Comparison("the same, and what Qt paints, ms", viewer["painted_ms"], 50, True),
    ]
    print(f"\n{'':<56}{'median':>8}{'over the rounds':>18}{'wanted':>8}")
    for comparison in wanted:
        print(comparison)
    report = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "side": options.side,
        "jobs": jobs,
        "comparisons": [
            {"what": c.what, "rounds": list(c.rounds), "wanted": c.wanted, "verdict": c.verdict}
            for c in wanted
        ],
    }
    options.output.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"written to {options.output}")


def _in_own_process(job: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run a job; what it says, with the largest memory of its process and those below it."""
    command = [sys.executable, __file__, "--job", job, "--folder", str(options.folder)]
    for name in ("side", "predicted", "genes", "rounds"):
        command += [f"--{name}", str(getattr(options, name))]
    started, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said)
        while process.poll() is None:
            peak = max(peak, _memory_of_tree(process.pid))
            time.sleep(_SAMPLE_S)
        if process.returncode:
            raise SystemExit(f"{job} ended with {process.returncode}")
        seconds = time.perf_counter() - started
        said.seek(0)
        found: dict[str, Any] = json.loads(said.read().splitlines()[-1])
    return {"peak_mb": peak / MB, "seconds": seconds, "parts": {}} | found


def _memory_of_tree(pid: int) -> int:
    """Bytes of a process and those that it started; what they share counts once where known."""
    total = 0
    try:
        tree = psutil.Process(pid)
        for process in (tree, *tree.children(recursive=True)):
            found = process.memory_full_info()
            total += getattr(found, "pss", found.rss)
    except psutil.Error:
        pass
    return total


class _Parts:
    """Seconds of the parts of a job."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    def done(self, what: str) -> float:
        now = time.perf_counter()
        seconds = self.seconds[what] = now - self._began
        self._began = now
        return seconds


# --- jobs ---


def _model(genes: int) -> Any:
    """A network of the published architecture on small tiles: it reads coarse pixels, fast."""
    from napari_nh2st.model.config import untrained_config
    from napari_nh2st.model.folder import new_model

    config = untrained_config("small", tuple(f"GENE{number}" for number in range(genes)))
    sizes = {"context": "neighborhood", "dim": 32, "hidden": 32, "hypergraph_hidden": 32}
    hyperparameters = dict(config.hyperparameters) | sizes
    config = replace(
        config, tile_px=32, mpp=8.0, pitch_um=float(_STEP_UM), hyperparameters=hyperparameters
    )
    return new_model(config, seed=0)


def _settings() -> Any:
    from napari_nh2st.inference import PredictSettings

    return PredictSettings(step_um=_STEP_UM, batch_size=_BATCH, device="cpu", precision="float32")


def _output(options: argparse.Namespace) -> Path:
    return Path(options.folder) / "huge.h5ad"


def _fill(options: argparse.Namespace) -> dict[str, Any]:
    """Write random values of all but some tiles into the run's store, as if it had been stopped."""
    from napari_nh2st.inference.plan import plan_prediction, survey
    from napari_nh2st.inference.store import ResultStore, store_beside
    from napari_nh2st.slide import open_slide

    parts = _Parts()
    model = _model(options.genes)
    with open_slide(options.folder / "huge.tiff") as slide:
        plan = plan_prediction(survey(slide, model, _settings()), 1)
        parts.done("plan")
        identity = plan.identity_in("float32")
        store = ResultStore(store_beside(_output(options), identity), identity, options.genes)
        place = plan.grid.array[:, 0] * plan.grid.array_shape[1] + plan.grid.array[:, 1]
        random = np.random.default_rng(0)
        left = place[: max(len(place) - options.predicted, 0)]
        for block in np.array_split(left, max(1, len(left) // 4096)):
            values = random.normal(size=(len(block), options.genes)).astype(np.float32)
            store.append(block, values)
        store.flush()
        store.close()
    parts.done("store")
    return {"parts": parts.seconds, "tiles": len(place)}


def _predict(options: argparse.Namespace) -> dict[str, Any]:
    """Go on from there: the rest is read and computed, and the output written."""
    from napari_nh2st.inference import Finished, Started, TilesDone, predict_events
    from napari_nh2st.slide import open_slide

    parts = _Parts()
    model = _model(options.genes)
    with open_slide(options.folder / "huge.tiff") as slide:
        for event in predict_events(slide, model, _settings(), output=_output(options)):
            if isinstance(event, Started):
                parts.done("tissue, plan and stored tiles")
            elif isinstance(event, TilesDone) and event.done == event.total:
                seconds = parts.done(f"{options.predicted:,} tiles")
            elif isinstance(event, Finished):
                parts.done("output")
        tiles = event.prediction.n_obs
    rate = options.predicted / seconds
    return {"parts": parts.seconds, "tiles": tiles, "tiles_per_s": rate}


def _view(options: argparse.Namespace) -> dict[str, Any]:
    """Open the output in napari, and switch its genes."""
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_nh2st.session import Session

    parts, opened, cpu = _Parts(), [], []
    viewer = napari.Viewer()
    QApplication.processEvents()
    parts.done("napari's window")
    for _ in range(options.rounds):
        viewer.layers.clear()
        started, busy = time.perf_counter(), time.process_time()
        viewer.open(_output(options), plugin="napari-nh2st")
        viewer.screenshot(canvas_only=True, flash=False)
        opened.append(time.perf_counter() - started)
        cpu.append(time.process_time() - busy)
    parts.done(f"opened {options.rounds} times")
    heatmap = Session.of(viewer).heatmap_of(viewer.layers[-1])
    switches, painted = [], []
    for gene in heatmap.prediction.var_names[-20:]:
        started = time.perf_counter()
        heatmap.gene = gene
        switches.append(1e3 * (time.perf_counter() - started))
        QApplication.processEvents()
        painted.append(1e3 * (time.perf_counter() - started))
    viewer.close()
    return {
        "parts": parts.seconds,
        "open_s": opened,
        "open_cpu_s": cpu,
        "switch_ms": switches,
        "painted_ms": painted,
    }


_JOBS = {"fill": _fill, "predict": _predict, "view": _view}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("huge.json"))
    parser.add_argument("--side", type=int, default=100_000, help="of the slide, in pixels")
    parser.add_argument("--genes", type=int, default=250)
    parser.add_argument("--predicted", type=int, default=20_000, help="tiles that are computed")
    parser.add_argument("--rounds", type=int, default=3, help="of opening")
    parser.add_argument("--folder", type=Path, help="for the slide and the results, some 3 GB")
    parser.add_argument("--job", choices=list(_JOBS), help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
