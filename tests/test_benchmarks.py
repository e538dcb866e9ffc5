"""The benchmark runs from its command to its files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_nh2st.slide import open_slide

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_benchmark_prints_its_rows_and_writes_them_as_json(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    small = "--side 1024 --tiles 4 --rounds 1 --threads 2 --parts reading predicting"
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "predict.py", *small.split(), "-o", output],
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    report = json.loads(output.read_text("utf-8"))
    for part in ("reading", "predicting"):
        assert len(report[part]) >= 4
        for name, result in report[part].items():
            assert name in done.stdout
            assert len(result["seconds"]) == 1
    assert report["reading"]["bulk reader"]["amounts"] == [1024**2 / 1e6]
    assert len(report["comparisons"]) >= 4


def test_resampling_benchmark_prints_a_row_for_each_size() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "resampling.py", "--tiles", "1", "--rounds", "1"],
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    rows = [line.split() for line in done.stdout.splitlines() if "→" in line]
    assert len(rows) == 5
    for row in rows:
        assert min(map(float, row[3:5])) > 0


def test_training_benchmark_prints_its_rows_and_writes_them_as_json(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    small = (
        "--tile-px 32 --dim 16 --panel 5 --spots 24 --rounds 1 --epochs 1 "
        "--feature-spots 24 --parts steps finetuning features"
    )
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "train.py", *small.split(), "-o", output],
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    report = json.loads(output.read_text("utf-8"))
    assert len(report["steps"]) == 2
    for name, result in report["steps"].items():
        assert name in done.stdout
        assert result["amounts"] == ([8] if "ten encodings" in name else [24])
    assert {"maps", "found", "epoch", "peak_mb"} <= set(report["finetuning"])
    assert len(report["features"]) == 2
    assert all(name in done.stdout for name in report["features"])
    assert report["comparisons"][0]["wanted"] == 5


def test_cohort_benchmark_compares_several_workers_with_one(tmp_path: Path) -> None:
    output = tmp_path / "results.json"
    small = "--slides 2 --side 512 --rounds 1 --parts many"
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "cohort.py", *small.split(), "-o", output],
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    report = json.loads(output.read_text("utf-8"))
    assert report["many"].keys() == {"one worker", "2 workers"}
    for name, result in report["many"].items():
        assert name in done.stdout
        assert result["amounts"] == [2 * 2 * 2]
    assert report["comparisons"][0]["wanted"] == 1.6


@pytest.mark.parametrize("shared", [False, True])
def test_benchmark_slide_repeats_one_region_at_every_level(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from repeated_slide import write_repeated_slide

    path = tmp_path / "slide.tiff"
    write_repeated_slide(path, 1300, share_tiles=shared)
    with open_slide(path) as slide:
        assert [level.shape for level in slide.levels] == [(1300, 1300), (650, 650), (325, 325)]
        assert slide.mpp == pytest.approx((0.5, 0.5))
        for index, period in enumerate((512, 256, 256)):  # at least one JPEG tile
            pixels = slide.levels[index].read(0, 0, *slide.levels[index].shape)
            assert pixels.std() > 5
            np.testing.assert_array_equal(pixels[period:], pixels[:-period])
            np.testing.assert_array_equal(pixels[:, period:], pixels[:, :-period])


def test_benchmark_of_a_gpu_runs_on_the_cpu_and_goes_on_after_a_part_that_fails(
    tmp_path: Path,
) -> None:
    output = tmp_path / "results.json"
    small = "--device cpu --quick --parts reading shortage"
    command = [sys.executable, BENCHMARKS / "gpu.py", *small.split(), "-o", output]
    done = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8")
    rows = {row["name"]: row for row in json.loads(output.read_text("utf-8"))["rows"]}
    assert rows["bulk reader, jpeg, 4 threads"]["value"] > 0
    assert rows["bulk reader, jpeg2000, 1 thread"]["value"] > 0
    assert rows["out of memory"]["value"] == "needs a GPU"
    assert all(name in done.stdout for name in rows)

    command[command.index("cpu")] = "cuda:99"
    subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8")
    rows = {row["name"]: row for row in json.loads(output.read_text("utf-8"))["rows"]}
    assert set(rows) == {"reading", "shortage"}
    assert all("cuda:99" in row["error"] for row in rows.values())
