"""Measures a cohort with one and with several workers on slides it makes; see README.md.

Usage: ``python benchmarks/cohort.py [-o results.json] [--workers 2] [--slides 6]``
"""

import argparse
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from measuring import Clock, Contestant, in_turns, ratios
from napari_nh2st import PredictSettings, predict_cohort_events
from napari_nh2st.cohort import CohortFinished, CohortSettings, SlideEnded, SlideProgress
from napari_nh2st.model.folder import save_model_folder
from predict import Comparison
from predicting import benchmark_model, cpu_precisions
from repeated_slide import write_repeated_slide

_WANTED = 0.8
"""Of the number of workers, how many times the speed of one."""

_STEP_UM = 112.0
"""Tiles side by side."""


def main() -> None:
    """Measure, print the tables and write them as JSON."""
    options = _options()
    report: dict[str, Any] = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "precision": cpu_precisions()[-1],
        "versions": {
            name: metadata.version(name) for name in ("napari-nh2st", "torch", "distributed")
        },
        "options": vars(options) | {"output": str(options.output)},
        "load_average_before": _load(),
    }
    comparisons: list[Comparison] = []
    with tempfile.TemporaryDirectory(prefix="nh2st-benchmark-") as folder:
        save_model_folder(benchmark_model(), Path(folder) / "model")
        for name in options.parts:
            report[name], wanted = _PARTS[name](options, Path(folder))
            comparisons.append(wanted)
    report["load_average_after"] = _load()
    report["comparisons"] = [
        asdict(comparison) | {"measured": comparison.measured, "verdict": comparison.verdict}
        for comparison in comparisons
    ]
    print(f"\n{'Ratios':<56}{'median':>8}{'over the rounds':>18}{'wanted':>8}")
    for comparison in comparisons:
        print(comparison)
    print(
        f"\n{report['machine']}, one thread a worker, {report['precision']}; load average "
        f"{report['load_average_before']:.1f} before, {report['load_average_after']:.1f} after"
    )
    options.output.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"written to {options.output}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("cohort.json"))
    parser.add_argument("--workers", type=int, default=2, help="that are compared with one")
    parser.add_argument("--slides", type=int, default=6, help="of the cohort")
    parser.add_argument("--side", type=int, default=2048, help="of each, in pixels")
    parser.add_argument("--large-side", type=int, default=8192, help="of the slide in parts")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    return parser.parse_args()


def _many(options: argparse.Namespace, folder: Path) -> tuple[Any, Comparison]:
    slides = folder / "slides"
    slides.mkdir()
    write_repeated_slide(slides / "0.tiff", options.side)
    for number in range(1, options.slides):
        shutil.copyfile(slides / "0.tiff", slides / f"{number}.tiff")
    title = f"{options.slides} slides of {options.side:,} px"
    return _measured(title, options, folder, slides, part_tiles=1_000_000)


def _large(options: argparse.Namespace, folder: Path) -> tuple[Any, Comparison]:
    slides = folder / "large"
    slides.mkdir()
    write_repeated_slide(slides / "large.tiff", options.large_side)
    tiles = (options.large_side // 224) ** 2
    title = f"a slide of {options.large_side:,} px, for several workers in parts"
    return _measured(title, options, folder, slides, part_tiles=-(-tiles // options.workers))


def _measured(
    title: str, options: argparse.Namespace, folder: Path, slides: Path, part_tiles: int
) -> tuple[Any, Comparison]:
    def contestant(workers: int) -> Contestant:
        cohort = CohortSettings(workers=workers, part_tiles=part_tiles)
        return _cohort(slides, folder / "predictions", folder / "model", cohort)

    one, several = "one worker", f"{options.workers} workers"
    contestants = {one: contestant(1), several: contestant(options.workers)}
    results = in_turns(contestants, options.rounds)
    print(f"\n{title:<56}{'tiles/s':>10}{'seconds before':>16}")
    for name, result in results.items():
        print(f"{name:<56}{result.rate:>10.1f}{max(result.seconds_before):>16.1f}")
    wanted = _WANTED * options.workers
    comparison = Comparison(f"{several} : one, {title}"[:56], ratios(results, several, one), wanted)
    return {name: asdict(result) for name, result in results.items()}, comparison


def _cohort(slides: Path, output: Path, model: Path, cohort: CohortSettings) -> Contestant:
    """Predict a cohort anew.

    The clock runs from the first slide that a worker has open to the last that is done: workers
    start and end in the same time for a thousand slides.
    """
    settings = PredictSettings(
        step_um=_STEP_UM, pitch_um=_STEP_UM, tissue_only=False, device="cpu", reader_threads=1
    )

    def contestant(clock: Clock) -> float:
        begun = False
        for event in predict_cohort_events([slides], output, model, settings, cohort):
            if isinstance(event, SlideProgress) and not begun:
                begun = True
                clock.restart()
            if isinstance(event, SlideEnded):
                clock.halt()
            if isinstance(event, CohortFinished):
                assert (event.summary["status"] == "done").all(), event.summary["failure"]
                tiles = float(event.summary["tiles"].sum())
        shutil.rmtree(output)
        return tiles

    return contestant


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


_PARTS: dict[str, Callable[[argparse.Namespace, Path], tuple[Any, Comparison]]] = {
    "many": _many,
    "large": _large,
}

if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # of each worker; this process waits for them
    main()
