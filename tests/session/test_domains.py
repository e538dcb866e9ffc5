"""Domains of predictions in the session: put, renamed, restored, without a window."""

import gc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from napari.layers import Labels, Layer

from drawn_predictions import drawn_prediction
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.errors import InputError
from napari_nh2st.export import write_anndata
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.layers.reader import get_reader
from napari_nh2st.session import Session
from shown_predictions import show_prediction


def domains(heatmap: Heatmap, n: int) -> NamedDomains:
    labels = np.arange(heatmap.prediction.n_obs) % n + 1
    names = tuple(f"domain {number}" for number in range(1, n + 1))
    markers = pd.DataFrame(columns=["domain", "gene", "score", "mean_in", "mean_out"])
    return NamedDomains(labels.astype(np.int64), names, markers)


def test_former_domains_are_restored_with_their_names(viewer: ViewerModel, tmp_path: Path) -> None:
    shown = show_prediction(tmp_path, viewer=viewer)
    session, heatmap = shown.session, shown.heatmap
    prediction = heatmap.prediction
    heard: list[int] = []
    session.domains.changed.connect(lambda: heard.append(1))
    session.domains.put(heatmap, domains(heatmap, 2))
    assert session.domains.former_of(prediction) is None
    session.domains.rename(heatmap, 1, "tumor")
    session.domains.put(heatmap, domains(heatmap, 3))
    session.domains.restore(heatmap)
    assert list(prediction.obs["domain"].cat.categories) == ["tumor", "domain 2"]
    (layer,) = (la for la in viewer.layers if isinstance(la, Labels))
    assert layer.data.max() == 2
    session.domains.restore(heatmap)
    assert layer.data.max() == 3
    assert len(heard) == 5


def test_a_name_that_cannot_be_changes_nothing(viewer: ViewerModel, tmp_path: Path) -> None:
    shown = show_prediction(tmp_path, viewer=viewer)
    session, heatmap = shown.session, shown.heatmap
    session.domains.put(heatmap, domains(heatmap, 2))
    with pytest.raises(InputError, match="already called 'domain 2'"):
        session.domains.rename(heatmap, 1, "domain 2")
    assert list(heatmap.prediction.obs["domain"].cat.categories) == ["domain 1", "domain 2"]


def test_former_domains_go_with_their_prediction(viewer: ViewerModel, tmp_path: Path) -> None:
    shown = show_prediction(tmp_path, viewer=viewer)
    session, heatmap = shown.session, shown.heatmap
    for n in (2, 3):
        session.domains.put(heatmap, domains(heatmap, n))
    assert session.domains.former_of(heatmap.prediction) is not None
    heatmap.take(drawn_prediction(shown.slide), shown.slide_layer)
    del shown
    gc.collect()
    assert session.domains.former_of(heatmap.prediction) is None
    assert session.domains._former == {}


def test_a_heatmap_is_shown_again_when_domains_that_came_with_it_are_removed(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    shown = show_prediction(tmp_path)
    shown.session.domains.put(shown.heatmap, domains(shown.heatmap, 2))
    write_anndata(shown.heatmap.prediction, tmp_path / "saved.h5ad")
    session = Session.of(viewer)
    reader = get_reader(str(tmp_path / "saved.h5ad"))
    assert reader is not None
    for data, attributes, kind in reader(str(tmp_path / "saved.h5ad")):
        viewer.add_layer(Layer.create(data, attributes, kind))
    (layer,) = (la for la in viewer.layers if isinstance(la, Labels))
    (heatmap,) = session.heatmaps
    assert (layer.visible, heatmap.layer.visible) == (True, False)
    viewer.layers.remove(layer)
    assert heatmap.layer.visible
