"""Low-rank adapters of an encoder of another library."""

import copy
from pathlib import Path

import pytest
import torch

from encoder_folders import SIDE, write_dinov2, write_onnx
from napari_nh2st.errors import InputError
from napari_nh2st.model.encoders.adapters import Adapter, adapter_parameters
from napari_nh2st.model.encoders.foreign import ForeignEncoder
from napari_nh2st.model.encoders.key import parse_key
from napari_nh2st.model.encoders.readers import read_encoder

TILES = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> ForeignEncoder:
    folder = write_dinov2(tmp_path_factory.mktemp("encoder") / "dinov2")
    return read_encoder(parse_key(f"transformers:{folder}"))


@torch.no_grad()
def test_new_adapters_change_nothing_and_trained_ones_are_multiplied_out(
    frozen: ForeignEncoder,
) -> None:
    adapted = copy.deepcopy(frozen)
    before = torch.get_rng_state()
    adapted.adapt(rank=4, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    # Query, key, value, what they become, and two of the MLP, in two blocks.
    assert adapted.adapter is not None
    assert len(adapted.adapter.layers) == 12
    assert torch.equal(adapted(TILES), frozen(TILES))
    for tensor in adapter_parameters(adapted):
        tensor.add_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(2)) / 20)
    features = adapted(TILES)
    assert (features - frozen(TILES)).abs().max() > 0.01
    merged = adapted.prepared()
    torch.testing.assert_close(merged(TILES), features, atol=1e-5, rtol=0)
    # Nothing of them is left, and their encoder is as it was.
    assert merged.state_dict().keys() == frozen.state_dict().keys()
    assert torch.equal(adapted(TILES), features)


def test_what_has_no_such_layers_is_refused(frozen: ForeignEncoder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no linear layer 'model.layernorm', which has"):
        copy.deepcopy(frozen).insert(Adapter(4, ("model.layernorm",)))
    pytest.importorskip("onnxruntime")
    onnx = read_encoder(parse_key(f"onnx:{write_onnx(tmp_path / 'means.onnx')}"))
    with pytest.raises(InputError, match="no blocks of linear layers"):
        onnx.adapt(4, 0)
