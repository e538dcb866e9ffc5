"""A comparison in the viewer: layers, colors, side by side, table and plot."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backend_bases import MouseEvent
from napari.components import ViewerModel
from napari.utils.colormaps import ensure_colormap
from pytestqt.qtbot import QtBot

from compare_docks import in_both_viewers, load, open_slide_of, points, run
from compared_sections import DrawnSection, write_section
from drawn_predictions import drawn_prediction
from napari_nh2st.layers.keys import SLIDE_KEY
from napari_nh2st.prediction.raster import robust_limits
from napari_nh2st.prediction.schema import notes, reliability
from napari_nh2st.session import Session
from napari_nh2st.session.picture_facts import PictureFacts
from napari_nh2st.slide import open_slide
from napari_nh2st.widgets.compare.widget import CompareWidget
from small_configs import PANEL


def test_measured_and_predicted_have_one_scale_and_the_residual_is_symmetric(
    viewer: ViewerModel, done: CompareWidget
) -> None:
    assert done.compared is not None
    layers = points(viewer)
    gene = layers["predicted"].name.partition(" · ")[2]
    prediction = done.compared.prediction
    predicted = prediction[:, gene].X.ravel()
    measured = prediction[:, gene].layers["measured"].ravel()
    np.testing.assert_array_equal(layers["predicted"].features[gene], predicted)
    np.testing.assert_array_equal(layers["measured"].features[gene], measured)
    assert "residual" not in layers, "made when it is first shown"
    done.view.kinds["residual"].click()
    layers = points(viewer)
    np.testing.assert_allclose(layers["residual"].features[gene], predicted - measured, atol=1e-6)
    same = robust_limits(np.concatenate([measured, predicted]))
    for name in ("measured", "predicted"):
        layers[name].visible = True
        assert layers[name].face_contrast_limits == pytest.approx(same)
        assert layers[name].face_colormap.name == "magma"
    low, high = layers["residual"].face_contrast_limits
    assert -low == high == pytest.approx(np.percentile(np.abs(predicted - measured), 99))
    assert all(layer.visible for layer in layers.values())


def test_the_scores_are_offered_as_badges_of_a_heatmap_of_the_slide(
    viewer: ViewerModel, done: CompareWidget, section: DrawnSection
) -> None:
    box = done.measured_badges
    assert box.isHidden(), "there is no heatmap whose badges they could be"
    assert done.compared is not None
    slide = open_slide(section.slide, mpp=6.25)
    prediction = drawn_prediction(slide, pitch_um=200.0)
    notes(prediction)["model"].update(notes(done.compared.prediction)["model"])
    session = Session.of(viewer)
    session.add_heatmap(session.slides[0], prediction, "CD74")
    assert not box.isHidden()
    assert "42 spots" in box.text()
    box.click()
    table = done.view.genes.table.table.set_index("gene")
    assert reliability(prediction)["CD74"] == pytest.approx(table["PCC"]["CD74"])


@in_both_viewers
def test_another_gene_changes_the_colors_of_the_same_layers(
    viewer: ViewerModel, done: CompareWidget
) -> None:
    done.view.kinds["residual"].click()
    before = points(viewer)
    rows = done.view.genes.table.table["gene"].tolist()
    done.view.genes.view.selectRow(rows.index("CD74"))
    after = points(viewer)
    assert {name: id(layer) for name, layer in after.items()} == {
        name: id(layer) for name, layer in before.items()
    }
    assert {layer.name for layer in after.values()} == {
        f"{kind} · CD74" for kind in ("measured", "predicted", "residual")
    }
    for kind in ("predicted", "measured"):
        done.view.kinds[kind].click()
        layer = after[kind]
        low, high = layer.face_contrast_limits
        shares = (layer.features["CD74"].to_numpy() - low) / (high - low)
        np.testing.assert_allclose(
            layer.face_color, ensure_colormap("magma").map(np.clip(shares, 0, 1)), atol=0.01
        )
    assert "CD74 · " in done.view.scatter.axes.get_title()
    offsets = np.asarray(done.view.scatter._spots.get_offsets())
    np.testing.assert_allclose(offsets[:, 0], after["measured"].features["CD74"])
    np.testing.assert_allclose(offsets[:, 1], after["predicted"].features["CD74"])
    assert after["predicted"].features.columns.tolist() == ["CD74"]


def test_the_table_has_the_scores_best_first_and_finds_genes(done: CompareWidget) -> None:
    assert done.compared is not None
    scores = done.compared.scores.set_index("gene")
    table = done.view.genes.table.table.set_index("gene")
    assert table["PCC"].is_monotonic_decreasing
    np.testing.assert_array_equal(table["PCC"], scores.loc[table.index, "pcc"])
    np.testing.assert_array_equal(table["low"], scores.loc[table.index, "pcc_low"])
    assert table.loc["VIM", "reliability"] == 0.5
    assert np.isnan(table.loc["ERBB2", "reliability"])
    done.view.genes.search.setText("cd7")
    view = done.view.genes.view
    assert view.shown_genes == ["CD74"]
    done.view.genes.table.model.sort(0)
    genes = done.view.genes.table.table["gene"].tolist()
    assert genes == sorted(PANEL)
    assert view.shown_genes == ["CD74"]


def test_the_summary_tells_the_mean_with_its_interval(done: CompareWidget) -> None:
    assert done.compared is not None
    summary = done.compared.summary
    for key in ("mean_pcc", "mean_pcc_low", "mean_pcc_high"):
        assert f"{summary[key]:.2f}".replace("-", "−") in done.view.summary.text()
    assert "over 5 genes, 42 spots, with small" in done.view.summary.text()
    assert "no baseline" in done.view.notices.text()


def test_a_section_that_lacks_genes_has_residuals_in_standard_units(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, tmp_path: Path
) -> None:
    section = write_section(tmp_path, genes=PANEL[:3])
    open_slide_of(viewer, section)
    load(qtbot, widget, section)
    run(qtbot, widget)
    assert "standardized values" in widget.view.notices.text()
    for kind in ("measured", "predicted", "residual"):
        widget.view.kinds[kind].click()
        widget.show_gene("CD74")
    layers = points(viewer)
    standard = [
        (layers[kind].features["CD74"] - layers[kind].features["CD74"].mean())
        / layers[kind].features["CD74"].std(ddof=0)
        for kind in ("predicted", "measured")
    ]
    np.testing.assert_allclose(
        layers["residual"].features["CD74"], standard[0] - standard[1], atol=1e-4
    )
    widget.view.kinds["residual"].click()
    assert "standardized" in widget.view.unit.text()
    assert "log10" not in widget.view.unit.text()
    widget.view.kinds["predicted"].click()
    assert "log10" in widget.view.unit.text()
    widget.show_gene("VIM")
    assert "no PCC" in widget.view.scatter.axes.get_title()


@in_both_viewers
def test_one_kind_is_shown_at_a_time_and_its_scale_with_it(
    viewer: ViewerModel, done: CompareWidget
) -> None:
    for kind, button in done.view.kinds.items():
        button.click()
        shown = [name for name, layer in points(viewer).items() if layer.visible]
        assert shown == [kind]
        assert done.view.scale.limits == tuple(points(viewer)[kind].face_contrast_limits)


@in_both_viewers
def test_spots_and_a_heatmap_take_each_others_place(
    qtbot: QtBot, viewer: ViewerModel, widget: CompareWidget, section: DrawnSection
) -> None:
    """Two genes in two colors, one on the other, would have one caption."""
    session = Session.of(viewer)
    layer = open_slide_of(viewer, section)
    with open_slide(section.slide, mpp=1.0) as slide:
        heatmap = session.add_heatmap(layer, drawn_prediction(slide), "CD74")
    viewer.layers.selection.active = layer

    def shown() -> list[str]:
        names = [name for name, spots in points(viewer).items() if spots.visible]
        return names + ["heatmap"] * bool(heatmap.layer.visible)

    load(qtbot, widget, section)
    assert shown() == ["measured"]
    session.show_gene("VIM")
    assert shown() == ["heatmap"]
    widget.show_gene("ERBB2")
    assert shown() == ["measured"]
    run(qtbot, widget)
    assert shown() == ["predicted"]
    session.heatmap.gene = "CD74"
    assert shown() == ["heatmap"]
    widget.view.kinds["residual"].click()
    assert shown() == ["residual"]
    widget.view.beside.click()
    widget.view.beside.click()
    assert shown() == ["residual"]
    widget.remove()
    assert shown() == ["heatmap"], "as before"


@in_both_viewers
def test_side_by_side_is_a_grid_of_two_slides_and_leaves_the_viewer_as_it_was(
    viewer: ViewerModel, done: CompareWidget
) -> None:
    other = viewer.add_image(np.zeros((4, 4)), name="other")
    viewer.layers.move(viewer.layers.index(other), 0)
    before = [(layer.name, layer.visible) for layer in viewer.layers]
    camera = viewer.scene.camera
    camera.center, camera.zoom = (0.0, 90.0, 40.0), 7.0
    done.view.beside.click()
    assert viewer.canvas.grid.enabled
    assert camera.zoom < 7.0, "both slides fit the view"
    gene = done.section.layers.gene
    assert (viewer.canvas.grid.stride, viewer.canvas.grid.shape) == (2, (1, 2))
    shown = [layer.name for layer in viewer.layers if layer.visible]
    assert shown == ["S1", f"measured · {gene}", "S1 (beside)", f"predicted · {gene}"]
    assert all(layer.visible for layer in viewer.layers[:4]), "each two share a place"
    assert done.section.slide_layer == viewer.layers["S1"]
    done.view.kinds["residual"].click()
    assert points(viewer)["residual"].visible
    assert not points(viewer)["predicted"].visible
    done.view.kinds["predicted"].click()
    viewer.layers.remove(points(viewer)["residual"])
    done.view.beside.click()
    assert [(layer.name, layer.visible) for layer in viewer.layers] == before
    assert not viewer.canvas.grid.enabled
    assert (camera.center, camera.zoom) == ((0.0, 90.0, 40.0), 7.0)
    assert not done.measured.is_reading, "the other slide is the same one"


@in_both_viewers
def test_side_by_side_ends_with_the_slides_copy(viewer: ViewerModel, done: CompareWidget) -> None:
    other = viewer.add_image(np.zeros((40, 50, 3), np.uint8), name="other", rgb=True)
    done.slide.picker.value = viewer.layers["S1"]
    done.view.beside.click()
    assert done.slide.layer == viewer.layers["S1"]
    viewer.layers.remove(viewer.layers["S1 (beside)"])
    assert done.slide.layer == viewer.layers["S1"]
    viewer.layers.remove(other)
    assert not viewer.canvas.grid.enabled
    assert not done.view.beside.isChecked()
    assert [name for name, layer in points(viewer).items() if layer.visible] == ["predicted"]


@in_both_viewers
def test_layers_that_the_user_deletes_are_missed_by_nothing_and_come_back_when_asked_for(
    viewer: ViewerModel, done: CompareWidget, messages: dict[str, list[str]]
) -> None:
    viewer.layers.remove(points(viewer)["predicted"])
    done.show_gene("CD74")
    assert "predicted" not in points(viewer)
    done.view.kinds["predicted"].click()
    layer = points(viewer)["predicted"]
    assert layer.visible
    assert layer.features.columns.tolist() == ["CD74"]
    viewer.layers.remove(layer)
    done.view.beside.click()
    assert points(viewer)["predicted"].visible
    done.view.beside.click()
    done.view.kinds["residual"].click()
    assert points(viewer)["residual"].visible
    assert messages["error"] == []


@in_both_viewers
def test_predictions_of_an_untrained_model_are_called_so(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget
) -> None:
    layers = done.section.layers
    assert layers is not None
    layers.is_trained = False
    done.show_gene("CD74")
    done.view.kinds["residual"].click()
    assert {layer.name for layer in points(viewer).values()} == {
        "measured · CD74",
        "predicted · CD74 · UNTRAINED",
        "residual · CD74 · UNTRAINED",
    }


@in_both_viewers
def test_the_slides_second_layer_is_no_slide_and_st_that_is_read_ends_it(
    qtbot: QtBot, viewer: ViewerModel, done: CompareWidget, section: DrawnSection
) -> None:
    done.view.beside.click()
    assert SLIDE_KEY not in viewer.layers["S1 (beside)"].metadata
    load(qtbot, done, section)
    assert done.section.slide_layer == viewer.layers["S1"]
    assert "S1 (beside)" not in viewer.layers


def test_the_plot_takes_the_colors_of_the_theme(viewer: ViewerModel, widget: CompareWidget) -> None:
    colors = []
    for theme in ("dark", "light"):
        viewer.theme = theme
        colors.append(widget.view.scatter.figure.get_facecolor())
    dark, light = (sum(color[:3]) for color in colors)
    assert dark < 1 < light


def test_a_click_on_a_point_finds_its_spot_on_the_slide(
    viewer: ViewerModel, done: CompareWidget
) -> None:
    scatter, layers = done.view.scatter, points(viewer)
    assert done.compared is not None
    prediction = done.compared.prediction
    gene = done.section.layers.gene
    values = np.column_stack([prediction[:, gene].layers["measured"], prediction[:, gene].X])
    spot = int(np.argmax(values[:, 1]))
    scatter.canvas.draw()

    def click(place: np.ndarray) -> None:
        x, y = scatter.axes.transData.transform(place)
        MouseEvent("button_press_event", scatter.canvas, x + 2, y + 2, button=1)._process()

    click(values[spot])
    for name in ("measured", "predicted"):
        np.testing.assert_array_equal(np.flatnonzero(layers[name].border_width), [spot])
    world = layers["measured"].data_to_world(layers["measured"].data[spot])
    np.testing.assert_allclose(viewer.scene.camera.center[-2:], world[-2:])
    assert done.view.spot.text().startswith(f"{prediction.obs_names[spot]}: measured ")
    np.testing.assert_allclose(scatter._ring.get_offsets(), values[[spot]])
    done.view.kinds["residual"].click()
    assert np.flatnonzero(points(viewer)["residual"].border_width).tolist() == [spot]
    other = next(name for name in done.section.table["gene"] if name != gene)
    done.show_gene(other)
    expected = prediction[spot, other]
    np.testing.assert_allclose(
        scatter._ring.get_offsets(), [[expected.layers["measured"].item(), expected.X.item()]]
    )
    center = viewer.scene.camera.center
    (left, right), (low, high) = scatter.axes.get_xlim(), scatter.axes.get_ylim()
    shown = np.asarray(scatter._spots.get_offsets())
    grid = np.array(
        [(x, y) for x in np.linspace(left, right, 9) for y in np.linspace(low, high, 9)]
    )
    inside = [place for place in grid if left < place[0] < right and low < place[1] < high]
    click(max(inside, key=lambda place: np.hypot(*(shown - place).T).min()))
    assert not layers["measured"].border_width.any(), "a click beside all points"
    assert done.view.spot.isHidden()
    assert viewer.scene.camera.center == center


def test_a_picture_of_a_comparison_has_its_scales_and_cautions(
    viewer: ViewerModel, done: CompareWidget
) -> None:
    assert done.section is not None
    assert done.section.results is not None
    gene = done.section.layers.gene
    (scale,) = PictureFacts.of(done.session).scales
    assert scale.title.startswith(f"predicted · {gene}")
    assert scale.limits == pytest.approx(done.section.layers.limits["predicted"])
    done.view.beside.setChecked(True)
    facts = PictureFacts.of(done.session)
    assert [each.title.partition(" ")[0] for each in facts.scales] == ["measured", "predicted"]
    expected = done.section.results.notices
    assert expected
    assert set(expected) <= set(facts.cautions)
    overlays = [points(viewer)[kind].name_overlay for kind in ("measured", "predicted")]
    sizes = {overlay.font_size for overlay in overlays}
    done.view.beside.setChecked(False)
    assert {overlay.font_size for overlay in overlays}.isdisjoint(sizes)
