"""One thing of a prediction is shown at a time, and what was hidden for it comes back."""

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from napari.components import ViewerModel
from napari.layers import Labels
from pytestqt.qtbot import QtBot

from gene_predictions import add_heatmap, gene_prediction
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.layers.domains import draw_domains, move_domains, shows_domains
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.session.shown_layers import ShownLayers
from napari_nh2st.session.signatures import Signature
from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.genes.session import GeneSession
from napari_nh2st.widgets.predict.result import PredictionResult
from viewers import VIEWERS

SIGNATURE = Signature("HER2", ("ERBB2", "GRB7"), listed=2)


def prediction_of_slide() -> AnnData:
    prediction = gene_prediction()
    prediction.uns["nh2st"]["slide"] = {"name": "C6.tif", "fingerprint": "a"}
    return prediction


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def viewer(qtbot: QtBot, request: pytest.FixtureRequest) -> ViewerModel:
    made: ViewerModel = request.param()
    return made


@pytest.fixture
def heatmap(viewer: ViewerModel) -> Heatmap:
    return add_heatmap(viewer, prediction_of_slide())


class Dock(SimpleNamespace):
    """What the Genes dock has of the viewer."""

    def __init__(self, qtbot: QtBot, viewer: ViewerModel) -> None:
        current = CurrentPrediction(viewer)
        qtbot.addWidget(current.picker)
        super().__init__(current=current, session=GeneSession(viewer, current))
        current.follow()
        self.session.follow()

    def close(self) -> None:
        self.session.close()
        self.current.close()


@pytest.fixture
def dock(qtbot: QtBot, viewer: ViewerModel, heatmap: Heatmap) -> Iterator[Dock]:
    dock = Dock(qtbot, viewer)
    yield dock
    dock.close()


@pytest.fixture
def session(dock: Dock) -> GeneSession:
    made: GeneSession = dock.session
    return made


def visible(viewer: ViewerModel) -> list[str]:
    return [layer.name for layer in viewer.layers if layer.visible]


def draw(viewer: ViewerModel, heatmap: Heatmap) -> Labels:
    labels = np.arange(heatmap.prediction.n_obs) % 2 + 1
    domains = NamedDomains(labels, ("1", "2"), pd.DataFrame(columns=["domain", "gene", "score"]))
    return draw_domains(viewer, heatmap, domains)


def show_signature(qtbot: QtBot, session: GeneSession, signature: Signature = SIGNATURE) -> str:
    n_before = len(session.signatures.images)
    session.show_signature(signature)
    qtbot.waitUntil(lambda: len(session.signatures.images) > n_before, timeout=10_000)
    return str(session.signatures.images[-1].layer.name)


def test_docks_of_a_viewer_share_what_is_shown_and_other_viewers_have_their_own(
    viewer: ViewerModel, heatmap: Heatmap
) -> None:
    one = CurrentPrediction(viewer)
    assert CurrentPrediction(viewer).shown_layers is one.shown_layers
    assert ShownLayers.of(ViewerModel()) is not one.shown_layers


# --- on black ---


