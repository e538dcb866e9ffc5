"""What the canvas says of the genes that are shown."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.components.overlays import TextOverlay
from pytestqt.qtbot import QtBot

from gene_predictions import VALUE_NAME, add_heatmap, gene_prediction
from napari_nh2st.layers.canvas_text import KEY, CanvasLine, CanvasText
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.session.signatures import Signature
from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.genes.session import GeneSession
from viewers import VIEWERS


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def viewer(qtbot: QtBot, request: pytest.FixtureRequest) -> ViewerModel:
    made: ViewerModel = request.param()
    if not hasattr(made, "canvas"):
        pytest.skip("before napari 0.9 there is one text for all")
    return made


@pytest.fixture
def heatmap(viewer: ViewerModel) -> Heatmap:
    return add_heatmap(viewer, gene_prediction())


@pytest.fixture
def session(qtbot: QtBot, viewer: ViewerModel, heatmap: Heatmap) -> Iterator[GeneSession]:
    current = CurrentPrediction(viewer)
    qtbot.addWidget(current.picker)
    session = GeneSession(viewer, current)
    current.follow()
    session.follow()
    yield session
    session.close()
    current.close()


def said(viewer: ViewerModel) -> list[str]:
    overlays = viewer.canvas.overlays.items()
    texts = [overlay.text for key, overlay in overlays if key.startswith(KEY) and overlay.visible]
    return [" ".join(text.split("\n")) for text in texts]


def test_the_canvas_names_gene_reliability_and_unit(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    assert said(viewer) == ["ERBB2 · held-out PCC 0.71", VALUE_NAME]
    heatmap.show("CD74")
    assert said(viewer)[0] == "CD74 · held-out PCC 0.11: not reliable"
    session.caption.set_threshold(0.1)
    assert said(viewer)[0] == "CD74 · held-out PCC 0.11"
    heatmap.show("ESR1")
    assert said(viewer)[0] == "ESR1 · reliability unknown"
    heatmap.layer.visible = False
    assert said(viewer) == []


def test_pins_are_named_in_their_colors_with_their_limits(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    for gene in ("GRB7", "CD74"):
        session.pins.pin(gene).layer.contrast_limits = (2, 3.25)
    assert said(viewer) == [
        "GRB7 · held-out PCC 0.71 · 2 to 3.25",
        "CD74 · held-out PCC 0.11: not reliable · 2 to 3.25",
        VALUE_NAME,
    ]
    red, green = (viewer.canvas.overlays[f"{KEY}_{row}"].color[:3] for row in range(2))
    assert (np.argmax(red), np.argmax(green)) == (0, 1)
    session.pins.pins[0].layer.colormap = "blue"
    assert np.argmax(viewer.canvas.overlays[f"{KEY}_0"].color[:3]) == 2
    session.pins.pins[0].layer.visible = False
    assert len(said(viewer)) == 2


def test_the_unit_of_a_heatmap_that_is_hidden_is_not_said(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    session.pins.pin("GRB7")
    other = gene_prediction()
    other.uns["nh2st"]["target"]["description"] = "another unit"
    session.current.choose(add_heatmap(viewer, other))
    session.pins.show_pins()
    assert said(viewer)[1:] == [VALUE_NAME]
    session.pins.show_slide()
    assert said(viewer)[1:] == ["another unit"]


def test_a_signature_is_named(
    qtbot: QtBot, viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    session.signatures.show(heatmap, Signature("HER2", ("ERBB2", "GRB7"), listed=3))
    qtbot.waitUntil(lambda: said(viewer) == ["HER2 (2 of 3): mean z-score"], timeout=10_000)
    viewer.layers.remove(viewer.layers[-1])
    assert said(viewer) == ["ERBB2 · held-out PCC 0.71", VALUE_NAME]


def test_the_words_go_with_the_layer_and_with_the_session(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    own = {"text": "the user's", "visible": True}
    viewer.canvas.overlays.text.text, viewer.canvas.overlays.text.visible = own.values()
    viewer.layers.remove(heatmap.layer)
    assert said(viewer) == []
    add_heatmap(viewer, gene_prediction())
    assert said(viewer) == ["ERBB2 · held-out PCC 0.71", VALUE_NAME]
    session.close()
    assert said(viewer) == []
    assert not [key for key in viewer.canvas.overlays if key.startswith(KEY)]
    assert viewer.canvas.overlays.text.text == own["text"]
    assert viewer.canvas.overlays.text.visible


def test_only_the_current_heatmap_has_a_colorbar_until_the_session_ends(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    other = add_heatmap(viewer, gene_prediction(), slide="D1")
    bars = heatmap.layer.colorbar, other.layer.colorbar
    for chosen, shown in ((other, [False, True]), (heatmap, [True, False])):
        session.current.choose(chosen)
        assert [bar.visible for bar in bars] == shown
    session.close()
    assert all(bar.visible for bar in bars)


def test_where_there_is_one_text_for_all_it_is_used_while_it_is_free() -> None:
    overlay = TextOverlay()
    text = CanvasText(SimpleNamespace(text_overlay=overlay))  # type: ignore[arg-type]
    text.show([CanvasLine("ERBB2"), CanvasLine("unit")])
    assert (overlay.text, overlay.visible) == ("ERBB2\nunit", True)
    text.clear()
    assert not overlay.visible
    overlay.text, overlay.visible = "the user's", True
    text.show([CanvasLine("ERBB2")])
    text.clear()
    assert (overlay.text, overlay.visible) == ("the user's", True)
