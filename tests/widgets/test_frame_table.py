"""The table of a DataFrame: sorting, searching, stepping, and what is selected meanwhile."""

import numpy as np
import pandas as pd
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.widgets.frame_model import ColumnHead
from napari_nh2st.widgets.frame_table import FrameTable

GENES = pd.DataFrame(
    {
        "gene": ["VIM", "cd74", "ERBB2", "CD8A"],
        "reliability": [0.1, np.nan, 0.6, 0.3],
        "mean": [2.0, 1.0, np.nan, 2.0],
    }
)
HEADS = {"mean": ColumnHead("mean", "Of the tiles", lambda v: "…" if np.isnan(v) else f"{v:.1f}")}


@pytest.fixture
def table(qtbot: QtBot) -> FrameTable:
    table = FrameTable("genes", HEADS)
    qtbot.addWidget(table)
    table.show_table(GENES)
    return table


def column(table: FrameTable, place: int) -> list[str]:
    rows = table.view.filter
    return [rows.index(row, place).data() for row in range(rows.rowCount())]


def click(table: FrameTable, place: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
    table.view.sortByColumn(place, order)


def test_numbers_sort_by_size_with_empty_places_last_and_names_in_any_case(
    table: FrameTable,
) -> None:
    click(table, 2)
    assert column(table, 0) == ["cd74", "VIM", "CD8A", "ERBB2"]
    assert column(table, 2) == ["1.0", "2.0", "2.0", "…"]
    click(table, 2, Qt.SortOrder.DescendingOrder)
    assert column(table, 0) == ["VIM", "CD8A", "cd74", "ERBB2"], "equal ones as they were given"
    click(table, 0)
    assert column(table, 0) == ["cd74", "CD8A", "ERBB2", "VIM"]


def test_columns_get_wider_where_new_values_are_longer_and_never_narrower(
    table: FrameTable,
) -> None:
    text = table.view.fontMetrics()
    short = GENES.assign(last=1)  # the last column fills the table at any width
    table.show_table(short)
    table.show_table(short.assign(mean=123456789012345.0))
    wide = table.view.columnWidth(2)
    assert wide > text.horizontalAdvance("123456789012345.0")
    table.show_table(short)
    assert table.view.columnWidth(2) == wide


def test_what_is_selected_stays_selected_when_it_is_sorted_and_searched(table: FrameTable) -> None:
    entered: list[str] = []
    table.gene_entered.connect(entered.append)
    table.view.selectRow(0)
    assert entered == ["VIM"]
    click(table, 0)
    assert table.view.selected_genes == ["VIM"]
    assert table.view.current_gene == "VIM"
    table.view.search("cd")
    assert column(table, 0) == ["cd74", "CD8A"]
    assert table.view.shown_genes == ["cd74", "CD8A"]
    table.view.search("")
    assert len(column(table, 0)) == 4
    assert entered == ["VIM"], "nobody went elsewhere"


def test_going_to_a_gene_is_quiet_and_stepping_is_not(table: FrameTable) -> None:
    entered: list[str] = []
    table.gene_entered.connect(entered.append)
    table.view.go_to("ERBB2")
    assert (table.view.current_gene, entered) == ("ERBB2", [])
    table.view.step(1)
    table.view.step(1)
    table.view.step(-1)
    assert entered == ["CD8A", "ERBB2"], "below the last there is none"
    table.view.search("VIM")
    table.view.go_to("ERBB2")
    assert table.view.selected_genes == []
    assert entered == ["CD8A", "ERBB2"]


def test_the_selected_rows_are_copied_also_where_others_are_left_out(table: FrameTable) -> None:
    table.view.search("cd")
    table.view.selectRow(1)
    table.copy()
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    assert clipboard.text().splitlines() == ["gene\treliability\tmean", "CD8A\t0.3\t2.0"]


def test_other_values_of_the_same_rows_keep_the_order_and_the_selection(table: FrameTable) -> None:
    click(table, 2)
    table.view.go_to("VIM")
    table.model.set_values(GENES.assign(mean=[0.5, 4.0, 3.0, np.nan]))
    assert column(table, 0) == ["VIM", "ERBB2", "cd74", "CD8A"]
    assert table.view.current_gene == "VIM"
    with pytest.raises(ValueError, match="another table"):
        table.model.set_values(GENES.iloc[:2])


def test_a_double_click_chooses_the_gene(table: FrameTable) -> None:
    chosen: list[str] = []
    table.gene_chosen.connect(chosen.append)
    click(table, 0)
    table.view.doubleClicked.emit(table.view.filter.index(2, 1))
    assert chosen == ["ERBB2"]


def test_genes_below_the_threshold_are_grey_and_those_unknown_are_not(table: FrameTable) -> None:
    assert [table.model.is_greyed(row) for row in range(4)] == [True, False, False, False]
    table.badges = Badges(0.5)
    assert [table.model.is_greyed(row) for row in range(4)] == [True, False, False, True]
