"""Precision that ``"auto"`` stands for on a CPU: timed once, and remembered for the machine.

The processor's instructions say whether it computes in bfloat16. Whether that is faster for a
model also depends on the sizes of its layers, and is timed if a prediction is long enough.
int8 is timed with them, and only offered: whether it is accurate enough differs from slide to
slide, and ``"auto"`` should mean the same for all slides of a study.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from napari_nh2st.errors import InputError
from napari_nh2st.files import whole_output
from napari_nh2st.inference.device import PRECISION_DTYPES, Placement
from napari_nh2st.inference.int8 import can_have_int8, with_encoder
from napari_nh2st.inference.plan import Survey
from napari_nh2st.inference.speed import file_of_machine
from napari_nh2st.model.architecture import Predictor
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.folder import Model
from napari_nh2st.model.int8 import has_int8, int8_encoder
from napari_nh2st.model.prepared import Prepared

FEWEST_TILES = 1000
"""Of the pitch on the slide's tissue, whatever the region and the step: timing costs as much as
some hundred."""

_FASTER = 1.15
"""Times that another precision than the usual one has to be faster: timings vary by less."""

_MUCH_FASTER = 1.3
"""Times that int8 has to be faster to be offered."""

_SECONDS_WORTH_A_NOTICE = 60

_ROUNDS = 3
_SECONDS_A_PASS = 0.2
"""Of float32: fewer tiles are taken at a time where a model is slow."""


@dataclass(frozen=True)
class EncoderTimes:
    """Seconds that a tile takes the encoder, by precision.

    Parameters
    ----------
    seconds
        Of ``"float32"`` and whatever else was timed.
    """

    seconds: Mapping[str, float]

    def fastest(self, usual: str) -> str:
        """``"float32"`` or ``"bfloat16"``: the usual one, unless the other is clearly faster."""
        exact = {name: s for name, s in self.seconds.items() if name != "int8"}
        best = min(exact, key=lambda name: exact[name])
        return best if exact[best] * _FASTER < exact.get(usual, math.inf) else usual

    def int8_speedup(self, precision: str) -> float | None:
        """Times that int8 is faster than another precision; None where it was not timed."""
        int8, other = self.seconds.get("int8"), self.seconds.get(precision)
        return None if int8 is None or other is None else other / int8


def auto_placements(
    found: Survey, placement: Placement, *, may_time: bool
) -> tuple[tuple[Placement, ...], EncoderTimes | None]:
    """What ``"auto"`` stands for with this model on this machine.

    Parameters
    ----------
    found
        Of the slide.
    placement
        With the precision that the device usually has.
    may_time
        Whether a moment may be taken for timing, where this is not known and the slide is large.

    Returns
    -------
    placements
        What to take, then another in which a run that was stopped may have begun: what is
        remembered can have been deleted since. As given alone where the precision was asked for,
        or the device leaves no choice.
    times
        What was timed; None where that was not done.

    Raises
    ------
    InputError
        There is no tissue.
    """
    if found.settings.precision != "auto":
        return (placement,), None
    if found.given is not None:  # nothing is encoded
        return (placement.with_precision("float32"),), None
    if placement.device.type != "cpu":
        return (placement,), None
    model = found.model
    known = _remembered(model.config, placement)
    if known is None and may_time and len(found.grids.tiles(1)) >= FEWEST_TILES:
        known = time_encoder(model, placement)
        _remember(model.config, placement, known)
        # Of two processes that timed it at once, both go by what was written last.
        known = _remembered(model.config, placement) or known
    usual = placement.precision
    first = usual if known is None else known.fastest(usual)
    names = dict.fromkeys([first, usual, "float32"])
    return tuple(placement.with_precision(name) for name in names), known


def int8_offer(times: EncoderTimes | None, precision: str, seconds: float | None) -> str | None:
    """A sentence that offers int8 where it would save minutes; None elsewhere.

    Parameters
    ----------
    times
        Of this machine.
    precision
        That is taken.
    seconds
        That the prediction is to take.
    """
    speedup = None if times is None else times.int8_speedup(precision)
    if speedup is None or speedup < _MUCH_FASTER or seconds is None:
        return None
    if seconds * (1 - 1 / speedup) < _SECONDS_WORTH_A_NOTICE:
        return None
    return (
        f"Precision int8 would encode tiles {speedup:.1f} times as fast as {precision} on this "
        "machine. It is used only if you ask for it and every gene keeps a correlation of 0.999 "
        "with float32 on tiles of the slide."
    )


def time_encoder(model: Model, placement: Placement) -> EncoderTimes:
    """Time a model's encoder in float32, in a placement's precision and, where it has it, in int8.

    bfloat16 is not timed where the processor emulates it, several times slower.
    """
    columns = range(len(model.config.panel))
    predictors = {
        name: model.architecture.prepare(
            model.network, columns, placement.device, PRECISION_DTYPES[name], None
        )
        for name in dict.fromkeys(["float32", placement.precision])
    }
    exact = predictors["float32"]
    side = model.config.tile_px
    shape = placement.batch_size, side, side, 3
    tiles = torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    if isinstance(exact, Prepared) and has_int8() and can_have_int8(model.config):
        with suppress(Exception):  # an encoder that torch cannot trace is not offered in int8
            encoder = int8_encoder(exact.encoder, tiles[:2])
            predictors["int8"] = with_encoder(exact, encoder)
    timed = {name: partial(_encode, each, tiles) for name, each in predictors.items()}
    return EncoderTimes(seconds_a_tile(timed, len(tiles)))


def _encode(predictor: Predictor, tiles: torch.Tensor, count: int) -> object:
    return predictor.encode(tiles[:count])


def seconds_a_tile(
    encode: Mapping[str, Callable[[int], object]],
    most: int,
    clock: Callable[[], float] | None = None,
) -> dict[str, float]:
    """Time what encodes some tiles, in turns, so that other load hits all alike.

    Parameters
    ----------
    encode
        Takes a number of tiles, by precision; with ``"float32"``.
    most
        Tiles at a time; fewer where one takes long.
    clock
        Seconds; that of the machine by default.

    Returns
    -------
    dict
        The least seconds a tile of each.
    """
    now = clock or time.perf_counter

    def timed(each: Callable[[int], object], count: int) -> float:
        began = now()
        each(count)
        return now() - began

    encode["float32"](1)
    one = timed(encode["float32"], 1)
    count = max(1, min(most, int(_SECONDS_A_PASS / max(one, 1e-9))))
    for each in encode.values():  # the first call makes buffers and kernels
        each(count)
    rounds = [[timed(each, count) for each in encode.values()] for _ in range(_ROUNDS)]
    return {
        name: min(times) / count
        for name, times in zip(encode, zip(*rounds, strict=True), strict=True)
    }


def _remembered(config: ModelConfig, placement: Placement) -> EncoderTimes | None:
    """What was timed before; None where that was never, or cannot be read."""
    try:
        content = json.loads(_file(config, placement).read_text("utf-8"))["seconds_a_tile"]
        seconds = {str(name): float(value) for name, value in content.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    is_whole = "float32" in seconds and seconds.keys() <= {"float32", "bfloat16", "int8"}
    if not is_whole or not all(0 < value < math.inf for value in seconds.values()):
        return None
    return EncoderTimes(seconds)


def _remember(config: ModelConfig, placement: Placement, times: EncoderTimes) -> None:
    """Keep it; where it cannot be written, nothing is kept."""
    with suppress(InputError, OSError), whole_output(_file(config, placement)) as draft:
        text = json.dumps({"seconds_a_tile": dict(times.seconds)}, indent=1)
        draft.write_text(text + "\n", "utf-8")


def _file(config: ModelConfig, placement: Placement) -> Path:
    return file_of_machine(
        "calibrations",
        config,
        torch.__version__,
        torch.get_num_threads(),
        torch.backends.cpu.get_cpu_capability(),
        placement.batch_size,
    )
