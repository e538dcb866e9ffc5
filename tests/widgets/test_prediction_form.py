"""What a prediction keeps beside its values: offered where the chosen model can give it."""

from dataclasses import replace

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtWidgets import QFormLayout

from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.predict.detail_choice import DetailChoice
from napari_nh2st.widgets.predict.settings_form import PredictSettingsForm
from small_configs import small_config

pytestmark = pytest.mark.napari

HEADS = {"file": "heads.safetensors", "sha256": "0" * 64, "count": 3}
NAMES = ("head_values", "image_features", "nuclei")


def test_what_a_model_cannot_give_is_not_asked_of_it(qtbot: QtBot) -> None:
    form = PredictSettingsForm(DevicePicker(lambda: None), DetailChoice())  # type: ignore[arg-type,return-value]
    qtbot.addWidget(form)
    rows = QFormLayout()
    rows.addRow("Features", form.features)
    for name in NAMES:
        form.controls[name].show_value(True)
    fine = small_config(mpp=0.5)
    for config, expected in (
        (None, (True, True, True)),
        (fine, (False, True, True)),
        (replace(fine, heads=HEADS, mpp=4.0), (True, True, False)),
        (replace(fine, heads=HEADS), (True, True, True)),
    ):
        form.show_for(config, rows)
        chosen = form.chosen(())
        assert tuple(getattr(chosen, name) for name in NAMES) == expected
        assert tuple(form.controls[name].isEnabled() for name in NAMES) == expected
        assert ("no heads" in form.controls["head_values"].toolTip()) is not expected[0]
        assert ("cannot be counted" in form.controls["nuclei"].toolTip()) is not expected[2]
