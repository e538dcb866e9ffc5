"""The table of genes: what stands in it, in which order, and what is left out."""

import numpy as np
import pandas as pd
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt

from gene_predictions import RELIABILITY, gene_prediction
from napari_nh2st.analysis.gene_statistics import gene_statistics
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.widgets.genes.table import GENE, MEAN, MORAN, STABLE, GeneTable
from napari_nh2st.widgets.genes.table import RELIABILITY as PCC
from napari_nh2st.widgets.text_colors import TEXT_ROLE

ROLE = Qt.ItemDataRole


@pytest.fixture
def table(qtbot: QtBot) -> GeneTable:
    table = GeneTable()
    qtbot.addWidget(table)
    table.set_genes(list(RELIABILITY), list(RELIABILITY.values()))
    return table


def cell(table: GeneTable, gene: str, column: int, role: ROLE = ROLE.DisplayRole) -> object:
    row = table.frame.row_of(gene)
    assert row is not None
    return table.frame.index(row, column).data(role)


def test_the_most_reliable_come_first_then_by_name_and_the_unknown_last(table: GeneTable) -> None:
    assert table.shown_genes == ["ERBB2", "GRB7", "KRT19", "CD74", "ESR1"]


@pytest.mark.parametrize("order", list(Qt.SortOrder))
@pytest.mark.parametrize("column", [PCC, MEAN, MORAN])
def test_what_is_unknown_is_last_in_either_order(
    table: GeneTable, column: int, order: Qt.SortOrder
) -> None:
    statistics = pd.DataFrame(
        {"mean": [3.0, 1.0, 2.0, np.nan, 5.0], "morans_i": [0.5, 0.1, 0.2, np.nan, 0.9]},
        index=list(RELIABILITY),
    )
    table.set_statistics(statistics)
    table.sortByColumn(column, order)
    known = [gene for gene in RELIABILITY if gene != "ESR1"]
    numbers = RELIABILITY if column == PCC else statistics.iloc[:, column - MEAN].to_dict()
    sign = 1 if order == Qt.SortOrder.AscendingOrder else -1
    assert table.shown_genes == [*sorted(known, key=lambda g: (sign * numbers[g], g)), "ESR1"]


def test_genes_say_in_how_many_folds_they_are_reliable(table: GeneTable) -> None:
    assert table.isColumnHidden(STABLE)
    by_fold = pd.DataFrame(
        [[0.6, 0.7, 0.5], [0.4, 0.1, 0.3], [0.3, 0.6, 0.2], [np.nan, 0.9, 0.3], [np.nan] * 3],
        index=["ERBB2", "KRT19", "GRB7", "CD74", "ESR1"],
    )
    table.set_badges(Badges(0.3))
    table.set_held_out(by_fold)
    assert not table.isColumnHidden(STABLE)
    counts = {gene: cell(table, gene, STABLE) for gene in by_fold.index}
    assert counts == {"ERBB2": "3", "KRT19": "2", "GRB7": "2", "CD74": "2", "ESR1": "0"}
    table.set_only_stable(True)
    assert table.shown_genes == ["ERBB2"]
    table.set_badges(Badges(0.1))
    assert set(table.shown_genes) == {"ERBB2", "KRT19", "GRB7"}
    # Of another prediction that is not known, and the filter hides nothing.
    table.set_held_out(None)
    assert len(table.shown_genes) == 5
    assert table.isColumnHidden(STABLE)


def test_names_sort_by_name(table: GeneTable) -> None:
    table.sortByColumn(GENE, Qt.SortOrder.AscendingOrder)
    assert table.shown_genes == sorted(RELIABILITY)


def test_the_cells_show_numbers_and_the_unknown_in_words(table: GeneTable) -> None:
    assert cell(table, "ERBB2", PCC) == "0.71"
    assert cell(table, "ESR1", PCC) == "unknown"
    assert cell(table, "ERBB2", MEAN) == "…"
    table.set_statistics(pd.DataFrame({"mean": 1.2345, "morans_i": 0.678}, index=list(RELIABILITY)))
    assert cell(table, "ERBB2", MEAN) == "1.23"
    assert cell(table, "ERBB2", MORAN) == "0.68"


def test_genes_below_the_threshold_are_greyed_and_say_why(table: GeneTable) -> None:
    assert cell(table, "ERBB2", GENE, TEXT_ROLE) is None
    assert cell(table, "CD74", GENE, TEXT_ROLE) == "greyed"
    tooltip = cell(table, "CD74", GENE, ROLE.ToolTipRole)
    assert "CD74: held-out PCC 0.11 is below 0.20" in str(tooltip)
    table.set_badges(Badges(0.5))
    assert cell(table, "KRT19", GENE, TEXT_ROLE) == "greyed"
    assert "is below 0.50" in str(cell(table, "KRT19", GENE, ROLE.ToolTipRole))
    table.set_badges(Badges(0.1))
    assert cell(table, "CD74", GENE, TEXT_ROLE) is None


