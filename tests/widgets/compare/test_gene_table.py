"""The table of genes in *Compare*: what its cells say, and how it is searched."""

import numpy as np
import pandas as pd
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_nh2st.session.comparison import gene_table
from napari_nh2st.widgets.compare.gene_table import GeneTable

GENES = ["ERBB2", "ENSMUSG00000012345", "CD74", "VIM"]


def scores() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "gene": GENES,
            "pcc": [0.526, 0.3, -0.051, np.nan],
            "pcc_low": [0.48, 0.2, -0.12, np.nan],
            "pcc_high": [0.57, 0.4, 0.031, np.nan],
            "mse": [0.5, 1.0, 2.0, np.nan],
            "mae": [0.5, 1.0, 2.0, np.nan],
            "mse_baseline": [1.0, 1.0, 0.0, np.nan],
            "mae_baseline": [1.0, 1.0, 0.0, np.nan],
        }
    )


@pytest.fixture
def table(qtbot: QtBot) -> GeneTable:
    table = GeneTable()
    qtbot.addWidget(table)
    reliability = pd.Series({"ERBB2": 0.61, "CD74": 0.1})
    table.show_table(gene_table(GENES, reliability, None), "")
    table.show_table(gene_table(GENES, reliability, scores()), "")
    return table


def shown(table: GeneTable, role: Qt.ItemDataRole = Qt.ItemDataRole.DisplayRole) -> list:
    """The cells that can be seen."""
    view, model = table.view, table.view.filter
    columns = [c for c in range(model.columnCount()) if not view.isColumnHidden(c)]
    rows = range(model.rowCount())
    return [[model.data(model.index(row, c), role) for c in columns] for row in rows]


def test_the_interval_is_one_column(table: GeneTable) -> None:
    assert shown(table) == [
        ["ERBB2", "0.53", "0.48 to 0.57", "0.61", "0.50"],
        ["ENSMUSG00000012345", "0.30", "0.20 to 0.40", "–", "1.00"],
        ["CD74", "−0.05", "−0.12 to 0.03", "0.10", "–"],
        ["VIM", "–", "–", "–", "–"],
    ]
    # What is copied and saved has both ends in full.
    table.table.copy()
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    copied = clipboard.text().splitlines()
    assert copied[0].split("\t") == ["gene", "PCC", "low", "high", "reliability", "MSE/mean"]
    assert copied[3].split("\t")[:4] == ["CD74", "-0.051", "-0.12", "0.031"]


def test_columns_and_genes_tell_what_they_are(table: GeneTable) -> None:
    model = table.table.model
    tips = [
        model.headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
        for column in range(model.columnCount())
    ]
    assert tips[0] == "Name of the gene in the model's panel"
    assert "Interval of the PCC" in tips[2]
    names = [row[0] for row in shown(table, Qt.ItemDataRole.ToolTipRole)]
    assert names[1].startswith("ENSMUSG00000012345: ")  # and why it is grey or not


def test_no_column_lies_outside_a_narrow_dock(qtbot: QtBot, table: GeneTable) -> None:
    table.resize(360, 400)
    with qtbot.waitExposed(table):
        table.show()
    view = table.view
    viewport, bar = view.viewport(), view.horizontalScrollBar()
    assert viewport is not None
    assert bar is not None
    assert bar.maximum() == 0
    assert view.columnWidth(0) >= 110
    # Numbers are not cut, although there were none when the dock was opened.
    assert view.isColumnHidden(4), "the badge tells it too"
    for column in (1, 2, 5):
        assert view.columnWidth(column) >= view.sizeHintForColumn(column)
    assert view.columnViewportPosition(5) + view.columnWidth(5) <= viewport.width()
    worst = scores().iloc[:1].assign(gene="KRT1", pcc=-0.4, pcc_low=-0.54, pcc_high=-0.15)
    many = pd.concat([*[scores().iloc[:1]] * 40, worst])
    names = [f"{number}" for number in range(40)] + ["KRT1"]
    table.show_table(gene_table(names, pd.Series(dtype=float), many.assign(gene=names)), "")
    text = table.table.model.data(table.table.model.index(40, 2))
    assert text == "−0.54 to −0.15"
    assert view.columnWidth(2) >= view.fontMetrics().horizontalAdvance(text)
    # Another table of the same columns is shown in the same way.
    table.show_table(gene_table(GENES, pd.Series(dtype=float), None), "")
    assert view.isColumnHidden(3)
    assert bar.maximum() == 0


def test_names_are_whole_in_a_usual_dock(qtbot: QtBot, table: GeneTable) -> None:
    names = [f"neighbors-{number:02}" for number in range(40)]
    many = pd.concat([scores().iloc[:1]] * 40).assign(gene=names)
    reliability = pd.Series(dict.fromkeys(names, 0.61))
    table.show_table(gene_table(names, reliability, many), "")
    # A dock of 345 pixels with a bar to scroll it by.
    table.resize(330, 400)
    with qtbot.waitExposed(table):
        table.show()
    view = table.view
    bar = view.horizontalScrollBar()
    assert bar is not None
    assert view.columnWidth(0) >= view.sizeHintForColumn(0)
    assert view.isColumnHidden(4), "the badge tells it too"
    table.resize(420, 400)
    assert not view.isColumnHidden(4)
    for column in (0, 1, 2, 4, 5):
        assert view.columnWidth(column) >= view.sizeHintForColumn(column)
    assert bar.maximum() == 0
    table.resize(330, 400)
    assert view.isColumnHidden(4)


def test_names_keep_their_room_beside_long_intervals(qtbot: QtBot, table: GeneTable) -> None:
    table.resize(table.minimumSizeHint().width(), 400)
    with qtbot.waitExposed(table):
        table.show()
    assert table.view.columnWidth(0) >= 68
    assert table.view.width() < 360


def test_a_search_without_a_hit_names_the_nearest(table: GeneTable) -> None:
    table.search.setText("erbb")
    assert [row[0] for row in shown(table)] == ["ERBB2"]
    assert table.note.isHidden()
    table.search.setText("ERB2")
    assert shown(table) == []
    assert not table.note.isHidden()
    assert table.note.text() == "No gene has “ERB2” in its name. Nearest: ERBB2."
    table.search.clear()
    assert table.note.isHidden()
    assert len(shown(table)) == 4


def test_a_row_sorted_by_its_interval_stays_the_current_one(table: GeneTable) -> None:
    chosen: list[str] = []
    table.table.gene_entered.connect(chosen.append)
    table.view.selectRow(1)
    table.view.sortByColumn(2, Qt.SortOrder.AscendingOrder)
    assert [row[0] for row in shown(table)] == ["CD74", "ENSMUSG00000012345", "ERBB2", "VIM"]
    assert table.view.current_gene == "ENSMUSG00000012345"
    assert chosen == ["ENSMUSG00000012345"]
