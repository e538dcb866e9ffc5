"""MERGE's graph and attention, against a dense form of both."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.model import slide_graph as graph_module
from napari_nh2st.model.folder import new_model
from napari_nh2st.model.graph_attention import GraphAttention
from napari_nh2st.model.merge import MergeHyperparameters, MergeNetwork
from small_configs import small_config

Doubles = NDArray[np.float64]


@pytest.fixture(scope="module")
def network() -> MergeNetwork:
    """With every weight drawn, the last layer's too."""
    config = small_config(architecture="merge", hyperparameters={"hidden": 8, "heads": 2})
    network = new_model(config, 3).network
    assert isinstance(network, MergeNetwork)
    generator = torch.Generator().manual_seed(1)
    torch.nn.init.normal_(network.correction.weight, generator=generator)
    for name, parameter in network.named_parameters():  # biases are 0 at first, and norms 1
        if name.startswith(("attention.", "norms.")) and parameter.ndim == 1:
            torch.nn.init.normal_(parameter, generator=generator)
    return network.eval()


@pytest.fixture(scope="module")
def slide() -> tuple[Tensor, Tensor]:
    """Rows (60, 512) of two kinds of tissue, and their places: an array with a hole and a gap."""
    generator = torch.Generator().manual_seed(0)
    at = [(y, x) for y in range(8) for x in range(9) if (y, x) != (3, 3) and x != 6][:60]
    centers = torch.tensor(at).float()
    rows = torch.randn((60, 512), generator=generator) + 2 * (centers.sum(1, keepdim=True) > 8)
    return rows, centers + 0.02 * torch.randn(centers.shape, generator=generator)


def dense_edges(features: Doubles, places: Doubles) -> NDArray[np.bool_]:
    """(n, n) who listens to whom, edge by edge."""
    n = len(places)
    edges = np.eye(n, dtype=bool)
    for i in range(n):
        far = np.hypot(*(places - places[i]).T)
        for j in np.argsort(far)[1:9]:
            if far[j] <= 1.6:
                edges[i, j] = edges[j, i] = True
    centers = []
    for points in (places, features):
        label = KMeans(max(2, round(n / 100)), n_init=1, random_state=0).fit_predict(points)
        for cluster in np.unique(label):
            members = np.flatnonzero(label == cluster)
            mean = features[members].mean(0)
            center = members[np.square(features[members] - mean).sum(1).argmin()]
            edges[center, members] = edges[members, center] = True
            centers.append(center)
    edges[np.ix_(centers, centers)] = True
    return edges


def dense_prediction(network: MergeNetwork, rows: Doubles, edges: NDArray[np.bool_]) -> Doubles:
    state = {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}
    nodes = rows
    for layer in range(3):
        own = {
            n.split(".", 2)[2]: v for n, v in state.items() if n.startswith(f"attention.{layer}.")
        }
        values = (nodes @ own["linear.weight"].T).reshape(len(rows), 2, 4)
        heads = []
        for head in range(2):
            sent = values[:, head] @ own["sender"][head]
            received = values[:, head] @ own["receiver"][head]
            score = received[:, None] + sent[None]
            weight = np.where(edges, np.exp(np.where(score > 0, score, 0.2 * score)), 0)
            heads.append(weight / weight.sum(1, keepdims=True) @ values[:, head])
        out = np.maximum(np.concatenate(heads, axis=1) + own["bias"], 0)
        out = (out - out.mean(1, keepdims=True)) / np.sqrt(out.var(1, keepdims=True) + 1e-5)
        nodes = out * state[f"norms.{layer}.weight"] + state[f"norms.{layer}.bias"]
    both = (("tile_head", rows), ("correction", nodes))
    return np.sum([x @ state[f"{n}.weight"].T + state[f"{n}.bias"] for n, x in both], axis=0)


