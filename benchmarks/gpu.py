"""Measures reading, encoding, predicting and training on a GPU; see docs/benchmarks.md.

Usage: ``python benchmarks/gpu.py [-o gpu.json] [--device cuda] [--quick] [--parts reading ...]``

Each part is a process of its own with a time of its own: what fails or hangs in one does not cost
the others. The JSON is written anew after every row.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from napari_nh2st.thread_waits import short_waits
from predict import _load
from repeated_slide import write_repeated_slide

_HERE = Path(__file__).parent
_SECONDS = {
    "reading": 60,
    "encoders": 100,
    "predicting": 200,
    "training": 60,
    "agreement": 90,
    "shortage": 45,
    "compiling": 90,
}
"""What a part may take, at most."""

_ENCODER_RATE = 15_000
_OF_THE_SLOWER = 0.8
_BUSY = 0.8


def main() -> None:
    """Measure, print the table and write it as JSON."""
    options = _options()
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "options": vars(options) | {"output": str(options.output)},
        "load_average_before": _load(),
        "rows": [],
    }
    ends = time.monotonic() + 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="nh2st-benchmark-") as folder:
        side = options.side or (1024 if options.quick else 32768)
        small = min(side, 2048)
        write_repeated_slide(Path(folder) / "jpeg.tiff", side)
        write_repeated_slide(
            Path(folder) / "jpeg2000.tiff", max(side // 2, small), codec="jpeg2000"
        )
        write_repeated_slide(Path(folder) / "small.tiff", small)
        large = side if options.quick else 2 * side
        write_repeated_slide(Path(folder) / "large.tiff", large, share_tiles=True)
        for part in options.parts:
            # A trial may be on a busy machine.
            most = _SECONDS[part] * (2 if options.quick else 1)
            _measure(part, options, folder, min(most, ends - time.monotonic()), report)
    report["load_average_after"] = _load()
    _add_wanted(report["rows"])
    _print_table(report)
    _save(report, options.output)
    print(f"written to {options.output}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu to try the script")
    parser.add_argument("--quick", action="store_true", help="small slides and short rounds")
    parser.add_argument("--side", type=int, help="of the JPEG slide, in pixels (32768; quick 1024)")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts (9)")
    parser.add_argument("--parts", nargs="+", choices=_SECONDS, default=list(_SECONDS))
    return parser.parse_args()


def _measure(
    part: str, options: argparse.Namespace, folder: str, seconds: float, report: dict[str, Any]
) -> None:
    """Run one part, and note its rows as they come."""
    print(f"\n{part}", flush=True)
    if seconds < 10:
        _note(report, options, {"part": part, "name": part, "error": "no time was left for it"})
        return
    given = {"device": options.device, "quick": options.quick, "folder": folder}
    command = [sys.executable, str(_HERE / "gpu_parts.py"), part, json.dumps(given)]
    started = time.monotonic()
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | short_waits(),  # as in the command
        ) as process,
    ):
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                _note(report, options, {"part": part} | json.loads(line))
        timer.cancel()
        if process.wait():
            errors.seek(0)
            late = time.monotonic() - started >= seconds
            why = f"stopped after {seconds:.0f} s" if late else errors.read()[-1500:].strip()
            _note(report, options, {"part": part, "name": part, "error": why})
    print(f"  ({time.monotonic() - started:.0f} s)", flush=True)


def _note(report: dict[str, Any], options: argparse.Namespace, row: dict[str, Any]) -> None:
    report["rows"].append(row)
    print("  " + _as_text(row), flush=True)
    _save(report, options.output)


def _save(report: dict[str, Any], path: Path) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")
    draft.replace(path)


def _as_text(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['name']:<62} FAILED: {row['error']}"
    value = row["value"]
    if isinstance(value, str):
        return f"{row['name']:<62} {value}"
    shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{row['name']:<62}{shown:>10} {row['unit']:<9}{_verdict(row)}"


def _verdict(row: dict[str, Any]) -> str:
    wanted = row.get("wanted")
    if wanted is None:
        return ""
    at_most = row.get("at_most", False)
    reached = row["value"] <= wanted if at_most else row["value"] >= wanted
    return f"{'≤' if at_most else '≥'} {wanted:,.4g} {'yes' if reached else 'NO'}"


def _add_wanted(rows: list[dict[str, Any]]) -> None:
    """Give the rows on which another's bound depends theirs."""
    values = {row["name"]: row["value"] for row in rows if "value" in row}

    def best(start: str) -> float:
        found = [v for n, v in values.items() if n.startswith(start) and not isinstance(v, str)]
        return max(found, default=0.0)

    encoder = max(best("bare ResNet-18"), best("our encoder, query"))
    reader = best("bulk reader, jpeg, ")
    for row in rows:
        if "value" not in row:
            continue
        if row["name"].startswith("our encoder, query"):
            row["wanted"] = _ENCODER_RATE
        elif row["name"] == "predict(), query, jpeg" and encoder and reader:
            row["wanted"] = _OF_THE_SLOWER * min(encoder, reader)
        elif row["name"] == "GPU busy, predict(), query, jpeg" and reader > encoder:
            row["wanted"] = _BUSY


def _print_table(report: dict[str, Any]) -> None:
    print(f"\n{'All rows':<62}{'':>10} {'':<9}wanted")
    for row in report["rows"]:
        print(_as_text(row))
    print(
        f"\n{report['date']}, {report['machine']}; load average "
        f"{report['load_average_before']:.1f} before, {report['load_average_after']:.1f} after"
    )


if __name__ == "__main__":
    main()
