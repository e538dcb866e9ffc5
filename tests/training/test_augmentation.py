"""Looks of tiles: turned, mirrored, stained otherwise, and one look for all of a neighborhood."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.color import hed2rgb, rgb2hed, rgb_from_hed

from array_slides import textured
from napari_nh2st.errors import InputError
from napari_nh2st.model.encoders import IMAGENET_MEAN, IMAGENET_STD
from napari_nh2st.model.nh2st import NH2ST, NH2STHyperparameters
from napari_nh2st.tiles import neighborhoods
from napari_nh2st.training.augmentation import (
    AugmentationDraw,
    AugmentationSettings,
    augment,
    draw,
    turned_offsets,
)
from napari_nh2st.training.batches import Batch, epoch_batches
from napari_nh2st.training.inputs import StudyInputs, StudyTiles, TrainedPart, first_trained_stage
from napari_nh2st.training.start_settings import TrainedEncoder
from napari_nh2st.training.study import SectionTiles

NO_STAIN = AugmentationSettings(stain_jitter=0)


def some_tiles(n: int, side: int = 32) -> NDArray[np.uint8]:
    """Places of a texture, none of them symmetric."""
    return np.stack([textured(side, side, seed) for seed in range(n)])


def looks_of(settings: AugmentationSettings, n: int, seed: int = 0) -> AugmentationDraw:
    return draw(settings, n, torch.Generator().manual_seed(seed))


def turned(tile: NDArray[np.float32], turns: int, flipped: bool) -> NDArray[np.float32]:
    """(side, side, channels)"""
    result = np.rot90(tile, turns)
    return np.flip(result, axis=1) if flipped else result


class TestTurnsAndFlips:
    def test_each_tile_takes_its_own(self) -> None:
        tiles = some_tiles(40)
        looks = looks_of(NO_STAIN, 40)
        got = augment(torch.from_numpy(tiles), looks).numpy()
        for k in range(40):
            expected = turned(tiles[k], int(looks.turns[k]), bool(looks.flipped[k]))
            np.testing.assert_allclose(got[k], expected, atol=0.01)

    def test_offsets_turn_with_the_pictures(self) -> None:
        looks = looks_of(NO_STAIN, 40)
        tiles = np.zeros((40, 31, 31, 3), np.uint8)
        tiles[:, 15 + 4, 15 - 9] = 255  # (4, -9) from the middle
        got = augment(torch.from_numpy(tiles), looks)[..., 0].flatten(1).argmax(1)
        offsets = torch.tensor([[4.0, -9.0]]).expand(40, 1, 2)
        expected = turned_offsets(offsets, looks.turns, looks.flipped)[:, 0]
        torch.testing.assert_close(torch.stack([got // 31, got % 31], 1) - 15.0, expected)

    def test_all_eight_come_about_equally_often(self) -> None:
        looks = looks_of(NO_STAIN, 8000)
        counts = np.bincount(2 * looks.turns.numpy() + looks.flipped.numpy(), minlength=8)
        np.testing.assert_allclose(counts, 1000, atol=150)  # 5 standard deviations

    @pytest.mark.parametrize("name", ["flips", "quarter_turns"])
    def test_either_can_be_left_out(self, name: str) -> None:
        looks = looks_of(replace(NO_STAIN, **{name: False}), 100)
        assert bool(looks.flipped.any()) == (name != "flips")
        assert bool(looks.turns.any()) == (name != "quarter_turns")


class TestStain:
    def test_no_jitter_leaves_pixels_as_they_are(self) -> None:
        tiles = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
        tiles[..., 1] = tiles[..., 1][:, ::-1]
        settings = AugmentationSettings(flips=False, quarter_turns=False, stain_jitter=0)
        got = augment(torch.from_numpy(tiles), looks_of(settings, 1)).numpy()
        np.testing.assert_allclose(got, tiles, atol=0.01)

    def test_jitter_is_a_factor_and_a_shift_of_each_stain(self) -> None:
        """By way of scikit-image's stain separation."""
        jitter = 0.2
        settings = AugmentationSettings(flips=False, quarter_turns=False, stain_jitter=jitter)
        stains = np.random.default_rng(0).uniform(0.01, 0.06, (5, 8, 8, 3))
        light = hed2rgb(stains)
        assert 0.01 < light.min() < light.max() < 0.9  # not clipped
        tiles = torch.from_numpy(256 * light - 1)
        got = augment(tiles, looks_of(settings, 5, seed=4)).numpy()
        factor, shift = _stain_draws(5, seed=4)
        for k in range(5):
            # scikit-image's stains are densities over -log(1e-6).
            changed = rgb2hed(light[k]) * (1 + jitter * factor[k])
            changed += jitter / 5 * shift[k] / -np.log(1e-6)
            np.testing.assert_allclose(got[k], 256 * hed2rgb(changed) - 1, atol=0.02)
        assert np.abs(got - tiles.numpy()).mean() > 1

    def test_white_stays_nearly_white_and_black_dark(self) -> None:
        settings = AugmentationSettings(stain_jitter=0.15)
        tiles = torch.tensor([255, 0], dtype=torch.uint8)[:, None, None, None].expand(2, 4, 4, 3)
        got = augment(tiles.repeat(50, 1, 1, 1), looks_of(settings, 100))
        assert got[::2].min() > 235
        assert got[1::2].max() < 20

    def test_other_stains_change_amounts_and_colors_within_their_bounds(self) -> None:
        settings = AugmentationSettings(False, False, stain_jitter=0, stain_colors=0.5)
        looks = looks_of(settings, 200, seed=4)
        # What a density of one of haematoxylin becomes.
        became = torch.from_numpy(rgb_from_hed).float()[0] @ looks.stain
        amount = became.norm(dim=1) / np.linalg.norm(rgb_from_hed[0])
        assert np.exp(-0.55) - 0.01 < amount.min() < 0.65
        assert 1.6 < amount.max() < np.exp(0.55) + 0.01
        color = torch.nn.functional.normalize(became, dim=1)
        turned = (color @ torch.nn.functional.normalize(became.mean(0), dim=0)).arccos().rad2deg()
        assert 3 < turned.mean() < 10
        assert not looks.shift.any()
        again = looks_of(settings, 200, seed=4)
        assert torch.equal(looks.stain, again.stain)

    @pytest.mark.parametrize("jitter", [-0.1, 1.0, float("nan")])
    def test_jitter_out_of_its_range_is_refused(self, jitter: float) -> None:
        with pytest.raises(InputError, match="stain_jitter"):
            AugmentationSettings(stain_jitter=jitter)


