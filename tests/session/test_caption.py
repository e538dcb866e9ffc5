"""What the canvas says of the genes that are shown."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel

from gene_predictions import VALUE_NAME, add_heatmap, gene_prediction
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.analysis.signatures import Signature
from napari_nh2st.layers.canvas_text import KEY
from napari_nh2st.layers.heatmap import Heatmap
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.session import Session
from napari_nh2st.session.caption import GeneCaption
from napari_nh2st.session.connections import Connections
from viewers import VIEWERS
from waiting import wait_until

TITLE = f"ERBB2 · {VALUE_NAME} · test"
FAR = "The slide's stain is far from what the model saw (distance 3.4; 3 is far): darker."


@pytest.fixture(params=VIEWERS.values(), ids=VIEWERS)
def viewer(request: pytest.FixtureRequest) -> ViewerModel:
    made: ViewerModel = request.param()
    made.canvas.size = (800, 900)  # wide enough for all that is to be said
    return made


@pytest.fixture
def heatmap(viewer: ViewerModel) -> Heatmap:
    return add_heatmap(viewer, gene_prediction())


@pytest.fixture
def session(viewer: ViewerModel, heatmap: Heatmap) -> Session:
    return Session.of(viewer)


@pytest.fixture
def connections() -> Iterator[Connections]:
    connections = Connections()
    yield connections
    connections.close()


@pytest.fixture(autouse=True)
def caption(session: Session, connections: Connections) -> GeneCaption:
    caption = GeneCaption(session, connections)
    connections.open()
    return caption


def said(viewer: ViewerModel) -> list[str]:
    overlays = viewer.canvas.overlays.items()
    texts = [overlay.text for key, overlay in overlays if key.startswith(KEY) and overlay.visible]
    return [" ".join(text.split("\n")) for text in texts]


def test_the_canvas_names_gene_reliability_and_unit(
    viewer: ViewerModel, heatmap: Heatmap, caption: GeneCaption
) -> None:
    assert said(viewer) == [TITLE, "held-out PCC 0.71"]
    heatmap.gene = "CD74"
    assert said(viewer)[0].startswith("CD74 · ")
    assert said(viewer)[1] == "not reliable: held-out PCC 0.11"
    caption.set_badges(Badges(0.1))
    assert said(viewer)[1] == "held-out PCC 0.11"
    heatmap.gene = "ESR1"
    assert said(viewer)[1] == "reliability unknown"
    heatmap.layer.visible = False
    assert said(viewer) == []


def test_a_gene_switch_changes_the_caption_once(
    heatmap: Heatmap, caption: GeneCaption, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[None] = []
    lines = caption._lines
    monkeypatch.setattr(caption, "_lines", lambda: made.append(None) or lines())
    heatmap.gene = "CD74"
    assert len(made) == 1
    seen: list[None] = []
    caption.updated.connect(lambda: seen.append(None))
    heatmap.layer.contrast_limits = (0.2, 0.3)
    assert len(made) == 1
    assert seen, "the dock says what the colors stand for"


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (
            1000,
            [
                f"{TITLE}",
                "PCC 0.71 on other sections of the same tumour · ± 0.2",
                "3 cautions: The slide's stain is far from what the model saw",
            ],
        ),
        (
            520,
            [
                "ERBB2 · log10(1 + counts per 10,000) · test",
                "held-out PCC 0.71 · ± 0.2",
                "3 cautions: The slide's stain is far from what …",
            ],
        ),
        (300, ["ERBB2", "held-out PCC 0.71", "3 cautions: The …"]),
    ],
)
def test_three_lines_are_as_long_as_the_canvas_is_wide(
    viewer: ViewerModel, heatmap: Heatmap, caption: GeneCaption, width: int, expected: list[str]
) -> None:
    heatmap.prediction.var["interval_90"] = 0.2
    heatmap.prediction.uns["nh2st"]["notices"] = np.array([FAR, "A second.", "A third."], object)
    caption.set_badges(Badges(of="other sections of the same tumour", far="it is far"))
    viewer.canvas.size = (800, width)
    assert said(viewer) == expected


def test_notices_are_told_in_short(viewer: ViewerModel, heatmap: Heatmap, session: Session) -> None:
    heatmap.prediction.uns["nh2st"]["notices"] = np.array([FAR, "A second.", "A third."], object)
    session.heatmap_changed.emit()
    assert said(viewer)[2:] == ["3 cautions: The slide's stain is far from what the model saw"]
    heatmap.prediction.uns["nh2st"]["notices"] = np.array(
        ["12.5 µm/px is unusual for a scan (0.2 to 1): is it ten times off?"], object
    )
    session.heatmap_changed.emit()
    assert said(viewer)[2:] == ["Caution: 12.5 µm/px is unusual for a scan"]
    heatmap.layer.visible = False
    assert said(viewer) == []


def test_a_notice_of_a_run_that_ends_is_told(viewer: ViewerModel, heatmap: Heatmap) -> None:
    heatmap.is_filling = True
    heatmap.prediction.uns["nh2st"]["notices"] = np.array([FAR], object)
    heatmap.is_filling = False
    assert said(viewer)[2:] == ["Caution: The slide's stain is far from what the model saw"]


def test_pins_are_named_in_their_colors_with_their_limits(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    for gene in ("GRB7", "CD74"):
        session.pins.pin(gene).layer.contrast_limits = (2, 3.25)
    assert said(viewer) == [
        "GRB7 · held-out PCC 0.71 · 2 to 3.25",
        "CD74 · not reliable: held-out PCC 0.11 · 2 to 3.25",
        VALUE_NAME,
    ]
    red, green = (viewer.canvas.overlays[f"{KEY}_{row}"].color[:3] for row in range(2))
    assert (np.argmax(red), np.argmax(green)) == (0, 1)
    session.pins.items[0].layer.colormap = "blue"
    assert np.argmax(viewer.canvas.overlays[f"{KEY}_0"].color[:3]) == 2
    session.pins.items[0].layer.visible = False
    assert len(said(viewer)) == 2


def test_the_unit_of_a_heatmap_that_is_hidden_is_not_said(
    viewer: ViewerModel, heatmap: Heatmap, session: Session
) -> None:
    session.pins.pin("GRB7")
    other = gene_prediction()
    other.uns["nh2st"]["target"]["description"] = "another unit"
    session.heatmap = add_heatmap(viewer, other)
    session.pins.show_pins()
    assert said(viewer)[1:] == [VALUE_NAME]
    session.pins.show_slide()
    assert said(viewer)[0] == "ERBB2 · another unit · test"


def test_a_signature_is_named(viewer: ViewerModel, heatmap: Heatmap, session: Session) -> None:
    session.signatures.show(heatmap, Signature("HER2", ("ERBB2", "GRB7"), listed=3))
    wait_until(lambda: said(viewer) == ["HER2 (2 of 3): mean z-score"])
    viewer.layers.remove(viewer.layers[-1])
    assert said(viewer) == [TITLE, "held-out PCC 0.71"]


def test_the_words_go_with_the_layer_and_with_the_dock(
    viewer: ViewerModel, heatmap: Heatmap, connections: Connections
) -> None:
    own = {"text": "the user's", "visible": True}
    viewer.canvas.overlays.text.text, viewer.canvas.overlays.text.visible = own.values()
    viewer.layers.remove(heatmap.layer)
    assert said(viewer) == []
    add_heatmap(viewer, gene_prediction())
    assert said(viewer) == [TITLE, "held-out PCC 0.71"]
    connections.close()
    assert said(viewer) == []
    assert not [key for key in viewer.canvas.overlays if key.startswith(KEY)]
    assert viewer.canvas.overlays.text.text == own["text"]
    assert viewer.canvas.overlays.text.visible


def test_only_the_current_heatmap_has_a_colorbar_until_the_dock_is_closed(
    viewer: ViewerModel, heatmap: Heatmap, session: Session, connections: Connections
) -> None:
    other = add_heatmap(viewer, gene_prediction(), slide="D1")
    bars = heatmap.layer.colorbar, other.layer.colorbar
    for chosen, shown in ((other, [False, True]), (heatmap, [True, False])):
        session.heatmap = chosen
        assert [bar.visible for bar in bars] == shown
    connections.close()
    assert all(bar.visible for bar in bars)


def test_what_another_slide_covers_is_not_named(viewer: ViewerModel, heatmap: Heatmap) -> None:
    before = said(viewer)
    pixels = np.full((600, 800, 3), 230, np.uint8)
    other = viewer.add_image(pixels, name="D1", scale=(5, 5), units=("um", "um"))
    bar = heatmap.layer.colorbar
    assert said(viewer) == []
    assert not bar.visible
    other.visible = False
    assert said(viewer) == before
    assert bar.visible
    other.visible = True
    assert not bar.visible
    viewer.layers.move(viewer.layers.index(other), 0)
    assert said(viewer) == before
    assert bar.visible
    bar.visible = False  # the user's own choice stays
    viewer.layers.remove(other)
    assert said(viewer) == before
    assert not bar.visible


def test_domains_have_a_legend_on_the_canvas_while_they_are_shown(
    viewer: ViewerModel, session: Session, heatmap: Heatmap
) -> None:
    heatmap.prediction.uns["nh2st"]["slide"] = {"name": "C6"}
    labels = np.arange(heatmap.prediction.n_obs) % 2 + 1
    markers = pd.DataFrame(columns=["domain", "gene", "score", "mean_in", "mean_out"])
    session.domains.put(heatmap, NamedDomains(labels, ("tumor", "stroma"), markers))
    assert said(viewer) == ["■ tumor", "■ stroma"]
    session.domains.rename(heatmap, 2, "fat")
    assert said(viewer) == ["■ tumor", "■ fat"]
    names = tuple(map(str, range(15)))
    session.domains.put(heatmap, NamedDomains(labels, names, markers))
    assert said(viewer)[-2:] == ["■ 11", "and 3 more"]
    heatmap.layer.visible = True
    layer = session.domains.layer_of(heatmap)
    assert layer is not None
    layer.visible = False
    assert not any("■" in text for text in said(viewer))
    layer.visible = True
    viewer.layers.remove(layer)
    assert not any("■" in text for text in said(viewer))


def test_a_domain_s_line_has_its_color(viewer: ViewerModel, heatmap: Heatmap) -> None:
    session = Session.of(viewer)
    heatmap.prediction.uns["nh2st"]["slide"] = {"name": "C6"}
    labels = np.ones(heatmap.prediction.n_obs, np.int64)
    markers = pd.DataFrame(columns=["domain", "gene", "score", "mean_in", "mean_out"])
    session.viewer.theme = "light"
    session.domains.put(heatmap, NamedDomains(labels, ("all",), markers, ("#0072b2",)))
    color = viewer.canvas.overlays[f"{KEY}_0"].color
    np.testing.assert_allclose(np.asarray(color)[:3], [0, 0x72 / 255, 0xB2 / 255], atol=0.01)
