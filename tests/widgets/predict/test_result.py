"""What the Predict dock shows of a prediction, and sets in the session."""

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from gene_predictions import add_heatmap, gene_prediction
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.layers.domains import shows_domains
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.widgets.predict.result import PredictionResult


def visible(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers if layer.visible]


def test_predict_shows_the_chosen_gene_instead_of_domains_without_the_genes_dock(
    qtbot: QtBot,
) -> None:
    viewer = ViewerModel()
    session = Session.of(viewer)
    prediction = gene_prediction()
    prediction.uns["nh2st"]["slide"] = {"name": "C6.tif"}
    heatmap = add_heatmap(viewer, prediction)
    labels = np.arange(prediction.n_obs) % 2 + 1
    found = NamedDomains(labels, ("1", "2"), pd.DataFrame(columns=["domain", "gene", "score"]))
    domains = session.domains.draw(heatmap, found)
    connections = Connections()
    result = PredictionResult(session, connections)
    qtbot.addWidget(result)
    connections.open()
    result.gene.setCurrentText("KRT19")
    assert visible(viewer) == ["C6", heatmap.layer.name]
    assert not shows_domains(prediction)
    session.domains.draw(heatmap, found)
    assert visible(viewer) == ["C6", domains.name]
    session.show_gene("KRT19")
    assert visible(viewer) == ["C6", heatmap.layer.name], "also the gene that it shows already"
    connections.close()


def test_a_gene_that_the_prediction_does_not_have_is_refused_in_words(qtbot: QtBot) -> None:
    viewer = ViewerModel()
    session = Session.of(viewer)
    heatmap = add_heatmap(viewer, gene_prediction())
    connections = Connections()
    result = PredictionResult(session, connections)
    qtbot.addWidget(result)
    connections.open()
    line = result.gene.lineEdit()
    assert line is not None
    shown = heatmap.gene

    def type_gene(text: str) -> None:
        line.selectAll()
        qtbot.keyClicks(line, text)
        qtbot.keyClick(line, Qt.Key.Key_Return)

    type_gene("XKRT19")
    assert result.note.text() == "XKRT19 is not in this prediction. Nearest: KRT19."
    assert not result.note.isHidden()
    assert result.gene.currentText() == heatmap.gene == shown
    type_gene("krt19")
    assert result.gene.currentText() == heatmap.gene == "KRT19"
    assert result.note.isHidden()
    connections.close()


def test_a_gene_typed_before_the_run_that_it_does_not_have_is_a_warning(
    qtbot: QtBot, messages: dict[str, list[str]]
) -> None:
    result = PredictionResult(Session.of(ViewerModel()), Connections())
    qtbot.addWidget(result)
    prediction = gene_prediction()
    best = result.gene_for(prediction)
    assert messages["warning"] == []
    result.gene.setCurrentText("KRT199")
    assert result.gene_for(prediction) == best
    (warning,) = messages["warning"]
    assert warning == f"KRT199 is not in this prediction. Nearest: KRT19. {best} is shown."
    result.gene.setCurrentText("krt19")
    assert result.gene_for(prediction) == "KRT19"