def test_pins_hide_all_but_shapes_and_give_back_exactly_that(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
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
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
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
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession, drawn_first: bool
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
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    pin = session.pins.pin("GRB7")
    new = Heatmap.add(viewer, viewer.layers["C6"], prediction_of_slide(), "CD74")
    assert not pin.layer.visible
    session.current.hide_below(new)
    session.current.choose(new)
    assert visible(viewer) == ["C6", new.layer.name]
    new.show("KRT19")
    assert visible(viewer) == ["C6", new.layer.name]
    viewer.layers.remove(new.layer)
    assert visible(viewer) == ["C6", heatmap.layer.name]


def test_a_heatmap_that_is_made_visible_is_not_mixed_with_pins_or_domains(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    draw(viewer, heatmap)
    session.pins.pin("GRB7")
    heatmap.layer.visible = True
    assert visible(viewer) == ["C6", heatmap.layer.name]


def test_a_closed_dock_leaves_slide_and_heatmap_and_the_next_takes_its_pins_up(
    qtbot: QtBot, viewer: ViewerModel, heatmap: Heatmap, dock: Dock
) -> None:
    pin = dock.session.pins.pin("GRB7")
    pin.layer.colormap, pin.layer.contrast_limits = "cyan", (1, 2)
    dock.session.pins.compose(["CD74"])
    dock.close()
    assert visible(viewer) == ["C6", heatmap.layer.name]
    if (canvas := getattr(viewer, "canvas", None)) is not None:
        assert canvas.background_color_override is None
    heatmap.take(prediction_of_slide()[16:].copy(), viewer.layers["C6"])
    again = Dock(qtbot, viewer)
    pins = again.session.pins
    assert [(each.gene, each.in_composite) for each in pins.pins] == [
        ("GRB7", False),
        ("CD74", True),
    ]
    assert pins.pins[0].source is heatmap
    assert pin.layer.data.shape == heatmap.layer.data.shape, "it is another prediction by now"
    assert pin.layer.contrast_limits == [1, 2]
    assert pins.pin("GRB7").layer == pin.layer
    pins.undo_composite()
    assert visible(viewer) == [pin.layer.name]
    viewer.layers.remove(pin.layer)
    assert visible(viewer) == ["C6", heatmap.layer.name]
    again.close()


# --- undo ---


def test_a_composite_that_comes_back_hides_the_pins_as_before(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    pin = session.pins.pin("GRB7")
    session.pins.compose(["ERBB2", "CD74"])
    composite = visible(viewer)
    session.pins.remove([each for each in session.pins.pins if each.in_composite])
    assert visible(viewer) == [pin.layer.name]
    session.pins.restore()
    assert visible(viewer) == composite
    session.pins.undo_composite()
    assert visible(viewer) == [pin.layer.name]


def test_a_hidden_pin_comes_back_hidden(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    first, second = (session.pins.pin(gene) for gene in ("GRB7", "KRT19"))
    session.pins.show_slide()
    session.pins.remove([first, second])
    session.pins.restore()
    assert visible(viewer) == ["C6", heatmap.layer.name]
    session.pins.show_pins()
    assert visible(viewer) == [first.layer.name, second.layer.name]


def test_undo_leaves_what_the_user_changed_meanwhile(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    first, second = (session.pins.pin(gene) for gene in ("GRB7", "KRT19"))
    session.pins.remove([second])
    first.layer.visible = False
    session.pins.restore()
    assert visible(viewer) == [second.layer.name]


# --- a gene, a signature or domains ---


def test_a_gene_takes_the_place_of_a_signature_wherever_it_is_chosen(
    qtbot: QtBot, viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    signature = show_signature(qtbot, session)
    assert visible(viewer) == ["C6", signature]
    heatmap.show("GRB7")
    assert visible(viewer) == ["C6", heatmap.layer.name]
    viewer.layers[signature].visible = True
    session.current.show_gene("GRB7")
    assert visible(viewer) == ["C6", heatmap.layer.name], "also the gene that it shows already"


def test_a_signature_takes_the_place_of_another_and_of_domains(
    qtbot: QtBot, viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    draw(viewer, heatmap)
    first = show_signature(qtbot, session)
    assert visible(viewer) == ["C6", first]
    assert not shows_domains(heatmap.prediction)
    second = show_signature(qtbot, session, Signature("B", ("CD74",), listed=1))
    assert visible(viewer) == ["C6", second]
    viewer.layers.remove(viewer.layers[second])
    assert visible(viewer) == ["C6", heatmap.layer.name]


def test_a_signature_removed_while_pins_are_shown_leaves_them_on_black(
    qtbot: QtBot, viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    signature = show_signature(qtbot, session)
    pin = session.pins.pin("GRB7")
    viewer.layers.remove(viewer.layers[signature])
    assert visible(viewer) == [pin.layer.name]
    session.pins.remove([pin])
    assert visible(viewer) == ["C6", heatmap.layer.name]


def test_predict_shows_the_chosen_gene_instead_of_domains_without_the_genes_dock(
    qtbot: QtBot, viewer: ViewerModel, heatmap: Heatmap
) -> None:
    domains = draw(viewer, heatmap)
    current = CurrentPrediction(viewer)
    result = PredictionResult(viewer, current)
    qtbot.addWidget(result)
    current.follow()
    result.gene.setCurrentText("KRT19")
    assert visible(viewer) == ["C6", heatmap.layer.name]
    assert not shows_domains(heatmap.prediction)
    draw(viewer, heatmap)
    assert visible(viewer) == ["C6", domains.name]
    current.show_gene("KRT19")
    assert visible(viewer) == ["C6", heatmap.layer.name], "also the gene that it shows already"
    current.close()


def test_domains_that_the_user_renamed_are_theirs_to_show_and_hide(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    domains = draw(viewer, heatmap)
    domains.name = "mine"
    session.show("KRT19")
    assert visible(viewer) == ["C6", heatmap.layer.name, "mine"]


def test_another_run_is_seen_instead_of_pins_and_domains(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    draw(viewer, heatmap)
    session.pins.pin("GRB7")
    former = heatmap.prediction
    heatmap.take(prediction_of_slide(), viewer.layers["C6"])
    move_domains(viewer, heatmap, former)
    heatmap.layer.visible = True
    assert visible(viewer) == ["C6", heatmap.layer.name]
    assert not shows_domains(heatmap.prediction)


def test_a_picked_heatmap_is_shown_again_and_a_shown_one_stays_as_it_is(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    current = session.current
    new = Heatmap.add(viewer, viewer.layers["C6"], prediction_of_slide(), "CD74")
    current.hide_below(new)
    current.picker.activated.emit(0)
    assert current.heatmap is heatmap
    assert visible(viewer) == ["C6", heatmap.layer.name]


def test_heatmaps_side_by_side_in_a_grid_stay(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    other = add_heatmap(viewer, gene_prediction(), "CD74")
    getattr(viewer, "canvas", viewer).grid.enabled = True
    session.show("KRT19")
    assert visible(viewer) == ["C6", heatmap.layer.name, other.layer.name]
    heatmap.layer.visible = other.layer.visible = False
    session.show("GRB7")
    assert visible(viewer) == ["C6"], "Compare has hidden them"


def test_a_gene_is_announced_of_the_current_heatmap_alone(
    viewer: ViewerModel, heatmap: Heatmap, session: GeneSession
) -> None:
    other = add_heatmap(viewer, gene_prediction(), slide="D1")
    session.current.choose(other)
    heard: list[str] = []
    session.current.shown.connect(heard.append)
    heatmap.show("KRT19")
    other.show("CD74")
    assert heard == ["CD74"]
