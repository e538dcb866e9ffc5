"""Architectures beside NH2ST: what each computes, from plain formulas, and how it starts."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.model import triplex_slide
from napari_nh2st.model.architectures import ARCHITECTURES, StartWeights
from napari_nh2st.model.catalogue import CATALOGUE
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.folder import new_model
from napari_nh2st.model.guides import N_GUIDES
from napari_nh2st.model.network import RidgeSolution
from napari_nh2st.model.pooled import PooledNetwork
from napari_nh2st.model.rings import rings_of
from napari_nh2st.model.triplex_slide import slide_context
from small_configs import PANEL, small_config

POOLED = [key for key, entry in CATALOGUE.items() if entry.reach is not None]
IN_CONTEXT = [key for key in POOLED if CATALOGUE[key].reach == "neighborhood"]


NARROW: dict[str, dict[str, Any]] = {
    "linear": {},
    "rings": {"neighbors": 8},
    "triplex": {"dim": 8, "heads": 2},
    "triplex-slide": {"dim": 8, "heads": 2},
}


def config_of(key: str, **changed: Any) -> ModelConfig:
    """With narrow layers, and hyperparameters that are changed."""
    return small_config(architecture=key, hyperparameters=NARROW.get(key, {"hidden": 8}) | changed)


def drawn_network(key: str, **changed: Any) -> PooledNetwork:
    """With every weight drawn, the last layers' too."""
    network = new_model(config_of(key, **changed), 3).network
    assert isinstance(network, PooledNetwork)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in network.parameters():
            if tensor.ndim < 3:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / 4)
    return network


@pytest.fixture(scope="module")
def around() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Maps, neighborhoods, mask and offsets; the last neighborhood is a tile alone."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn((12, 512, 2, 2), generator=generator)
    index = torch.stack([torch.randperm(12, generator=generator)[:9] for _ in range(4)])
    mask = torch.rand((4, 9), generator=generator) < 0.7
    mask[:, 0], mask[3, 1:] = True, False
    offsets = 300 * torch.randn((4, 9, 2), generator=generator)
    offsets[:, 0] = 0
    return maps, index, mask, offsets


