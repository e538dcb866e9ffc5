"""Texts of the docks read on both of napari's themes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from napari._qt.qt_resources import get_stylesheet
from napari.utils.theme import get_theme
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QPalette, QTextCursor, QTextDocument
from qtpy.QtWidgets import (
    QAbstractItemView,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.session.training_sections import TrainingSections
from napari_nh2st.widgets.domains.legend import DomainLegend
from napari_nh2st.widgets.drop_table import DropTable
from napari_nh2st.widgets.frame_table import FrameTable
from napari_nh2st.widgets.labels import CautionLabel, MarkupLabel, PlainLabel
from napari_nh2st.widgets.text_colors import TEXT_ROLE, TextDelegate
from napari_nh2st.widgets.train.sections_model import EXPRESSION, SectionsModel

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


def drawn_by(view: QAbstractItemView, row: int, column: int = 0) -> QColor:
    """Color that an item's text is drawn in."""
    model = view.model()
    assert model is not None
    index, option = model.index(row, column), QStyleOptionViewItem()
    view.initViewItemOption(option)
    delegate = view.itemDelegateForIndex(index)
    assert isinstance(delegate, TextDelegate)
    delegate.initStyleOption(option, index)
    return option.palette.color(QPalette.ColorRole.Text)


def colors_of(label: MarkupLabel) -> set[str]:
    """Colors of the text as Qt reads the markup."""
    document = QTextDocument()
    document.setHtml(QLabel.text(label))
    cursor, found = QTextCursor(document), set()
    while cursor.movePosition(QTextCursor.MoveOperation.NextCharacter):
        brush = cursor.charFormat().foreground()
        if brush.style() != Qt.BrushStyle.NoBrush:
            found.add(brush.color().name())
    return found


def test_colored_texts_read_on_both_themes_and_when_they_change(
    qtbot: QtBot, window: QWidget, tmp_path: Path
) -> None:
    label, table, pins = CautionLabel("mind this"), FrameTable("genes"), QListWidget()
    markup = MarkupLabel("<b class='bad'>UNTRAINED</b>: did you mean <a href='A'>A</a>?")
    legend, sections = DomainLegend(), TrainingSections()
    legend.show_legend(
        NamedDomains(
            np.ones(9, np.int64), ("1",), pd.DataFrame({"domain": [1], "gene": ["A"], "score": [1]})
        ),
        pd.Series({"A": 0.1}),
    )
    table.show_table(pd.DataFrame({"gene": ["A"], "reliability": [0.1]}))
    pins.setItemDelegate(TextDelegate(pins))
    for kind in ("greyed", "bad", "good", "caution"):
        item = QListWidgetItem(kind, pins)
        item.setData(TEXT_ROLE, kind)
    sections.rows.add_slide(tmp_path / "C6.tif")
    check = DropTable(lambda _paths, _row: None, "", "")
    check.setModel(SectionsModel(sections))
    for part in (label, markup, table, pins, legend, check):
        window.layout().addWidget(part)
    window.show()
    seen = set()
    for theme in ("light", "dark", "light"):
        window.setStyleSheet(get_stylesheet(theme))
        qtbot.wait(10)
        drawn = label.palette().color(label.foregroundRole())
        assert contrast(drawn, background(theme)) >= LEAST, theme
        links = colors_of(markup)
        assert len(links) == 2
        assert min(contrast(QColor(link), background(theme)) for link in links) >= LEAST, theme
        shown = [(table.view, 0, 0), (legend, 0, legend.columnCount() - 1), (check, 0, EXPRESSION)]
        shown += [(pins, row, 0) for row in range(4)]
        for view, row, column in shown:
            behind = view.palette().color(QPalette.ColorRole.Base)
            color = drawn_by(view, row, column)
            assert color != view.palette().color(QPalette.ColorRole.Text), (view, row)
            assert contrast(color, behind) >= LEAST, (theme, view, row, color.name(), behind.name())
        seen.add((drawn.name(), *links, *(drawn_by(*one).name() for one in shown)))
    assert len(seen) == 2, "no color reads on both"


def test_a_label_that_fits_is_as_high_as_its_lines_at_any_width(
    qtbot: QtBot, window: QWidget
) -> None:
    label = PlainLabel("some words that take several lines " * 4, wrap=True, fits=True)
    window.layout().addWidget(label)
    window.show()
    heights = []
    for width in (600, 200, 600):
        window.resize(width, 400)
        qtbot.waitUntil(lambda width=width: abs(label.width() - width) < 50)
        heights.append(label.minimumHeight())
    assert 0 < heights[0] == heights[2] < heights[1]
    label.setText("")
    assert label.minimumHeight() == 0
