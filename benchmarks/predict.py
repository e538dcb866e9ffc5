"""Measures reading, predicting and memory on slides it makes; see README.md.

Usage: ``python benchmarks/predict.py [-o results.json] [--side 16384] [--tiles 128]``
"""

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import torch

from architectures import architecture_rows
from measuring import Result, in_turns, ratios
from memory import in_own_process
from predicting import (
    TEN_ENCODINGS,
    bare,
    cpu_precisions,
    end_to_end,
    predictors,
)
from reading import BULK, RAW, readers
from repeated_slide import write_repeated_slide

_SMALL_SIDE = 4096
_TILE_MPX = 224 * 224 / 1e6
_JOBS = {
    "predict(), every 4th tile": "predict",
    "predict(), all tiles, no network": "read",
}


@dataclass
class Comparison:
    """A figure that is wanted to be at least, or at most, some number: its median over rounds.

    Rounds on both sides of what is wanted decide nothing.
    """

    what: str
    rounds: Sequence[float]
    wanted: float
    at_most: bool = False

    @property
    def measured(self) -> float:
        """The median."""
        return median(self.rounds)

    @property
    def verdict(self) -> str:
        """Whether it is reached in every round, in none, or in some."""
        reached = {(r <= self.wanted) if self.at_most else (r >= self.wanted) for r in self.rounds}
        return {(True,): "yes", (False,): "NO"}.get(tuple(reached), "undecided")

    def __str__(self) -> str:
        bound = f"{'≤' if self.at_most else '≥'} {self.wanted:g}"
        spread = f"{min(self.rounds):.2f} to {max(self.rounds):.2f}"
        return f"{self.what:<56}{self.measured:>8.2f}{spread:>18}{bound:>8} {self.verdict}"


Part = Callable[[argparse.Namespace, Path], tuple[Any, list[Comparison]]]
"""Measures, prints its table, and gives what goes into the JSON and what was wanted."""


def main() -> None:
    """Measure, print the tables and write them as JSON."""
    options = _options()
    report: dict[str, Any] = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "torch_threads": torch.get_num_threads(),
        "best_precision": cpu_precisions()[-1],
        "versions": {name: metadata.version(name) for name in ("napari-nh2st", "torch", "numpy")},
        "options": vars(options) | {"output": str(options.output)},
        "load_average_before": _load(),
    }
    comparisons: list[Comparison] = []
    with tempfile.TemporaryDirectory(prefix="nh2st-benchmark-") as folder:
        slide = Path(folder) / "slide.tiff"
        write_repeated_slide(slide, options.side)
        for name in options.parts:
            part = _architectures if name == "architectures" else _PARTS[name]
            report[name], wanted = part(options, slide)
            comparisons += wanted
    report["load_average_after"] = _load()
    report["comparisons"] = [
        asdict(comparison) | {"measured": comparison.measured, "verdict": comparison.verdict}
        for comparison in comparisons
    ]

    print(f"\n{'Ratios and bounds':<56}{'median':>8}{'over the rounds':>18}{'wanted':>8}")
    for comparison in comparisons:
        print(comparison)
    print(
        f"\n{report['machine']}; best precision of this CPU: {report['best_precision']}; load "
        f"average {report['load_average_before']:.1f} before, {report['load_average_after']:.1f} "
        "after"
    )
    options.output.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"written to {options.output}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark.json"))
    parser.add_argument("--side", type=int, default=16384, help="of the slide, in pixels")
    parser.add_argument("--huge-side", type=int, default=100_000, help="of the slide to open")
    parser.add_argument("--tiles", type=int, default=128, help="that are predicted")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="that read")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument(
        "--architectures", action="store_true", help="compare the architectures, and nothing else"
    )
    options = parser.parse_args()
    if options.architectures:
        options.parts = ["architectures"]
    return options


def _reading(options: argparse.Namespace, slide: Path) -> tuple[Any, list[Comparison]]:
    _heading(f"Reading {options.side} × {options.side} px", "tiles/s", "Mpx/s")
    with readers(slide, options.threads, 2 * options.tiles) as contestants:
        results = in_turns(contestants, options.rounds)
    for name, result in results.items():
        _line(name, result.rate / _TILE_MPX, result.rate)
    wanted = Comparison("bulk reader : segments decoded", ratios(results, BULK, RAW), 0.6)
    return _as_json(results), [wanted]


