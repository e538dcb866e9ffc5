"""Compares the resampling of tiles with one product of all weights per tile.

Usage: ``python benchmarks/resampling.py``; see README.md.
"""

import argparse
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from measuring import Clock, in_turns
from napari_nh2st.inference.resample import Resampler
from napari_nh2st.tiles import resampling_weights

_SHAPES = ((448, 224), (300, 224), (452, 64), (154, 64), (77, 64))
"""Sides of a tile on the slide and in the model, in px."""

_REPEATS = 4


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=16, help="tiles of a batch")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)  # several spin while they wait for each other, which counts too
    print("CPU ms per tile, one thread\n")
    print(f"{'px':<12}{'one product':>12}{'Resampler':>11}{'ratio':>8}  range")
    for source, size in _SHAPES:
        print(f"{f'{source} → {size}':<12}{_compared(source, size, options)}", flush=True)


def _compared(source: int, size: int, options: argparse.Namespace) -> str:
    tiles = torch.randint(0, 256, (options.tiles, source, source, 3), dtype=torch.uint8)
    resampler = Resampler((source, source), size, torch.device("cpu"))
    weights = torch.from_numpy(resampling_weights(source, size))

    def ours(clock: Clock) -> float:
        return _repeated(clock, lambda: resampler(tiles), len(tiles))

    def dense(clock: Clock) -> float:
        return _repeated(clock, lambda: _one_product(tiles, weights), len(tiles))

    with torch.inference_mode():
        results = in_turns({"dense": dense, "ours": ours}, options.rounds)
    costs = results["dense"].cpu_seconds, results["ours"].cpu_seconds
    ratios = [before / after for before, after in zip(*costs, strict=True)]
    dense_ms, ours_ms = (1e3 * results[name].cpu_cost for name in ("dense", "ours"))
    spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
    return f"{dense_ms:>12.3f}{ours_ms:>11.3f}{statistics.median(ratios):>8.1f}  {spread}"


def _repeated(clock: Clock, work: Callable[[], Tensor], amount: int) -> float:
    work()
    clock.restart()
    for _ in range(_REPEATS):
        work()
    return float(_REPEATS * amount)


def _one_product(tiles: Tensor, weights: Tensor) -> Tensor:
    n, h, w, c = tiles.shape
    rows = weights @ tiles.float().reshape(n, h, w * c)
    return weights @ rows.reshape(n * len(weights), w, c)


if __name__ == "__main__":
    main()
