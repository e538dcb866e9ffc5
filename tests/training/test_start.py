"""What a training starts from: a model's weights by gene, or an encoder's from a file."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from napari_nh2st.errors import InputError
from napari_nh2st.model.encoders import ResNet18Encoder
from napari_nh2st.model.nh2st import NH2ST
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.start import starting_network
from small_configs import PANEL
from small_models import color_model, small_model

SMALL = {"tile_px": 32, "dim": 16, "heads": 2, "hidden": 8, "hypergraph_hidden": 12}
MEAN = np.linspace(0.5, 2.0, len(PANEL)).astype(np.float32)


def settings(**changed: Any) -> TrainSettings:
    return TrainSettings(**(SMALL | changed))


def predicted(network: NH2ST, tiles: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    with torch.inference_mode():
        return network.eval().predict(network.encode(tiles), index, mask)


@pytest.fixture
def study() -> tuple[Tensor, Tensor, Tensor]:
    """Tiles, neighborhoods and their mask."""
    generator = torch.Generator().manual_seed(0)
    tiles = torch.randn((12, 3, 32, 32), generator=generator)
    index = torch.stack([torch.randperm(12, generator=generator)[:9] for _ in range(6)])
    mask = torch.rand((6, 9), generator=generator) < 0.7
    mask[:, 0] = True
    return tiles, index, mask


class TestRandomWeights:
    def test_each_gene_starts_at_its_mean_in_training(self) -> None:
        network = starting_network(PANEL, MEAN, settings(), None)
        np.testing.assert_array_equal(network.decoder[-1].bias.detach(), MEAN)

    def test_the_seed_decides_and_the_callers_random_state_stays(self) -> None:
        torch.manual_seed(5)
        before = torch.get_rng_state()
        one, same, other = (
            starting_network(PANEL, MEAN, settings(seed=seed), None).state_dict()
            for seed in (1, 1, 2)
        )
        assert torch.equal(torch.get_rng_state(), before)
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert not torch.equal(one["query_head.weight"], other["query_head.weight"])

    def test_width_and_heads_have_to_fit(self) -> None:
        with pytest.raises(InputError, match=r"dim is 20; it must be a multiple of heads \(8\)"):
            starting_network(PANEL, MEAN, TrainSettings(dim=20), None)


class TestStartModel:
    def test_the_same_panel_starts_as_the_very_same_network(self) -> None:
        start = small_model()
        network = starting_network(PANEL, MEAN, settings(), start)
        old = start.network.state_dict()
        assert all(torch.equal(t, old[name]) for name, t in network.state_dict().items())

    def test_shared_genes_keep_their_rows_whatever_the_order(
        self, study: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        panel = ("NEW1", "VIM", "ERBB2", "NEW2", "CD74")
        start = small_model()
        network = starting_network(panel, MEAN, settings(), start)
        before, now = (predicted(n, *study) for n in (start.network, network))
        old, new = start.network.state_dict(), network.state_dict()
        for gene in ("VIM", "ERBB2", "CD74"):
            here, there = panel.index(gene), PANEL.index(gene)
            torch.testing.assert_close(now[:, here], before[:, there])
            name = "expression_encoder.0.weight"
            assert torch.equal(new[name][:, here], old[name][:, there])
        # A new gene is its mean, and what little its random row adds.
        assert new["decoder.1.bias"][[0, 3]].tolist() == MEAN[[0, 3]].tolist()
        for row in (0, 3):
            assert not (new["decoder.1.weight"][row] == old["decoder.1.weight"]).all(1).any()

    def test_expression_of_shared_genes_is_encoded_as_before(self) -> None:
        panel = ("NEW", *PANEL[::-1])
        start = small_model()
        network = starting_network(panel, np.ones(6, np.float32), settings(), start)
        values = torch.rand(4, 5)
        with torch.inference_mode():
            before = start.network.expression_encoder(values)
            absent = torch.zeros(4, 1)
            now = network.expression_encoder(torch.cat([absent, values.flip(1)], 1))
        torch.testing.assert_close(now, before)

    @pytest.mark.parametrize("before", ["query", "average"])
    @pytest.mark.parametrize("after", ["query", "neighborhood"])
    def test_another_context_predicts_as_the_query_did_at_first(
        self, study: tuple[Tensor, Tensor, Tensor], before: str, after: str
    ) -> None:
        start = small_model(before)
        network = starting_network(PANEL, MEAN, settings(context=after), start)
        assert network.hyperparameters.context == after
        as_query = NH2ST(replace(start.network.hyperparameters, context="query"))
        as_query.load_state_dict(start.network.state_dict())
        torch.testing.assert_close(predicted(network, *study), predicted(as_query, *study))

    def test_the_neighbor_branch_learns_from_the_first_step_on(
        self, study: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        network = starting_network(PANEL, MEAN, settings(context="neighborhood"), small_model())
        network.predict(network.encode(study[0]), *study[1:]).square().mean().backward()
        gradient = network.decoder[0].weight.grad
        assert gradient is not None
        assert gradient[:, 16:].abs().max() > 0

    def test_the_context_stays_where_none_is_given(self) -> None:
        for context in ("average", "neighborhood"):
            network = starting_network(PANEL, MEAN, settings(), small_model(context))
            assert network.hyperparameters.context == context

    @pytest.mark.parametrize(
        ("name", "value"), [("dim", 32), ("tile_px", 64), ("neighbors", 6), ("mlp_ratio", 2.0)]
    )
    def test_other_shapes_are_refused(self, name: str, value: float) -> None:
        with pytest.raises(InputError, match=rf"{name} is {value}, but the start model small has"):
            starting_network(PANEL, MEAN, TrainSettings(**{name: value}), small_model())

    def test_dropout_is_no_shape(self) -> None:
        network = starting_network(PANEL, MEAN, settings(dropout=0.25), small_model())
        assert network.hyperparameters.dropout == 0.25

    @pytest.mark.usefixtures("mean_color")
    def test_another_architecture_is_refused(self) -> None:
        with pytest.raises(InputError, match="another architecture; start from an NH2ST model"):
            starting_network(PANEL, MEAN, TrainSettings(), color_model())


def encoder_state(seed: int = 3) -> dict[str, Tensor]:
    """As torchvision's resnet18 has it, statistics of the norms and all."""
    torch.manual_seed(seed)
    state = ResNet18Encoder().state_dict()
    for name, tensor in state.items():
        if "running" in name:
            tensor.uniform_(0.5, 1.5)
    return state | {"fc.weight": torch.randn(1000, 512), "fc.bias": torch.randn(1000)}


