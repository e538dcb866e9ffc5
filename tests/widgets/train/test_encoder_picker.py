"""Picker of image encoders."""

import pytest
from pytestqt.qtbot import QtBot

from napari_nh2st.model.encoders import listing
from napari_nh2st.widgets.train.encoder_picker import EncoderPicker


def test_what_cannot_run_here_is_not_offered_and_the_tooltip_says_why(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "find_spec", lambda name: None if name == "timm" else object())
    monkeypatch.setattr(listing, "_is_fetched", lambda known: "midnight" in known.repository)
    picker = EncoderPicker("the start model's", "What encodes tiles")
    qtbot.addWidget(picker)
    offered = [picker.box.itemText(row) for row in range(picker.box.count())]
    assert offered == ["resnet18", "transformers:kaiko-ai/midnight"]
    tooltip = picker.box.toolTip()
    assert "transformers:owkin/phikon: not downloaded" in tooltip
    assert tooltip.count("timm is not installed: pip install 'napari-nh2st[timm]'") == 1
    assert "To be typed:\n" in tooltip
    assert "features:FOLDER: features that TRIDENT, CLAM or LazySlide computed" in tooltip
    assert picker.value() is None
    picker.show_value("onnx:encoder.onnx")
    assert picker.value() == "onnx:encoder.onnx"
    picker.show_value(None)
    assert picker.value() is None
