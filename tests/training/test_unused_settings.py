"""Which settings a training uses, by architecture and image encoder."""

from dataclasses import fields

import pytest
import torch

from napari_nh2st.model.architectures import ARCHITECTURES
from napari_nh2st.model.catalogue import CATALOGUE
from napari_nh2st.model.hyperparameters import names_of
from napari_nh2st.model.pooled import PooledNetwork
from napari_nh2st.training.augmentation_settings import AugmentationSettings
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.unused_settings import unused_settings

NAMES = {field.name for kind in (TrainSettings, AugmentationSettings) for field in fields(kind)}


@pytest.mark.parametrize("key", CATALOGUE)
def test_the_catalogue_says_what_a_network_takes(key: str) -> None:
    entry, kind = CATALOGUE[key], ARCHITECTURES[key].hyperparameters
    assert kind is not None
    defaults = kind(panel_size=3)
    assert entry.settings == {
        name: getattr(defaults, name) for name in names_of(kind) if name in NAMES
    }
    assert unused_settings(key) < NAMES


@pytest.mark.parametrize("key", CATALOGUE)
def test_the_catalogue_says_which_terms_there_are(key: str) -> None:
    kind, build = ARCHITECTURES[key].hyperparameters, ARCHITECTURES[key].network
    assert kind is not None
    assert build is not None
    small = {"dim": 8, "heads": 1, "hidden": 8, "hypergraph_hidden": 8}
    given = {name: value for name, value in small.items() if name in names_of(kind)}
    network = build(kind(panel_size=3, tile_px=32, **given)).eval()
    tiles, expression = torch.rand(4, 3, 32, 32), torch.rand(4, 3)
    neighborhoods = torch.arange(4)[:, None].expand(4, 9)
    mask = torch.ones(4, 9, dtype=torch.bool)
    with torch.no_grad():
        if CATALOGUE[key].reach == "slide":
            assert isinstance(network, PooledNetwork)
            outputs = network.slide_outputs(network.encode(tiles), expression, torch.rand(4, 2))
        else:
            outputs = network(tiles, expression, neighborhoods, mask, torch.zeros(4, 9, 2))
    assert bool(outputs.pairs) == CATALOGUE[key].pairs
    assert bool(outputs.branches) == CATALOGUE[key].branches
