"""Boundary guides: what they say of a tile, and that training and prediction see the same."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.color import hed_from_rgb
from torch import Tensor

from napari_nh2st.model.encoders import ResNet18Encoder, normalize_tiles
from napari_nh2st.model.folder import Model, load_model_folder, new_model, save_model_folder
from napari_nh2st.model.guides import N_GUIDES, GuidedEncoder, boundary_guides, hematoxylin
from napari_nh2st.model.pooled import PooledNetwork
from napari_nh2st.model.triplex import TriplexNetwork
from napari_nh2st.synthetic import SyntheticTissue, synthetic_spots
from small_configs import small_config

PALE, DARK = (235, 200, 220), (90, 70, 150)
GUIDED = {"dim": 8, "heads": 2, "guides": "boundary"}


@pytest.fixture(scope="module")
def tiles() -> Tensor:
    return torch.randint(0, 256, (9, 64, 64, 3), generator=torch.Generator().manual_seed(0)).byte()


def test_hematoxylin_is_that_of_a_product_with_the_stain_matrix(tiles: Tensor) -> None:
    density = -np.log((tiles.double().numpy() + 1) / 256)
    expected = np.maximum((density @ hed_from_rgb)[..., 0], 0)
    np.testing.assert_allclose(hematoxylin(tiles), expected, atol=1e-5)


def test_guides_are_high_where_two_tissues_meet_and_zero_within_either() -> None:
    tile = np.full((64, 64, 3), PALE, np.uint8)
    tile[:, :32] = DARK
    flat = np.stack([tile, np.full_like(tile, PALE), np.full_like(tile, DARK)])
    (edge, pale, dark) = boundary_guides(torch.from_numpy(flat), 8)
    assert torch.all(dark[0] > pale[0] + 1)
    torch.testing.assert_close(edge[0, :, :4], dark[0, :, :4])
    assert torch.all(pale[1:] < 1e-3)
    assert torch.all(dark[1:] < 1e-3)
    for steps in edge[1:3]:  # the coarser ones see it from afar
        assert torch.all(steps[:, 3:5] > 10 * steps[:, [0, 7]] + 0.1)
    for steps in edge[3:]:
        assert torch.all(steps[:, 3:5] > 1.5 * steps[:, [0, 7]])
    # Which side is the dark one does not matter, nor where the tile is turned to.
    for turned in (tile[:, ::-1], tile.transpose(1, 0, 2)):
        found = boundary_guides(torch.from_numpy(turned.copy())[None], 1)[0, 1:]
        torch.testing.assert_close(found, edge[1:].mean((1, 2))[:, None, None])


def test_a_tile_has_the_same_guides_in_any_batch(tiles: Tensor) -> None:
    every = boundary_guides(tiles, 2)
    assert every.shape == (9, N_GUIDES, 2, 2)
    for size in (1, 2, 4):
        parts = torch.cat([boundary_guides(part, 2) for part in tiles.split(size)])
        assert torch.equal(parts, every)


@torch.no_grad()
def test_an_encoder_passes_its_guides_on_from_stage_to_stage(tiles: Tensor) -> None:
    plain = ResNet18Encoder(64).eval()
    encoder = GuidedEncoder(plain)
    pixels = normalize_tiles(tiles)
    maps = encoder(pixels)
    torch.testing.assert_close(maps[:, :512], plain(pixels))
    torch.testing.assert_close(maps[:, 512:], boundary_guides(tiles, 2), rtol=1e-4, atol=1e-5)
    assert encoder.spec.n_features == maps.shape[1]
    half_way = encoder.through(pixels, 0, 3)
    assert half_way.shape == (9, 128 + N_GUIDES, 8, 8)
    torch.testing.assert_close(encoder.through(half_way, 3, 5), maps, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def guided(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model with guides, saved and loaded."""
    folder = tmp_path_factory.mktemp("guided") / "model"
    config = small_config(architecture="triplex", hyperparameters=GUIDED, tile_px=64)
    save_model_folder(new_model(config, 0), folder)
    return load_model_folder(folder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_prediction_sees_the_guides_of_the_tiles_themselves(
    tiles: Tensor, dtype: torch.dtype, guided: Model
) -> None:
    model, network = guided, guided.network
    assert isinstance(network, PooledNetwork)
    with torch.no_grad():
        network.tile_head.weight.zero_()
        network.tile_head.weight[:, -N_GUIDES:] = torch.eye(N_GUIDES)  # five genes, five guides
    predictor = model.architecture.prepare(network, range(5), torch.device("cpu"), dtype, None)
    preview = predictor.encode(tiles)[0]
    torch.testing.assert_close(preview, boundary_guides(tiles, 1)[..., 0, 0], atol=1e-5, rtol=1e-4)


def boundaries(seed: int) -> tuple[Tensor, NDArray[np.float64]]:
    """Guides of a synthetic tissue's tiles at its spots, and how near boundaries they are."""
    tissue = SyntheticTissue(seed, (1250, 1250), 2.4)
    spots = synthetic_spots(tissue)
    picture = tissue.render(0, 0, *tissue.shape)
    corners = np.round(spots.obsm["spatial"][:, ::-1]).astype(int) - 32
    tiles = np.stack([picture[y : y + 64, x : x + 64] for y, x in corners])
    level = spots.obsm["programmes"]["boundary"].to_numpy()
    return boundary_guides(torch.from_numpy(tiles), 1)[..., 0, 0], level


def test_guides_tell_how_near_boundaries_of_an_unseen_tissue_are() -> None:
    (seen, level), (unseen, truth) = boundaries(1), boundaries(2)
    correlation = []
    for channels in (slice(0, 1), slice(0, None)):  # hematoxylin alone, and where it changes too
        design = np.column_stack([seen[:, channels], np.ones(len(seen))])
        weights = np.linalg.lstsq(design, level, rcond=None)[0]
        predicted = np.column_stack([unseen[:, channels], np.ones(len(unseen))]) @ weights
        correlation.append(np.corrcoef(predicted, truth)[0, 1])
    assert correlation[0] < 0.4
    assert correlation[1] > 0.55


def test_rows_of_guided_tiles_do_not_depend_on_their_place_in_the_batch(guided: Model) -> None:
    network = guided.network
    assert isinstance(network, TriplexNetwork)
    torch.nn.init.normal_(network.tile_head.weight)
    generator = torch.Generator().manual_seed(0)
    tiles = 255 * torch.rand((8, 32, 32, 3), generator=generator)
    maps = torch.randn((8, 512, 1, 1), generator=generator)
    order = torch.tensor([3, 1, 0, 2, 7, 5, 4, 6])
    with torch.inference_mode():
        rows = network.eval().rows(network.guided(maps, tiles))
        others = network.rows(network.guided(maps[order], tiles[order]))
    for row, other in zip(rows, others, strict=True):
        assert torch.equal(row[order], other)