@pytest.mark.parametrize("most_edges", [2**15, 40])
@torch.inference_mode()
def test_merge_is_attention_over_the_dense_graph(
    network: MergeNetwork,
    slide: tuple[Tensor, Tensor],
    most_edges: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graph_module, "_MOST_EDGES", most_edges)
    rows, centers = slide
    edges = dense_edges(rows.double().numpy(), centers.double().numpy())
    expected = dense_prediction(network, rows.double().numpy(), edges)
    found = network.combine_slide(rows, centers).double().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    graph = graph_module.slide_graph(rows.numpy(), centers.numpy(), 8)
    assert (len(graph.blocks) > 10) == (most_edges == 40)
    assert sum(int(block.mask.sum()) for block in graph.blocks) == edges.sum()
    # Far from the tile itself alone: three steps reach every other.
    moved = rows.clone()
    moved[0] += 1
    changed = (network.combine_slide(moved, centers) != network.combine_slide(rows, centers)).any(1)
    assert changed.all()


def edges_of(graph: graph_module.SlideGraph) -> NDArray[np.bool_]:
    """(n, n) who listens to whom."""
    edges = np.zeros((sum(len(block.nodes) for block in graph.blocks),) * 2, dtype=bool)
    for nodes, neighbors, mask in graph.blocks:
        for node, row, filled in zip(nodes, neighbors, mask, strict=True):
            edges[node, row[filled]] = True
    return edges


def test_tiles_that_lie_closer_than_on_an_array_listen_to_each_other() -> None:
    generator = np.random.default_rng(2)
    places, features = 3 * generator.random((60, 2)), generator.normal(size=(60, 6))
    edges = edges_of(graph_module.slide_graph(features, places, 8))
    np.testing.assert_array_equal(edges, edges.T)
    np.testing.assert_array_equal(edges, dense_edges(features.astype(np.float32), places))


def test_a_training_step_goes_without_some_edges(slide: tuple[Tensor, Tensor]) -> None:
    rows, centers = slide[0][:, :8], slide[1]
    graph = graph_module.slide_graph(rows.numpy(), centers.numpy(), 8)
    torch.manual_seed(0)
    attention = GraphAttention(8, 4, 2, dropout=0.5)
    with torch.no_grad():
        whole, again = (attention.eval()(rows, graph) for _ in range(2))
        torch.testing.assert_close(whole, again, rtol=0, atol=0)
        without = torch.stack([attention.train()(rows, graph) for _ in range(100)])
    assert without.std(0).min() > 0
    # What stays counts the more, so that nothing changes on average.
    assert (without.mean(0) - whole).abs().max() < without.std(0).max() * 0.3


def test_gradients_are_the_same_to_the_bit(
    network: MergeNetwork, slide: tuple[Tensor, Tensor]
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, again = (_gradients(network, slide) for _ in range(2))
    finally:
        torch.set_num_threads(threads)
    assert first.keys() == again.keys()
    assert "attention.0.linear.weight" in first
    assert all(torch.equal(first[name], again[name]) for name in first)


def _gradients(network: MergeNetwork, slide: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    network.zero_grad()
    network.combine_slide(*slide).square().mean().backward()
    named = network.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_slide_of_few_or_equal_tiles_has_values(network: MergeNetwork, count: int) -> None:
    rows, centers = torch.ones(count, 512), torch.arange(2.0 * count).reshape(count, 2)
    with torch.inference_mode():
        assert network.combine_slide(rows, centers).isfinite().all()


def test_many_tiles_are_clustered_by_batches_and_the_same_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graph_module, "_MOST_FOR_KMEANS", 300)
    generator = np.random.default_rng(0)
    places = np.stack(np.divmod(np.arange(400), 20), axis=1).astype(float)
    features = generator.normal(size=(400, 6))
    first, again = (graph_module.slide_graph(features, places, 8) for _ in range(2))
    assert 4 <= len(first.centers) <= 8
    np.testing.assert_array_equal(first.centers, again.centers)
    assert len(first.blocks) == len(again.blocks)


def test_hyperparameters_fit_together() -> None:
    with pytest.raises(InputError, match="hidden is 9, which 4 heads"):
        MergeHyperparameters(5, hidden=9).check()
