"""Signatures in a prediction: scored, exported, and opened again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from napari.components import ViewerModel
from napari.layers import Layer

from napari_nh2st.analysis.signatures import Signature, kept_signatures, signature_score
from napari_nh2st.cli.main import main
from napari_nh2st.export import write_anndata
from napari_nh2st.layers.keys import SIGNATURE_KEY
from napari_nh2st.layers.reader import get_reader
from napari_nh2st.session import Session
from shown_predictions import show_prediction
from small_configs import PANEL
from waiting import wait_until

SIGNATURE = Signature("a/b", PANEL[:2], listed=3)


def test_scores_stand_in_the_prediction_and_come_back_from_a_file(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    shown = show_prediction(tmp_path, viewer=viewer)
    session, heatmap = shown.session, shown.heatmap
    session.signatures.work.seconds = 0
    prediction = heatmap.prediction
    session.signatures.show(heatmap, SIGNATURE)
    wait_until(lambda: "a_b" in prediction.obs)
    expected = signature_score(prediction, SIGNATURE.genes)
    np.testing.assert_allclose(prediction.obs["a_b"], expected)
    for name in ("second", "third"):
        session.signatures.show(heatmap, replace(SIGNATURE, name=name))
        wait_until(lambda name=name: name in prediction.obs)
    third = next(item for item in session.signatures.items if item.label == "third")
    viewer.layers.remove(third.layer)
    assert "third" not in prediction.obs, "what is removed is not exported"
    session.signatures.show(heatmap, Signature("second", PANEL[2:3], listed=1))
    wait_until(lambda: kept_signatures(prediction)["second"].genes == PANEL[2:3])

    write_anndata(prediction, tmp_path / "saved.h5ad")
    assert main(["export", str(tmp_path / "saved.h5ad"), "-o", str(tmp_path / "again.zarr")]) == 0
    other = ViewerModel()
    opened = Session.of(other)
    reader = get_reader(str(tmp_path / "again.zarr"))
    assert reader is not None
    for data, attributes, kind in reader(str(tmp_path / "again.zarr")):
        other.add_layer(Layer.create(data, attributes, kind))
    layers = [layer for layer in other.layers if SIGNATURE_KEY in layer.metadata]
    assert [layer.name.partition(" · ")[0] for layer in layers] == [
        "signature a_b (2 of 3)",
        "signature second (1 of 1)",
    ]
    (copy,) = opened.heatmaps
    layer = layers[0]
    np.testing.assert_allclose(layer.data, copy.raster.image(expected), rtol=1e-5)
    np.testing.assert_allclose(layer.extent.world, copy.layer.extent.world)
    assert not layer.visible
    assert [item.label for item in opened.signatures.items] == ["a_b", "second"]

    opened.signatures.work.seconds = 0
    copy.prediction.X[:, 0] += np.arange(copy.prediction.n_obs)
    copy.filled.emit(copy)
    assert "a_b" not in copy.prediction.obs, "nobody exports scores of former values"
    wait_until(lambda: "a_b" in copy.prediction.obs)
    scores = signature_score(copy.prediction, SIGNATURE.genes)
    np.testing.assert_allclose(copy.prediction.obs["a_b"], scores)
    assert not np.allclose(scores, expected, atol=1e-3, equal_nan=True)
    other.layers.remove(layer)
    assert "a_b" not in copy.prediction.obs