def predicted(network: PooledNetwork, around: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """(4, panel) of the queries; a slide's tiles lie on an array of three rows."""
    maps, index, *_ = around
    if network.reach != "slide":
        return network.predict(*around)
    centers = torch.tensor([[row, column] for row in range(3) for column in range(4)]).float()
    return network.predict_slide(maps, centers)[index[:, 0]]


@torch.inference_mode()
def test_sepal_is_one_convolution_over_placed_neighbors(
    around: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    network = drawn_network("sepal")
    maps, index, mask, offsets = around
    state = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}

    def elu(x: Any) -> Any:
        return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))

    features = maps.double().numpy().mean((2, 3))
    for query, predicted in enumerate(network.predict(*around).numpy()):
        sent = [np.zeros(8)]
        for neighbor in range(1, 9):
            if mask[query, neighbor]:
                dy, dx = offsets[query, neighbor].double().numpy()
                angles = [2 * np.pi * d / length for d in (dy, dx) for length in (400, 800, 1600)]
                code = np.concatenate([np.sin(angles), np.cos(angles)])
                x = features[index[query, neighbor]]
                sent.append(
                    elu(
                        state["neighbor.weight"] @ x
                        + state["neighbor.bias"]
                        + state["place.weight"] @ code
                    )
                )
        mean = np.sum(sent, axis=0) / max(1, len(sent) - 1)
        own = features[index[query, 0]]
        node = elu(
            state["query.weight"] @ own + state["query.bias"] + state["around.weight"] @ mean
        )
        expected = state["tile_head.weight"] @ own + state["tile_head.bias"]
        expected = expected + state["correction.weight"] @ node + state["correction.bias"]
        np.testing.assert_allclose(predicted, expected, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_rings_add_what_the_mean_of_each_says_and_an_empty_one_is_the_one_inside() -> None:
    config = small_config(
        architecture="rings", hyperparameters={}, neighborhood={"size": 25, "layout": "square"}
    )
    network = new_model(config, 3).network
    assert isinstance(network, PooledNetwork)
    generator = torch.Generator().manual_seed(1)
    for name in network.gene_layers:
        network.get_submodule(name).weight.normal_(generator=generator)
    maps = torch.randn((30, 512, 2, 2), generator=generator)
    index = torch.stack([torch.randperm(30, generator=generator)[:25] for _ in range(4)])
    mask = torch.rand((4, 25), generator=generator) < 0.5
    mask[:, 0] = True
    mask[2, 9:] = mask[3, 1:] = False  # no second ring, and a tile alone
    features = maps.double().mean((2, 3))
    weights = [network.get_submodule(name).weight.double() for name in network.gene_layers]
    for query, found in enumerate(network.predict(maps, index, mask)):
        seen = [features[index[query, 0]]]
        for places in (range(1, 9), range(9, 25)):
            there = [features[index[query, k]] for k in places if mask[query, k]]
            seen.append(torch.stack(there).mean(0) if there else seen[-1])
        expected = sum(weight @ each for weight, each in zip(weights, seen, strict=True))
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(
        InputError, match=r"neighborhood.size is 9, but hyperparameters.neighbors 24"
    ):
        new_model(small_config(architecture="rings", hyperparameters={}), 0)
    assert [(ring.start, ring.stop) for ring in rings_of(30)] == [(1, 9), (9, 25), (25, 31)]


@torch.inference_mode()
def test_a_deep_set_adds_sub_tiles_and_takes_the_most_of_neighbors_in_any_order(
    around: tuple[Tensor, Tensor, Tensor, Tensor],
) -> None:
    network = drawn_network("deepset")
    maps, index, mask, _ = around
    state = {name: tensor.double() for name, tensor in network.state_dict().items()}

    def encoded(tile: int) -> Tensor:
        parts = [maps[tile, :, y, x].double() for y in (0, 1) for x in (0, 1)]
        total = sum((state["part.weight"] @ p + state["part.bias"]).relu() for p in parts)
        centered = total - total.mean()
        unit = centered / (centered.square().mean() + 1e-5).sqrt()
        return unit * state["norm.weight"] + state["norm.bias"]

    found = network.predict(maps, index, mask)
    for query, predicted in enumerate(found):
        own = encoded(int(index[query, 0]))
        others = [encoded(int(index[query, k])) for k in range(1, 9) if mask[query, k]] or [own]
        most = torch.stack(others).amax(0)
        mixed = (state["mixed.weight"] @ torch.cat([own, most]) + state["mixed.bias"]).relu()
        pooled = maps[index[query, 0]].double().mean((1, 2))
        expected = state["tile_head.weight"] @ pooled + state["tile_head.bias"]
        expected = expected + state["correction.weight"] @ mixed + state["correction.bias"]
        torch.testing.assert_close(predicted.double(), expected, rtol=1e-4, atol=1e-4)
    order = [0, *(8 - k for k in range(8))]
    torch.testing.assert_close(network.predict(maps, index[:, order], mask[:, order]), found)


@pytest.mark.parametrize(
    ("key", "guides"), [("triplex", "none"), ("triplex", "boundary"), ("triplex-slide", "boundary")]
)
@torch.inference_mode()
def test_triplex_asks_the_tile_and_its_neighbors_and_adds_what_it_hears(
    key: str, guides: str, around: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    network = drawn_network(key, guides=guides).eval()
    maps, index, mask, offsets = around
    if guides == "boundary":
        maps = torch.cat([maps, torch.rand((12, N_GUIDES, 2, 2))], dim=1)
    state = {name: tensor.double() for name, tensor in network.state_dict().items()}

    def linear(name: str, x: Tensor) -> Tensor:
        bias = state.get(f"{name}.bias")
        return x @ state[f"{name}.weight"].T + (0 if bias is None else bias)

    def norm(name: str, x: Tensor) -> Tensor:
        centered = x - x.mean(-1, keepdim=True)
        unit = centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return unit * state[f"{name}.weight"] + state[f"{name}.bias"]

    def gelu(x: Tensor) -> Tensor:
        return x * (1 + torch.erf(x / 2**0.5)) / 2

    def attended(name: str, x: Tensor, context: Tensor, bias: Any = None) -> Tensor:
        """A layer, one token and one head at a time."""
        q = linear(f"{name}.attention.to_q", norm(f"{name}.norm_attention", x))
        normed = norm(f"{name}.norm_attention", context)
        keys, values = linear(f"{name}.attention.to_kv", normed).chunk(2, -1)
        heard = torch.zeros_like(q)
        for token in range(len(x)):
            for head in range(2):
                part = slice(4 * head, 4 * head + 4)
                logits = keys[:, part] @ q[token, part] / 2
                if bias is not None:
                    logits = logits + bias[head][token]
                heard[token, part] = logits.softmax(0) @ values[:, part]
        x = x + linear(f"{name}.attention.to_out", heard)
        hidden = gelu(linear(f"{name}.mlp.0", norm(f"{name}.norm_mlp", x)))
        return x + linear(f"{name}.mlp.3", hidden)

    def encoded(name: str, x: Tensor) -> Tensor:
        return linear(f"{name}.2", gelu(linear(f"{name}.0", x)))

    features = maps.double().mean((2, 3))
    seen: Tensor | None = None
    if key == "triplex":
        outputs = network.outputs(maps, torch.zeros(12, 5), index, mask, offsets)
        torch.testing.assert_close(outputs.prediction, network.predict(maps, index, mask, offsets))
    else:
        centers = 3 * torch.rand((12, 2), generator=torch.Generator().manual_seed(1))
        outputs = network.slide_outputs(maps, torch.zeros(12, 5), centers)
        torch.testing.assert_close(outputs.prediction, network.predict_slide(maps, centers))
        far = torch.linalg.vector_norm(centers[:, None] - centers, dim=-1).double()
        index, mask = far.argsort(1)[:, :9], torch.ones((12, 9), dtype=torch.bool)
        offsets = 200 * (centers[index] - centers[:, None])
        every = linear("neighbor", features)
        slope = torch.log(1 + torch.exp(state["slope"]))
        seen = attended("slide_layers.0", every, every, [-one * far for one in slope])
    for query in range(len(index)):
        there = [k for k in range(9) if mask[query, k]]
        tiles, places = index[query, there], offsets[query, there].double()
        bias: Any = torch.zeros(2, len(there), len(there)).double()
        for i, one in enumerate(places):
            for j, other in enumerate(places):
                apart = (one - other).abs()
                angles = [2 * np.pi * d / w for d in apart for w in (400, 800, 1600)]
                bias[:, i, j] = linear("place", torch.tensor(np.cos(angles)))
        nodes = linear("neighbor", features[tiles])
        nodes = attended("layers.0", nodes, nodes, bias)
        parts = maps[tiles[0]].double().flatten(1).T
        tokens = linear("token", parts)
        if guides == "boundary":
            heard = [
                attended("guiding.layer", tokens, encoded(f"guiding.{name}", shown))
                for name, shown in (
                    ("boundaries", parts[:, -3:]),
                    ("nuclei", parts[:, -5:-3]),
                )
            ]
            tokens = norm("guiding.norm", heard[0] + heard[1])
        asking = nodes[:1] if seen is None else seen[query][None]
        fused = attended("fusion", asking, tokens) + attended("fusion", asking, nodes)
        of_tile = linear("tile_head", features[tiles[0]])
        expected = {
            "prediction": of_tile + linear("correction", norm("norm", fused))[0],
            "neighbor": of_tile + linear("neighbor_head", nodes.mean(0)),
        }
        if seen is not None:
            expected["global"] = of_tile + linear("global_head", seen[query])
        found = {"prediction": outputs.prediction} | outputs.branches
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            torch.testing.assert_close(
                found[name][query].double(), values, rtol=1e-4, atol=1e-4, msg=name
            )


def test_of_a_large_slide_cells_are_attended_to_each_as_its_tiles() -> None:
    centers = 20 * torch.rand((60, 2), generator=torch.Generator().manual_seed(2))
    context = slide_context(centers, 59)
    found = {}
    for members, share, center, bias in zip(*context, strict=True):
        there = members[share > 0].tolist()
        found[frozenset(there)] = center
        assert share.sum().item() == pytest.approx(1)
        assert bias.item() == pytest.approx(np.log(len(there)))
        torch.testing.assert_close(center, centers[there].mean(0))
    cells: dict[tuple[int, int], set[int]] = {}
    for tile, (y, x) in enumerate(((centers - centers.amin(0)) // 8).tolist()):
        cells.setdefault((y, x), set()).add(tile)
    assert found.keys() == {frozenset(each) for each in cells.values()}
    assert len(cells) > 4


@torch.inference_mode()
def test_a_slide_in_cells_of_a_tile_each_or_in_parts_is_the_slide(
    around: tuple[Tensor, Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, maps = drawn_network("triplex-slide").eval(), around[0]
    centers = 9.0 * torch.tensor([[row, column] for row in range(3) for column in range(4)])
    whole = network.predict_slide(maps, centers)
    monkeypatch.setattr(triplex_slide, "MOST_TILES", 11)
    torch.testing.assert_close(network.predict_slide(maps, centers), whole, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(triplex_slide, "_MOST_LOGITS", 2 * 12 * 5)
    monkeypatch.setattr(triplex_slide, "_TILES_TOGETHER", 5)
    torch.testing.assert_close(network.predict_slide(maps, centers), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("key", POOLED)
@torch.no_grad()
def test_each_begins_as_the_ridge_regression_on_its_design(
    key: str, around: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    network = new_model(config_of(key), 3).network
    assert isinstance(network, PooledNetwork)
    maps, index, mask, _ = around
    if network.ridge_reach == "neighborhood":
        design = network.ridge_design(maps, index, mask)
    else:
        design = tuple(block[index[:, 0]] for block in network.ridge_design(maps))
    factors = [torch.randn(5, 512) for _ in design]
    axes = torch.linalg.qr(torch.randn(5, 5).double()).Q
    constant = torch.arange(5.0).double()
    network.start_from_ridge(RidgeSolution(factors, axes, constant), [])
    both = zip(design, factors, strict=True)
    expected = sum(block.double() @ factor.double().T for block, factor in both) @ axes.T + constant
    torch.testing.assert_close(predicted(network, around).double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("key", POOLED)
def test_shared_genes_keep_what_they_had_in_a_start_model(
    key: str, around: tuple[Tensor, Tensor, Tensor, Tensor]
) -> None:
    start, panel = drawn_network(key), ("NEW", *PANEL[::-1])
    p = replace(start.hyperparameters, panel_size=6)
    shared = StartWeights.of_panels(start, PANEL, panel)
    network = ARCHITECTURES[key].start(p, np.full(6, 2.5), 0, shared).eval()
    with torch.no_grad():
        before, now = (predicted(each, around) for each in (start, network))
    torch.testing.assert_close(now[:, 1:], before.flip(1))
    assert torch.all(now[:, 0] == 2.5), "a new gene is its mean"


def test_hyperparameters_are_those_of_the_architecture() -> None:
    for hyperparameters, wrong in (
        ({"hypergraph_hidden": 8}, "hypergraph_hidden is not one of architecture 'sepal'"),
        ({"hidden": 0}, "hyperparameters.hidden is 0; it must be a whole number above 0"),
        ({"hidden": 70_000}, "hyperparameters.hidden is 70000; it can be 65,536 at most"),
        ({"neighbors": 4}, "neighborhood.size is 9, but hyperparameters.neighbors 4 and the tile"),
    ):
        with pytest.raises(InputError, match=wrong):
            new_model(small_config(architecture="sepal", hyperparameters=hyperparameters), 0)
    with pytest.raises(InputError, match=r"hidden is not one of architecture .linear."):
        new_model(small_config(architecture="linear", hyperparameters={"hidden": 8}), 0)


@pytest.mark.parametrize(
    "key", [key for key, entry in CATALOGUE.items() if "dropout" in entry.settings]
)
def test_dropout_is_less_than_all(key: str) -> None:
    with pytest.raises(InputError, match=r"^hyperparameters.dropout is 1.0; it must be below 1$"):
        new_model(small_config(architecture=key, hyperparameters={"dropout": 1.0}), 0)
