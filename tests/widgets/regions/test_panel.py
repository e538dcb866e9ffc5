"""The regions panel: what is drawn reaches the analysis in the slide's pixels, and is shown."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from docked_panels import dock_of, docked
from drawn_predictions import drawn_prediction, slide_file
from napari_nh2st.analysis.regions import compare_regions, region_statistics
from napari_nh2st.layers.keys import MARKER_KEY, SLIDE_KEY
from napari_nh2st.layers.reader import read_slide
from napari_nh2st.widgets.regions import comparison
from napari_nh2st.widgets.regions import panel as regions_panel
from napari_nh2st.widgets.regions.comparison import NOT_INDEPENDENT
from napari_nh2st.widgets.regions.panel import ALL_REGIONS, RegionsPanel
from shown_predictions import PLACES, Shown, draw, show_prediction
from viewers import VIEWERS

LEFT = np.array([[10.0, 10], [10, 150], [200, 150], [200, 10]])
RIGHT = np.array([[40.0, 200], [40, 400], [230, 330]])
BESIDE = np.array([[5000.0, 5000], [5000, 5100], [5100, 5100]])


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def shown(qtbot: QtBot, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shown]:
    shown = show_prediction(tmp_path, viewer=request.param(), place=PLACES["turned"])
    yield shown
    shown.viewer.layers.clear()


@pytest.fixture
def panel(qtbot: QtBot, shown: Shown) -> RegionsPanel:
    return docked(qtbot, shown.viewer, RegionsPanel)


def shows(panel: RegionsPanel, *names: str) -> Callable[[], None]:
    def check() -> None:
        assert list(panel.polygons) == list(names)
        assert not panel._measuring.is_busy

    return check


# --- the table ---


def test_the_drawn_polygons_reach_the_analysis(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived: list[Any] = []

    def remember(prediction: Any, polygons: Any) -> pd.DataFrame:
        arrived.append((prediction, polygons))
        return region_statistics(prediction, polygons)

    monkeypatch.setattr(regions_panel, "region_statistics", remember)
    draw(shown, LEFT, RIGHT, features=pd.DataFrame({"name": ["gland", "stroma"]}))
    qtbot.waitUntil(shows(panel, "gland", "stroma"))
    ((prediction, polygons),) = arrived
    assert prediction is shown.prediction
    np.testing.assert_allclose(polygons["gland"], LEFT, atol=1e-2)
    np.testing.assert_allclose(polygons["stroma"], RIGHT, atol=1e-2)


def test_the_table_is_what_the_analysis_says_with_the_reliability(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel
) -> None:
    draw(shown, LEFT, RIGHT)
    qtbot.waitUntil(shows(panel, "region 1", "region 2"))
    expected = region_statistics(shown.prediction, {"region 1": LEFT, "region 2": RIGHT})
    table = panel.table.table
    pd.testing.assert_frame_equal(table[expected.columns], expected)
    known = shown.prediction.var["reliability"].to_dict()
    np.testing.assert_array_equal(table["reliability"], [known[gene] for gene in table["gene"]])
    # A naive count: tiles with values whose center lies in the rectangle.
    x, y = shown.prediction.obsm["spatial"].T
    inside = (y > 10) & (y < 200) & (x > 10) & (x < 150)
    assert panel.region_list.item(0, 1).text() == str(inside.sum())


def test_the_table_can_show_one_region(qtbot: QtBot, shown: Shown, panel: RegionsPanel) -> None:
    layer = draw(shown, LEFT, RIGHT)
    qtbot.waitUntil(shows(panel, "region 1", "region 2"))
    choose(panel.filter, "region 2")
    assert set(panel.table.table["region"]) == {"region 2"}
    layer.add_polygons([LEFT])
    qtbot.waitUntil(shows(panel, "region 1", "region 2", "region 3"))
    assert set(panel.table.table["region"]) == {"region 2"}, "the choice stays"
    choose(panel.filter, ALL_REGIONS)
    assert set(panel.table.table["region"]) == {"region 1", "region 2", "region 3"}


def test_what_is_seen_of_the_table_depends_on_the_regions_there_are(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel
) -> None:
    qtbot.waitUntil(shows(panel))
    for widget in (panel.region_list, panel.table, panel.comparison):
        assert widget.isHidden()
    layer = draw(shown, LEFT)
    qtbot.waitUntil(shows(panel, "region 1"))
    assert not panel.table.isHidden()
    assert panel.comparison.isHidden(), "there is nothing to compare it with"
    assert seen(panel) == ["gene", "reliability", "mean", "sd", "median"]
    layer.add_polygons([RIGHT])
    qtbot.waitUntil(shows(panel, "region 1", "region 2"))
    assert not panel.comparison.isHidden()
    assert panel.comparison.table.isHidden()
    assert seen(panel) == ["region", "gene", "reliability", "mean", "sd"]
    assert "median" in panel.table.table, "it is copied and saved"
    choose(panel.filter, "region 2")
    assert seen(panel) == ["gene", "reliability", "mean", "sd", "median"]


def seen(panel: RegionsPanel) -> list[str]:
    columns = panel.table.table.columns
    return [name for k, name in enumerate(columns) if not panel.table.view.isColumnHidden(k)]


def choose(box: Any, words: str) -> None:
    box.setCurrentText(words)
    box.activated.emit(box.currentIndex())


def test_the_table_follows_what_is_drawn_moved_and_removed(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel
) -> None:
    layer = draw(shown, LEFT)
    qtbot.waitUntil(shows(panel, "region 1"))
    layer.add_polygons([np.array([[700.0, 0], [720, 20], [700, 20]])])
    qtbot.waitUntil(shows(panel, "region 1", "region 2"))
    layer.translate = (1000, 1000)
    qtbot.waitUntil(lambda: panel.region_list.item(0, 1).text() == "0")
    layer.translate = (0, 0)
    qtbot.waitUntil(lambda: panel.region_list.item(0, 1).text() != "0")
    layer.selected_data = {1}
    layer.remove_selected()
    qtbot.waitUntil(shows(panel, "region 1"))
    shown.viewer.layers.remove(layer)
    qtbot.waitUntil(shows(panel))
    assert not len(panel.table.table)
    assert "region layer" in panel.notice.text()


def test_values_that_come_later_are_counted(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel
) -> None:
    whole = np.array([[0.0, 0], [0, 1000], [1000, 1000], [1000, 0]])
    draw(shown, whole)
    n = shown.prediction.n_obs
    qtbot.waitUntil(shows(panel, "region 1"))
    assert panel.region_list.item(0, 1).text() == str(n - 2)
    shown.prediction.X[-2:] = 1
    shown.heatmap.filled.emit(shown.heatmap)
    qtbot.waitUntil(lambda: panel.region_list.item(0, 1).text() == str(n))


def test_a_region_outside_the_tissue_is_a_sentence_and_a_row_of_no_tiles(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel
) -> None:
    layer = draw(shown, LEFT, BESIDE)
    layer.add_lines([np.array([[0.0, 0], [50, 50]])])
    qtbot.waitUntil(shows(panel, "region 1", "region 2"))
    assert panel.region_list.item(1, 0).text() == "region 2"
    assert panel.region_list.item(1, 1).text() == "0"
    assert panel.notice.text() == (
        "1 line has no area and is not a region. No predicted tile lies in region 2."
    )


def test_a_name_typed_in_the_list_goes_to_the_layer(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel
) -> None:
    layer = draw(shown, LEFT, RIGHT)
    layer.add_lines([np.array([[0.0, 0], [50, 50]])])
    qtbot.waitUntil(shows(panel, "region 1", "region 2"))
    panel.region_list.item(1, 0).setText("stroma")
    qtbot.waitUntil(shows(panel, "region 1", "stroma"))
    assert layer.features["name"].tolist() == ["region 1", "stroma", ""]
    assert panel.comparison.first.findText("stroma") >= 0


def test_a_new_region_layer_lies_on_the_slide_ready_to_draw(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel
) -> None:
    panel.new_layer.click()
    layer = panel.picker.value
    assert layer in shown.viewer.layers
    assert shown.viewer.layers.selection.active == layer
    assert layer.mode == "add_polygon"
    assert layer.units == shown.slide_layer.units
    for point in ((0, 0), (40, 7)):
        np.testing.assert_allclose(
            layer.data_to_world(point), shown.slide_layer.data_to_world(point)
        )
    layer.add_polygons([LEFT - 0.5])
    layer.add_polygons([RIGHT - 0.5])
    qtbot.waitUntil(shows(panel, "region 1", "region 2"))
    np.testing.assert_allclose(panel.polygons["region 2"], RIGHT, atol=1e-3)
    assert layer.features["name"].tolist() == ["region 1", "region 2"]
    layer.selected_data = {0}
    layer.remove_selected()
    qtbot.waitUntil(shows(panel, "region 2"))


def test_layers_that_only_mark_something_are_not_offered(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel
) -> None:
    first = draw(shown, LEFT, name="mine")
    draw(shown, RIGHT, name="picked tile", metadata={MARKER_KEY: True})
    second = draw(shown, RIGHT, name="more")
    names = [panel.picker.itemText(k) for k in range(panel.picker.count())]
    assert names == ["mine", "more"]
    assert panel.picker.value == first, "the layer in use stays"
    panel.picker.setCurrentIndex(1)
    assert panel.picker.value == second
    qtbot.waitUntil(shows(panel, "region 1"))
    np.testing.assert_allclose(panel.polygons["region 1"], RIGHT, atol=1e-2)


def test_a_layer_that_is_renamed_is_offered_by_its_new_name(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel
) -> None:
    draw(shown, LEFT, name="mine")
    layer = draw(shown, RIGHT, name="more")
    layer.name = "glands"
    names = [panel.picker.itemText(k) for k in range(panel.picker.count())]
    assert names == ["mine", "glands"]


def test_a_new_region_layer_lies_on_its_own_slide_among_those_of_the_same_name(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    path = slide_file(tmp_path / "other" / shown.slide.path.name, seed=1)
    ((data, attributes, _),) = read_slide(path, mpp=1.0)
    layer = shown.viewer.add_image(data, **attributes)
    shown.viewer.layers.move(shown.viewer.layers.index(layer), 0)
    panel.new_layer.click()
    assert panel.picker.value is not None
    assert layer.metadata[SLIDE_KEY].path.name == shown.slide.path.name
    np.testing.assert_allclose(panel.picker.value.rotate, shown.slide_layer.rotate)
    del shown.prediction.uns["nh2st"]["slide"]["fingerprint"]  # as in files of other programs
    panel.new_layer.click()
    np.testing.assert_allclose(panel.picker.value.rotate, shown.slide_layer.rotate)


# --- comparing ---


def test_two_regions_are_compared_as_drawn(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived: list[Any] = []

    def remember(*arguments: Any) -> pd.DataFrame:
        arrived.append(arguments)
        return compare_regions(*arguments)

    monkeypatch.setattr(comparison, "compare_regions", remember)
    draw(shown, BESIDE, RIGHT, LEFT)
    qtbot.waitUntil(shows(panel, "region 1", "region 2", "region 3"))
    panel.comparison.first.setCurrentText("region 3")
    panel.comparison.second.setCurrentText("region 2")
    panel.comparison.compare.click()
    qtbot.waitUntil(lambda: len(panel.comparison.table.table) > 0, timeout=20_000)
    ((prediction, first, second),) = arrived
    assert prediction is shown.prediction
    np.testing.assert_allclose(first, LEFT, atol=1e-2)
    np.testing.assert_allclose(second, RIGHT, atol=1e-2)
    expected = compare_regions(shown.prediction, LEFT, RIGHT)
    table = panel.comparison.table.table
    pd.testing.assert_frame_equal(table[expected.columns], expected)
    assert (np.diff(table["effect"].abs()) <= 0).all()
    assert panel.comparison.sentence.text() == "First: region 3; second: region 2."
    assert "not independent" in NOT_INDEPENDENT
    assert panel.comparison.warning.text() == NOT_INDEPENDENT
    model = panel.comparison.table.model
    columns = [model.headerData(k, Qt.Orientation.Horizontal) for k in range(len(table.columns))]
    assert columns[:5] == ["gene", "reliability", "effect", "q", "p"], "what matters is seen first"
    tips = [
        model.headerData(k, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
        for k in range(len(columns))
    ]
    assert all(tips)
    assert "Cohen" in tips[2]
    view = panel.comparison.table.view
    view.doubleClicked.emit(view.filter.index(4, 0))
    assert shown.heatmap.gene == table["gene"][4]


def test_when_the_regions_change_the_comparison_says_so(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel
) -> None:
    layer = draw(shown, LEFT, RIGHT)
    qtbot.waitUntil(shows(panel, "region 1", "region 2"))
    panel.comparison.compare.click()
    qtbot.waitUntil(lambda: "First: region 1" in panel.comparison.sentence.text())
    layer.add_polygons([BESIDE])
    qtbot.waitUntil(shows(panel, "region 1", "region 2", "region 3"))
    assert "First: region 1" in panel.comparison.sentence.text(), "neither of the two has changed"
    layer.translate = (1, 0)
    qtbot.waitUntil(lambda: "compare again" in panel.comparison.sentence.text())


def test_what_cannot_be_compared_is_a_sentence(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel, messages: dict[str, list[str]]
) -> None:
    assert not panel.comparison.compare.isEnabled()
    draw(shown, LEFT, BESIDE)
    qtbot.waitUntil(shows(panel, "region 1", "region 2"))
    panel.comparison.compare.click()
    qtbot.waitUntil(lambda: len(messages["error"]) == 1)
    assert "second region" in messages["error"][0]
    panel.comparison.second.setCurrentText("region 1")
    qtbot.waitUntil(panel.comparison.compare.isEnabled)
    panel.comparison.compare.click()
    assert messages["info"] == ["Choose two different regions to compare."]


# --- copy and CSV ---


def test_what_is_saved_and_copied_is_the_table_as_sorted(
    qtbot: QtBot,
    shown: Shown,
    panel: RegionsPanel,
    messages: dict[str, list[str]],
    tmp_path: Path,
) -> None:
    draw(shown, LEFT, RIGHT)
    qtbot.waitUntil(shows(panel, "region 1", "region 2"))
    columns = list(panel.table.table.columns)
    panel.table.view.sortByColumn(columns.index("mean"), Qt.SortOrder.DescendingOrder)
    expected = region_statistics(shown.prediction, {"region 1": LEFT, "region 2": RIGHT})
    expected = expected.sort_values("mean", ascending=False, ignore_index=True)
    path = tmp_path / "regions.csv"
    panel.table.save_csv(path)
    assert messages["info"] == [f"Wrote {path}"]
    pd.testing.assert_frame_equal(pd.read_csv(path)[expected.columns], expected, rtol=1e-6)

    panel.table.copy_button.click()
    copied = pd.read_csv(io.StringIO(QApplication.clipboard().text()), sep="\t")
    pd.testing.assert_frame_equal(copied[expected.columns], expected)
    panel.table.view.selectRow(3)
    panel.table.copy()
    copied = pd.read_csv(io.StringIO(QApplication.clipboard().text()), sep="\t")
    pd.testing.assert_frame_equal(
        copied[expected.columns], expected.iloc[[3]].reset_index(drop=True)
    )


def test_a_csv_that_cannot_be_written_is_a_sentence(
    qtbot: QtBot,
    shown: Shown,
    panel: RegionsPanel,
    messages: dict[str, list[str]],
    tmp_path: Path,
) -> None:
    panel.table.save_csv(tmp_path / "empty.csv")
    assert "nothing to save" in messages["error"][0]
    draw(shown, LEFT)
    qtbot.waitUntil(shows(panel, "region 1"))
    panel.table.save_csv(tmp_path / "no such folder" / "regions.csv")
    assert "no folder" in messages["error"][1]


def test_a_closed_panel_follows_nothing(qtbot: QtBot, shown: Shown, panel: RegionsPanel) -> None:
    layer = draw(shown, LEFT)
    qtbot.waitUntil(shows(panel, "region 1"))
    before = panel.polygons
    dock_of(panel).close_down()
    layer.add_polygons([RIGHT])
    qtbot.wait(500)
    assert panel.polygons is before
    dock_of(panel).open()
    qtbot.waitUntil(shows(panel, "region 1", "region 2"))
    assert panel.picker.value == layer


def test_the_regions_are_measured_again_in_another_prediction(
    qtbot: QtBot, shown: Shown, panel: RegionsPanel
) -> None:
    draw(shown, LEFT)
    qtbot.waitUntil(shows(panel, "region 1"), timeout=20_000)
    prediction = drawn_prediction(shown.slide)
    prediction = prediction[prediction.obs["array_row"] < 4].copy()
    shown.heatmap.take(prediction, shown.slide_layer)
    expected = region_statistics(prediction, panel.polygons)["mean"].to_numpy()
    qtbot.waitUntil(
        lambda: np.array_equal(panel.table.table["mean"].to_numpy(), expected), timeout=20_000
    )