def _stain_draws(n: int, seed: int) -> NDArray[np.float32]:
    """(2, n, 3) from -1 to 1: what `looks_of` draws for the stains, turns and flips left out."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(2):
        torch.randint(1, (n,), generator=generator)
    drawn = 2 * torch.rand((2, n, 3), generator=generator) - 1
    return np.asarray(drawn.numpy())


def array_section(name: str, side: int, tile: NDArray[np.uint8]) -> SectionTiles:
    """Spots on a square array that all see the same tile."""
    centers = 100.0 * np.argwhere(np.ones((side, side), bool))
    index, mask = neighborhoods(centers)
    n = len(centers)
    return SectionTiles(
        name,
        "D",
        lambda: np.repeat(tile[None], n, axis=0),
        np.zeros((n, 3), np.float32),
        centers,
        index,
        mask,
        np.arange(n),
    )


def inputs_of(encoder: TrainedEncoder, looks: int = 1) -> StudyInputs:
    sections = [array_section("A", 6, some_tiles(1)[0]), array_section("B", 5, some_tiles(1)[0])]
    torch.manual_seed(0)
    shapes = {"dim": 16, "heads": 2, "hidden": 8, "hypergraph_hidden": 12}
    network = NH2ST(NH2STHyperparameters(3, tile_px=32, **shapes)).eval()
    part = TrainedPart(network, first_trained_stage(network.image_encoder, encoder))
    inputs = StudyInputs(
        StudyTiles(sections),
        part,
        AugmentationSettings(),
        looks=looks,
        seed=0,
        device=torch.device("cpu"),
    )
    for _ in inputs.keep():
        pass
    return inputs


def batch_of(study: StudyTiles) -> Batch:
    return epoch_batches(
        study.centers,
        study.neighborhoods,
        study.mask,
        batch_size=len(study),
        patch_spots=9,
        generator=np.random.default_rng(0),
    )[0]


class TestOneLookAPatch:
    @pytest.mark.parametrize(("encoder", "looks"), [("whole", 1), ("frozen", 6)])
    def test_tiles_of_a_patch_share_it_and_patches_differ(
        self, encoder: TrainedEncoder, looks: int
    ) -> None:
        """All tiles are the same here, so that inputs differ by their look alone."""
        inputs = inputs_of(encoder, looks)
        batch = batch_of(inputs.study)
        assert batch.n_patches > 5
        got = inputs.augmented(batch, torch.Generator().manual_seed(0))
        first = []
        for patch in range(batch.n_patches):
            members = got[torch.from_numpy(batch.patch == patch)]
            torch.testing.assert_close(members, members[:1].expand_as(members))
            first.append(members[0])
        distinct = {tuple(one.flatten()[:500].round(decimals=3).tolist()) for one in first}
        assert len(distinct) > len(first) / 2

    @pytest.mark.parametrize(("encoder", "looks"), [("whole", 1), ("frozen", 6)])
    def test_neighbors_lie_where_the_turned_picture_has_them(
        self, encoder: TrainedEncoder, looks: int
    ) -> None:
        inputs = inputs_of(encoder, looks)
        batch = batch_of(inputs.study)
        plain = inputs.study.offsets(batch.rows, batch.neighborhoods)
        got = inputs.places(batch, torch.Generator().manual_seed(0))
        torch.testing.assert_close(got.norm(dim=-1), plain.norm(dim=-1))
        assert not torch.allclose(got, plain)
        if encoder == "whole":
            drawn = looks_of(inputs._settings, batch.n_patches)[torch.from_numpy(batch.patch)]
            torch.testing.assert_close(got, turned_offsets(plain, drawn.turns, drawn.flipped))

    def test_draws_follow_from_the_generator(self) -> None:
        inputs = inputs_of("whole")
        batch = batch_of(inputs.study)
        one, same, other = (
            inputs.augmented(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
        )
        assert torch.equal(one, same)
        assert not torch.equal(one, other)

    def test_plain_inputs_are_the_tiles_normalized(self) -> None:
        inputs = inputs_of("whole")
        rows = np.array([40, 3])
        got = inputs.plain(rows).permute(0, 2, 3, 1).numpy()
        tiles = np.stack([inputs.study.sections[s].tiles[0] for s in (1, 0)])
        expected = (tiles / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
        np.testing.assert_allclose(got, expected, atol=1e-5)
