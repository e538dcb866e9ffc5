"""The file of features in *Predict*: asked for where a model takes some."""

from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFormLayout, QWidget

from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.predict.detail_choice import DetailChoice
from napari_nh2st.widgets.predict.settings_form import PredictSettingsForm
from small_configs import small_config

pytestmark = pytest.mark.napari

ENCODER = {"key": "features", "tile_px": 32, "n_features": 6, "recipe": {"name": "uni_v1"}}


def test_a_model_of_features_asks_for_them_and_has_no_steps(qtbot: QtBot, tmp_path: Path) -> None:
    form = PredictSettingsForm(DevicePicker(lambda: None), DetailChoice())  # type: ignore[arg-type,return-value]
    place = QWidget()
    qtbot.addWidget(place)
    rows = QFormLayout(place)
    rows.addRow("Features", form.features)
    qtbot.addWidget(form)
    form.features.show_value(str(tmp_path / "slide.h5"))
    form.pitch.show_value(150.0)
    form.features.show_for(small_config(), rows)
    assert not rows.isRowVisible(form.features)
    assert (form.chosen(()).features, form.chosen(()).pitch_um) == (None, 150.0)
    form.features.show_for(small_config(encoder=ENCODER), rows)
    assert rows.isRowVisible(form.features)
    assert form.features.line.placeholderText() == "uni_v1: tiles of 32 px at 1 µm/px"
    chosen = form.chosen(())
    assert (chosen.features, chosen.pitch_um) == (str(tmp_path / "slide.h5"), None)
