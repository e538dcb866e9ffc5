"""One thing of a prediction is shown at a time, and what was hidden for it comes back."""

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Labels

from gene_predictions import add_heatmap, gene_prediction
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.analysis.signatures import Signature
from napari_nh2st.layers.domains import shows_domains
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.session import Session
from waiting import wait_until

SIGNATURE = Signature("HER2", ("ERBB2", "GRB7"), listed=2)


def prediction_of_slide() -> AnnData:
    prediction = gene_prediction()
    prediction.uns["nh2st"]["slide"] = {"name": "C6.tif", "fingerprint": "a"}
    return prediction


@pytest.fixture
def heatmap(viewer: ViewerModel) -> Heatmap:
    return add_heatmap(viewer, prediction_of_slide())


@pytest.fixture
def session(viewer: ViewerModel, heatmap: Heatmap) -> Session:
    return Session.of(viewer)


def visible(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers if layer.visible]


def draw(viewer: ViewerModel, heatmap: Heatmap) -> Labels:
    labels = np.arange(heatmap.prediction.n_obs) % 2 + 1
    domains = NamedDomains(labels, ("1", "2"), pd.DataFrame(columns=["domain", "gene", "score"]))
    return Session.of(viewer).domains.draw(heatmap, domains)


def show_signature(session: Session, signature: Signature = SIGNATURE) -> str:
    n_before = len(session.signatures.items)
    session.show_signature(signature)
    wait_until(lambda: len(session.signatures.items) > n_before)
    return str(session.signatures.items[-1].layer.name)


# --- on black ---


