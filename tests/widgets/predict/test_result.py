"""What the Predict dock shows of a prediction, and sets in the session."""

import numpy as np
import pandas as pd
from napari.components import ViewerModel
from pytestqt.qtbot import QtBot

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
