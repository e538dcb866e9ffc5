"""A model that predicts from the whole slide, in the Predict dock."""

from pathlib import Path

import numpy as np
import pytest
import torch
from napari.components import ViewerModel
from napari.layers import Image
from pytestqt.qtbot import QtBot

from array_slides import textured, write_tiff
from local_jobs import LocalJobs
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.jobs.prediction import Values
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.model.folder import load_model_folder, new_model, save_model_folder
from napari_nh2st.model.pooled import PooledNetwork
from napari_nh2st.prediction.preview import has_preview
from napari_nh2st.slide import open_slide
from napari_nh2st.widgets import child_jobs
from napari_nh2st.widgets.predict.widget import PredictWidget
from small_configs import small_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = small_config(
        architecture="merge", hyperparameters={"hidden": 8, "heads": 2}, pitch_um=8.0
    )
    model = new_model(config, 0)
    assert isinstance(model.network, PooledNetwork)
    for name in model.network.gene_layers:
        torch.nn.init.normal_(model.network.get_submodule(name).weight)
    save_model_folder(model, tmp_path / "model")
    return tmp_path / "model"


def test_a_preview_is_marked_and_replaced_and_a_stopped_run_keeps_none_of_it(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    folder: Path,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(child_jobs, "new_jobs", LocalJobs)
    path = write_tiff(tmp_path / "section.tif", textured(220, 220))
    ((data, attributes, _),) = read_slide(path, mpp=1.0)
    viewer.add_image(data, **attributes)
    widget = PredictWidget(viewer)
    qtbot.addWidget(widget)
    widget.model.choose(str(folder))
    names: list[str] = []
    shown: list[str] = []

    def note() -> None:
        shown.append(widget.status.text())
        names.extend(layer.name for layer in viewer.layers if isinstance(layer, Image))

    widget.start()
    qtbot.waitUntil(lambda: widget.bar.value() > 0 < widget.bar.maximum(), timeout=60_000)
    note()
    widget.stop()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=60_000)
    assert any(name.endswith("PREVIEW") for name in names)
    assert "predicts once the whole slide is encoded. What is shown is a preview" in shown[0]
    assert "the results are kept. The preview is removed." in widget.status.text()
    assert widget.prediction is not None
    assert np.isnan(widget.prediction.X).all()
    assert not any(layer.name.endswith("PREVIEW") for layer in viewer.layers)
    assert widget.run.text() == "Continue"

    widget.start()
    qtbot.waitUntil(lambda: not widget.is_running, timeout=60_000)
    prediction = widget.prediction
    assert not has_preview(prediction)
    with open_slide(path, mpp=1.0) as slide:
        expected = predict(slide, load_model_folder(folder), PredictSettings(device="cpu"))
    np.testing.assert_allclose(prediction.X, expected.X, rtol=1e-3, atol=1e-3)
    encoded = [
        tile
        for events in widget.process.ready().events
        for event in events
        if isinstance(event, Values) and event.preview
        for tile in event.tiles.tolist()
    ]
    assert sorted(encoded) == list(range(prediction.n_obs)), "each tile once, in both runs"