def test_pins_hide_all_but_shapes_and_give_back_exactly_that(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    viewer.add_labels(np.zeros((6, 8), int), name="labels")
    viewer.add_points([[1, 1]], name="spots")
    viewer.add_points([[1, 1]], name="hidden spots", visible=False)
    viewer.add_shapes(name="region", ndim=2)
    before = visible(viewer)
    pin = session.pins.pin("GRB7")
    assert visible(viewer) == ["region", pin.layer.name]
    session.pins.show_slide()
    assert visible(viewer) == before


def test_what_somebody_hid_while_pins_were_shown_stays_hidden(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    session.pins.pin("GRB7")
    slide = viewer.layers["C6"]
    slide.visible = True
    assert session.pins.are_shown
    slide.visible = False
    session.pins.show_slide()
    assert visible(viewer) == [heatmap.layer.name]


@pytest.mark.parametrize("drawn_first", [True, False])
def test_domains_and_pins_take_turns(
    viewer: ViewerModel, heatmap: Heatmap, session: Session, drawn_first: bool
) -> None:
    if drawn_first:
        domains = draw(viewer, heatmap)
        pin = session.pins.pin("GRB7")
        assert visible(viewer) == [pin.layer.name]
        assert shows_domains(heatmap.prediction), "they come back"
    else:
        pin = session.pins.pin("GRB7")
        domains = draw(viewer, heatmap)
        assert visible(viewer) == ["C6", domains.name]
    session.pins.remove([pin])
    assert visible(viewer) == ["C6", domains.name]


def test_a_new_heatmap_ends_the_black_and_takes_the_place_of_the_other(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    pin = session.pins.pin("GRB7")
    new = Session.of(viewer).add_heatmap(viewer.layers["C6"], prediction_of_slide(), "CD74")
    assert not pin.layer.visible
    session.shown_layers.show(new.layer)
    session.heatmap = new
    assert visible(viewer) == ["C6", new.layer.name]
    new.gene = "KRT19"
    assert visible(viewer) == ["C6", new.layer.name]
    viewer.layers.remove(new.layer)
    assert visible(viewer) == ["C6", heatmap.layer.name]


def test_a_heatmap_that_is_made_visible_is_not_mixed_with_pins_or_domains(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    draw(viewer, heatmap)
    session.pins.pin("GRB7")
    heatmap.layer.visible = True
    assert visible(viewer) == ["C6", heatmap.layer.name]


# --- undo ---


def test_a_composite_that_comes_back_hides_the_pins_as_before(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    pin = session.pins.pin("GRB7")
    session.pins.compose(["ERBB2", "CD74"])
    composite = visible(viewer)
    session.pins.remove([each for each in session.pins.items if each.in_composite])
    assert visible(viewer) == [pin.layer.name]
    session.pins.restore()
    assert visible(viewer) == composite
    session.pins.undo_composite()
    assert visible(viewer) == [pin.layer.name]


def test_a_hidden_pin_comes_back_hidden(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    first, second = (session.pins.pin(gene) for gene in ("GRB7", "KRT19"))
    session.pins.show_slide()
    session.pins.remove([first, second])
    session.pins.restore()
    assert visible(viewer) == ["C6", heatmap.layer.name]
    session.pins.show_pins()
    assert visible(viewer) == [first.layer.name, second.layer.name]


def test_undo_leaves_what_the_user_changed_meanwhile(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    first, second = (session.pins.pin(gene) for gene in ("GRB7", "KRT19"))
    session.pins.remove([second])
    first.layer.visible = False
    session.pins.restore()
    assert visible(viewer) == [second.layer.name]


# --- a gene, a signature or domains ---


def test_a_gene_takes_the_place_of_a_signature_wherever_it_is_chosen(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    signature = show_signature(session)
    assert visible(viewer) == ["C6", signature]
    heatmap.gene = "GRB7"
    assert visible(viewer) == ["C6", heatmap.layer.name]
    viewer.layers[signature].visible = True
    session.show_gene("GRB7")
    assert visible(viewer) == ["C6", heatmap.layer.name], "also the gene that it shows already"


def test_a_signature_takes_the_place_of_another_and_of_domains(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    draw(viewer, heatmap)
    first = show_signature(session)
    assert visible(viewer) == ["C6", first]
    assert not shows_domains(heatmap.prediction)
    second = show_signature(session, Signature("B", ("CD74",), listed=1))
    assert visible(viewer) == ["C6", second]
    viewer.layers.remove(viewer.layers[second])
    assert visible(viewer) == ["C6", heatmap.layer.name]


def test_a_signature_removed_while_pins_are_shown_leaves_them_on_black(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    signature = show_signature(session)
    pin = session.pins.pin("GRB7")
    viewer.layers.remove(viewer.layers[signature])
    assert visible(viewer) == [pin.layer.name]
    session.pins.remove([pin])
    assert visible(viewer) == ["C6", heatmap.layer.name]


def test_domains_that_the_user_renamed_are_theirs_to_show_and_hide(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    domains = draw(viewer, heatmap)
    domains.name = "mine"
    session.show_gene("KRT19")
    assert visible(viewer) == ["C6", heatmap.layer.name, "mine"]


def test_another_run_is_seen_instead_of_pins_and_domains(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    draw(viewer, heatmap)
    session.pins.pin("GRB7")
    heatmap.take(prediction_of_slide(), viewer.layers["C6"])
    heatmap.layer.visible = True
    assert visible(viewer) == ["C6", heatmap.layer.name]
    assert not shows_domains(heatmap.prediction)


def test_heatmaps_side_by_side_in_a_grid_stay(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    other = add_heatmap(viewer, gene_prediction(), "CD74")
    viewer.canvas.grid.enabled = True
    session.show_gene("KRT19")
    assert visible(viewer) == ["C6", heatmap.layer.name, other.layer.name]
    heatmap.layer.visible = other.layer.visible = False
    session.show_gene("GRB7")
    assert visible(viewer) == ["C6"], "Compare has hidden them"


def test_a_gene_is_announced_of_the_current_heatmap_alone(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    other = add_heatmap(viewer, gene_prediction(), slide="D1")
    session.heatmap = other
    heard: list[str] = []
    session.gene_changed.connect(heard.append)
    heatmap.gene = "KRT19"
    other.gene = "CD74"
    assert heard == ["CD74"]
