"""Texts of the docks read on both of napari's themes."""

import pandas as pd
import pytest
from napari._qt.qt_resources import get_stylesheet
from napari.utils.theme import get_theme
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_nh2st.widgets.frame_table import FrameTable
from napari_nh2st.widgets.labels import CautionLabel

LEAST = 4.5
"""Contrast that WCAG asks for (level AA)."""


def luminance(color: QColor) -> float:
    """Relative luminance of sRGB, by WCAG 2."""
    parts = [part / 255 for part in color.getRgb()[:3]]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(text: QColor, background: QColor) -> float:
    low, high = sorted([luminance(text), luminance(background)])
    return (high + 0.05) / (low + 0.05)


def background(theme: str) -> QColor:
    return QColor(get_theme(theme).background.as_hex())


@pytest.fixture
def window(qtbot: QtBot) -> QWidget:
    window = QWidget()
    window.setLayout(QVBoxLayout())
    qtbot.addWidget(window)
    return window


def test_cautions_and_greyed_genes_read_on_both_themes_and_when_they_change(
    qtbot: QtBot, window: QWidget
) -> None:
    label, table = CautionLabel("mind this"), FrameTable("genes")
    table.show_table(pd.DataFrame({"gene": ["A"], "reliability": [0.1]}))
    window.layout().addWidget(label)
    window.layout().addWidget(table)
    window.show()
    seen = set()
    for theme in ("light", "dark", "light"):
        window.setStyleSheet(get_stylesheet(theme))
        qtbot.wait(10)
        drawn = label.palette().color(label.foregroundRole())
        greyed = table.model.data(table.model.index(0, 0), Qt.ItemDataRole.ForegroundRole)
        assert contrast(drawn, background(theme)) >= LEAST, theme
        behind = table.view.palette().color(QPalette.ColorRole.Base)
        assert contrast(greyed, behind) >= LEAST, theme
        seen.add(drawn.name())
    assert len(seen) == 2, "no color reads on both"
