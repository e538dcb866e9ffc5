"""Speed of predictions on this machine, remembered from run to run."""

import hashlib
import json
import math
import os
import platform
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_nh2st.cache import cache_folder
from napari_nh2st.errors import InputError
from napari_nh2st.files import whole_output
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.model.config import ModelConfig

_LIMITS = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "SLURM_CPUS_PER_TASK")
"""Variables that say how much of a machine a process may use."""


class SpeedMeter:
    """Measures tiles per second over the batches of a run, its first left out.

    The first batch waits for the slide's first segments and warms the device up.

    Attributes
    ----------
    batches
        Number of batches so far.
    """

    def __init__(self) -> None:
        self.batches = 0
        self._tiles = 0
        self._began = self._latest = math.nan

    def note(self, n_tiles: int) -> None:
        """Count a batch that was just read and encoded."""
        self._latest = time.perf_counter()
        if self.batches:
            self._tiles += n_tiles
        else:
            self._began = self._latest
        self.batches += 1

    @property
    def tiles_per_s(self) -> float | None:
        """Tiles per second; None before the second batch."""
        return self._tiles / (self._latest - self._began) if self._tiles else None


def known_speed(config: ModelConfig, settings: PredictSettings) -> float | None:
    """Tiles per second of the latest run of such a model on this machine; None if there was none.

    Parameters
    ----------
    config
        Models of the same architecture, size and tile count as the same.
    settings
        Device, precision and batch size as they were asked for: what ``"auto"`` stands for is not
        found out, which would need torch, but the machine's name and its limits count.
    """
    try:
        speed = float(json.loads(_file(config, settings).read_text("utf-8"))["tiles_per_s"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return speed if math.isfinite(speed) and speed > 0 else None


def remember_speed(config: ModelConfig, settings: PredictSettings, tiles_per_s: float) -> None:
    """Keep a speed for the next run; where it cannot be written, nothing is kept."""
    with suppress(InputError, OSError), whole_output(_file(config, settings)) as draft:
        draft.write_text(json.dumps({"tiles_per_s": tiles_per_s}) + "\n", "utf-8")


def file_of_machine(kind: str, config: ModelConfig, *others: Any) -> Path:
    """A file in the cache for this machine and models of one shape; it need not be there.

    Parameters
    ----------
    kind
        Folder in the cache.
    config
        Of the model.
    others
        What else the content depends on, as JSON has it.
    """
    key = [
        platform.node(),
        os.cpu_count(),
        [os.environ.get(name) for name in _LIMITS],
        *others,
        config.architecture,
        dict(config.hyperparameters),
        config.tile_px,
        *([] if config.encoder is None else [config.encoder["sha256"]]),
    ]
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return cache_folder(kind) / f"{digest[:32]}.json"


def _file(config: ModelConfig, settings: PredictSettings) -> Path:
    how = settings.device, settings.precision, settings.batch_size
    return file_of_machine("speeds", config, *how)
