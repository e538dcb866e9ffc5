"""Ways to predict the tiles of a slide."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from measuring import Clock, Contestant
from napari_nh2st.inference import Event, PredictSettings, TilesDone, predict
from napari_nh2st.inference.device import Placement, place
from napari_nh2st.model.config import untrained_config
from napari_nh2st.model.folder import Model, new_model
from napari_nh2st.model.hypergraph import convolution_operator
from napari_nh2st.model.nh2st import NH2ST
from napari_nh2st.model.nh2st_prepared import PreparedNH2ST
from napari_nh2st.slide import Slide, open_slide

TEN_ENCODINGS = "ten encodings a prediction, float32"
_PANEL_SIZE = 250
_RELEASED_BATCH = 8
_TILE_PX = 224
_HYPEREDGE_OTHERS = 3


def bare(precision: str) -> str:
    """Name of the row of the network without input."""
    return f"bare ResNet-18, {precision}"


def end_to_end(precision: str) -> str:
    """Name of the row of the whole prediction."""
    return f"predict(), slide to AnnData, {precision}"


def cpu_precisions() -> list[str]:
    """float32, and what this CPU is faster with where there is such a precision: the last."""
    return list(dict.fromkeys(["float32", place("cpu", "auto", None, None).precision]))


def benchmark_model() -> Model:
    """The published size of network and panel, untrained."""
    panel = tuple(f"GENE{number}" for number in range(_PANEL_SIZE))
    return new_model(untrained_config("benchmark", panel), seed=0)


@contextmanager
def predictors(path: Path, tiles: int) -> Iterator[dict[str, Contestant]]:
    """The contestants, in tiles per second.

    All work on about `tiles` tiles and in steps of one size, but for the loop with ten
    encodings: it takes the published batch of 8 and, being slow, an eighth of the tiles (64 or
    more make its batch a full one).
    """
    model = benchmark_model()
    network = model.network
    assert isinstance(network, NH2ST)
    with open_slide(path) as slide:
        contestants: dict[str, Contestant] = {}
        for precision in cpu_precisions():
            contestants[bare(precision)] = _bare_loop(network, tiles, precision)
            contestants[f"our encoder, {precision}"] = _prepared_loop(network, tiles, precision)
            contestants[end_to_end(precision)] = _prediction(slide, model, tiles, precision)
        contestants[TEN_ENCODINGS] = _ten_encodings_loop(network, -(-tiles // 8))
        yield contestants


def _bare_loop(network: NH2ST, tiles: int, precision: str) -> Contestant:
    """The encoder as any PyTorch user would run it, on the same random tensor again and again."""
    placement = _placement(tiles, precision)
    encoder = copy.deepcopy(network.image_encoder).eval()
    encoder.to(placement.dtype).to(memory_format=torch.channels_last)
    batch = torch.randn(placement.batch_size, 3, _TILE_PX, _TILE_PX, dtype=placement.dtype)
    batch = batch.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def contestant(_: Clock) -> float:
        for size in _steps(tiles, len(batch)):
            encoder(batch[:size])
        return tiles

    return contestant


def _prepared_loop(network: NH2ST, tiles: int, precision: str) -> Contestant:
    """The prepared network, uint8 tiles to values, on the same tiles again and again."""
    placement = _placement(tiles, precision)
    genes = range(network.hyperparameters.panel_size)
    prepared = PreparedNH2ST(network, genes, placement.device, placement.dtype)
    batch = torch.randint(256, (placement.batch_size, _TILE_PX, _TILE_PX, 3), dtype=torch.uint8)

    def contestant(_: Clock) -> float:
        for size in _steps(tiles, len(batch)):
            prepared.encode(batch[:size])
        return tiles

    return contestant


def _placement(tiles: int, precision: str) -> Placement:
    """What `predict()` would choose; smaller batches where there would be less than four."""
    chosen = place("cpu", precision, None, None)
    return replace(chosen, batch_size=min(chosen.batch_size, max(1, tiles // 4)))


def _steps(tiles: int, batch: int) -> Iterator[int]:
    for start in range(0, tiles, batch):
        yield min(batch, tiles - start)


def _prediction(slide: Slide, model: Model, tiles: int, precision: str) -> Contestant:
    """What a user calls, from its first batch on.

    What comes before (plan, weights, pictures) is paid once, by a slide of thousands of tiles as
    by the few predicted here. It is measured inside the same run: a difference of two runs
    would multiply whatever disturbed one of them.
    """
    rows = max(1, int(tiles**0.5))
    # From the corner of a tile on, away from the edge of the slide.
    top, left = (side // 4 // _TILE_PX * _TILE_PX for side in slide.shape)
    bottom, right = top + rows * _TILE_PX, left + tiles // rows * _TILE_PX
    box = np.array([(top, left), (top, right), (bottom, right), (bottom, left)], float)
    settings = PredictSettings(
        region=(box,),
        tissue_only=False,
        device="cpu",
        precision=precision,
        batch_size=_placement(tiles, precision).batch_size,
    )

    def contestant(clock: Clock) -> float:
        tiles_before = 0

        def start_after_first_batch(event: Event) -> None:
            nonlocal tiles_before
            if isinstance(event, TilesDone) and not tiles_before:
                tiles_before = event.done
                clock.restart()

        prediction = predict(slide, model, settings, on_event=start_after_first_batch)
        assert (prediction.obs["status"] == "predicted").all()
        return prediction.n_obs - tiles_before

    return contestant


def _ten_encodings_loop(network: NH2ST, spots: int) -> Contestant:
    """The published network's forward pass on images as the released code arranges it.

    A spot and its nine neighbors, itself among them, come as ten images and are encoded as such;
    hyperedges are listed in Python, neighborhood by neighborhood. The images are random tensors:
    what the released code spends on reading is left out, and so is its expression side.
    """
    network = copy.deepcopy(network).eval()
    images = torch.randn(_RELEASED_BATCH, 10, 3, _TILE_PX, _TILE_PX)

    @torch.no_grad()
    def contestant(_: Clock) -> float:
        for size in _steps(spots, _RELEASED_BATCH):
            queries, around = images[:size].split((1, 9), dim=1)
            network.predict(network.encode(queries.flatten(0, 1)))
            maps = network.encode(around.flatten(0, 1)).unflatten(0, (size, 9))
            for nodes in maps.flatten(2):
                operator = convolution_operator(_listed_incidence(nodes))
                network.neighbor_image_encoder(nodes[None], operator[None])
        return spots

    return contestant


def _listed_incidence(nodes: Tensor) -> Tensor:
    """Hyperedges of one neighborhood, listed node by node: (9, d) → (9, 9)."""
    unit = functional.normalize(nodes, dim=-1)
    similarity = unit @ unit.T
    incidence = torch.zeros_like(similarity)
    for edge in range(len(nodes)):
        nearest = similarity[edge].argsort(descending=True).tolist()
        nearest.remove(edge)
        for node in [edge, *nearest[:_HYPEREDGE_OTHERS]]:
            incidence[node, edge] = 1
    return incidence
