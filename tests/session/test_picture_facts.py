"""Facts below a picture of the canvas."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel

from gene_predictions import VALUE_NAME, add_heatmap, gene_prediction
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.analysis.signatures import Signature
from napari_nh2st.prediction.schema import UNFAMILIAR
from napari_nh2st.session import Session
from napari_nh2st.session.picture_facts import PictureFacts
from trusted_predictions import NOTICE, add_trust
from waiting import wait_until


@pytest.fixture
def session() -> Session:
    viewer = ViewerModel()
    prediction = gene_prediction()
    prediction.uns["nh2st"] |= {"slide": {"name": "C6"}, "notices": ["Far from training."]}
    add_heatmap(viewer, prediction)
    session = Session.of(viewer)
    session.kept_alive = viewer  # type: ignore[attr-defined]  # it does not hold its viewer itself
    return session


def titles(session: Session) -> list[str]:
    return [scale.title for scale in PictureFacts.of(session).scales]


def test_each_visible_layer_of_values_has_its_scale(session: Session) -> None:
    heatmap = session.heatmap
    assert heatmap is not None
    heatmap.layer.contrast_limits = (1.0, 4.0)
    (scale,) = PictureFacts.of(session).scales
    assert scale.title == f"ERBB2 · C6: {VALUE_NAME}"
    assert scale.limits == (1.0, 4.0)
    ends = heatmap.layer.colormap.map([0.0, 1.0])
    np.testing.assert_allclose(scale.colors[[0, -1]], np.rint(ends * 255))
    session.pins.compose(["CD74", "KRT19"])
    assert titles(session) == [
        f"{gene} · C6 · composite: {VALUE_NAME}" for gene in ("CD74", "KRT19")
    ]
    session.pins.undo_composite()
    session.show_signature(Signature("HER2", ("ERBB2", "GRB7"), listed=2))
    wait_until(lambda: titles(session) == ["signature HER2 (2 of 2) · C6: mean z-score"])


def test_domains_are_named_and_cautions_said_once(session: Session) -> None:
    heatmap = session.heatmap
    assert heatmap is not None
    labels = np.ones(heatmap.prediction.n_obs, np.int64)
    session.domains.put(heatmap, NamedDomains(labels, ("all",), pd.DataFrame(columns=["domain"])))
    facts = PictureFacts.of(session)
    assert (facts.scales, facts.names) == ((), ("domains · C6",))
    assert facts.cautions == ("Far from training.",)
    heatmap.prediction.uns["nh2st"]["model"]["trained"] = False
    session.pins.compose(["CD74", "KRT19"])
    cautions = PictureFacts.of(session).cautions
    assert cautions == ("UNTRAINED model: these values mean nothing.", "Far from training.")


def test_what_is_unsure_and_unfamiliar_has_its_meaning(session: Session) -> None:
    assert session.prediction is not None
    add_trust(session.prediction)
    session.display.apply(replace(session.display.settings, fade=True))
    facts = PictureFacts.of(session)
    assert facts.names == ("grey where the model is unsure",)
    assert facts.cautions == (NOTICE,)
    session.tile_columns.show(UNFAMILIAR)
    facts = PictureFacts.of(session)
    assert facts.names == ()
    assert facts.cautions == (NOTICE,)
    (scale,) = facts.scales
    assert scale.title.startswith("unfamiliar places · C6: above 1: farther from the training")
    assert scale.limits == (0.0, 2.0)


def test_what_is_hidden_is_not_named(session: Session) -> None:
    heatmap = session.heatmap
    assert heatmap is not None
    heatmap.layer.visible = False
    facts = PictureFacts.of(session)
    assert (facts.scales, facts.names, facts.cautions) == ((), (), ())