def write(path: Path, state: dict[str, Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def small_network() -> NH2ST:
    return starting_network(PANEL, MEAN, settings(), None)


class TestEncoderFile:
    @pytest.mark.parametrize("suffix", [".pt", ".pth", ".safetensors"])
    @pytest.mark.parametrize("prefix", ["", "backbone.", "module.encoder_q."])
    def test_torchvisions_names_fill_the_encoder(
        self, tmp_path: Path, suffix: str, prefix: str
    ) -> None:
        state = encoder_state()
        path = write(tmp_path / f"r{suffix}", {prefix + name: t for name, t in state.items()})
        before = small_network()
        network = starting_network(PANEL, MEAN, settings(encoder_weights=str(path)), None)
        for name, tensor in network.image_encoder.state_dict().items():
            assert torch.equal(tensor, state[name]), name
        assert torch.equal(network.query_head.weight, before.query_head.weight)

    @pytest.mark.parametrize("key", ["state_dict", "model", "encoder"])
    def test_the_state_dict_may_lie_under_a_name(self, tmp_path: Path, key: str) -> None:
        state = encoder_state()
        torch.save({key: state, "epoch": 3}, tmp_path / "r.pt")
        network = small_network()
        network.image_encoder.load_weights(tmp_path / "r.pt")
        assert torch.equal(network.image_encoder.conv1.weight, state["conv1.weight"])

    def test_a_projection_head_beside_the_backbone_is_left_out(self, tmp_path: Path) -> None:
        state = {f"backbone.{name}": t for name, t in encoder_state().items()}
        path = write(tmp_path / "r.pt", state | {"projector.0.weight": torch.zeros(3)})
        network = small_network()
        network.image_encoder.load_weights(path)
        assert torch.equal(network.image_encoder.conv1.weight, state["backbone.conv1.weight"])

    def test_older_files_do_not_count_batches(self, tmp_path: Path) -> None:
        state = {n: t for n, t in encoder_state().items() if "num_batches" not in n}
        network = small_network()
        network.image_encoder.load_weights(write(tmp_path / "r.pt", state))
        assert torch.equal(network.image_encoder.bn1.running_var, state["bn1.running_var"])

    def test_the_file_comes_before_the_start_models_encoder(self, tmp_path: Path) -> None:
        state = encoder_state()
        path = write(tmp_path / "r.pt", state)
        start = small_model()
        network = starting_network(PANEL, MEAN, settings(encoder_weights=str(path)), start)
        assert torch.equal(network.image_encoder.conv1.weight, state["conv1.weight"])
        assert torch.equal(network.query_head.weight, start.network.query_head.weight)

    @pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
    def test_what_is_no_resnet18_is_refused_and_changes_nothing(
        self, tmp_path: Path, suffix: str
    ) -> None:
        missing = encoder_state()
        del missing["layer4.1.conv2.weight"]
        resnet34 = encoder_state() | {"layer1.0.conv1.weight": torch.zeros(64, 256, 1, 1)}
        network = small_network()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        for state, message in (
            (missing, r"is not a ResNet-18: it has no layer4\.1\.conv2\.weight$"),
            (resnet34, r"layer1\.0\.conv1\.weight has shape \(64, 256, 1, 1\) instead of"),
            ({"weights": torch.zeros(2)}, r"it has no conv1\.weight"),
        ):
            with pytest.raises(InputError, match=message):
                network.image_encoder.load_weights(write(tmp_path / f"r{suffix}", state))
        assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())

    def test_files_of_something_else_are_refused_in_a_sentence(self, tmp_path: Path) -> None:
        network = small_network()
        (tmp_path / "text.pt").write_text("not weights", encoding="utf-8")
        (tmp_path / "text.safetensors").write_text("not weights", encoding="utf-8")
        (tmp_path / "empty.pt").touch()
        (tmp_path / "zip.pt").write_bytes(b"PK\x03\x04" + bytes(100))
        torch.save([torch.zeros(2)], tmp_path / "list.pt")
        torch.save({"state_dict": {"conv1.weight": 3}}, tmp_path / "numbers.pt")
        for path in sorted(tmp_path.iterdir()):
            with pytest.raises(InputError) as caught:
                network.image_encoder.load_weights(path)
            assert str(path) in str(caught.value)
            assert "\n" not in str(caught.value)
        with pytest.raises(InputError, match="cannot be read: No such file"):
            network.image_encoder.load_weights(tmp_path / "missing.pt")

    @pytest.mark.parametrize("content", [b"e\x80\x02.", b"}q\x00u", b"\x80\x02K\x01R."])
    def test_pickles_that_make_no_sense_are_refused_as_well(
        self, tmp_path: Path, content: bytes
    ) -> None:
        (tmp_path / "r.pt").write_bytes(content)
        with pytest.raises(InputError, match=r"r\.pt"):
            small_network().image_encoder.load_weights(tmp_path / "r.pt")

    @pytest.mark.parametrize("legacy", [True, False])
    def test_a_malicious_file_executes_nothing(self, tmp_path: Path, legacy: bool) -> None:
        proof = tmp_path / "executed"

        class Malicious:
            def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
                return Path.touch, (proof,)

        path = tmp_path / "r.pt"
        if legacy:
            path.write_bytes(pickle.dumps({"state_dict": Malicious()}))
        else:
            torch.save({"state_dict": Malicious()}, path)
        with pytest.raises(InputError, match=r"holds more than weights.*Nothing in it was exec"):
            small_network().image_encoder.load_weights(path)
        assert not proof.exists()
