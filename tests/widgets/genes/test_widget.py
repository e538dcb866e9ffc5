"""The Genes dock: what the user does reaches the viewer, and the other way round."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from anndata import AnnData
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QItemSelectionModel, Qt
from qtpy.QtWidgets import QDockWidget, QWidget

from gene_predictions import RELIABILITY, VALUE_NAME, add_heatmap, as_image, gene_prediction
from napari_nh2st.analysis.signatures import Signature
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import GENE_KEY
from napari_nh2st.prediction.reliability import has_measured, use_measured
from napari_nh2st.prediction.schema import NUCLEI, UNFAMILIAR, reliability
from napari_nh2st.session import Session, remembered
from napari_nh2st.session.display_settings import DisplaySettings
from napari_nh2st.widgets.genes import tab as gene_tab
from napari_nh2st.widgets.genes.table import MEAN, MORAN
from napari_nh2st.widgets.genes.widget import GenesWidget
from napari_nh2st.widgets.text_colors import TEXT_ROLE
from trusted_predictions import NOTICE, add_trust
from viewers import VIEWERS


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def viewer(qtbot: QtBot, request: pytest.FixtureRequest) -> ViewerModel:
    made: ViewerModel = request.param()
    return made


@pytest.fixture
def widget(qtbot: QtBot, viewer: ViewerModel) -> Iterator[GenesWidget]:
    widget = GenesWidget(viewer)
    qtbot.addWidget(widget)
    yield widget
    widget.close_down()


@pytest.fixture
def heatmap(viewer: ViewerModel, widget: GenesWidget) -> Heatmap:
    return add_heatmap(viewer, gene_prediction())


def select(widget: GenesWidget, *genes: str) -> None:
    table = widget.genes.table
    table.clearSelection()
    for gene in genes:
        row = table.shown_genes.index(gene)
        flags = QItemSelectionModel.SelectionFlag
        table.selectionModel().select(table.filter.index(row, 0), flags.Select | flags.Rows)


def pinned(viewer: ViewerModel) -> list[str]:
    return [la.metadata[GENE_KEY] for la in viewer.layers if GENE_KEY in la.metadata]


def test_badges_say_what_they_are_of_and_follow_what_was_measured(
    widget: GenesWidget, viewer: ViewerModel
) -> None:
    prediction = add_trust(gene_prediction())
    add_heatmap(viewer, prediction)
    tab, box = widget.genes, widget.genes.measured_badges
    assert "PCC 0.71 on other sections of the same tumour" in tab.header.text()
    index = tab.table.filter.index(0, 0)
    tooltip = str(tab.table.filter.data(index, Qt.ItemDataRole.ToolTipRole))
    assert "on other sections of the same tumour" in tooltip
    head = tab.table.frame.headerData(1, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
    assert str(head).endswith("on other sections of the same tumour")
    assert widget.tile.genes.badges == widget.regions.table.badges == tab.badges
    assert box.isHidden()
    use_measured(prediction, reliability(prediction) - 0.3, "this slide (99 spots)")
    tab.session.measured_badges.used.emit()
    tab.session.measured_badges.changed.emit()
    assert "PCC 0.41 on this slide (99 spots)" in tab.header.text()
    assert tab.table.frame.table.set_index("gene")["reliability"]["ERBB2"] == pytest.approx(0.41)
    assert not box.isHidden()
    assert box.isChecked()
    box.click()  # and back
    assert "PCC 0.71 on other sections of the same tumour" in tab.header.text()
    assert box.isHidden()
    assert not has_measured(prediction)


def test_genes_that_are_not_reliable_in_every_fold_can_be_hidden(
    widget: GenesWidget, viewer: ViewerModel
) -> None:
    prediction = gene_prediction()
    tab, folds = widget.genes, np.full((prediction.n_vars, 4), 0.8)
    folds[2:, 3] = 0.05
    prediction.varm["held_out_pcc"] = folds
    add_heatmap(viewer, prediction)
    assert not tab.only_stable.isHidden()
    assert {*tab.table.frame.table["stable"]} == {3, 4}
    tab.only_stable.click()
    assert sorted(tab.table.shown_genes) == sorted(prediction.var_names[:2])
    other = gene_prediction()
    add_heatmap(viewer, other, slide="other")
    tab.session.heatmap = tab.session.heatmaps[-1]
    assert tab.only_stable.isHidden()
    assert len(tab.table.shown_genes) == other.n_vars


def test_notices_stand_in_the_dock(widget: GenesWidget, heatmap: Heatmap) -> None:
    notice = widget.genes.notices
    assert notice.isHidden()
    session = widget.session
    add_heatmap(session.viewer, add_trust(gene_prediction()), slide="other")
    session.heatmap = session.heatmaps[-1]
    assert notice.text() == NOTICE
    assert not notice.isHidden()
    session.heatmap = heatmap
    assert notice.isHidden()
    heatmap.is_filling = True
    heatmap.prediction.uns["nh2st"]["notices"] = np.array(["Found in the end."], object)
    heatmap.is_filling = False
    assert notice.text() == "Found in the end."


def test_what_a_prediction_says_of_its_doubts_can_be_shown(
    widget: GenesWidget, heatmap: Heatmap
) -> None:
    tab, session = widget.genes, widget.session
    assert tab.display.fade.isHidden()
    assert tab.unfamiliar.isHidden()
    add_heatmap(session.viewer, add_trust(gene_prediction()), slide="other")
    session.heatmap = session.heatmaps[-1]
    assert not tab.display.fade.isHidden()
    assert not tab.unfamiliar.isHidden()
    tab.display.fade.click()
    assert len(session.veils.items) == 1
    tab.unfamiliar.click()
    assert session.tile_columns.shown == UNFAMILIAR
    session.show_gene("CD74")
    assert not tab.unfamiliar.isChecked()
    tab.unfamiliar.click()
    tab.unfamiliar.click()
    assert not session.tile_columns.items
    assert session.heatmap.layer.visible
    tab.display.reset.click()
    assert not session.veils.items
    assert not tab.display.fade.isChecked()
    session.heatmap = heatmap
    assert tab.display.fade.isHidden()


def test_columns_of_the_tiles_are_offered_in_the_place_of_a_gene(
    widget: GenesWidget, heatmap: Heatmap
) -> None:
    tab, columns = widget.genes, widget.session.tile_columns
    assert tab.column.isHidden()
    heatmap.prediction.obs[NUCLEI] = np.float32(1500)
    heatmap.prediction.obs["my score"] = np.arange(heatmap.prediction.n_obs)
    widget.session.heatmap_changed.emit()
    assert not tab.column.isHidden()
    titles = [tab.column.itemText(k) for k in range(tab.column.count())]
    assert titles == ["Instead of a gene …", "nuclei per mm²", "my score"]
    tab.column.setCurrentIndex(1)
    assert columns.shown == NUCLEI
    tab.column.setCurrentIndex(2)
    assert columns.shown == "my score"
    widget.session.show_gene("CD74")
    assert tab.column.currentIndex() == 0
    tab.column.setCurrentIndex(2)
    tab.column.setCurrentIndex(0)
    assert not columns.items
    assert heatmap.layer.visible


def test_the_dock_describes_the_column_that_is_shown_and_not_a_gene(
    widget: GenesWidget, heatmap: Heatmap
) -> None:
    tab, session = widget.genes, widget.session
    heatmap.prediction.obs[NUCLEI] = np.linspace(1000, 2000, heatmap.prediction.n_obs)
    heatmap.prediction.obs["<i>empty</i>"] = np.nan
    session.heatmap_changed.emit()
    assert "ERBB2" in tab.header.text()
    assert list(session.tile_columns.offered) == [NUCLEI]
    session.tile_columns.show(NUCLEI)
    assert tab.header.text() == "<b>nuclei per mm²</b> — estimated density in a tile"
    layer = session.tile_columns.items[0].layer
    layer.contrast_limits = (1100, 1900)
    assert tab.value_name.text() == "Colors: 1,100 to 1,900"
    session.show_gene("CD74")
    assert "CD74" in tab.header.text()
    assert tab.value_name.text().startswith(f"Value: {VALUE_NAME}")
    # Values that come later, as in a run that fills the slide, are offered then.
    heatmap.prediction.obs["<i>empty</i>"] = 1.0
    heatmap.filled.emit(heatmap)
    tab.column.setCurrentIndex(tab.column.findData("<i>empty</i>"))
    assert tab.header.text() == "<b>&lt;i&gt;empty&lt;/i&gt;</b>"


def test_pins_cannot_fade_and_the_check_says_why(widget: GenesWidget, heatmap: Heatmap) -> None:
    fade, session = widget.genes.display.fade, widget.session
    add_trust(heatmap.prediction)
    session.heatmap_changed.emit()
    tip = fade.toolTip()
    assert fade.isEnabled()
    session.pins.pin("GRB7")
    assert not fade.isEnabled()
    assert "Show these" in fade.toolTip()
    session.pins.show_slide()
    assert fade.isEnabled()
    assert fade.toolTip() == tip
    session.pins.compose(["GRB7", "CD74"])
    assert not fade.isEnabled()
    session.pins.undo_composite()
    session.pins.remove(session.pins.items)
    assert fade.isEnabled()


def test_badges_turn_grey_when_a_run_finds_the_slide_far_from_the_training(
    widget: GenesWidget, heatmap: Heatmap
) -> None:
    before = widget.genes.badges
    add_trust(heatmap.prediction, far=0.5)
    heatmap.filled.emit(heatmap)
    grey = widget.genes.badges
    assert grey.color(0.7) != before.color(0.7)
    assert "unfamiliar" in widget.genes.header.text()
    assert widget.tile.genes.badges == grey


def test_the_dock_has_its_tabs_and_every_control_a_tooltip(widget: GenesWidget) -> None:
    titles = [widget.tabs.tabText(index) for index in range(widget.tabs.count())]
    assert titles == ["Genes", "Tile", "Domains", "Regions"]
    tab = widget.genes
    for panel in (tab, tab.pins, tab.signature, tab.display):
        for name, control in vars(panel).items():
            composed = name in ("pins", "signature", "display")
            if isinstance(control, QWidget) and not composed:
                assert control.toolTip(), name
    assert all(widget.tabs.tabToolTip(index) for index in range(widget.tabs.count()))


def test_without_a_prediction_there_is_a_hint_and_nothing_breaks(
    widget: GenesWidget, messages: dict[str, list[str]]
) -> None:
    tab = widget.genes
    assert "No prediction yet" in tab.header.text()
    widget.next_gene()
    tab.search.setText("ERBB2")
    tab.search.returnPressed.emit()
    for button in (tab.pins.pin, tab.pins.compose, tab.signature.show_layer, tab.display.reset):
        button.click()
    tab.display.opacity.setValue(0.1)
    assert len(messages["warning"]) == 3


def test_a_prediction_fills_the_table_and_the_header(
    qtbot: QtBot, widget: GenesWidget, heatmap: Heatmap
) -> None:
    tab = widget.genes
    assert set(tab.table.shown_genes) == set(RELIABILITY)
    assert "ERBB2" in tab.header.text()
    assert "held-out PCC 0.71" in tab.header.text()
    assert tab.value_name.text() == f"Value: {VALUE_NAME}"
    heatmap.prediction.uns["nh2st"]["target"] |= {"transform": "log10(1+v)", "scale_to": 10_000}
    heatmap.prediction.var["interval_90"] = 0.2
    heatmap.layer.contrast_limits = (0.3, 1.66)
    colors = "≈ 1 to 45 per 10,000 of the panel · ± 0.2"
    assert tab.value_name.text() == f"Value: {VALUE_NAME}. Colors: {colors}"
    assert tab.table.selected_genes == ["ERBB2"]
    qtbot.waitUntil(lambda: widget.genes.statistics is not None, timeout=10_000)
    row = tab.table.frame.row_of("KRT19")
    mean = float(heatmap.prediction[:, "KRT19"].X.mean())
    assert tab.table.frame.index(row, MEAN).data() == f"{mean:.2f}"
    assert float(tab.table.frame.index(row, MORAN).data()) > 0.6


def test_going_to_a_row_shows_its_gene(widget: GenesWidget, heatmap: Heatmap) -> None:
    layer = heatmap.layer
    widget.genes.table.selectRow(widget.genes.table.shown_genes.index("CD74"))
    assert heatmap.gene == "CD74"
    assert heatmap.layer is layer
    np.testing.assert_array_equal(layer.data, as_image(heatmap.prediction[:, "CD74"].X.ravel()))
    assert "below 0.20" in widget.genes.header.text(), "it says that the gene is not reliable"
    widget.genes.threshold.setValue(0.1)
    assert "below" not in widget.genes.header.text()


def test_a_gene_shown_elsewhere_is_the_tables_current_one(
    widget: GenesWidget, heatmap: Heatmap
) -> None:
    heatmap.gene = "GRB7"
    assert widget.genes.table.selected_genes == ["GRB7"]
    assert "GRB7" in widget.genes.header.text()


def test_stepping_shows_the_next_gene_of_those_that_are_listed(
    widget: GenesWidget, heatmap: Heatmap
) -> None:
    widget.genes.only_reliable.setChecked(True)
    first, second, third = widget.genes.table.shown_genes
    heatmap.gene = first
    widget.next_gene()
    assert heatmap.gene == second
    widget.next_gene()
    widget.next_gene()
    assert heatmap.gene == third
    widget.previous_gene()
    assert heatmap.gene == second


def test_keys_step_and_pin_but_are_letters_in_the_search_line(
    qtbot: QtBot, viewer: ViewerModel, widget: GenesWidget, heatmap: Heatmap
) -> None:
    widget.show()
    qtbot.waitExposed(widget)
    widget.activateWindow()
    table = widget.genes.table
    order = table.shown_genes
    heatmap.gene = order[0]
    table.setFocus()
    qtbot.waitUntil(table.hasFocus, timeout=5000)
    shown = []
    ctrl = Qt.KeyboardModifier.ControlModifier
    for key, modifier in (
        (Qt.Key.Key_N, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_Down, ctrl),
        (Qt.Key.Key_P, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_Down, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_Up, ctrl),
    ):
        qtbot.keyClick(table, key, modifier)
        shown.append(heatmap.gene)
    assert shown == [order[1], order[2], order[1], order[2], order[1]]
    qtbot.keyClick(table, Qt.Key.Key_P, Qt.KeyboardModifier.ShiftModifier)
    assert pinned(viewer) == [order[1]]
    widget.genes.search.setFocus()
    qtbot.keyClicks(widget.genes.search, "np")
    assert widget.genes.search.text() == "np"
    assert heatmap.gene == order[1]


def test_searching_narrows_the_table_and_enter_shows_the_first(
    qtbot: QtBot, widget: GenesWidget, heatmap: Heatmap
) -> None:
    tab = widget.genes
    heatmap.gene = "CD74"
    qtbot.keyClicks(tab.search, "krt")
    assert tab.table.shown_genes == ["KRT19"]
    assert heatmap.gene == "CD74", "typing shows nothing yet"
    qtbot.keyClick(tab.search, Qt.Key.Key_Return)
    assert heatmap.gene == "KRT19"
    tab.search.clear()
    assert set(tab.table.shown_genes) == set(RELIABILITY)
    assert tab.table.selected_genes == ["KRT19"]
    assert tab.count.text() == "5 of 5"


@pytest.mark.parametrize(
    ("text", "shown", "note"),
    [
        ("erbb2, CD74\nGRB7", {"ERBB2", "CD74", "GRB7"}, ""),
        ("ERBB2, KRT91, CD74", {"ERBB2", "CD74"}, "Not in the panel: KRT91 (nearest KRT19)"),
        ("ERBB2, KR", {"ERBB2", "KRT19"}, ""),
        ("ERBB3", set(), "Not in the panel: ERBB3 (nearest ERBB2)"),
    ],
)
def test_a_pasted_list_is_shown_and_what_is_unknown_is_said(
    widget: GenesWidget, heatmap: Heatmap, text: str, shown: set[str], note: str
) -> None:
    widget.genes.search.setText(text)
    assert set(widget.genes.table.shown_genes) == shown
    assert widget.genes.search_note.text() == note
    assert widget.genes.search_note.isHidden() == (not note)


def test_the_buttons_pin_unpin_compose_and_undo(
    viewer: ViewerModel, widget: GenesWidget, heatmap: Heatmap, messages: dict[str, list[str]]
) -> None:
    panel = widget.genes.pins
    select(widget, "KRT19", "CD74")
    panel.pin.click()
    assert pinned(viewer) == ["KRT19", "CD74"]
    texts = [panel.list.item(row).text() for row in range(2)]
    assert texts == ["KRT19 · 0.45 · C6", "CD74 · 0.11 · C6"]
    assert "below 0.20" in panel.list.item(1).toolTip(), "it says that the gene is not reliable"
    assert [panel.list.item(row).data(TEXT_ROLE) for row in range(2)] == [None, "greyed"]
    panel.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert [la.visible for la in viewer.layers if GENE_KEY in la.metadata] == [False, True]
    viewer.layers[-1].visible = False
    assert panel.list.item(1).checkState() == Qt.CheckState.Unchecked
    panel.list.item(0).setSelected(True)
    panel.unpin.click()
    assert pinned(viewer) == ["CD74"]
    panel.restore.click()
    assert pinned(viewer) == ["CD74", "KRT19"]
    assert panel.restore.isHidden()
    panel.list.item(1).setSelected(True)
    panel.unpin.click()
    select(widget, *RELIABILITY)
    panel.compose.click()
    assert "one to 4 genes, and 5 are selected" in messages["warning"][0]
    select(widget, "ERBB2", "KRT19")
    panel.compose.click()
    assert pinned(viewer) == ["CD74", "ERBB2", "KRT19"]
    assert not heatmap.layer.visible
    panel.undo.click()
    assert pinned(viewer) == ["CD74"]
    assert heatmap.layer.visible
    assert panel.undo.isHidden()
    assert not panel.show_these.isChecked()
    panel.show_these.click()
    assert (viewer.layers[-1].visible, heatmap.layer.visible) == (True, False)
    panel.show_these.click()
    assert (viewer.layers[-1].visible, heatmap.layer.visible) == (False, True)
    panel.ground.setCurrentIndex(1)
    panel.ground.activated.emit(1)
    assert [layer.visible for layer in viewer.layers] == [True, False, True], "over the slide"
    assert panel.show_these.isChecked()


def test_going_to_a_gene_shows_it_instead_of_the_pinned_ones(
    viewer: ViewerModel, widget: GenesWidget, heatmap: Heatmap
) -> None:
    select(widget, "GRB7")
    widget.genes.pins.pin.click()
    assert widget.genes.pins.show_these.isChecked()
    assert not heatmap.layer.visible
    widget.genes.table.selectRow(widget.genes.table.shown_genes.index("CD74"))
    assert [la.visible for la in viewer.layers] == [True, True, False]
    assert not widget.genes.pins.show_these.isChecked()


def test_a_double_click_pins(viewer: ViewerModel, widget: GenesWidget, heatmap: Heatmap) -> None:
    table = widget.genes.table
    row = table.shown_genes.index("GRB7")
    table.doubleClicked.emit(table.filter.index(row, 2))
    assert pinned(viewer) == ["GRB7"]


def test_a_pasted_signature_says_what_it_found_and_is_shown(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    widget: GenesWidget,
    heatmap: Heatmap,
    messages: dict[str, list[str]],
) -> None:
    panel = widget.genes.signature
    arrived: list[tuple[Heatmap, Signature]] = []
    monkeypatch.setattr(widget.session.signatures, "show", lambda *what: arrived.append(what))
    panel.genes.setPlainText("grb7; ERBB2\nESR2 QQQQQ")
    assert panel.note.text() == "2 of 4 genes found; not found: ESR2 (nearest ESR1), QQQQQ"
    listed = panel.badges.text().replace("\N{NO-BREAK SPACE}", " ")
    assert "GRB7 0.71" in listed
    assert "ERBB2 0.71" in listed
    panel.name.setText("HER2")
    panel.show_layer.click()
    assert arrived == [(heatmap, Signature("HER2", ("GRB7", "ERBB2"), 4))]
    panel.genes.setPlainText("QQQQQ")
    assert panel.badges.isHidden()
    panel.show_layer.click()
    panel.genes.setPlainText("")
    panel.show_layer.click()
    assert len(arrived) == 1
    assert "none of these 1 genes" in messages["warning"][0]
    assert "paste names" in messages["warning"][1]


def test_a_gmt_file_offers_its_sets(
    tmp_path: Path, widget: GenesWidget, heatmap: Heatmap, messages: dict[str, list[str]]
) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text("LUMINAL\tna\tESR1\tKRT19\nHER2\tna\tERBB2\tGRB7\n", encoding="utf-8")
    panel = widget.genes.signature
    panel.open_gmt(path)
    assert [panel.sets.itemText(i) for i in range(panel.sets.count())] == ["LUMINAL", "HER2"]
    assert (panel.name.text(), panel.genes.toPlainText()) == ("LUMINAL", "ESR1, KRT19")
    panel.sets.textActivated.emit("HER2")
    assert (panel.name.text(), panel.genes.toPlainText()) == ("HER2", "ERBB2, GRB7")
    panel.open_gmt(tmp_path / "missing.gmt")
    assert "missing.gmt" in messages["error"][0]
    assert panel.genes.toPlainText() == "ERBB2, GRB7", "nothing is lost"


def test_every_display_control_reaches_the_settings(widget: GenesWidget, heatmap: Heatmap) -> None:
    panel = widget.genes.display
    panel.low.setValue(5)
    panel.high.setValue(90.5)
    panel.opacity.setValue(0.4)
    for choice, index in ((panel.limits, 1), (panel.surface, 1), (panel.colormap, 1)):
        choice.setCurrentIndex(index)
        choice.activated.emit(index)
    panel.fade.click()
    expected = DisplaySettings(
        low_percentile=5,
        high_percentile=90.5,
        shared_limits=True,
        smooth=True,
        fade=True,
        opacity=0.4,
        colormap="viridis",
    )
    assert widget.session.display.settings == panel.settings() == expected
    widget.genes.threshold.setValue(0.5)
    widget.genes.only_reliable.setChecked(True)
    panel.reset.click()
    assert widget.session.display.settings == panel.settings() == DisplaySettings()
    assert widget.genes.threshold.value() == 0.2
    assert not widget.genes.only_reliable.isChecked()


def test_what_the_user_sets_is_there_in_the_next_session(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "reliable_from": 0.2,
        "only_reliable": False,
        "colormap": "magma",
        "opacity": 0.7,
        "smooth": False,
        "fade": False,
        "low_percentile": 1.0,
        "high_percentile": 99.0,
        "shared_limits": False,
    }
    kept = SimpleNamespace(**settings)
    monkeypatch.setattr(remembered, "plugin_section", lambda _section: kept)
    declared = yaml.safe_load(
        files("napari_nh2st").joinpath("napari.yaml").read_text(encoding="utf-8")
    )
    properties = declared["contributions"]["configurations"]["genes"]["properties"]
    assert {name: field["default"] for name, field in properties.items()} == settings

    def dock() -> tuple[GenesWidget, Heatmap]:
        viewer = ViewerModel()
        widget = GenesWidget(viewer)
        qtbot.addWidget(widget, before_close_func=lambda _widget: widget.close_down())
        return widget, add_heatmap(viewer, gene_prediction())

    widget, heatmap = dock()
    expected = DisplaySettings(
        low_percentile=5,
        high_percentile=90,
        shared_limits=True,
        smooth=True,
        fade=True,
        opacity=0.4,
        colormap="viridis",
    )
    widget.session.display.apply(expected)
    widget.genes.threshold.setValue(0.5)
    other = add_heatmap(widget.viewer, gene_prediction(), slide="D1")
    widget.session.heatmap = other
    assert other.layer.colormap.name == "viridis", "a new heatmap is drawn like the one before"
    other.layer.colormap = "magma"
    widget.session.heatmap = heatmap
    assert kept.colormap == "magma"
    heatmap.layer.colormap = "plasma"
    again, heatmap = dock()
    expected = replace(expected, colormap="plasma")
    assert again.session.display.settings == again.genes.display.settings() == expected
    assert (heatmap.layer.colormap.name, heatmap.layer.opacity) == ("plasma", 0.4)
    assert again.genes.threshold.value() == 0.5
    kept.colormap, kept.low_percentile = "no such colors", 99.5
    unknown, _ = dock()
    assert unknown.session.display.settings.colormap == "magma"
    assert unknown.session.display.settings.percentiles == (1, 90), "what can be stays"


def test_keys_step_through_genes_from_the_canvas_and_from_every_tab(
    qtbot: QtBot, viewer: ViewerModel, widget: GenesWidget, heatmap: Heatmap
) -> None:
    order = widget.genes.table.shown_genes
    heatmap.gene = order[0]
    keys = {str(key): step for key, step in viewer.keymap.items()}
    for key, gene in (("N", 1), ("N", 2), ("P", 1), ("Ctrl+Down", 2), ("Ctrl+Up", 1)):
        keys[key](viewer)
        assert heatmap.gene == order[gene]
    widget.show()
    qtbot.waitExposed(widget)
    widget.activateWindow()
    widget.tabs.setCurrentWidget(widget.tile)
    widget.tile.clear_button.setEnabled(True)
    widget.tile.clear_button.setFocus()
    qtbot.waitUntil(widget.tile.clear_button.hasFocus, timeout=5000)
    qtbot.keyClick(widget.tile.clear_button, Qt.Key.Key_N)
    assert heatmap.gene == order[2]
    widget.close_down()
    assert not viewer.keymap, "the keys are napari's again"


def test_a_clicked_tile_brings_its_tab_up(widget: GenesWidget, heatmap: Heatmap) -> None:
    widget.tile.picked_tile.emit(3)
    assert widget.tabs.currentWidget() is widget.tile


def test_the_display_controls_follow_napari(widget: GenesWidget, heatmap: Heatmap) -> None:
    panel = widget.genes.display
    heatmap.layer.colormap = "turbo"
    heatmap.layer.opacity = 0.333
    assert panel.colormap.currentText() == "turbo"
    panel.surface.setCurrentIndex(1)
    panel.surface.activated.emit(1)
    assert heatmap.layer.opacity == 0.333, "the slider is too coarse for it, and was not moved"
    assert heatmap.layer.interpolation2d == "linear"


def test_statistics_are_computed_again_when_values_have_come(
    qtbot: QtBot, viewer: ViewerModel, widget: GenesWidget
) -> None:
    widget.genes._computing._throttle_ms = 1
    prediction = gene_prediction(filled=False)
    heatmap = add_heatmap(viewer, prediction)
    qtbot.waitUntil(lambda: widget.genes.statistics is not None, timeout=10_000)
    assert widget.genes.statistics is not None
    assert widget.genes.statistics["mean"].isna().all()
    prediction.X[:] = 2.5
    heatmap.filled.emit(heatmap)
    qtbot.waitUntil(lambda: bool((widget.genes.statistics["mean"] == 2.5).all()), timeout=10_000)


def test_statistics_that_cannot_be_computed_are_a_message(
    qtbot: QtBot,
    monkeypatch: pytest.MonkeyPatch,
    viewer: ViewerModel,
    widget: GenesWidget,
    messages: dict[str, list[str]],
) -> None:
    def fail(_prediction: AnnData) -> None:
        raise MemoryError("too large")

    monkeypatch.setattr(gene_tab, "gene_statistics", fail)
    add_heatmap(viewer, gene_prediction())
    qtbot.waitUntil(lambda: bool(messages["error"]), timeout=10_000)
    assert "MemoryError: too large" in messages["error"][0]


def test_another_prediction_has_its_own_genes(
    viewer: ViewerModel, widget: GenesWidget, heatmap: Heatmap
) -> None:
    other = add_heatmap(viewer, gene_prediction()[:, ["KRT19", "CD74"]].copy(), "CD74", "D1")
    widget.session.heatmap = other
    assert set(widget.genes.table.shown_genes) == {"KRT19", "CD74"}
    assert widget.genes.table.selected_genes == ["CD74"]
    widget.next_gene()
    heatmap.gene = "GRB7"
    assert "GRB7" not in widget.genes.header.text()
    viewer.layers.remove(other.layer)
    assert "GRB7" in widget.genes.header.text()


def test_a_dock_that_is_closed_only_disconnects_and_is_right_again_when_it_is_opened(
    qtbot: QtBot, viewer: ViewerModel
) -> None:
    session = Session.of(viewer)
    heatmap = add_heatmap(viewer, gene_prediction())
    signals = (
        session.heatmap_changed,
        session.heatmaps_changed,
        session.gene_changed,
        session.filled,
        session.filling_changed,
        session.prediction_replaced,
        session.pins.changed,
        session.pins.visibility_changed,
        session.signatures.changed,
        session.display.changed,
        session.display.chosen,
    )
    before = [len(signal) for signal in signals]
    dock = QDockWidget()
    qtbot.addWidget(dock)
    widget = GenesWidget(viewer, dock)
    dock.setWidget(widget)
    assert all(len(signal) > n for signal, n in zip(signals, before, strict=True))
    widget.setParent(None)
    assert [len(signal) for signal in signals] == before
    heatmap.gene = "CD74"
    session.pins.pin("GRB7")
    heatmap.layer.opacity = 0.2
    assert "CD74" not in widget.genes.header.text()
    assert session.heatmap is heatmap
    assert session.display.settings.opacity == 0.2
    dock.setWidget(widget)
    assert "CD74" in widget.genes.header.text()
    assert widget.genes.pins.list.count() == 1
    assert widget.genes.display.opacity.value() == 0.2
    widget.close_down()
    assert [len(signal) for signal in signals] == before


def test_a_closed_dock_leaves_slide_and_heatmap_and_the_next_has_its_pins(
    qtbot: QtBot, viewer: ViewerModel, widget: GenesWidget, heatmap: Heatmap
) -> None:
    pins = widget.session.pins
    pin = pins.pin("GRB7")
    pin.layer.colormap, pin.layer.contrast_limits = "cyan", (1, 2)
    pins.compose(["CD74"])
    widget.close_down()
    assert [layer.name for layer in viewer.layers if layer.visible] == ["C6", heatmap.layer.name]
    assert viewer.canvas.background_color_override is None
    heatmap.take(gene_prediction()[16:].copy(), viewer.layers["C6"])
    again = GenesWidget(viewer)
    qtbot.addWidget(again, before_close_func=lambda _widget: again.close_down())
    texts = [again.genes.pins.list.item(row).text() for row in range(2)]
    assert texts == ["GRB7 · 0.71 · C6", "CD74 · 0.11 · C6 · composite"]
    assert pins.items[0].source is heatmap
    assert pin.layer.data.shape == heatmap.layer.data.shape, "it is another prediction by now"
    assert pin.layer.contrast_limits == [1, 2]
    assert pins.pin("GRB7").layer == pin.layer
    pins.undo_composite()
    assert [layer.name for layer in viewer.layers if layer.visible] == [pin.layer.name]
    viewer.layers.remove(pin.layer)
    assert [layer.name for layer in viewer.layers if layer.visible] == ["C6", heatmap.layer.name]


def test_a_look_that_the_user_gave_in_napari_stays_when_the_dock_is_opened(
    qtbot: QtBot, viewer: ViewerModel
) -> None:
    heatmap = add_heatmap(viewer, gene_prediction())
    heatmap.layer.colormap, heatmap.layer.opacity = "turbo", 0.3
    widget = GenesWidget(viewer)
    qtbot.addWidget(widget, before_close_func=lambda _widget: widget.close_down())
    assert (heatmap.layer.colormap.name, heatmap.layer.opacity) == ("turbo", 0.3)
    assert widget.genes.display.settings() == DisplaySettings(colormap="turbo", opacity=0.3)


def test_a_prediction_that_was_replaced_is_let_go(
    qtbot: QtBot, viewer: ViewerModel, widget: GenesWidget, heatmap: Heatmap
) -> None:
    session = widget.session
    qtbot.waitUntil(lambda: widget.genes.statistics is not None, timeout=10_000)
    session.pins.pin("KRT19")
    session.signatures.show(heatmap, Signature("two", ("KRT19", "CD74"), 2))
    qtbot.waitUntil(lambda: len(session.signatures.items) == 1, timeout=10_000)
    former = weakref.ref(heatmap.prediction)
    prediction = gene_prediction()[:, ["KRT19", "CD74"]].copy()
    heatmap.take(prediction, viewer.layers["C6"])
    assert set(widget.genes.table.shown_genes) == {"KRT19", "CD74"}
    assert "KRT19" in widget.genes.header.text()
    qtbot.waitUntil(lambda: widget.genes.statistics is not None, timeout=10_000)
    assert set(widget.genes.statistics.index) == {"KRT19", "CD74"}
    qtbot.waitUntil(lambda: session.signatures.work.is_idle, timeout=10_000)

    def is_gone() -> bool:
        gc.collect()
        return former() is None

    qtbot.waitUntil(is_gone, timeout=10_000)
