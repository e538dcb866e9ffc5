"""Steps of a training, and what fine-tuning with a frozen encoder takes.

Run by train.py as ``python training.py JOB OPTIONS``, a process of its own for each job whose
memory is measured; it prints JSON.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from measuring import Clock, Contestant
from memory import MB, peak
from napari_nh2st.inference.device import Placement, place
from napari_nh2st.model.hypergraph import convolution_operator
from napari_nh2st.model.linear import LinearHyperparameters, LinearNetwork
from napari_nh2st.model.network import Network, Outputs
from napari_nh2st.model.nh2st import NH2ST, NH2STHyperparameters
from napari_nh2st.tiles import neighborhoods
from napari_nh2st.training import TrainSettings
from napari_nh2st.training.defaults import resolved_settings
from napari_nh2st.training.inputs import StudyInputs, StudyTiles, TrainedPart, first_trained_stage
from napari_nh2st.training.objective import objective
from napari_nh2st.training.optimization import Optimization
from napari_nh2st.training.start_settings import TrainedEncoder
from napari_nh2st.training.study import SectionTiles
from predicting import _listed_incidence

OURS = "training step, each tile encoded once"
TEN_ENCODINGS = "training step, ten encodings a spot"
_RELEASED_BATCH = 8
_AROUND = 9
_PITCH_UM = 200.0


@dataclass(frozen=True)
class Size:
    """Of the network and of what it learns from; the published ones by default."""

    tile_px: int = 224
    dim: int = 512
    panel: int = 250
    spots: int = 900


def step_contestants(size: Size) -> dict[str, Contestant]:
    """One step each, in spots per second, all in float32."""
    ours = training_steps(size)
    released = _ten_encodings_steps(size)

    def contestant(steps: Iterator[int]) -> Contestant:
        def one_step(_: Clock) -> float:
            return next(steps)

        return one_step

    return {OURS: contestant(ours), TEN_ENCODINGS: contestant(released)}


def training_steps(size: Size, device: str = "cpu", precision: str = "float32") -> Iterator[int]:
    """Spots of one step of training the whole encoder after the other, epoch after epoch."""
    return _steps(_training(size, "whole", place(device, precision, None, None)))


def drawn_tiles(size: Size, key: str | None = None) -> StudyTiles:
    """A section of random pixels and values: they cost as much as real ones.

    With a key, what a frozen encoder makes of them is kept in the cache folder.
    """
    rng = np.random.default_rng(0)
    side = int(np.ceil(size.spots**0.5))
    centers = _PITCH_UM * np.argwhere(np.ones((side, side), bool))[: size.spots]
    index, mask = neighborhoods(centers)
    pixels = rng.integers(256, size=(size.spots, size.tile_px, size.tile_px, 3), dtype=np.uint8)
    section = SectionTiles(
        name="S",
        donor="D",
        read=lambda: pixels,
        target=rng.random((size.spots, size.panel), np.float32),
        centers_um=centers,
        neighborhoods=index,
        mask=mask,
        kept=np.arange(size.spots),
        key=key,
    )
    return StudyTiles([section])


def _network(size: Size) -> NH2ST:
    torch.manual_seed(0)
    return NH2ST(NH2STHyperparameters(size.panel, tile_px=size.tile_px, dim=size.dim))


def _linear_network(size: Size) -> LinearNetwork:
    torch.manual_seed(0)
    return LinearNetwork(LinearHyperparameters(size.panel, tile_px=size.tile_px))


def _panel(size: Size) -> tuple[str, ...]:
    return tuple(f"gene-{number}" for number in range(size.panel))


def _training(
    size: Size,
    encoder: TrainedEncoder,
    placement: Placement | None = None,
    network: Network | None = None,
    key: str | None = None,
) -> tuple[Optimization, StudyInputs]:
    """As ``train_events()`` sets it up with the default settings, but for the tiles."""
    placement = placement or place("cpu", "float32", None, None)
    # The file is not read: weights are random.
    chosen = TrainSettings(encoder=encoder, encoder_weights="none", device=str(placement.device))
    settings = resolved_settings(chosen, None, _panel(size))
    study = drawn_tiles(size, key)
    network = network or _network(size)
    part = TrainedPart(network, first_trained_stage(network.image_encoder, encoder))
    optimization = Optimization(part, study, settings, placement)
    inputs = StudyInputs(
        study, part, settings.augmentation, looks=1, seed=0, device=placement.device
    )
    return optimization, inputs


def _steps(training: tuple[Optimization, StudyInputs]) -> Iterator[int]:
    """Spots of one step after the other, epoch after epoch."""
    optimization, inputs = training
    while True:
        before = optimization.spots_done
        for _ in optimization.steps(inputs):
            yield optimization.spots_done - before
            before = optimization.spots_done


def _ten_encodings_steps(size: Size) -> Iterator[int]:
    """The published step as the released code arranges it, in batches of 8 spots.

    A spot and its nine neighbors, itself among them, come as ten images and are encoded as such;
    hyperedges are listed in Python, neighborhood by neighborhood. The images are random tensors:
    what the released code spends on reading and on augmentation is left out.
    """
    network = _network(size).train()
    settings = resolved_settings(TrainSettings(), None, _panel(size))
    optimizer = torch.optim.Adam(network.parameters(), settings.learning_rate)
    images = torch.randn(_RELEASED_BATCH, 1 + _AROUND, 3, size.tile_px, size.tile_px)
    expression = torch.rand(_RELEASED_BATCH, 1 + _AROUND, size.panel)
    while True:
        outputs = _ten_encodings(network, images, expression)
        losses = objective(outputs, expression[:, 0], settings)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        yield _RELEASED_BATCH


def _ten_encodings(network: NH2ST, images: Tensor, expression: Tensor) -> Outputs:
    """(b, 10, 3, t, t) and (b, 10, panel), the query first, then the nine of its neighborhood."""
    query = network.query_features(network.encode(images[:, 0]))
    query_image, query_expression = network.cross_encoder(
        query, network.expression_encoder(expression[:, 0])
    )
    maps = network.encode(images[:, 1:].flatten(0, 1)).unflatten(0, (len(images), _AROUND))
    neighbor_image, neighbor_expression = [], []
    for nodes, values in zip(maps.flatten(2), expression[:, 1:], strict=True):
        operator = convolution_operator(_listed_incidence(nodes.detach()))[None]
        neighbor_image.append(network.neighbor_image_encoder(nodes[None], operator))
        encoded = network.expression_encoder(values)[None]
        neighbor_expression.append(network.neighbor_expression_encoder(encoded, operator))
    around = network.cross_encoder(torch.cat(neighbor_image), torch.cat(neighbor_expression))
    pairs = {"query": (query_image, query_expression), "neighbor": tuple(around)}
    return Outputs(network.decoder(query), pairs=pairs)


def in_own_process(job: str, size: Size, times: int) -> dict[str, float]:
    """Run a job: its seconds by part, MB before it, and MB at most while it ran."""
    options = json.dumps(asdict(size) | {"times": times})
    command = [sys.executable, str(Path(__file__)), job, options]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def _finetuning(size: Size, epochs: int) -> dict[str, float]:
    """Feature maps of all spots, found again by another training, and epochs from them."""
    return _from_features(size, epochs, _network(size))


def _linear(size: Size, epochs: int) -> dict[str, float]:
    """The same for a linear network, which sees the maps' means alone."""
    return _from_features(size, epochs, _linear_network(size))


