"""Trainings of low-rank adapters in an encoder of another library."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from encoder_folders import write_dinov2
from napari_nh2st import PredictSettings, load_model, open_slide, predict
from napari_nh2st.errors import InputError
from napari_nh2st.model.card import model_card
from napari_nh2st.model.encoders.adapters import is_adapter_tensor
from napari_nh2st.model.folder import Model, save_model_folder
from napari_nh2st.spots import Section
from napari_nh2st.training import MeasuredSection, TrainSettings, load_study, train, train_events
from napari_nh2st.training.checkpoint import read_checkpoint
from napari_nh2st.training.events import StepDone, TrainEvent, TrainFinished, TrainStarted
from train_studies import drawn_study

MPP = 6.25
RANK = 4


@dataclass
class Trained:
    """A model whose encoder was adapted, and with what."""

    encoder: Path
    sections: tuple[Section, ...]
    study: tuple[MeasuredSection, ...]
    settings: TrainSettings
    model: Model
    n_trained: int


def settings(**changed: Any) -> TrainSettings:
    given = {"architecture": "deepset", "mpp": MPP, "validation": "none", "epochs": 2}
    given |= {"batch_size": 20, "adapter_rank": RANK, "hidden": 8, "learning_rate": 0.01}
    return TrainSettings(**(given | changed))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("study")
    encoder = write_dinov2(folder / "dinov2")
    sections = drawn_study(folder, "S0 S1")
    study = load_study(sections)
    chosen = settings(image_encoder=f"transformers:{encoder}")
    events: list[TrainEvent] = []
    model = train(study, chosen, on_event=events.append)
    (started,) = (event for event in events if isinstance(event, TrainStarted))
    return Trained(encoder, sections, study, chosen, model, started.n_trained)


def of_encoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix("image_encoder.model."): tensor
        for name, tensor in state.items()
        if name.startswith("image_encoder.")
    }


def test_of_the_encoder_adapters_alone_are_trained(trained: Trained) -> None:
    import transformers

    own = of_encoder(trained.model.network.state_dict())
    published = transformers.Dinov2Model.from_pretrained(trained.encoder).state_dict()
    adapters = {name: tensor for name, tensor in own.items() if is_adapter_tensor(name)}
    assert own.keys() - adapters.keys() == published.keys()
    assert all(torch.equal(own[name], tensor) for name, tensor in published.items())
    # Of the last block, whose patches count for nothing, too.
    assert all(t.abs().max() > 1e-3 for name, t in adapters.items() if name.endswith("_up"))
    in_all = sum(tensor.numel() for tensor in trained.model.network.state_dict().values())
    frozen = sum(tensor.numel() for tensor in published.values())
    assert trained.n_trained == in_all - frozen


def test_a_folder_is_small_and_opens_to_the_same_predictions(
    trained: Trained, tmp_path: Path
) -> None:
    saved = save_model_folder(trained.model, tmp_path / "model")
    opened = load_model(tmp_path / "model")
    size, of_weights = (
        (folder / "model.safetensors").stat().st_size
        for folder in (tmp_path / "model", trained.encoder)
    )
    assert size < of_weights
    assert "| adapters | rank 4, on 12 layers |" in model_card(saved.config)
    chosen = PredictSettings(device="cpu", precision="float32")
    with open_slide(trained.sections[0].slide, mpp=MPP) as slide:
        first, second = (predict(slide, model, chosen) for model in (trained.model, opened))
        # The prediction multiplied the adapters out; without them it is another.
        bare = load_model(tmp_path / "model")
        for name, tensor in bare.network.state_dict().items():
            if is_adapter_tensor(name):
                tensor.zero_()
        other = predict(slide, bare, chosen)
    np.testing.assert_array_equal(first.X, second.X)
    assert np.abs(other.X - first.X).max() > 1e-3


def test_a_stopped_run_goes_on_and_ends_the_same(trained: Trained, tmp_path: Path) -> None:
    running = train_events(trained.study, trained.settings, folder=tmp_path)
    steps = 0
    for event in running:
        steps += isinstance(event, StepDone)
        if steps == 4:  # in the second epoch
            break
    running.close()
    stored = read_checkpoint(tmp_path / "last.pt")["optimization"]["network"]
    encoder = [name for name in stored if "image_encoder." in name]
    assert len(encoder) == 24
    assert all(is_adapter_tensor(name) for name in encoder)
    events = list(train_events(trained.study, trained.settings, folder=tmp_path))
    done = sum(isinstance(event, StepDone) for event in events)
    assert done < 4
    (finished,) = (event for event in events if isinstance(event, TrainFinished))
    state = trained.model.network.state_dict()
    again = finished.model.network.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in again.items())


def test_checkpointed_gradients_take_less_memory_and_end_the_same(trained: Trained) -> None:
    less = train(trained.study, replace(trained.settings, gradient_checkpointing=True))
    own, other = (model.network.state_dict() for model in (trained.model, less))
    assert all(torch.equal(own[name], tensor) for name, tensor in other.items())
    kept: list[int] = []
    for model in (trained.model, less):
        sizes: list[int] = []

        def pack(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        encoder = model.network.image_encoder.requires_grad_(True)  # type: ignore[union-attr]
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            encoder(torch.rand(4, 3, 28, 28))  # type: ignore[operator]
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2
    with pytest.raises(InputError, match="give adapter_rank, or leave it out"):
        replace(trained.settings, gradient_checkpointing=True, adapter_rank=0)


def test_a_training_goes_on_from_a_models_adapters(trained: Trained, tmp_path: Path) -> None:
    save_model_folder(trained.model, tmp_path / "model")
    start = str(tmp_path / "model")
    before = of_encoder(trained.model.network.state_dict())
    name = next(name for name in before if name.endswith("_up"))

    def adapted(**changed: Any) -> Tensor:
        given = {"start": start, "epochs": 1, "hidden": None, "adapter_rank": None}
        model = train(trained.study, settings(**(given | changed)))
        assert model.config.encoder is not None
        assert model.config.encoder["adapter"]["rank"] == RANK
        return of_encoder(model.network.state_dict())[name]

    gone_on = adapted()
    assert not torch.equal(gone_on, before[name])
    torch.testing.assert_close(gone_on, before[name], atol=0.05, rtol=0)
    # They stay where none are asked for, and where the architecture trains none.
    assert torch.equal(adapted(adapter_rank=0), before[name])
    assert torch.equal(adapted(architecture="linear"), before[name])
    with pytest.raises(InputError, match="has adapters of rank 4"):
        adapted(adapter_rank=8)


def test_adapters_are_refused_where_there_can_be_none(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="resnet18 is not a transformer"):
        TrainSettings(adapter_rank=8)
    with pytest.raises(InputError, match="resnet18 is not a transformer"):
        train(trained.study, TrainSettings(start="her2-breast-demo", adapter_rank=8))
    with pytest.raises(InputError, match="an ONNX file has no gradients"):
        settings(image_encoder="onnx:e.onnx")
    with pytest.raises(InputError, match="linear is solved in closed form"):
        settings(image_encoder="transformers:dino", architecture="linear")
    # A config that names layers the encoder does not have.
    save_model_folder(trained.model, tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for layers, message in (
        (["model.layernorm"], "no linear layer 'model.layernorm'"),
        ([], "encoder.adapter.layers"),
    ):
        content["encoder"]["adapter"]["layers"] = layers
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(InputError, match=message):
            load_model(tmp_path / "model")