def test_only_reliable_leaves_out_what_is_below_the_threshold_or_unknown(table: GeneTable) -> None:
    table.set_only_reliable(True)
    assert set(table.shown_genes) == {"ERBB2", "GRB7", "KRT19"}
    table.set_badges(Badges(0.5))
    assert set(table.shown_genes) == {"ERBB2", "GRB7"}
    table.set_only_reliable(False)
    assert set(table.shown_genes) == set(RELIABILITY)


def test_a_search_finds_part_of_a_name_or_the_genes_of_a_list(table: GeneTable) -> None:
    table.search("rb")
    assert set(table.shown_genes) == {"ERBB2", "GRB7"}
    table.search("", frozenset({"CD74", "ESR1"}))
    assert set(table.shown_genes) == {"CD74", "ESR1"}
    table.search("krt", frozenset({"CD74"}))
    assert set(table.shown_genes) == {"CD74", "KRT19"}
    table.search("")
    assert set(table.shown_genes) == set(RELIABILITY)


def test_leaving_the_current_gene_out_chooses_no_other(table: GeneTable) -> None:
    chosen: list[str] = []
    table.gene_entered.connect(chosen.append)
    table.go_to("ERBB2")
    table.search("KRT")
    table.set_only_reliable(True)
    table.set_genes(["A", "B"], [0.5, 0.6])
    assert chosen == []


def test_stepping_follows_the_order_of_the_table_and_stops_at_its_ends(table: GeneTable) -> None:
    chosen: list[str] = []
    table.gene_entered.connect(chosen.append)
    table.sortByColumn(GENE, Qt.SortOrder.AscendingOrder)
    table.go_to("KRT19")
    table.step(-1)
    table.step(-1)
    table.step(1)
    assert chosen == ["GRB7", "ESR1", "GRB7"]
    table.go_to("KRT19")
    table.step(1)
    assert chosen == ["GRB7", "ESR1", "GRB7"], "there is none below the last"
    table.search("CD74")
    table.go_to("KRT19")  # it is left out
    assert table.selected_genes == []
    table.step(1)
    assert chosen[-1] == "CD74"


def test_the_statistics_are_of_the_predicted_tiles() -> None:
    prediction = gene_prediction()
    prediction.X[10:20] = np.nan
    table = gene_statistics(prediction)
    there = np.delete(np.asarray(prediction.X, np.float64), slice(10, 20), axis=0)
    np.testing.assert_allclose(table["mean"], there.mean(0))
    assert list(table.index) == list(RELIABILITY)
    assert table["morans_i"]["KRT19"] > 0.6
    assert table["morans_i"]["ERBB2"] < 0.3


def test_without_values_there_are_no_statistics() -> None:
    assert gene_statistics(gene_prediction(filled=False)).isna().all(axis=None)


@pytest.mark.parametrize(
    ("pcc", "words"),
    [
        (0.71, "held-out PCC 0.71"),
        (0.11, "held-out PCC 0.11 is below 0.20: "),
        (0.1982, "held-out PCC 0.1982 is below 0.20: "),
        (-0.001, "held-out PCC 0.00 is below 0.20: "),
        (np.nan, "reliability unknown: "),
    ],
)
def test_the_badge_says_how_far_to_trust_a_gene(pcc: float, words: str) -> None:
    badges = Badges(0.2)
    assert badges.reason(pcc).startswith(words)
    assert words in badges.line("ERBB2", pcc)
    assert badges.color(pcc) in badges.line("ERBB2", pcc)


def test_badges_differ_between_good_poor_and_unknown() -> None:
    assert len({Badges(0.2).color(pcc) for pcc in (0.6, 0.3, 0.1, np.nan)}) == 4
    assert Badges(0.4).color(0.3) == Badges(0.4).color(0.1)


def test_the_first_click_on_a_number_shows_the_highest_first(
    qtbot: QtBot, table: GeneTable
) -> None:
    table.resize(500, 300)
    table.show()
    header = table.columns
    for column in (MORAN, GENE):
        place = header.sectionViewportPosition(column) + header.sectionSize(column) // 2
        where = QPoint(place, header.height() // 2)
        qtbot.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=where)
        highest_first = header.sortIndicatorOrder() == Qt.SortOrder.DescendingOrder
        assert (header.sortIndicatorSection(), highest_first) == (column, column == MORAN)


@pytest.mark.parametrize("column", [PCC, MEAN, MORAN])
def test_names_are_read_whole_in_the_narrowest_table_however_it_is_sorted(
    qtbot: QtBot, column: int
) -> None:
    table = GeneTable()
    qtbot.addWidget(table)
    names = [f"HLA-DRB{number % 10}" for number in range(200)]
    table.set_genes(names, np.linspace(-0.9, 0.9, 200))
    numbers = pd.DataFrame({"mean": -1.23, "morans_i": -0.12}, index=pd.Index(names, name="gene"))
    table.set_statistics(numbers[~numbers.index.duplicated()])
    table.sortByColumn(column, Qt.SortOrder.AscendingOrder)
    table.resize(table.minimumWidth(), 200)
    table.show()
    qtbot.waitExposed(table)
    text = table.fontMetrics().horizontalAdvance(names[0])
    assert table.columnWidth(GENE) > text
    for number in (PCC, MEAN, MORAN):
        assert table.columnWidth(number) >= table.sizeHintForColumn(number)
