"""The network against the reference pass, closed forms and loops."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_nh2st.model.config import CONTEXTS, Context
from napari_nh2st.model.encoders import IMAGENET_MEAN, IMAGENET_STD, normalize_tiles
from napari_nh2st.model.hypergraph import (
    convolution_operator,
    incidence_from_similarity,
    masked_mean,
)
from napari_nh2st.model.importing import from_released_state_dict
from napari_nh2st.model.losses import contrastive_loss
from napari_nh2st.model.nh2st import NH2ST, NH2STHyperparameters
from napari_nh2st.model.nh2st_prepared import PreparedNH2ST
from reference_network import ReferencePass, reference_pass

SMALL = {"tile_px": 64, "dim": 32, "heads": 4, "hidden": 16, "hypergraph_hidden": 24}


def small_network(context: Context = "query", panel: int = 5, **more: int) -> NH2ST:
    torch.manual_seed(zlib.crc32(context.encode()))
    network = NH2ST(NH2STHyperparameters(panel, context=context, **(SMALL | more)))
    for name, buffer in network.named_buffers():  # as after training, not the neutral 0 and 1
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    return network.eval()


def relative_error(found: torch.Tensor, expected: np.ndarray | torch.Tensor) -> float:
    expected = torch.as_tensor(expected)
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module")
def reference(vectors: Path) -> ReferencePass:
    return reference_pass(vectors)


@pytest.fixture(scope="module")
def released_network(reference: ReferencePass) -> NH2ST:
    network = NH2ST(NH2STHyperparameters(panel_size=250))
    network.load_state_dict(from_released_state_dict(reference.state_dict))
    return network.eval()


@torch.inference_mode()
def test_released_weights_give_the_reference_outputs_and_losses(
    reference: ReferencePass, released_network: NH2ST
) -> None:
    outputs = released_network(reference.tiles, reference.expression, reference.neighborhoods)
    target = reference.expression[reference.neighborhoods[:, 0]]
    found = {
        "prediction": outputs.prediction,
        "decoded": outputs.prediction,
        "z_query_image": outputs.pairs["query"][0],
        "z_query_expression": outputs.pairs["query"][1],
        "z_neighbor_image": outputs.pairs["neighbor"][0],
        "z_neighbor_expression": outputs.pairs["neighbor"][1],
        "loss_query": contrastive_loss(*outputs.pairs["query"]),
        "loss_neighbor": contrastive_loss(*outputs.pairs["neighbor"]),
        "mse": torch.nn.functional.mse_loss(outputs.prediction, target),
    }
    assert found.keys() == reference.outputs.keys()
    for name, expected in reference.outputs.items():
        assert relative_error(found[name], expected) < 1e-4, name


@torch.inference_mode()
def test_released_prediction_depends_on_neither_neighbors_nor_expression(
    reference: ReferencePass, released_network: NH2ST
) -> None:
    tiles = torch.cat([reference.tiles[[0, 9]], torch.rand(3, 3, 224, 224)])
    other_neighbors = torch.tensor([[0, 2, 3, 4, 2, 3, 4, 2, 3], [1, 4, 3, 2, 4, 3, 2, 4, 3]])
    outputs = released_network(tiles, torch.full((5, 250), 3.0), other_neighbors)
    assert relative_error(outputs.prediction, reference.outputs["prediction"]) < 1e-4
    neighbor_image, _ = outputs.pairs["neighbor"]
    assert relative_error(neighbor_image, reference.outputs["z_neighbor_image"]) > 1e-2


def test_a_key_the_released_network_does_not_have_is_named() -> None:
    with pytest.raises(KeyError, match="fc_other"):
        from_released_state_dict({"fc_other.weight": torch.zeros(1)})


@torch.inference_mode()
def test_average_context_is_the_mean_of_query_predictions() -> None:
    network = small_network("average")
    maps = torch.rand(9, 512, 2, 2)
    neighborhoods = torch.stack([torch.randperm(9) for _ in range(3)])
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[1, 4:] = False
    predicted = network.predict(maps, neighborhoods, mask)
    for row, index, present in zip(predicted, neighborhoods, mask, strict=True):
        each = [network.decoder(network.query_features(maps[i : i + 1]))[0] for i in index[present]]
        torch.testing.assert_close(row, torch.stack(each).mean(0))


@torch.inference_mode()
def test_neighborhood_context_follows_the_neighbors() -> None:
    network = small_network("neighborhood")
    maps = torch.rand(10, 512, 2, 2)
    first = network.predict(maps, torch.arange(9)[None])
    other = network.predict(maps, torch.tensor([[0, 1, 2, 3, 4, 5, 6, 7, 9]]))
    assert (first - other).abs().max() > 1e-3


def test_contexts_that_need_neighborhoods_say_so() -> None:
    with pytest.raises(ValueError, match="neighborhoods"):
        small_network("average").predict(torch.rand(2, 512, 2, 2))


@torch.inference_mode()
def test_masked_places_of_a_neighborhood_change_nothing() -> None:
    network = small_network("neighborhood")
    maps = torch.rand(9, 512, 2, 2)
    full = torch.arange(5)[None]
    padded = torch.tensor([[0, 1, 2, 3, 4, 0, 0, 8, 8]])
    mask = torch.tensor([[True] * 5 + [False] * 4])
    torch.testing.assert_close(network.predict(maps, padded, mask), network.predict(maps, full))


def incidence_matrix(features: NDArray[np.float64]) -> torch.Tensor:
    unit = torch.nn.functional.normalize(torch.from_numpy(features), dim=-1)
    return incidence_from_similarity(unit @ unit.mT, 3, None)


def test_hyperedges_hold_the_node_and_its_most_similar_others() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(2, 9, 20))
    found = incidence_matrix(features).numpy()
    for nodes, incidence in zip(features, found, strict=True):
        for edge in range(9):
            cosine = [
                nodes[edge]
                @ nodes[other]
                / np.linalg.norm(nodes[edge])
                / np.linalg.norm(nodes[other])
                for other in range(9)
            ]
            cosine[edge] = np.inf
            members = set(np.argsort(cosine)[-4:])
            assert set(np.flatnonzero(incidence[:, edge])) == members


def test_hypergraph_convolution_is_a_mean_over_edges_of_means_over_nodes() -> None:
    random = np.random.default_rng(1)
    incidence = incidence_matrix(random.normal(size=(1, 9, 6)))
    x = random.normal(size=(9, 4))
    h = incidence[0].numpy().astype(bool)
    edge_means = np.array([x[h[:, edge]].mean(0) for edge in range(9)])
    expected = np.array([edge_means[h[node]].mean(0) for node in range(9)])
    found = convolution_operator(incidence)[0].numpy() @ x
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_masked_mean_leaves_empty_places_out() -> None:
    x = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert masked_mean(x, torch.tensor([[True, True, False]])).item() == 2


def test_contrastive_loss_equals_its_formula_in_a_loop() -> None:
    random = np.random.default_rng(2)
    a, b = random.normal(size=(2, 4, 8))
    total = 0.0
    for i in range(4):
        logits = []
        for j in range(4):
            cosine = a[i] @ b[j] / np.linalg.norm(a[i]) / np.linalg.norm(b[j])
            logits.append(cosine / 0.05 * (1.0 if i == j else 0.1))
        total += np.log(np.exp(logits).sum()) - logits[i]
    found = contrastive_loss(torch.from_numpy(a), torch.from_numpy(b))
    assert float(found) == pytest.approx(total / 4)


def test_tiles_are_normalized_with_imagenet_statistics() -> None:
    tiles = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    expected = (tiles.numpy() / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    found = normalize_tiles(tiles)
    assert found.shape == (2, 3, 4, 5)
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
@torch.inference_mode()
def test_prepared_form_predicts_the_same(
    context: Context, dtype: torch.dtype, bound: float
) -> None:
    network = small_network(context, panel=7)
    genes = [5, 0, 3]
    tiles = torch.randint(0, 256, (12, 64, 64, 3), dtype=torch.uint8)
    neighborhoods = torch.stack([torch.randperm(12)[:9] for _ in range(12)])
    neighborhoods[:, 0] = torch.arange(12)
    mask = torch.ones(12, 9, dtype=torch.bool)
    mask[3, 6:] = False
    maps = network.encode(normalize_tiles(tiles))
    plain = network.predict(maps, neighborhoods, mask)[:, genes]

    prepared = PreparedNH2ST(network, genes, torch.device("cpu"), dtype)
    encoded = prepared.encode(tiles)
    if prepared.reach == "neighborhood":
        found = prepared.combine(tuple(t[neighborhoods] for t in encoded), mask)
    else:
        (found,) = encoded
    assert found.dtype == torch.float32
    # One wrong hyperedge in low precision moves a value; nearly all have to be within the bound.
    errors = (found - plain).abs().amax(1) / plain.abs().max()
    assert errors.quantile(0.9) < bound
    if dtype == torch.float32:
        assert errors.max() < bound


@torch.inference_mode()
def test_prepared_form_of_the_released_weights_predicts_the_reference(
    reference: ReferencePass, released_network: NH2ST
) -> None:
    # The reference's inputs are normalized already: undo it, in float.
    mean, std = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
    tiles = (reference.tiles[[0, 9]].permute(0, 2, 3, 1) * std + mean) * 255
    prepared = PreparedNH2ST(released_network, range(250), torch.device("cpu"), torch.float32)
    (found,) = prepared.encode(tiles)
    assert relative_error(found, reference.outputs["prediction"]) < 1e-4


def test_preparing_leaves_the_network_as_it_was() -> None:
    network = small_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    PreparedNH2ST(network, [0], torch.device("cpu"), torch.bfloat16)
    assert before.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


@pytest.mark.parametrize("more", [{"depth": 2}, {"heads": 8}, {"neighbors": 4}, {"dim": 64}])
def test_hyperparameters_are_free(more: dict[str, int]) -> None:
    network = small_network("neighborhood", **more)
    size = network.hyperparameters.neighbors + 1
    outputs = network(torch.rand(size, 3, 64, 64), torch.rand(size, 5), torch.arange(size)[None])
    assert outputs.prediction.shape == (1, 5)
    assert outputs.pairs["neighbor"][0].shape == (1, network.hyperparameters.dim)


@torch.inference_mode()
def test_how_alike_tiles_are_keeps_its_digits_in_bfloat16() -> None:
    prepared = PreparedNH2ST(
        small_network("neighborhood"), range(5), torch.device("cpu"), torch.bfloat16
    )
    tiles = torch.randint(0, 256, (6, 64, 64, 3), dtype=torch.uint8)
    maps = prepared.encoder(normalize_tiles(tiles, torch.bfloat16)).double()
    flat = maps.permute(0, 2, 3, 1).flatten(1)
    unit = prepared.encode(tiles)[2].double()
    # Half precision rounds by up to 2**-11 of a number, bfloat16 by 2**-8 of the largest.
    expected = flat / flat.norm(dim=1, keepdim=True)
    torch.testing.assert_close(unit, expected, rtol=2**-10, atol=2**-24)
