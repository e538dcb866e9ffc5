"""What the status bar says under the mouse."""

from typing import Any

import numpy as np
from napari.components import LayerList, ViewerModel

from gene_predictions import add_heatmap, gene_prediction, status_at
from napari_nh2st.layers.slide_below import is_covered
from napari_nh2st.model.config import PUBLISHED_TARGET
from napari_nh2st.prediction import reading
from napari_nh2st.session import Session
from trusted_predictions import add_trust


def test_the_value_under_the_mouse_is_told_whichever_layer_is_selected(viewer: ViewerModel) -> None:
    prediction = add_trust(gene_prediction())
    prediction.uns["nh2st"]["target"] = PUBLISHED_TARGET
    prediction.X[2, :] = 1.66
    heatmap = add_heatmap(viewer, prediction)
    words = "ERBB2 1.66 ± 0.1 ≈ 45 per 10,000 of the panel · "
    over_map = status_at(viewer, 0, 3)
    assert words in over_map
    assert over_map.endswith("percentile · very unfamiliar tissue (1.8)")
    assert "]: ERBB2" in over_map  # instead of napari's bare number
    viewer.layers.selection.active = viewer.layers["C6"]
    over_slide = status_at(viewer, 0, 3)
    assert words in over_slide
    assert "]: ERBB2" not in over_slide
    viewer.layers.selection.update(viewer.layers)
    assert words in status_at(viewer, 0, 3)
    viewer.layers.selection.clear()
    assert status_at(viewer, 0, 3).startswith(words)
    assert status_at(viewer, 3, 3).endswith("familiar tissue")
    assert "ERBB2 " not in status_at(viewer, 0, 0).replace("ERBB2 · C6", "")  # no tile there
    heatmap.layer.visible = False
    assert words not in status_at(viewer, 0, 3)


def test_it_follows_the_gene_the_values_and_pins(viewer: ViewerModel) -> None:
    prediction = gene_prediction()
    heatmap = add_heatmap(viewer, prediction)
    status_at(viewer, 0, 3)
    heatmap.gene = "KRT19"
    assert "KRT19 0.00 · " in status_at(viewer, 0, 3)
    prediction.X[2, 2] = 9.5
    heatmap.refresh()
    assert "KRT19 9.50 · 99th percentile" in status_at(viewer, 0, 3)
    session = Session.of(viewer)
    for gene in ("GRB7", "CD74"):
        session.pins.pin(gene)
    said = status_at(viewer, 2, 2)
    assert [gene in said for gene in ("GRB7 ", "CD74 ", "KRT19 ")] == [True, True, False]


def test_it_follows_what_changes_below_a_mouse_that_stands_still(viewer: ViewerModel) -> None:
    prediction = gene_prediction(filled=False)
    prediction.obs["status"] = "pending"
    heatmap = add_heatmap(viewer, prediction)
    heatmap.is_filling = True

    def said() -> str:
        status: Any = viewer.status
        return str(status["coordinates"] if isinstance(status, dict) else status)

    assert "still to come" in status_at(viewer, 2, 2)
    prediction.X[:] = gene_prediction().X
    prediction.obs["status"] = "predicted"
    heatmap.refresh()
    heatmap.filled.emit(heatmap)
    assert "still to come" not in said()
    assert "ERBB2 " in said()
    heatmap.gene = "KRT19"
    assert "KRT19 2.00 · " in said()
    Session.of(viewer).pins.pin("CD74")
    assert "CD74 " in said()
    viewer.mouse_over_canvas = False
    before = said()
    heatmap.gene = "GRB7"
    assert said() == before
    viewer.mouse_over_canvas = True
    viewer.status = "Saved"  # by somebody else
    heatmap.gene = "KRT19"
    assert said().startswith("Saved    KRT19 ")
    viewer.layers.remove(heatmap.layer)
    assert said() == "Saved"


def test_values_are_sorted_once_for_a_gene(viewer: ViewerModel, monkeypatch: Any) -> None:
    add_heatmap(viewer, gene_prediction())
    sorted_values = []

    def sort(values: np.ndarray) -> np.ndarray:
        sorted_values.append(len(values))
        return np.sort(values)

    monkeypatch.setattr(reading, "np", type("", (), {**vars(np), "sort": staticmethod(sort)}))
    for column in range(1, 6):
        status_at(viewer, 2, column)
    assert len(sorted_values) == 1


def test_looking_for_covering_slides_leaves_nothing_in_memory(
    viewer: ViewerModel, monkeypatch: Any
) -> None:
    heatmap = add_heatmap(viewer, gene_prediction())
    viewer = Session.of(viewer).viewer
    over = viewer.add_image(np.zeros((60, 80, 3), np.uint8), scale=(50, 50), units=("um", "um"))

    def new_list(*_args: Any) -> None:
        raise AssertionError("another LayerList, with contexts that are never freed")

    monkeypatch.setattr(LayerList, "__newlike__", new_list)
    assert is_covered(viewer, heatmap.layer)
    over.visible = False
    assert not is_covered(viewer, heatmap.layer)