def _predicting(options: argparse.Namespace, slide: Path) -> tuple[Any, list[Comparison]]:
    _heading(f"Predicting {options.tiles} tiles of 224 px", "tiles/s", "CPU ms/tile")
    with predictors(slide, options.tiles) as contestants:
        results = in_turns(contestants, options.rounds)
    for name, result in results.items():
        _line(name, result.rate, result.cpu_cost * 1e3)
    before = median(results[end_to_end("float32")].seconds_before)
    print(f"{'before that in predict(): plan, weights, first batch':<58}{before:>10.2f} s")
    wanted = [
        Comparison(
            f"predict(), {precision} : bare network, {precision}",
            ratios(results, end_to_end(precision), bare(precision)),
            0.9,
        )
        for precision in cpu_precisions()
    ]
    best = cpu_precisions()[-1]
    for precision, times in (("float32", 9), (best, 20)):
        beside = " (this CPU's best)" if times == 20 else ""
        measured = ratios(results, end_to_end(precision), TEN_ENCODINGS)
        what = f"predict(), {precision}{beside} : ten encodings"
        wanted.append(Comparison(what, measured, times))
    return _as_json(results), wanted


def _memory(options: argparse.Namespace, slide: Path) -> tuple[Any, list[Comparison]]:
    half, huge = slide.with_name("half.tiff"), slide.with_name("huge.tiff")
    write_repeated_slide(half, options.side // 2)
    write_repeated_slide(huge, options.huge_side, share_tiles=True)
    _heading("Memory of a process", "peak MB", "of it added")
    rows: dict[str, Mapping[str, float]] = {}
    wanted = []
    for what, job in _JOBS.items():
        peaks = []
        for path, side in ((half, options.side // 2), (slide, options.side)):
            row = rows[f"{what}, {side} px"] = in_own_process(job, path)
            _line(f"{what}, {side} px", row["peak_mb"], row["peak_mb"] - row["before_mb"])
            peaks.append(row["peak_mb"])
        wanted.append(Comparison(f"peak at 4 × the area, {what}", [peaks[1] / peaks[0]], 1.1, True))

    opened = [in_own_process("open", huge) for _ in range(options.rounds)]
    row = {key: median(one[key] for one in opened) for key in opened[0]}
    what, added = f"opening {options.huge_side} px", row["peak_mb"] - row["before_mb"]
    rows[what] = row
    _line(what, row["peak_mb"], added)
    seconds = [one["seconds"] for one in opened]
    megabytes = [one["peak_mb"] - one["before_mb"] for one in opened]
    wanted.append(Comparison(f"{what}, seconds", seconds, 1, True))
    wanted.append(Comparison(f"{what}, MB added", megabytes, 150, True))
    return rows, wanted


def _architectures(options: argparse.Namespace, slide: Path) -> tuple[Any, list[Comparison]]:
    small = slide.with_name("small.tiff")
    write_repeated_slide(small, _SMALL_SIDE)
    rows = architecture_rows(small)
    print(f"\n{'Architectures, 64 px, 250 genes':<32}{'tiles/s':>10}{'peak MB':>10}", end="")
    print(f"{'after the encoder, ms/tile':>30}{'MB added':>10}")
    for key, row in rows.items():
        print(f"{key:<32}{row['tiles_per_s']:>10.1f}{row['peak_mb']:>10.0f}", end="")
        print(f"{row['context_ms']:>30.3f}{row['context_mb']:>10.0f}")
    return rows, []


_PARTS: dict[str, Part] = {"reading": _reading, "predicting": _predicting, "memory": _memory}


def _as_json(results: Mapping[str, Result]) -> dict[str, Any]:
    return {name: asdict(result) for name, result in results.items()}


def _heading(title: str, first: str, second: str) -> None:
    print(f"\n{title:<58}{first:>10}{second:>14}", flush=True)


def _line(name: str, first: float, second: float) -> None:
    print(f"{name:<58}{first:>10,.1f}{second:>14,.1f}", flush=True)


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


if __name__ == "__main__":
    main()