def _from_features(size: Size, epochs: int, network: Network) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NH2ST_CACHE"] = cache
        optimization, inputs = _training(size, "frozen", network=network, key="drawn")
        maps = _seconds(lambda: _exhausted(inputs.keep()))
        _, others = _training(size, "frozen", network=network, key="drawn")
        found = [_seconds(lambda: _exhausted(others.keep())) for _ in range(epochs)]
        each = [_seconds(lambda: _exhausted(optimization.steps(inputs))) for _ in range(epochs)]
    return {"maps": maps, "found": float(np.median(found)), "epoch": float(np.median(each))}


def _whole(size: Size, steps: int) -> dict[str, float]:
    taken = training_steps(size)
    return {"step": float(np.median([_seconds(lambda: next(taken)) for _ in range(steps)]))}


def _released(size: Size, steps: int) -> dict[str, float]:
    taken = _ten_encodings_steps(size)
    return {"step": float(np.median([_seconds(lambda: next(taken)) for _ in range(steps)]))}


JOBS: dict[str, Callable[[Size, int], dict[str, float]]] = {
    "finetuning": _finetuning,
    "linear": _linear,
    "whole": _whole,
    "released": _released,
}


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _exhausted(iterator: Iterator[object]) -> None:
    for _ in iterator:
        pass


def _main(job: str, options: str) -> None:
    import psutil

    given = json.loads(options)
    times = given.pop("times")
    before = psutil.Process().memory_info().rss
    seconds = JOBS[job](Size(**given), times)
    print(json.dumps(seconds | {"before_mb": before / MB, "peak_mb": peak() / MB}))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
