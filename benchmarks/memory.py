"""Memory of one job in a process of its own; run by predict.py, which reads what it prints.

Usage: ``python memory.py open|predict|read SLIDE``
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MB = 2**20
_PITCH_TILES = 4


def in_own_process(job: str, slide: Path) -> dict[str, float]:
    """Run a job on a slide: its seconds, MB before it, and MB at most while it ran."""
    command = [sys.executable, __file__, job, str(slide)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _main(job: str, path: Path) -> None:
    import psutil

    from napari_nh2st.slide import open_slide

    if job != "open":
        from predicting import benchmark_model

        model = benchmark_model()
        slide = open_slide(path)
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    if job == "open":
        slide = open_slide(path)
    else:
        _predict(slide, model, network=job == "predict")
    seconds = time.perf_counter() - started
    slide.close()
    print(json.dumps({"seconds": seconds, "before_mb": before / MB, "peak_mb": peak() / MB}))


def _predict(slide: Any, model: Any, network: bool) -> None:
    """Predict the whole slide: every fourth tile along each axis, or all with a free network."""
    from dataclasses import replace

    from napari_nh2st.inference import PredictSettings, predict

    pitch_um = model.config.tile_um
    if network:
        pitch_um *= _PITCH_TILES
    else:
        architecture = replace(model.architecture, prepare=lambda _, genes, *__: _Mean(len(genes)))
        type(model).architecture = property(lambda _: architecture)
    settings = PredictSettings(pitch_um=pitch_um, tissue_only=network, device="cpu")
    predict(slide, model, settings)


class _Mean:
    """Stands in for the network: every gene is the tile's mean."""

    reach = "tile"

    def __init__(self, n_genes: int) -> None:
        self._n_genes = n_genes

    def encode(self, tiles: Any) -> Any:
        return (tiles.float().mean((1, 2, 3))[:, None].repeat(1, self._n_genes),)


def peak() -> int:
    """Largest resident memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux its maximum starts with that of the process that started this.
        line = next(
            line
            for line in status.read_text(encoding="utf-8").splitlines()
            if line.startswith("VmHWM")
        )
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
