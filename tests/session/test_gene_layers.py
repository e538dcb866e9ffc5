"""Pins, composites, signatures and display: exactly what arrives in the layers."""

import threading
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from anndata import AnnData
from napari.components import ViewerModel
from scipy.stats import zscore

from gene_predictions import add_heatmap, as_image, gene_prediction
from napari_nh2st.analysis.signatures import Signature
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.keys import GENE_KEY, SIGNATURE_KEY
from napari_nh2st.layers.signatures import symmetric_limits
from napari_nh2st.session import Session
from napari_nh2st.session import session as session_module
from napari_nh2st.session.display_settings import DisplaySettings
from waiting import wait_until


@pytest.fixture
def heatmap(viewer: ViewerModel) -> Heatmap:
    return add_heatmap(viewer, gene_prediction())


@pytest.fixture
def session(viewer: ViewerModel, heatmap: Heatmap) -> Session:
    return Session.of(viewer)


def values(heatmap: Heatmap, gene: str) -> np.ndarray:
    return np.asarray(heatmap.prediction[:, gene].X).ravel()


def percentiles(numbers: np.ndarray, low: float = 1, high: float = 99) -> list[float]:
    return [float(np.nanpercentile(numbers, q)) for q in (low, high)]


# --- pins ---


def test_a_pinned_gene_is_a_layer_of_its_own_where_the_heatmap_lies(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    heatmap.layer.rotate, heatmap.layer.translate = 10, (3, 4)
    layer = session.pins.pin("GRB7").layer
    assert layer.name == "GRB7 · C6 · pinned"
    np.testing.assert_array_equal(layer.data, as_image(values(heatmap, "GRB7")))
    np.testing.assert_allclose(layer.contrast_limits, percentiles(values(heatmap, "GRB7")))
    assert (layer.colormap.name, layer.blending, layer.visible) == ("red", "additive", True)
    assert layer.units == heatmap.layer.units
    corner = (2, 5)
    np.testing.assert_allclose(layer.data_to_world(corner), heatmap.layer.data_to_world(corner))
    assert (layer.colormap.map([np.nan])[:, 3] == 0).all(), "NaN is not transparent"


def test_a_pinned_gene_stays_and_is_not_taken_for_the_heatmap(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    pin = session.pins.pin("ERBB2")
    heatmap.gene = "CD74"
    np.testing.assert_array_equal(pin.layer.data, as_image(values(heatmap, "ERBB2")))
    assert pin.layer.metadata[GENE_KEY] == "ERBB2"
    assert session.heatmap_of(pin.layer) is None
    viewer.layers.selection.active = pin.layer
    assert session.heatmap is heatmap


def test_pins_take_the_next_free_colormap_and_a_gene_is_pinned_once(
    viewer: ViewerModel, session: Session
) -> None:
    pins = [session.pins.pin(gene) for gene in ("ERBB2", "GRB7", "KRT19")]
    assert [pin.layer.colormap.name for pin in pins] == ["red", "green", "blue"]
    assert session.pins.pin("GRB7") is pins[1]
    session.pins.remove_layer(pins[0])
    assert pins[0].layer not in viewer.layers
    assert [pin.gene for pin in session.pins.items] == ["GRB7", "KRT19"]
    assert session.pins.pin("CD74").layer.colormap.name == "red"
    assert session.pins.pin("ERBB2").layer.colormap.name == "yellow", "it can be pinned again"


def test_a_layer_that_the_user_removes_is_no_longer_pinned(
    viewer: ViewerModel, session: Session
) -> None:
    changes: list[bool] = []
    pin = session.pins.pin("ERBB2")
    session.pins.changed.connect(lambda: changes.append(True))
    viewer.layers.remove(pin.layer)
    assert session.pins.items == []
    assert changes == [True]


def test_pins_fill_up_with_the_prediction(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    heatmap.prediction.X[20:] = np.nan
    layer = session.pins.pin("ERBB2").layer
    assert np.isfinite(layer.data).sum() == 20
    heatmap.prediction.X[20:] = 7
    heatmap.filled.emit(heatmap)
    wait_until(lambda: bool((layer.data == 7).any()))
    np.testing.assert_array_equal(layer.data, as_image(values(heatmap, "ERBB2")))
    np.testing.assert_allclose(layer.contrast_limits, percentiles(values(heatmap, "ERBB2")))


def test_pins_move_to_the_heatmap_that_replaces_theirs(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    session.pins.pin("ERBB2")
    session.pins.pin("KRT19").layer.colormap = "cyan"
    prediction = gene_prediction()[:, ["KRT19", "CD74"]].copy()
    prediction.X[:] += 1
    viewer.layers.remove(heatmap.layer)
    new = add_heatmap(viewer, prediction, "CD74")
    assert session.heatmap is new
    (pin,) = session.pins.items
    assert (pin.gene, pin.layer.colormap.name) == ("KRT19", "cyan")
    np.testing.assert_array_equal(pin.layer.data, as_image(values(new, "KRT19")))


def other_prediction(gene: str = "KRT19") -> AnnData:
    """Two genes of the panel on the left half of the tiles, of another model."""
    prediction = gene_prediction()
    left = prediction.obs["array_col"].to_numpy() < 4
    prediction = prediction[left, [gene, "CD74"]].copy()
    prediction.uns["nh2st"]["model"] = {"name": "another", "trained": True}
    prediction.X[:] += 1
    return prediction


def test_pins_move_when_their_heatmap_is_removed_after_another_came(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    layer = session.pins.pin("KRT19").layer
    session.pins.pin("ERBB2")
    new = add_heatmap(viewer, other_prediction(), "CD74")
    viewer.layers.remove(heatmap.layer)
    wait_until(lambda: len(session.pins.items) == 1)
    (pin,) = session.pins.items
    assert (pin.source, pin.layer) == (new, layer)
    np.testing.assert_array_equal(layer.data, new.raster.image(values(new, "KRT19")))


def test_pins_and_signatures_show_the_prediction_that_their_heatmap_takes(
    viewer: ViewerModel,
    heatmap: Heatmap,
    session: Session,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(session_module, "show_info", said.append)
    session.signatures.work.seconds = 0
    kept, lost = session.pins.pin("KRT19").layer, session.pins.pin("GRB7").layer
    kept.colormap, kept.opacity, kept.contrast_limits = "cyan", 0.4, (2, 3)
    genes = ("KRT19", "ERBB2")
    session.signatures.show(heatmap, Signature("kept", genes, listed=2))
    wait_until(lambda: len(signature_layers(viewer)) == 1)
    signature = viewer.layers[-1]
    session.signatures.show(heatmap, Signature("lost", ("GRB7",), listed=1))
    wait_until(lambda: len(signature_layers(viewer)) == 2)
    heatmap.take(other_prediction(), viewer.layers["C6"])
    assert lost not in viewer.layers
    assert [pin.layer for pin in session.pins.items] == [kept]
    np.testing.assert_array_equal(kept.data, heatmap.raster.image(values(heatmap, "KRT19")))
    assert (kept.colormap.name, kept.opacity) == ("cyan", 0.4)
    np.testing.assert_allclose(kept.contrast_limits, percentiles(values(heatmap, "KRT19")))
    assert said == ["Not in the new prediction, and no longer shown: GRB7, lost."]
    assert signature_layers(viewer) == ["signature kept (1 of 2) · C6"]
    expected = zscore(values(heatmap, "KRT19").astype(float))
    wait_until(lambda: bool(np.isfinite(signature.data).any()))
    np.testing.assert_allclose(signature.data, heatmap.raster.image(expected), atol=1e-5)
    assert signature.metadata[SIGNATURE_KEY] == {"name": "kept", "genes": ["KRT19"]}
    for layer in (kept, signature):
        corner = layer.data_to_world((2, 3))
        np.testing.assert_allclose(corner, heatmap.layer.data_to_world((2, 3)))


def test_limits_of_a_pin_stay_with_the_values_of_the_same_model(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    layer = session.pins.pin("KRT19").layer
    layer.contrast_limits = (2, 3)
    heatmap.take(gene_prediction(filled=False), viewer.layers["C6"])
    assert layer.contrast_limits == [2, 3]


def test_pins_stay_right_whatever_happens_while_no_dock_is_open(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    kept, removed = session.pins.pin("KRT19").layer, session.pins.pin("CD74").layer
    session.pins.pin("ERBB2")
    heatmap.take(other_prediction(), viewer.layers["C6"])
    viewer.layers.remove(removed)
    assert [pin.layer for pin in session.pins.items] == [kept]
    np.testing.assert_array_equal(kept.data, heatmap.raster.image(values(heatmap, "KRT19")))


def test_unpinning_what_is_no_longer_there_does_nothing(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    pin = session.pins.pin("KRT19")
    viewer.layers.remove(pin.layer)
    session.pins.remove_layer(pin)
    session.pins.compose(("ERBB2", "GRB7"))
    for _ in range(2):
        session.pins.undo_composite()
    assert [la.name for la in viewer.layers] == ["C6", heatmap.layer.name]
    assert heatmap.layer.visible
    assert viewer.layers["C6"].visible


def test_pins_of_a_slide_stay_away_from_another_of_its_name(viewer: ViewerModel) -> None:
    def of_slide(fingerprint: str) -> AnnData:
        prediction = gene_prediction()
        prediction.uns["nh2st"]["slide"] = {"fingerprint": fingerprint}
        return prediction

    session = Session.of(viewer)
    first = add_heatmap(viewer, of_slide("a"))
    pin = session.pins.pin("KRT19")
    viewer.layers.remove(first.layer)
    add_heatmap(viewer, of_slide("b"))
    assert session.pins.items == [pin]
    same = add_heatmap(viewer, of_slide("a"))
    session.heatmap = same
    assert [pin.source for pin in session.pins.items] == [same]


# --- on black ---


def visible(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers if layer.visible]


def test_slide_and_heatmap_are_hidden_beneath_pins_and_come_back_with_the_last(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    hidden = viewer.add_image(np.zeros((4, 4)), name="hidden", visible=False)
    canvas = viewer.canvas
    pins = [session.pins.pin(gene) for gene in ("GRB7", "KRT19")]
    assert visible(viewer) == [pin.layer.name for pin in pins]
    np.testing.assert_array_equal(canvas.background_color_override, (0, 0, 0, 1))
    viewer.layers.remove(pins[0].layer)
    assert visible(viewer) == [pins[1].layer.name]
    session.pins.remove_layer(pins[1])
    assert visible(viewer) == ["C6", heatmap.layer.name]
    assert not hidden.visible
    assert canvas.background_color_override is None


def test_the_heatmap_and_the_pins_take_turns(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    first, second = (session.pins.pin(gene).layer for gene in ("GRB7", "KRT19"))
    first.visible = False
    heatmap.gene = "CD74"
    assert visible(viewer) == ["C6", heatmap.layer.name]
    session.pins.show_pins()
    assert visible(viewer) == [second.name], "the other one was hidden by the user"
    session.show_gene("CD74")
    third = session.pins.pin("ERBB2").layer
    assert visible(viewer) == [second.name, third.name]
    for layer in (second, third):
        layer.visible = False
    assert visible(viewer) == ["C6", heatmap.layer.name]
    session.pins.show_pins()
    assert visible(viewer) == [layer.name for layer in (first, second, third)]


def test_a_composite_left_while_the_heatmap_is_shown_leaves_it_shown(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    layer = session.pins.pin("KRT19").layer
    session.pins.compose(("ERBB2", "GRB7"))
    session.show_gene("CD74")
    session.pins.undo_composite()
    assert visible(viewer) == ["C6", heatmap.layer.name]
    session.pins.show_pins()
    assert visible(viewer) == [layer.name]


def test_unpinned_genes_come_back_as_they_were(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    pin = session.pins.pin("KRT19")
    pin.layer.colormap, pin.layer.contrast_limits = "cyan", (1, 2)
    session.pins.remove([pin])
    assert pin.layer not in viewer.layers
    heatmap.take(other_prediction(), viewer.layers["C6"])
    session.pins.restore()
    (back,) = session.pins.items
    assert (back.layer.colormap.name, back.layer.contrast_limits) == ("cyan", [1, 2])
    np.testing.assert_array_equal(back.layer.data, heatmap.raster.image(values(heatmap, "KRT19")))
    assert visible(viewer) == [back.layer.name]
    assert not session.pins.can_restore
    session.pins.remove([back])
    viewer.layers.remove(heatmap.layer)
    assert not session.pins.can_restore


# --- composites ---


def test_a_composite_shows_its_genes_alone_on_black_until_it_is_undone(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    labels = viewer.add_labels(np.zeros((6, 8), int))
    hidden = session.pins.pin("CD74").layer
    hidden.visible = False
    genes = ("GRB7", "ERBB2", "KRT19", "ESR1")
    session.pins.compose(genes)
    shown = [layer for layer in viewer.layers if layer.visible]
    assert [layer.metadata[GENE_KEY] for layer in shown] == list(genes)
    assert [layer.colormap.name for layer in shown] == ["red", "green", "blue", "yellow"]
    assert {layer.blending for layer in shown} == {"additive"}
    for layer, gene in zip(shown, genes, strict=True):
        np.testing.assert_array_equal(layer.data, as_image(values(heatmap, gene)))
        np.testing.assert_allclose(layer.contrast_limits, percentiles(values(heatmap, gene)))
    session.pins.compose(("CD74",))
    composed = [pin.gene for pin in session.pins.items if pin.in_composite]
    assert composed == ["CD74"], "a second composite replaces the first"
    assert not heatmap.layer.visible
    session.pins.undo_composite()
    assert not session.pins.has_composite
    assert visible(viewer) == ["C6", heatmap.layer.name, labels.name]
    assert not hidden.visible, "it was not the composite that hid it"


def test_removing_the_layers_of_a_composite_undoes_it(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    session.pins.compose(("ERBB2", "GRB7"))
    for pin in list(session.pins.items):
        assert not heatmap.layer.visible
        viewer.layers.remove(pin.layer)
    assert heatmap.layer.visible


@pytest.mark.parametrize("genes", [(), ("ERBB2", "CD74", "KRT19", "ESR1", "GRB7")])
def test_a_composite_is_of_one_to_four_genes(session: Session, genes: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="1 to 4"):
        session.pins.compose(genes)


# --- signatures ---


def test_pins_over_the_slide_leave_it_seen_and_are_transparent_where_they_are_low(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    slide, canvas = viewer.layers["C6"], viewer.canvas
    first = session.pins.pin("CD74").layer
    colors = first.colormap
    assert not slide.visible
    assert canvas.background_color_override is not None
    heard: list[None] = []
    session.pins.visibility_changed.connect(lambda: heard.append(None))
    session.pins.over_slide = True
    assert heard
    second = session.pins.pin("KRT19").layer
    assert visible(viewer) == ["C6", first.name, second.name], "not the heatmap, which would mix"
    assert canvas.background_color_override is None
    for layer in (first, second):
        ends = layer.colormap.map([0.0, 1.0])
        np.testing.assert_allclose(ends[:, 3], [0, 0.75])
        assert layer.blending == "translucent_no_depth"
    np.testing.assert_allclose(first.colormap.map([1.0])[0][:3], colors.map([1.0])[0][:3])
    assert session.pins.items[0].color != session.pins.items[1].color
    viewer.add_image(np.zeros((9, 9, 3), np.uint8), name="another", rgb=True)
    assert first.visible, "an image beside them is no reason to hide them"
    session.show_gene("GRB7")
    assert (heatmap.layer.visible, first.visible) == (True, False)
    session.pins.show_pins()
    assert (heatmap.layer.visible, first.visible, slide.visible) == (False, True, True)
    second.colormap = "viridis"
    session.pins.over_slide = False
    assert visible(viewer) == [first.name, second.name]
    assert canvas.background_color_override is not None
    assert (first.colormap.name, first.blending) == (colors.name, "additive")
    assert second.colormap.name == "viridis", "as the user wants it"
    session.pins.show_slide()
    assert heatmap.layer.visible
    assert slide.visible


SIGNATURE = Signature("HER2", ("ERBB2", "GRB7"), listed=3)


def signature_layers(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers if SIGNATURE_KEY in layer.metadata]


def test_a_signature_is_the_mean_z_score_around_zero(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    session.signatures.show(heatmap, SIGNATURE)
    wait_until(lambda: len(signature_layers(viewer)) == 1)
    layer = viewer.layers[-1]
    assert layer.name == "signature HER2 (2 of 3) · C6"
    expected = zscore(heatmap.prediction[:, list(SIGNATURE.genes)].X.astype(float)).mean(1)
    np.testing.assert_allclose(layer.data, as_image(expected), atol=1e-5)
    reach = np.abs(percentiles(expected)).max()
    np.testing.assert_allclose(layer.contrast_limits, [-reach, reach], rtol=1e-4)
    assert layer.colormap.name == "PiYG"
    assert layer.metadata[SIGNATURE_KEY] == {"name": "HER2", "genes": ["ERBB2", "GRB7"]}
    assert session.heatmap_of(layer) is None
    assert not heatmap.layer.visible, "mixed colors mean nothing"
    session.show_gene("CD74")
    assert heatmap.layer.visible
    assert not layer.visible
    session.pins.pin("KRT19")
    session.show_signature(SIGNATURE)
    assert visible(viewer) == ["C6", heatmap.layer.name], "on the slide, not over the pins"


def test_a_signature_follows_the_prediction_and_replaces_one_of_its_name(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    session.signatures.work.seconds = 0
    heatmap.prediction.X[20:] = np.nan
    session.signatures.show(heatmap, SIGNATURE)
    wait_until(lambda: len(signature_layers(viewer)) == 1)
    layer = viewer.layers[-1]
    assert np.isfinite(layer.data).sum() == 20
    heatmap.prediction.X[20:] = np.arange(5)
    heatmap.filled.emit(heatmap)
    wait_until(lambda: bool(np.isfinite(layer.data).sum() == 47))
    session.signatures.show(heatmap, Signature("HER2", ("GRB7",), listed=1))
    new_name = "signature HER2 (1 of 1) · C6"
    wait_until(lambda: signature_layers(viewer) == [new_name])


def test_a_signature_with_the_name_of_a_column_is_shown_but_not_put_there(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    before = list(heatmap.prediction.obs["status"])
    session.signatures.show(heatmap, replace(SIGNATURE, name="status"))
    wait_until(lambda: len(signature_layers(viewer)) == 1)
    assert list(heatmap.prediction.obs["status"]) == before


def test_a_signature_that_is_removed_does_not_come_back(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    session.signatures.work.seconds = 0
    session.signatures.show(heatmap, SIGNATURE)
    wait_until(lambda: len(signature_layers(viewer)) == 1)
    session.signatures.refresh()
    viewer.layers.remove(viewer.layers[-1])
    wait_until(lambda: session.signatures.work.is_idle)
    assert signature_layers(viewer) == []
    assert heatmap.layer.visible


@pytest.mark.parametrize("numbers", [[], [0.0], [np.nan], [-3.0, 1.0]])
def test_symmetric_limits_are_limits_around_zero(numbers: list[float]) -> None:
    low, high = symmetric_limits(np.array(numbers))
    assert low == -high
    assert high > 0


# --- display ---


def test_the_display_settings_arrive_in_the_layers(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    pin = session.pins.pin("GRB7")
    settings = DisplaySettings(
        low_percentile=10, high_percentile=80, smooth=True, opacity=0.35, colormap="viridis"
    )
    session.display.apply(settings)
    assert session.display.settings == settings
    layer = heatmap.layer
    assert (layer.opacity, layer.colormap.name) == (0.35, "viridis")
    assert layer.interpolation2d == pin.layer.interpolation2d == "linear"
    limits = partial(percentiles, low=10, high=80)
    np.testing.assert_allclose(layer.contrast_limits, limits(values(heatmap, "ERBB2")))
    np.testing.assert_allclose(pin.layer.contrast_limits, limits(values(heatmap, "GRB7")))
    heatmap.gene = "CD74"
    np.testing.assert_allclose(layer.contrast_limits, limits(values(heatmap, "CD74")))
    assert session.pins.pin("KRT19").layer.interpolation2d == "linear"
    session.display.reset()
    assert (layer.opacity, layer.colormap.name, layer.interpolation2d) == (0.7, "magma", "nearest")
    np.testing.assert_allclose(layer.contrast_limits, percentiles(values(heatmap, "CD74")))


def test_shared_limits_are_the_same_for_heatmap_and_pins(
    heatmap: Heatmap, session: Session
) -> None:
    pin = session.pins.pin("GRB7")
    session.display.apply(DisplaySettings(shared_limits=True))

    def expected(*genes: str) -> list[float]:
        lows, highs = zip(*(percentiles(values(heatmap, gene)) for gene in genes), strict=True)
        return [min(lows), max(highs)]

    for layer in (heatmap.layer, pin.layer):
        np.testing.assert_allclose(layer.contrast_limits, expected("ERBB2", "GRB7"))
    heatmap.gene = "ESR1"
    for layer in (heatmap.layer, pin.layer):
        np.testing.assert_allclose(layer.contrast_limits, expected("ESR1", "GRB7"))
    third = session.pins.pin("CD74")
    for layer in (heatmap.layer, pin.layer, third.layer):
        np.testing.assert_allclose(layer.contrast_limits, expected("ESR1", "GRB7", "CD74"))
    session.display.apply(DisplaySettings(shared_limits=False))
    np.testing.assert_allclose(pin.layer.contrast_limits, expected("GRB7"))


def test_limits_set_by_hand_stay_until_the_display_is_reset(
    heatmap: Heatmap, session: Session
) -> None:
    pin = session.pins.pin("GRB7")
    pin.layer.contrast_limits = (13, 14)
    pin.refresh()
    assert pin.layer.contrast_limits == [13, 14]
    session.display.reset()
    np.testing.assert_allclose(pin.layer.contrast_limits, percentiles(values(heatmap, "GRB7")))


def test_the_settings_follow_what_is_changed_in_napari(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    heard: list[DisplaySettings] = []
    session.display.changed.connect(heard.append)
    heatmap.layer.opacity = 0.2
    heatmap.layer.colormap = "gray"
    heatmap.layer.interpolation2d = "cubic"
    expected = DisplaySettings(opacity=0.2, colormap="gray", smooth=True)
    assert session.display.settings == heard[-1] == expected
    session.display.apply(DisplaySettings(opacity=0.9, colormap="gray", smooth=True))
    assert heatmap.layer.interpolation2d == "cubic", "another way of smoothing stays"
    other = add_heatmap(viewer, gene_prediction(), slide="D1")
    session.heatmap = other
    assert session.display.settings == DisplaySettings(opacity=0.9, colormap="gray", smooth=True)
    other.layer.opacity = 0.6
    assert session.display.settings.opacity == 0.6
    assert heatmap.layer.opacity == 0.9


def test_one_switch_of_the_gene_draws_limits_and_data_once(
    heatmap: Heatmap, session: Session
) -> None:
    drawn: list[str] = []
    heatmap.layer.events.contrast_limits.connect(lambda: drawn.append("limits"))
    heatmap.layer.events.set_data.connect(lambda: drawn.append("data"))
    for gene in ("GRB7", "CD74", "ESR1"):
        drawn.clear()
        heatmap.gene = gene
        assert sorted(drawn) == ["data", "limits"]
        low, high = heatmap.layer.contrast_limits_range
        assert (low, high) == (values(heatmap, gene).min(), values(heatmap, gene).max())


def test_what_another_heatmap_shows_follows_its_values_as_well(
    viewer: ViewerModel,
) -> None:
    """While one fills, the user looks at another."""
    session = Session.of(viewer)
    session.signatures.work.seconds = 0
    filling = add_heatmap(viewer, gene_prediction(filled=False))
    pin = session.pins.pin("CD74")
    session.show_signature(Signature("of one", ("CD74", "KRT19"), listed=2))
    wait_until(lambda: len(signature_layers(viewer)) == 1)
    of_filling = session.signatures.items[0].layer
    add_heatmap(viewer, gene_prediction(), slide="D1")
    session.heatmap = session.heatmaps[-1]
    told: list[None] = []
    session.filled.connect(lambda: told.append(None))
    filling.prediction.X[:] = gene_prediction().X
    filling.refresh()
    filling.filled.emit(filling)
    # Asked for at once: of those that wait the latest is scored.
    session.show_signature(Signature("of two", ("CD74",), listed=1))
    np.testing.assert_array_equal(pin.layer.data, as_image(filling.values_of("CD74")))
    wait_until(lambda: len(signature_layers(viewer)) == 2)
    wait_until(lambda: bool(np.isfinite(of_filling.data).any()))
    assert told == [], "the current one has the values it had"


def test_a_signature_that_cannot_be_scored_is_said_once(
    viewer: ViewerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: list[str] = []
    monkeypatch.setattr("napari_nh2st.session.signatures.show_error", errors.append)
    session = Session.of(viewer)
    session.signatures.work.seconds = 0
    heatmap = add_heatmap(viewer, gene_prediction())
    begun, may_end = threading.Event(), threading.Event()
    score = session.signatures.work.function

    def held_back(wanted: Any) -> Any:
        begun.set()
        assert may_end.wait(20)
        return score(wanted)

    session.signatures.work.function = held_back
    session.show_signature(Signature("wrong", ("CD47",), listed=1))
    assert begun.wait(20)
    session.show_signature(SIGNATURE)  # asks for both while the first is under way
    may_end.set()
    wait_until(lambda: len(signature_layers(viewer)) == 1)
    heatmap.filled.emit(heatmap)
    wait_until(lambda: session.signatures.work.is_idle)
    assert len(errors) == 1
    assert "wrong" in errors[0]
    assert "CD47" in errors[0]


def test_a_signature_without_a_name_of_its_own_is_called_so_once(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    session.signatures.show(heatmap, Signature("signature", ("KRT19",), listed=1))
    wait_until(lambda: len(signature_layers(viewer)) == 1)
    assert signature_layers(viewer) == ["signature (1 of 1) · C6"]
