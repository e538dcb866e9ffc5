"""The domains panel: what is chosen reaches the analysis; what it finds is drawn and named."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Labels
from pytestqt.qtbot import QtBot
from skimage.color import rgb2lab

from docked_panels import dock_of, docked
from drawn_predictions import drawn_prediction
from napari_nh2st.analysis.domain_colors import DOMAIN_COLORS
from napari_nh2st.analysis.domain_settings import DomainSettings
from napari_nh2st.analysis.domains import Domains
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.errors import InputError
from napari_nh2st.layers.keys import DOMAINS_KEY
from napari_nh2st.layers.reader import get_reader
from napari_nh2st.prediction.files import read_anndata_file, write_anndata
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.user_config import VARIABLE
from napari_nh2st.widgets.domains import panel as domains_panel
from napari_nh2st.widgets.domains.panel import DomainsPanel
from napari_nh2st.widgets.domains.settings_form import DomainSettingsForm
from shown_predictions import PLACES, Shown, show_prediction
from viewers import VIEWERS

GENES = ("ERBB2", "EPCAM", "CD74", "COL1A1", "VIM")


class FakeAnalysis:
    """Stands for find_domains: remembers what arrived, and finds stripes."""

    def __init__(self) -> None:
        self.arrived: list[tuple[AnnData, DomainSettings]] = []
        self.notice = ""
        self.error: Exception | None = None
        self.go_on = threading.Event()
        self.go_on.set()

    def __call__(
        self, prediction: AnnData, settings: DomainSettings, stop: threading.Event
    ) -> Domains | None:
        self.arrived.append((prediction, settings))
        while not self.go_on.wait(0.01):
            if stop.is_set():
                return None
        if self.error is not None:
            raise self.error
        labels = stripes(prediction, settings.n_domains)
        markers = pd.DataFrame(
            [
                (domain, gene, 3.0 - rank / 2 + domain, 1.0 * rank, 0.5)
                for domain in range(1, settings.n_domains + 1)
                for rank, gene in enumerate(np.roll(GENES, domain))
            ],
            columns=["domain", "gene", "score", "mean_in", "mean_out"],
        )
        return Domains(labels, settings.n_domains, markers, GENES, None, self.notice)


def stripes(prediction: AnnData, n: int) -> np.ndarray:
    labels = prediction.obs["array_col"].to_numpy(np.int64) % n + 1
    return np.where(np.isnan(prediction.X).any(1), 0, labels)


@pytest.fixture
def analysis(monkeypatch: pytest.MonkeyPatch) -> FakeAnalysis:
    fake = FakeAnalysis()
    monkeypatch.setattr(domains_panel, "find_domains", fake)
    return fake


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def shown(qtbot: QtBot, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shown]:
    shown = show_prediction(tmp_path, viewer=request.param(), place=PLACES["turned"])
    yield shown
    shown.viewer.layers.clear()


@pytest.fixture
def panel(qtbot: QtBot, shown: Shown) -> DomainsPanel:
    return docked(qtbot, shown.viewer, DomainsPanel)


def finished(panel: DomainsPanel) -> Callable[[], bool]:
    return lambda: not panel.cancel.isEnabled()


def run(qtbot: QtBot, panel: DomainsPanel, n: int = 3) -> None:
    panel.n_domains.setValue(n)
    panel.run.click()
    qtbot.waitUntil(finished(panel), timeout=20_000)


def domains_layer(shown: Shown | ViewerModel) -> Labels:
    viewer = shown.viewer if isinstance(shown, Shown) else shown
    (layer,) = (la for la in viewer.layers if isinstance(la, Labels))
    return layer


def test_colors_stay_when_domains_are_found_anew(
    qtbot: QtBot,
    shown: Shown,
    panel: DomainsPanel,
    analysis: FakeAnalysis,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    run(qtbot, panel, 3)
    before = domains_layer(shown).colormap.map(domains_layer(shown).data)

    def found_anew(prediction: AnnData, *args: Any) -> Domains | None:
        found = analysis(prediction, *args)
        assert found is not None
        return replace(found, labels=np.where(found.labels > 0, found.labels % 3 + 1, 0))

    monkeypatch.setattr(domains_panel, "find_domains", found_anew)
    run(qtbot, panel, 3)
    layer = domains_layer(shown)
    np.testing.assert_allclose(layer.colormap.map(layer.data), before)
    expected = [DOMAIN_COLORS[number] for number in (2, 0, 1)]
    assert list(shown.prediction.uns["domain_colors"]) == expected
    swatch = panel.legend.item(0, 0).icon().pixmap(8).toImage().pixelColor(4, 4)
    assert swatch.name() == DOMAIN_COLORS[2]
    write_anndata(shown.prediction, tmp_path / "saved.h5ad")
    read = NamedDomains.of(read_anndata_file(tmp_path / "saved.h5ad"))
    assert read is not None
    assert list(read.colors) == expected
    panel.restore_former()
    assert list(shown.prediction.uns["domain_colors"]) == list(DOMAIN_COLORS[:3])


def test_every_control_reaches_the_settings(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    panel.settings.method.setCurrentText("Leiden")
    panel.n_domains.setValue(9)
    panel.settings.least_reliability.setValue(0.35)
    panel.settings.smoothness.setValue(0.7)
    panel.settings.refine.setValue(12)
    panel.settings.seed.setValue(4)
    panel.run.click()
    qtbot.waitUntil(finished(panel))
    panel.settings.only_reliable.setChecked(False)
    panel.run.click()
    qtbot.waitUntil(finished(panel))
    first = DomainSettings("leiden", 9, None, 20, 0.7, 12, 0.35, 4)
    second = DomainSettings("leiden", 9, None, 20, 0.7, 12, None, 4)
    assert [settings for _, settings in analysis.arrived] == [first, second]
    assert all(prediction is shown.prediction for prediction, _ in analysis.arrived)


def test_the_look_of_tiles_counts_where_it_was_kept(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    weight = panel.settings.image_weight
    assert not weight.isEnabled()
    assert "Keep image features" in weight.toolTip()
    other = shown.prediction.copy()
    other.obsm["image_features"] = np.zeros((other.n_obs, 32), np.float16)
    shown.heatmap.take(other, shown.slide_layer)
    assert weight.isEnabled()
    assert "Keep image features" not in weight.toolTip()
    weight.setValue(0.4)
    run(qtbot, panel)
    assert analysis.arrived[-1][1].image_weight == 0.4


def test_the_legend_says_how_stable_domains_are(
    qtbot: QtBot,
    shown: Shown,
    panel: DomainsPanel,
    analysis: FakeAnalysis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run(qtbot, panel)
    assert panel.legend.isColumnHidden(3)

    def with_heads(prediction: AnnData, *args: Any) -> Domains | None:
        found = analysis(prediction, *args)
        assert found is not None
        stable = np.where(found.labels == 2, 4, 5)
        return replace(found, stable=stable, n_heads=5)

    monkeypatch.setattr(domains_panel, "find_domains", with_heads)
    run(qtbot, panel)
    assert not panel.legend.isColumnHidden(3)
    assert [panel.legend.item(row, 3).text() for row in range(3)] == ["100", "0", "100"]


def test_untouched_controls_mean_the_defaults(panel: DomainsPanel) -> None:
    assert panel.settings.chosen() == DomainSettings()


def test_the_form_begins_with_the_users_configuration(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "own.toml"
    config.write_text(
        "[domains]\nmethod = 'leiden'\nn_domains = 7\nmin_reliability = 0.35\n", encoding="utf-8"
    )
    monkeypatch.setenv(VARIABLE, str(config))
    form = DomainSettingsForm()
    qtbot.addWidget(form)
    assert form.chosen() == DomainSettings("leiden", 7, min_reliability=0.35)


def test_the_domains_are_drawn_where_the_tiles_are(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    active = shown.viewer.layers.selection.active
    run(qtbot, panel, 4)
    layer = domains_layer(shown)
    expected = np.zeros(shown.heatmap.raster.shape, int)
    obs = shown.prediction.obs
    rows, columns = obs["array_row"] - obs["array_row"].min(), obs["array_col"]
    for row, column, label in zip(
        rows, columns - columns.min(), stripes(shown.prediction, 4), strict=True
    ):
        expected[row, column] = label
    np.testing.assert_array_equal(layer.data, expected)
    assert (expected == 0).sum() >= 2, "tiles without values belong to no domain"
    for corner in ((0, 0), (3, 0), (0, 5)):
        np.testing.assert_allclose(
            layer.data_to_world(corner), shown.heatmap.layer.data_to_world(corner)
        )
    assert layer.units == shown.heatmap.layer.units
    assert layer.name == "domains · section"
    assert layer.opacity == pytest.approx(0.6)
    assert layer.colormap.map(0)[3] == 0
    colors = [hex_of(layer.colormap.map(label)) for label in range(1, 5)]
    assert colors == list(DOMAIN_COLORS[:4])
    assert shown.viewer.layers.selection.active == active


def hex_of(color: Any) -> str:
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in color[:3])


def test_tiles_of_a_hexagonal_array_are_two_pixels_of_their_domain(
    qtbot: QtBot, tmp_path: Path, analysis: FakeAnalysis
) -> None:
    shown = show_prediction(tmp_path, layout="hexagonal")
    panel = docked(qtbot, shown.viewer, DomainsPanel)
    run(qtbot, panel, 3)
    image = domains_layer(shown).data
    obs = shown.prediction.obs
    rows, columns = (obs[f"array_{name}"] - obs[f"array_{name}"].min() for name in ("row", "col"))
    tiles = np.zeros_like(image)
    for row, column, label in zip(rows, columns, stripes(shown.prediction, 3), strict=True):
        tiles[row, column : column + 2] = label
    # Every other row begins half a tile later: its end tiles go on to the edge of the slide.
    expected = tiles.copy()
    first, last = columns.groupby(rows).agg(["min", "max"]).to_numpy().T
    for row, (left, right) in enumerate(zip(first, last, strict=True)):
        if left > columns.min():
            expected[row, left - 1] = tiles[row, left]
        if right < columns.max():
            expected[row, right + 2] = tiles[row, right]
    np.testing.assert_array_equal(image, expected)
    assert (expected != tiles).any()


def test_the_legend_says_what_there_is(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    analysis.notice = "Only 3 genes count."
    run(qtbot, panel, 3)
    tiles = np.bincount(stripes(shown.prediction, 3))[1:]
    shares = [f"{100 * count / tiles.sum():.1f}" for count in tiles]
    legend = [[panel.legend.item(row, c).text() for c in (0, 1, 2, 4)] for row in range(3)]
    top = [", ".join(np.roll(GENES, domain)[:3]) for domain in (1, 2, 3)]
    assert legend == [[f"domain {k + 1}", f"{tiles[k]}", shares[k], top[k]] for k in range(3)]
    assert panel.notice.text() == "Only 3 genes count."
    assert not panel.notice.isHidden()


def test_top_markers_have_a_badge_and_say_their_reliability(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    assert panel.legend.isHidden()
    assert panel.markers.isHidden()
    known = shown.prediction.var["reliability"]
    panel.set_badges(Badges(0.3))
    run(qtbot, panel, 3)
    assert not panel.legend.isHidden()
    for row, domain in enumerate((1, 2, 3)):
        item = panel.legend.item(row, 4)
        dots = item.icon().pixmap(30, 14).toImage()
        top = np.roll(GENES, domain)[:3]
        colors = [dots.pixelColor(10 * place + 4, 4).name() for place in range(3)]
        assert colors == [Badges(0.3).color(known[gene]) for gene in top]
        assert all(f"{gene}\N{NO-BREAK SPACE}" in item.toolTip() for gene in top)


def test_the_search_takes_the_threshold_over_until_another_is_typed(panel: DomainsPanel) -> None:
    panel.set_badges(Badges(0.35))
    assert panel.settings.chosen() == DomainSettings(min_reliability=0.35)
    panel.settings.least_reliability.setValue(0.5)
    panel.set_badges(Badges(0.1))
    assert panel.settings.chosen() == DomainSettings(min_reliability=0.5)
    assert panel.markers.badges == Badges(0.1)


def test_the_markers_are_those_of_the_chosen_domain(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    run(qtbot, panel, 3)
    assert panel.markers.table["gene"].tolist() == list(np.roll(GENES, 1))
    panel.legend.setCurrentCell(2, 1)
    table = panel.markers.table
    assert table["gene"].tolist() == list(np.roll(GENES, 3))
    known = shown.prediction.var["reliability"].to_dict()
    np.testing.assert_array_equal(table["reliability"], [known[gene] for gene in table["gene"]])
    assert "domain 3" in panel.markers_title.text()
    panel.markers.view.doubleClicked.emit(panel.markers.view.filter.index(0, 0))
    assert shown.heatmap.gene == table["gene"][0]


def test_the_prediction_carries_the_domains_to_a_file(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis, tmp_path: Path
) -> None:
    run(qtbot, panel, 3)
    panel.legend.item(1, 0).setText("  stroma ")
    path = tmp_path / "out.h5ad"
    write_anndata(shown.prediction, path)
    read = read_anndata_file(path)
    column = read.obs["domain"]
    assert column.cat.categories.tolist() == ["domain 1", "stroma", "domain 3"]
    labels = stripes(shown.prediction, 3)
    np.testing.assert_array_equal(column.cat.codes + 1, labels)
    assert column.isna().sum() == 2
    assert list(read.uns["domain_colors"]) == list(DOMAIN_COLORS[:3])
    assert panel.legend.item(1, 0).text() == "stroma"
    assert domains_layer(shown).features["domain"].tolist() == ["", *column.cat.categories]


@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_opening_a_saved_prediction_brings_back_its_domains_and_their_markers(
    qtbot: QtBot,
    shown: Shown,
    panel: DomainsPanel,
    analysis: FakeAnalysis,
    tmp_path: Path,
    name: str,
) -> None:
    run(qtbot, panel, 3)
    panel.legend.item(1, 0).setText("stroma")
    panel.legend.setCurrentCell(2, 0)
    write_anndata(shown.prediction, tmp_path / name)

    viewer, opened = open_again(qtbot, tmp_path / name)
    layer, before = domains_layer(viewer), domains_layer(shown.viewer)
    np.testing.assert_array_equal(layer.data, before.data)
    for label in range(5):
        np.testing.assert_array_equal(layer.colormap.map(label), before.colormap.map(label))
    pd.testing.assert_frame_equal(layer.features, before.features)
    assert (layer.name, layer.opacity) == (before.name, before.opacity)
    heatmap = opened.session.heatmap.layer
    assert (layer.visible, heatmap.visible) == (True, False), "as they were seen last"
    np.testing.assert_allclose(layer.data_to_world((3, 5)), heatmap.data_to_world((3, 5)))
    opened.legend.setCurrentCell(2, 0)
    assert legend_of(opened) == legend_of(panel)
    pd.testing.assert_frame_equal(opened.markers.table, panel.markers.table)
    opened.legend.item(0, 0).setText("tumor")
    assert layer.features["domain"][1] == "tumor", "the layer is the panel's own"
    opened.session.heatmap.gene = "VIM"
    write_anndata(opened.session.prediction, tmp_path / f"again {name}")

    viewer, _ = open_again(qtbot, tmp_path / f"again {name}")
    assert not domains_layer(viewer).visible
    assert domains_layer(viewer).features["domain"][1] == "tumor"


def open_again(qtbot: QtBot, path: Path) -> tuple[ViewerModel, DomainsPanel]:
    viewer, reader = ViewerModel(), get_reader(str(path))
    assert reader is not None
    for data, attributes, kind in reader(str(path)):
        getattr(viewer, f"add_{kind}")(data, **attributes)
    return viewer, docked(qtbot, viewer, DomainsPanel)


def legend_of(panel: DomainsPanel) -> list[list[str]]:
    rows = range(panel.legend.rowCount())
    return [[panel.legend.item(row, column).text() for column in (0, 1, 2, 4)] for row in rows]


def test_markers_of_other_domains_are_not_taken_for_those_of_these(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    run(qtbot, panel, 3)
    # As another tool would write its clusters.
    of_another = np.resize(["a", "b"], shown.prediction.n_obs)
    shown.prediction.obs["domain"] = pd.Categorical(of_another)
    found = NamedDomains.of(shown.prediction)
    assert found is not None
    assert found.names == ("a", "b")
    assert not len(found.markers)
    assert found.legend()["markers"].tolist() == [(), ()]


@pytest.mark.parametrize("name", ["", "  ", "domain 3"])
def test_a_name_that_cannot_be_is_refused(
    qtbot: QtBot,
    shown: Shown,
    panel: DomainsPanel,
    analysis: FakeAnalysis,
    messages: dict[str, list[str]],
    name: str,
) -> None:
    run(qtbot, panel, 3)
    panel.legend.item(0, 0).setText(name)
    assert len(messages["warning"]) == 1
    assert panel.legend.item(0, 0).text() == "domain 1"
    assert "domain 1" in shown.prediction.obs["domain"].cat.categories


def test_a_second_search_changes_the_layer_in_place(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    run(qtbot, panel, 3)
    layer = domains_layer(shown)
    run(qtbot, panel, 5)
    assert domains_layer(shown) == layer
    assert layer.data.max() == 5
    assert hex_of(layer.colormap.map(5)) == DOMAIN_COLORS[4]


def test_a_layer_that_the_user_renamed_is_kept(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    run(qtbot, panel, 3)
    kept = domains_layer(shown)
    kept.name = "three of them"
    run(qtbot, panel, 5)
    layers = [layer for layer in shown.viewer.layers if isinstance(layer, Labels)]
    assert [layer.data.max() for layer in layers] == [3, 5]
    assert layers[0] == kept


def test_the_former_domains_can_be_restored_with_their_names(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    assert not panel.restore.isEnabled()
    run(qtbot, panel, 3)
    assert not panel.restore.isEnabled()
    panel.legend.item(0, 0).setText("tumor")
    before = shown.prediction.obs["domain"].copy()
    run(qtbot, panel, 4)
    panel.restore.click()
    pd.testing.assert_series_equal(shown.prediction.obs["domain"], before)
    assert domains_layer(shown).data.max() == 3
    assert panel.legend.rowCount() == 3
    assert panel.legend.item(0, 0).text() == "tumor"
    panel.restore.click()
    assert domains_layer(shown).data.max() == 4


def test_domains_of_an_opened_file_are_there_and_can_be_drawn(
    qtbot: QtBot, shown: Shown, analysis: FakeAnalysis
) -> None:
    names = np.array(["in", "out"])[stripes(shown.prediction, 2) - 1].astype(object)
    names[-2:] = None
    shown.prediction.obs["domain"] = pd.Categorical(names)
    panel = docked(qtbot, shown.viewer, DomainsPanel)
    assert [panel.legend.item(row, 0).text() for row in range(2)] == ["in", "out"]
    panel.show_layer.click()
    counts = np.bincount(domains_layer(shown).data.ravel())[1:]
    np.testing.assert_array_equal(counts, np.bincount(stripes(shown.prediction, 2))[1:])
    run(qtbot, panel, 4)
    panel.restore.click()
    assert shown.prediction.obs["domain"].cat.categories.tolist() == ["in", "out"]


def test_cancel_leaves_everything_as_it_was(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    run(qtbot, panel, 3)
    analysis.go_on.clear()
    panel.n_domains.setValue(6)
    panel.run.click()
    assert panel.cancel.isEnabled()
    assert not panel.run.isEnabled()
    assert not panel.bar.isHidden()
    panel.cancel.click()
    qtbot.waitUntil(finished(panel))
    assert panel.run.isEnabled()
    assert panel.bar.isHidden()
    assert domains_layer(shown).data.max() == 3
    assert not panel.restore.isEnabled()


def test_closing_stops_the_search(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    analysis.go_on.clear()
    panel.run.click()
    qtbot.waitUntil(lambda: len(analysis.arrived) == 1)
    dock_of(panel).close_down()
    qtbot.waitUntil(finished(panel))
    assert "domain" not in shown.prediction.obs


def test_a_result_belongs_to_the_prediction_it_was_searched_in(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis, tmp_path: Path
) -> None:
    analysis.go_on.clear()
    panel.n_domains.setValue(3)
    panel.run.click()
    other = show_prediction(tmp_path)
    layer = other.heatmap.layer
    other.viewer.layers.remove(layer)
    shown.viewer.add_layer(layer)
    shown.viewer.layers.selection.active = layer
    assert shown.session.prediction is other.prediction
    analysis.go_on.set()
    qtbot.waitUntil(finished(panel))
    assert "domain" in shown.prediction.obs
    assert "domain" not in other.prediction.obs
    assert panel.legend.rowCount() == 0
    shown.viewer.layers.selection.active = shown.heatmap.layer
    assert panel.legend.rowCount() == 3


def another_run(shown: Shown, pitch_um: float = 32.0, model: str = "") -> AnnData:
    """What a run gives first: no values yet; with fewer tiles."""
    prediction = drawn_prediction(shown.slide, pitch_um=pitch_um)
    prediction = prediction[prediction.obs["array_row"] > 1].copy()
    prediction.X[:] = np.nan
    if model:
        prediction.uns["nh2st"]["model"]["name"] = model
    return prediction


def replace_prediction(shown: Shown, prediction: AnnData) -> None:
    shown.heatmap.take(prediction, shown.slide_layer)


def test_another_run_keeps_the_domains_of_the_tiles_it_has_too(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    run(qtbot, panel, 3)
    panel.legend.item(0, 0).setText("tumor")
    layer, before = domains_layer(shown), shown.prediction.obs["domain"]
    prediction = another_run(shown)
    replace_prediction(shown, prediction)
    after = prediction.obs["domain"]
    assert list(after.cat.categories) == ["tumor", "domain 2", "domain 3"]
    assert after.astype(str).to_dict() == before[after.index].astype(str).to_dict()
    assert list(prediction.uns["domain_colors"]) == list(DOMAIN_COLORS[:3])
    assert domains_layer(shown) == layer
    assert layer.data.shape == shown.heatmap.layer.data.shape
    assert (layer.data > 0).sum() == after.notna().sum()
    np.testing.assert_allclose(
        layer.data_to_world((2, 3)), shown.heatmap.layer.data_to_world((2, 3))
    )
    assert shown.heatmap.layer.visible, "what comes is to be seen"
    assert not layer.visible
    assert panel.legend.item(0, 0).text() == "tumor"
    assert panel.markers.table["gene"].tolist() == list(np.roll(GENES, 1))
    panel.show_layer.click()
    assert domains_layer(shown) == layer
    assert layer.visible


@pytest.mark.parametrize("how", [{"pitch_um": 40.0}, {"model": "another"}], ids=str)
def test_domains_of_other_tiles_or_another_model_are_not_kept(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis, how: dict[str, Any]
) -> None:
    run(qtbot, panel, 3)
    layer = domains_layer(shown)
    drawn = layer.data.copy()
    prediction = another_run(shown, **how)
    replace_prediction(shown, prediction)
    assert "domain" not in prediction.obs
    assert panel.legend.rowCount() == 0
    assert DOMAINS_KEY not in layer.metadata
    run(qtbot, panel, 2)
    np.testing.assert_array_equal(layer.data, drawn), "it is the user's own now"
    assert sum(isinstance(la, Labels) for la in shown.viewer.layers) == 2


def test_a_search_in_a_prediction_that_was_replaced_ends_and_says_so(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    analysis.go_on.clear()
    panel.run.click()
    qtbot.waitUntil(lambda: len(analysis.arrived) == 1)
    prediction = another_run(shown)
    replace_prediction(shown, prediction)
    qtbot.waitUntil(finished(panel))
    assert "domain" not in prediction.obs
    assert "Another prediction" in panel.notice.text()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (InputError("3 tiles are predicted, too few."), "3 tiles are predicted, too few."),
        (RuntimeError("broken"), "Domains could not be found: RuntimeError: broken"),
    ],
)
def test_a_failure_is_a_sentence(
    qtbot: QtBot,
    shown: Shown,
    panel: DomainsPanel,
    analysis: FakeAnalysis,
    messages: dict[str, list[str]],
    error: Exception,
    sentence: str,
) -> None:
    analysis.error = error
    run(qtbot, panel)
    assert messages["error"] == [sentence]
    assert panel.run.isEnabled()
    assert "domain" not in shown.prediction.obs


def test_k_means_itself_draws_two_halves(qtbot: QtBot, shown: Shown, panel: DomainsPanel) -> None:
    left = shown.prediction.obs["array_col"].to_numpy() < 4
    known = ~np.isnan(shown.prediction.X).any(1)
    shown.prediction.X[known & left] += 50
    run(qtbot, panel, 2)
    codes = shown.prediction.obs["domain"].cat.codes.to_numpy()
    assert len(set(codes[known & left])) == len(set(codes[known & ~left])) == 1
    assert codes[known & left][0] != codes[known & ~left][0]


def test_colors_are_told_apart_with_any_color_vision() -> None:
    # Protanopia and deuteranopia as simulated by Machado, Oliveira & Fernandes 2009, in linear RGB.
    protanopia = [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    deuteranopia = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    colors = np.array([[int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)] for c in DOMAIN_COLORS])
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    for vision in (np.eye(3), np.array(protanopia), np.array(deuteranopia)):
        seen = np.clip(linear @ vision.T, 0, 1)
        seen = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
        lab = rgb2lab(seen[None])[0]
        distance = np.linalg.norm(lab[:, None] - lab, axis=-1) + 1e3 * np.eye(len(lab))
        assert distance[:7, :7].min() > 15
        assert distance.min() > 12


def test_domains_take_the_place_of_the_gene_until_one_is_shown(
    qtbot: QtBot, shown: Shown, panel: DomainsPanel, analysis: FakeAnalysis
) -> None:
    run(qtbot, panel)
    layer, heatmap = domains_layer(shown), shown.heatmap
    assert (layer.visible, heatmap.layer.visible) == (True, False)
    other = next(gene for gene in heatmap.prediction.var_names if gene != heatmap.gene)
    heatmap.gene = other
    assert (layer.visible, heatmap.layer.visible) == (False, True)
    panel.show_layer.click()
    assert (layer.visible, heatmap.layer.visible) == (True, False)
