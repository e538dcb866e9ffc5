"""Features that stay the same are computed once: what is kept, what it depends on, and damage."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from encoder_folders import write_dinov2
from event_generators import result_of
from napari_nh2st.errors import InputError
from napari_nh2st.model.architectures import ARCHITECTURES
from napari_nh2st.model.encoders import ResNet18Encoder, normalize_tiles
from napari_nh2st.model.encoders.key import parse_key
from napari_nh2st.model.encoders.readers import read_encoder
from napari_nh2st.tiles import neighborhoods
from napari_nh2st.training.augmentation_settings import AugmentationSettings
from napari_nh2st.training.feature_store import VARIABLE, FeatureStore, feature_store
from napari_nh2st.training.features import FeaturesDone, FrozenStages, section_looks
from napari_nh2st.training.study import SectionTiles

CPU = torch.device("cpu")


def encoder(seed: int = 0) -> ResNet18Encoder:
    torch.manual_seed(seed)
    return ResNet18Encoder(32).eval()


class Section:
    """Seven tiles of noise, and how often they were read."""

    def __init__(self, key: str | None = "pixels", name: str = "A") -> None:
        self.n_read = 0
        centers = 100.0 * np.argwhere(np.ones((1, 7), bool))
        index, mask = neighborhoods(centers)
        pixels = np.random.default_rng(0).integers(256, size=(7, 32, 32, 3), dtype=np.uint8)

        def read() -> np.ndarray:
            self.n_read += 1
            return pixels

        target = np.zeros((7, 3), np.float32)
        self.tiles = SectionTiles(name, "D", read, target, centers, index, mask, np.arange(7), key)


def maps_of(section: SectionTiles, stages: FrozenStages) -> tuple[Tensor, bool]:
    """The maps, and whether they were found."""
    events: list[FeaturesDone] = []
    maps = result_of(stages.maps(section), events)
    assert sum(event.tiles for event in events) == len(section)
    return maps, all(event.found for event in events)


def test_values_beyond_half_precision_are_kept_in_float32() -> None:
    own = encoder()
    with torch.no_grad():
        own.layer4[1].bn2.weight.mul_(1e7)  # type: ignore[union-attr]
    maps, _ = maps_of(Section().tiles, FrozenStages(own, 5, CPU))
    assert maps.dtype == torch.float32
    assert maps.isfinite().all()
    assert maps.max() > torch.finfo(torch.float16).max
    with torch.no_grad():
        own.conv1.weight[0] = torch.inf
    with pytest.raises(InputError, match=r"A: the encoder resnet18 gives values .* not finite"):
        maps_of(Section().tiles, FrozenStages(own, 5, CPU))


def test_maps_are_the_encoders_in_half_precision_found_or_not() -> None:
    own = encoder()
    stages = FrozenStages(own, 5, CPU)
    section = Section()
    computed, found = maps_of(section.tiles, stages)
    assert not found
    with torch.no_grad():
        expected = own(normalize_tiles(torch.from_numpy(section.tiles.tiles)))
    assert torch.equal(computed, expected.half())
    again = Section()
    kept, found = maps_of(again.tiles, FrozenStages(encoder(), 5, CPU))
    assert found
    assert again.n_read == 0
    assert torch.equal(kept, computed)
    means = result_of(stages.means(again.tiles))  # came with the maps
    assert again.n_read == 0
    torch.testing.assert_close(means, expected.mean((2, 3)))


@pytest.mark.parametrize(
    ("key", "seed", "n_stages"), [("others", 0, 5), ("pixels", 1, 5), ("pixels", 0, 3)]
)
def test_other_tiles_weights_or_stages_are_not_taken_for_what_is_kept(
    key: str, seed: int, n_stages: int
) -> None:
    maps_of(Section().tiles, FrozenStages(encoder(), 5, CPU))
    assert not maps_of(Section(key).tiles, FrozenStages(encoder(seed), n_stages, CPU))[1]


def test_features_of_another_config_around_the_same_weights_are_not_taken(tmp_path: Path) -> None:
    folder = write_dinov2(tmp_path / "encoder")
    key = parse_key(f"transformers:{folder}")
    maps_of(Section().tiles, FrozenStages(read_encoder(key), 1, CPU))
    assert maps_of(Section().tiles, FrozenStages(read_encoder(key), 1, CPU))[1]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(
        json.dumps(config | {"hidden_act": "relu"}), encoding="utf-8"
    )
    assert not maps_of(Section().tiles, FrozenStages(read_encoder(key), 1, CPU))[1]


def test_nothing_is_kept_of_tiles_that_no_key_names() -> None:
    maps_of(Section(None).tiles, FrozenStages(encoder(), 5, CPU))
    assert not maps_of(Section(None).tiles, FrozenStages(encoder(), 5, CPU))[1]
    assert feature_store().n_bytes == 0


def test_a_section_looks_the_same_whatever_it_is_trained_with() -> None:
    settings = AugmentationSettings()

    def looks(name: str, seed: int) -> list[list[float]]:
        drawn = list(section_looks(settings, Section(name=name).tiles, 3, seed))
        assert drawn[0] is None
        return [look.stain.flatten().tolist() for look in drawn if look is not None]

    assert looks("A", 0) == looks("A", 0)
    assert len({str(look) for look in (*looks("A", 0), *looks("B", 0), *looks("A", 1))}) == 6
    stages = FrozenStages(encoder(), 5, CPU)
    plain, *drawn = section_looks(settings, Section().tiles, 3, 0)
    kept = [result_of(stages.maps(Section().tiles, look)) for look in (plain, *drawn)]
    again = [result_of(stages.maps(Section().tiles, look)) for look in (plain, *drawn)]
    assert all(map(torch.equal, kept, again))
    assert not torch.equal(kept[1], kept[2])


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path, 100_000)


def tensors(value: float, kilobytes: int = 20) -> dict[str, Tensor]:
    return {"a": torch.full((kilobytes, 500), value, dtype=torch.float16)}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, flip, empty])
def test_a_damaged_file_counts_as_absent_and_is_replaced(
    store: FeatureStore, damage: Callable[[Path], None]
) -> None:
    assert store.put("k", tensors(1))
    (path,) = store.folder.iterdir()
    damage(path)
    assert store.get("k") is None
    assert store.put("k", tensors(1))
    kept = store.get("k")
    assert kept is not None
    assert torch.equal(kept["a"], tensors(1)["a"])


def test_what_was_not_used_for_longest_goes_first(store: FeatureStore) -> None:
    import os

    for number in range(4):
        FeatureStore(store.folder, store.max_bytes).put(str(number), tensors(number))
        os.utime(store.folder / f"{number}.safetensors", (number, number))
    assert store.get("0") is not None  # used now
    assert store.put("new", tensors(9))
    assert store.get("1") is None
    assert all(store.get(key) is not None for key in ("0", "3", "new"))
    assert store.n_bytes <= store.max_bytes


def test_what_this_process_uses_stays_and_what_has_no_room_is_not_kept(
    store: FeatureStore,
) -> None:
    kept = [number for number in range(9) if store.put(str(number), tensors(number))]
    assert kept == [0, 1, 2, 3]
    assert all(store.get(str(number)) is not None for number in kept)


def test_mapped_tensors_outlive_their_file(store: FeatureStore) -> None:
    store.put("k", tensors(3))
    mapped = store.get("k")
    store.clear()
    assert store.n_bytes == 0
    assert mapped is not None
    assert (mapped["a"] == 3).all()


def test_it_can_be_turned_off_and_the_setting_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    stages = FrozenStages(encoder(), 5, CPU)
    maps_of(Section().tiles, stages)
    assert not maps_of(Section().tiles, stages)[1]
    monkeypatch.setenv(VARIABLE, "much")
    with pytest.raises(InputError, match=f"{VARIABLE} must be a number of GB, not much"):
        feature_store()


def test_a_folder_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("NH2ST_CACHE", str(tmp_path / "file"))
    stages = FrozenStages(encoder(), 5, CPU)
    assert torch.equal(maps_of(Section().tiles, stages)[0], maps_of(Section().tiles, stages)[0])


@pytest.mark.parametrize("architecture", ["linear", "sepal", "nh2st"])
def test_means_serve_where_nothing_else_of_a_map_is_seen(architecture: str) -> None:
    kind = ARCHITECTURES[architecture]
    assert kind.hyperparameters is not None
    assert kind.network is not None
    torch.manual_seed(0)
    network = kind.network(kind.hyperparameters(panel_size=3, tile_px=64))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    maps = torch.rand(9, 512, 2, 2)
    around = (torch.arange(9)[None], torch.ones(1, 9, dtype=torch.bool), torch.rand(1, 9, 2))
    whole = network.eval().predict(maps, *around)
    if network.sees_means_alone:
        means = network.predict(maps.mean((2, 3), keepdim=True), *around)
        torch.testing.assert_close(means, whole)
    else:
        with pytest.raises(RuntimeError):
            network.predict(maps.mean((2, 3), keepdim=True), *around)
    assert network.sees_means_alone == (architecture != "nh2st")
