"""Compares tiles per second and memory with other readers and tools; see docs/benchmarks.md.

Usage: ``python benchmarks/peers.py [-o peers.json] [--side 8192] [--rounds 3] [--rows ours ...]``

Each row runs in an environment of its own, which is built with pip under a cache folder the first
time (some gigabytes; ours is the one that runs this). What does not install is named and left out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from statistics import median

import psutil

from napari_nh2st.cache import cache_folder
from napari_nh2st.thread_waits import short_waits
from predict import _load
from repeated_slide import write_repeated_slide

_HERE = Path(__file__).parent
_TORCH = "torch==2.13.0"
_ROWS: dict[str, tuple[str, ...] | None] = {
    "ours": None,
    "ours_float32": None,
    "ours_int8": None,
    "bare": None,
    "openslide": (_TORCH, "openslide-python", "openslide-bin"),
    "tiffslide": (_TORCH, "tiffslide"),
    "fastslide": (_TORCH, "fastslide"),
    "lazyslide": (_TORCH, "lazyslide"),  # its torchvision is for CUDA: see peer_rows.py
}
"""Packages of each row's environment; None for this one."""

_WANTED = 1.5
"""Times the best peer's tiles per second."""

_BUILD_S = 900
_RUN_S = 900
_MB = 2**20


def main() -> None:
    """Build what is missing, measure in turns, print the table and write it as JSON."""
    options = _options()
    pythons = {}
    for name in options.rows:
        python = _environment(name, options.environments)
        if python is not None:
            pythons[name] = python
    results: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    before = _load()
    with tempfile.TemporaryDirectory(prefix="nh2st-benchmark-") as folder:
        slide = Path(folder) / "slide.tiff"
        write_repeated_slide(slide, options.side)
        for number in range(options.rounds):
            for name, python in pythons.items():
                row = _run(name, python, slide, options.tiles)
                if row is not None:
                    results[name].append(row)
                    print(f"round {number + 1}: {name}, {row['rate']:.1f} tiles/s", flush=True)
    print(f"\n{'':<14}{'tiles/s':>10}{'peak MB':>10}{'ours : it':>11}   over the rounds")
    for name, rows in results.items():
        if rows:
            rate, peak = median(r["rate"] for r in rows), median(r["peak_mb"] for r in rows)
            pairs = zip(results.get("ours", []), rows, strict=False)
            ratios = [ours["rate"] / row["rate"] for ours, row in pairs] or [float("nan")]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            print(f"{name:<14}{rate:>10.1f}{peak:>10,.0f}{median(ratios):>11.2f}   {spread}")
    _print_wanted(results)
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": os.cpu_count(),
        "load_average": [before, _load()],
        "tiles": options.tiles,
        "side": options.side,
    }
    print(f"\n{about}")
    text = json.dumps(about | {"rows": results}, indent=1)
    options.output.write_text(text + "\n", "utf-8")
    print(f"written to {options.output}")


def _print_wanted(results: dict[str, list[dict[str, float]]]) -> None:
    """Ratios of each of ours to the best peer of the same round."""
    peers = [rows for name, rows in results.items() if not name.startswith(("ours", "bare"))]
    for name, rows in results.items():
        if name.startswith("ours") and rows and any(peers):
            best = [
                max(r["rate"] for r in each) for each in zip(*filter(None, peers), strict=False)
            ]
            ratios = [r["rate"] / b for r, b in zip(rows, best, strict=False)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            print(f"{name} : best peer {median(ratios):.2f} ({spread}), wanted ≥ {_WANTED}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("peers.json"))
    parser.add_argument("--side", type=int, default=8192, help="of the slide, in pixels (8192)")
    parser.add_argument("--tiles", type=int, default=640, help="of 224 px, in a round (640)")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median counts (3)")
    parser.add_argument("--rows", nargs="+", choices=_ROWS, default=list(_ROWS))
    parser.add_argument("--environments", type=Path, default=cache_folder("benchmark-peers"))
    return parser.parse_args()


def _environment(name: str, folder: Path) -> str | None:
    """The Python of a row, after its environment was built; None where that fails."""
    packages = _ROWS[name]
    if packages is None:
        return sys.executable
    home = folder / name
    python, built = home / "bin" / "python", home / "built"
    if not built.exists():
        print(f"{name}: building {home}", flush=True)
        try:
            venv.create(home, with_pip=True, clear=True)
            command = [str(python), "-m", "pip", "install", "-q", *packages]
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_BUILD_S)
        except subprocess.SubprocessError as error:
            said = getattr(error, "stderr", None) or str(error)
            print(f"{name}: does not install here: {str(said).strip().splitlines()[-1]}")
            return None
        built.touch()
    return str(python)


def _run(name: str, python: str, slide: Path, tiles: int) -> dict[str, float] | None:
    """One round of one row: tiles per second, and the most memory of its processes together."""
    command = [python, str(_HERE / "peer_rows.py"), name, str(slide), str(tiles)]
    environment = os.environ | short_waits()  # as in the command, and for all alike
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = psutil.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment
        )
        ends, peak = time.monotonic() + _RUN_S, 0
        while process.poll() is None and time.monotonic() < ends:
            peak = max(peak, _memory(process))
            time.sleep(0.2)
        if process.poll() is None:
            for each in (*process.children(recursive=True), process):
                each.kill()
        output, _ = process.communicate()
        if process.returncode:
            said.seek(0)
            lines = said.read().strip().splitlines() or ["it took too long"]
            print(f"{name}: {lines[-1]}", flush=True)
            return None
    return {"rate": float(output.split()[-1]), "peak_mb": peak / _MB}


def _memory(process: psutil.Process) -> int:
    """Bytes of a process and its children, what they share counted once where that is known."""
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            full = each.memory_full_info()
            total += getattr(full, "pss", full.rss)
        except psutil.Error:  # it has ended
            pass
    return total


if __name__ == "__main__":
    main()
