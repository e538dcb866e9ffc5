"""Speed and memory of one architecture at prediction; run by predict.py in a process of its own.

Usage: ``python architectures.py ARCHITECTURE SLIDE``
"""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from memory import MB, peak

_TILE_PX, _PANEL_SIZE = 64, 250
_ROWS = 10_000
"""Tiles on which what follows the encoder is timed alone."""


def architecture_rows(slide: Path) -> dict[str, dict[str, float]]:
    """By architecture, NH2ST with its neighborhood: see :func:`_main`."""
    from napari_nh2st.model.catalogue import CATALOGUE

    rows = {}
    for key in CATALOGUE:
        command = [sys.executable, __file__, key, str(slide)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows[key] = json.loads(done.stdout)
    return rows


def _main(key: str, path: Path) -> None:
    """Print tiles/s and peak MB of a whole prediction; CPU ms of what follows the encoder, a tile,
    and MB that it adds.
    """
    import numpy as np
    import torch

    from napari_nh2st.inference import PredictSettings, predict
    from napari_nh2st.inference.gathering import NeighborhoodGatherer
    from napari_nh2st.model.architectures import ARCHITECTURES
    from napari_nh2st.model.config import untrained_config
    from napari_nh2st.model.folder import new_model
    from napari_nh2st.slide import open_slide
    from napari_nh2st.tiles import neighborhoods

    panel = tuple(f"GENE{number}" for number in range(_PANEL_SIZE))
    shape = {"context": "neighborhood"} if key == "nh2st" else {}
    config = untrained_config("benchmark", panel)
    size = 1 + getattr(ARCHITECTURES[key].hyperparameters, "neighbors", 8)
    config = replace(
        config,
        architecture=key,
        hyperparameters=shape,
        neighborhood={**config.neighborhood, "size": size},
        tile_px=_TILE_PX,
    )
    model = new_model(config, seed=0)
    with open_slide(path) as slide:
        settings = PredictSettings(tissue_only=False, step_um=config.pitch_um, device="cpu")
        started = time.perf_counter()
        prediction = predict(slide, model, settings)
        rate = prediction.n_obs / (time.perf_counter() - started)
    whole_mb = peak() / MB

    cpu = torch.device("cpu")
    predictor = model.architecture.prepare(
        model.network, range(_PANEL_SIZE), cpu, torch.float32, None
    )
    noise = torch.randint(0, 256, (64, _TILE_PX, _TILE_PX, 3), dtype=torch.uint8)
    encoded = tuple(
        each.repeat(-(-_ROWS // 64), *[1] * (each.ndim - 1))[:_ROWS]
        for each in predictor.encode(noise)
    )
    places = np.stack(np.divmod(np.arange(_ROWS), 100), axis=1).astype(np.float64)
    before, started = peak(), time.process_time()
    if predictor.reach == "slide":
        predictor.combine_slide(encoded[0].half(), torch.from_numpy(places).float())
    elif predictor.reach == "neighborhood":
        every = np.arange(_ROWS)
        positions = config.pitch_um * places if config.needs_offsets else None
        around = neighborhoods(places, size)
        gatherer = NeighborhoodGatherer(predictor, *around, every, 64, positions)
        for batch in np.array_split(every, _ROWS // 64):
            gatherer.add(batch, tuple(each[batch] for each in encoded), np.zeros(len(batch), bool))
    seconds = time.process_time() - started
    result = {
        "tiles_per_s": rate,
        "peak_mb": whole_mb,
        "context_ms": 1e3 * seconds / _ROWS,
        "context_mb": (peak() - before) / MB,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
