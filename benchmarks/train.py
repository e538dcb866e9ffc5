"""Measures training steps, fine-tuning and their memory on tiles it draws; see README.md.

Usage: ``python benchmarks/train.py [-o results.json] [--rounds 3] [--spots 900]``
"""

import argparse
import json
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from measuring import in_turns, ratios
from predict import Comparison
from training import OURS, TEN_ENCODINGS, Size, in_own_process, step_contestants

Part = Callable[[argparse.Namespace, Size], tuple[Any, list[Comparison]]]
"""Measures, prints its table, and gives what goes into the JSON and what was wanted."""

_MEMORY_STEPS = 2
_PIXELS_OF_ONE_POSITION = 32
"""Side of a tile whose map has one position: its features are as many as after pooling."""


def main() -> None:
    """Measure, print the tables and write them as JSON."""
    options = _options()
    size = Size(options.tile_px, options.dim, options.panel, options.spots)
    report: dict[str, Any] = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "torch_threads": torch.get_num_threads(),
        "versions": {name: metadata.version(name) for name in ("napari-nh2st", "torch", "numpy")},
        "options": vars(options) | {"output": str(options.output)},
        "load_average_before": _load(),
    }
    comparisons: list[Comparison] = []
    for name in options.parts:
        report[name], wanted = _PARTS[name](options, size)
        comparisons += wanted
    report["load_average_after"] = _load()
    report["comparisons"] = [
        asdict(comparison) | {"measured": comparison.measured, "verdict": comparison.verdict}
        for comparison in comparisons
    ]
    if comparisons:
        print(f"\n{'Ratios':<56}{'median':>8}{'over the rounds':>18}{'wanted':>8}")
    for comparison in comparisons:
        print(comparison)
    print(
        f"\n{report['machine']}, {report['torch_threads']} threads of torch, float32; load average "
        f"{report['load_average_before']:.1f} before, {report['load_average_after']:.1f} after"
    )
    options.output.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"written to {options.output}")


def _options() -> argparse.Namespace:
    published = Size()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("training.json"))
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts")
    parser.add_argument("--epochs", type=int, default=3, help="of fine-tuning")
    parser.add_argument("--spots", type=int, default=published.spots, help="to learn from")
    parser.add_argument("--feature-spots", type=int, default=5000, help="with kept features")
    parser.add_argument("--tile-px", type=int, default=published.tile_px, help="side of a tile")
    parser.add_argument("--dim", type=int, default=published.dim, help="width of the network")
    parser.add_argument("--panel", type=int, default=published.panel, help="genes")
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    return parser.parse_args()


def _steps(options: argparse.Namespace, size: Size) -> tuple[Any, list[Comparison]]:
    _heading(f"Training, whole encoder, tiles of {size.tile_px} px", "spots/s", "CPU ms/spot")
    contestants = step_contestants(size)
    in_turns(contestants, 1)  # the first step of each fills the optimizer's memory
    results = in_turns(contestants, options.rounds)
    for name, result in results.items():
        _line(name, result.rate, result.cpu_cost * 1e3)
    wanted = Comparison("each tile once : ten encodings", ratios(results, OURS, TEN_ENCODINGS), 5)
    return {name: asdict(result) for name, result in results.items()}, [wanted]


def _finetuning(options: argparse.Namespace, size: Size) -> tuple[Any, list[Comparison]]:
    _heading(f"Fine-tuning with a frozen encoder, {size.spots} spots", "seconds", "spots/s")
    row = in_own_process("finetuning", size, options.epochs)
    _line("feature maps, once", row["maps"], size.spots / row["maps"])
    _line("feature maps, found", row["found"], size.spots / row["found"])
    _line("an epoch from them", row["epoch"], size.spots / row["epoch"])
    _heading("", "peak MB", "of it added")
    _line("memory of the process", row["peak_mb"], row["peak_mb"] - row["before_mb"])
    return row, [Comparison("feature maps: found : computed", [row["maps"] / row["found"]], 10)]


def _features(options: argparse.Namespace, size: Size) -> tuple[Any, list[Comparison]]:
    spots = options.feature_spots
    _heading(f"An epoch from kept features, {spots} spots", "seconds", "spots/s")
    rows, wanted = {}, []
    for name, job, tile_px in (
        ("linear, 512 features", "linear", _PIXELS_OF_ONE_POSITION),
        ("NH2ST of width 128, maps of 64 px", "finetuning", 2 * _PIXELS_OF_ONE_POSITION),
    ):
        small = replace(size, tile_px=tile_px, dim=min(size.dim, 128), spots=spots)
        row = rows[name] = in_own_process(job, small, options.epochs)
        _line(name, row["epoch"], spots / row["epoch"])
        if job == "linear":
            wanted.append(Comparison(f"a second : an epoch, {name}", [1 / row["epoch"]], 1))
    return rows, wanted


def _memory(_: argparse.Namespace, size: Size) -> tuple[Any, list[Comparison]]:
    _heading("Memory of a process that trains the whole encoder", "peak MB", "of it added")
    rows = {}
    for name, job in ((OURS, "whole"), (TEN_ENCODINGS, "released")):
        row = rows[name] = in_own_process(job, size, _MEMORY_STEPS)
        _line(name, row["peak_mb"], row["peak_mb"] - row["before_mb"])
    return rows, []


_PARTS: dict[str, Part] = {
    "steps": _steps,
    "finetuning": _finetuning,
    "features": _features,
    "memory": _memory,
}


def _heading(title: str, first: str, second: str) -> None:
    print(f"\n{title:<58}{first:>10}{second:>14}", flush=True)


def _line(name: str, first: float, second: float) -> None:
    print(f"{name:<58}{first:>10,.2f}{second:>14,.1f}", flush=True)


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


if __name__ == "__main__":
    main()
