"""Names from files and models are shown as they are: never as markup, nor as formulas."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QModelIndex, Qt, QUrl
from qtpy.QtGui import QDesktopServices, QImage, QTextDocument
from qtpy.QtWidgets import QAbstractItemView, QComboBox, QLabel, QWidget

import napari_nh2st
from array_slides import write_tiff
from drawn_predictions import drawn_prediction, drawn_spot_prediction
from gene_predictions import add_heatmap, gene_prediction
from napari_nh2st.analysis.signatures import Signature
from napari_nh2st.errors import InputError
from napari_nh2st.export import export
from napari_nh2st.layers.expression import read_expression
from napari_nh2st.layers.reader import get_reader
from napari_nh2st.model.card import model_card
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.prediction.reliability import Badges
from napari_nh2st.shown_text import for_matplotlib, for_qt, from_qt, plain_number
from napari_nh2st.slide import open_slide
from napari_nh2st.widgets.card_browser import CardBrowser, open_web_page
from napari_nh2st.widgets.genes.widget import GenesWidget
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.model_picker import ModelPicker
from napari_nh2st.widgets.notifications import show_error
from small_configs import small_config
from small_models import small_model

PICTURE = "picture.png"
WIDTH = 400
HOSTILE = f'<img src="{PICTURE}">'
TEXTS = (
    HOSTILE,
    f"< IMG src={PICTURE}>",
    f"first line {HOSTILE}",
    f"&lt; {HOSTILE}",
    f"<!doctype html>{HOSTILE}",
    f"<?xml version='1.0'?>{HOSTILE}",
    f"<b>{HOSTILE}</b>",
)


@pytest.fixture(autouse=True)
def folder(qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, in which the picture lies that Qt would load."""
    monkeypatch.chdir(tmp_path)
    assert QImage(WIDTH, 300, QImage.Format.Format_RGB32).save(PICTURE)
    return tmp_path


def has_picture(text: str) -> bool:
    """Whether a label or tooltip of Qt would load a picture."""
    if not Qt.mightBeRichText(text):
        return False
    document = QTextDocument()
    document.setHtml(text)
    return any(each.isImageFormat() for each in document.allFormats())


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_for_qt_is_no_markup_and_reads_the_same(text: str) -> None:
    assert has_picture(text), "or the test says nothing"
    assert not has_picture(for_qt(text))
    assert from_qt(for_qt(text)) == text
    assert for_qt(for_qt(text)) == for_qt(text)
    assert for_qt("HLA-A & p53, Δ > 2") == "HLA-A & p53, Δ > 2"


def test_a_label_of_ours_loads_no_picture(qtbot: QtBot) -> None:
    usual, plain = QLabel(HOSTILE), PlainLabel(HOSTILE)
    for label in (usual, plain):
        qtbot.addWidget(label)
    assert usual.sizeHint().width() >= WIDTH, "or the test says nothing"
    assert plain.text() == HOSTILE
    assert plain.sizeHint().width() == plain.fontMetrics().horizontalAdvance(HOSTILE)


def labels_and_tips(widget: QWidget) -> Iterator[str]:
    """All text under a widget that Qt may take for markup."""
    for part in (widget, *widget.findChildren(QWidget)):
        yield part.toolTip()
        if isinstance(part, QLabel) and part.textFormat() != Qt.TextFormat.PlainText:
            yield part.text()
        if isinstance(part, QAbstractItemView | QComboBox):
            model = part.model()
            assert model is not None
            for row in range(model.rowCount(QModelIndex())):
                column, index = 0, model.index(row, 0)
                while index.isValid():
                    tip = index.data(Qt.ItemDataRole.ToolTipRole)
                    yield "" if tip is None else str(tip)
                    column += 1
                    index = model.index(row, column)


def with_hostile_names(prediction: AnnData) -> AnnData:
    prediction = prediction.copy()
    genes = [f"{gene} {HOSTILE}" for gene in prediction.var_names]
    prediction.var_names = pd.Index(genes)
    prediction.uns["nh2st"]["target"] = {"description": HOSTILE}
    prediction.uns["nh2st"]["model"]["name"] = HOSTILE
    return prediction


def test_docks_and_layers_show_a_predictions_names_as_text(qtbot: QtBot) -> None:
    viewer = ViewerModel()
    widget = GenesWidget(viewer)
    qtbot.addWidget(widget)
    prediction = with_hostile_names(gene_prediction())
    gene = str(prediction.var_names[0])
    heatmap = add_heatmap(viewer, prediction, gene, slide=f"C6 {HOSTILE}")
    tab = widget.genes
    tab.table.go_to(gene)
    tab.pins.pin.click()
    tab.session.show_signature(Signature(HOSTILE, (gene,), 1))
    assert HOSTILE in tab.value_name.text()
    qtbot.waitUntil(lambda: len(viewer.layers) > 3, timeout=20_000)
    texts = [*labels_and_tips(widget), *(layer.name for layer in viewer.layers if layer.name)]
    # The slide's layer was named by who added it.
    texts.remove(f"C6 {HOSTILE}")
    assert not [text for text in texts if has_picture(text)]
    assert sum("picture.png" in text for text in texts) > 5, "or the names were not there"
    assert heatmap.gene == gene
    widget.close_down()


def test_badges_have_their_own_markup_and_a_genes_name_as_text() -> None:
    badges = Badges(0.2, of=HOSTILE, far=HOSTILE)
    for text in (badges.line(HOSTILE, 0.5), badges.listed([(HOSTILE, 0.5)])):
        document = QTextDocument()
        document.setHtml(text)
        assert not has_picture(text)
        assert HOSTILE in document.toPlainText()
        assert text.count("<span") == 1


def test_what_napari_reads_from_a_file_is_text(folder: Path) -> None:
    path = write_tiff(folder / "section.tif", np.full((300, 400, 3), 200, np.uint8))
    with open_slide(path, mpp=1.0) as slide:
        grid = with_hostile_names(drawn_prediction(slide))
        spots = with_hostile_names(drawn_spot_prediction(slide))
    for name, prediction in (("<img src=picture.png> grid", grid), ("spots", spots)):
        export(prediction, folder / f"{name}.h5ad")
        for _, attributes, _ in read_expression(folder / f"{name}.h5ad"):
            features = attributes.get("features", pd.DataFrame())
            shown = [attributes["name"], *map(str, features.columns)]
            assert not [text for text in shown if has_picture(text)]
            if "face_color" in attributes:
                assert attributes["face_color"] in features


def test_errors_and_notifications_are_text(folder: Path) -> None:
    slide = folder / "<img src=picture.png>.tif"
    slide.write_bytes(b"II*\0 no slide")
    reader = get_reader(str(slide))
    assert reader is not None
    with pytest.raises(InputError) as caught:
        reader(str(slide))
    assert from_qt(str(caught.value)) != str(caught.value)
    assert not has_picture(str(caught.value))
    with notification_manager:
        before = len(notification_manager.records)
        show_error(f"{HOSTILE} cannot be read")
        (record,) = list(notification_manager.records)[before:]
    assert not has_picture(record.message)
    assert from_qt(record.message) == f"{HOSTILE} cannot be read"


def test_widgets_use_the_labels_and_notifications_that_do_not_guess() -> None:
    widgets = Path(napari_nh2st.__file__).parent / "widgets"
    for path in widgets.rglob("*.py"):
        if path.name in ("labels.py", "notifications.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                names = {alias.name for alias in node.names}
                assert "QLabel" not in names, f"{path.name}: use PlainLabel or MarkupLabel"
                assert node.module != "napari.utils.notifications", f"{path.name}: use ours"


# --- cards ---

CARD = f"![]({PICTURE}) ![a][b] {HOSTILE} <https://example.org> [here](file:///etc/passwd)\n\n" + (
    f"[b]: {PICTURE}\n\n<div>{HOSTILE}</div>\n"
)


def test_a_card_shows_no_picture_and_reads_no_file(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[QUrl] = []
    load = CardBrowser.loadResource

    def recording(self: CardBrowser, kind: int, name: QUrl) -> object:
        asked.append(name)
        return load(self, kind, name)

    monkeypatch.setattr(CardBrowser, "loadResource", recording)
    browser = CardBrowser(CARD)
    qtbot.addWidget(browser)
    browser.grab()
    document = browser.document()
    assert document is not None
    assert not any(each.isImageFormat() for each in document.allFormats())
    assert asked == []
    # And if there were one: Qt opens the file itself where it is given nothing.
    document.setHtml(HOSTILE)
    browser.grab()
    assert asked
    assert document.idealWidth() < WIDTH


def test_only_pages_of_the_web_open_and_only_on_a_click(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url.toString()))
    browser = CardBrowser(CARD)
    assert not browser.openLinks()
    assert not browser.openExternalLinks()
    for address in ("file:///etc/passwd", "http://a.example", "smb://a.example/b", "notes.md"):
        open_web_page(QUrl(address))
    assert opened == []
    browser.anchorClicked.emit(QUrl("https://example.org"))
    assert opened == ["https://example.org"]


def test_what_a_config_says_is_text_in_its_card(qtbot: QtBot) -> None:
    hostile = f"# ![]({PICTURE}) {HOSTILE} | `x`\n\n## Reliability\n\n[here](file:///a)"
    config = replace(
        small_config(),
        name=hostile,
        training={"trained": True, "summary": hostile, "limits": [hostile], hostile: hostile},
        target=dict(small_config().target) | {"description": hostile},
        hyperparameters={"context": hostile},
    )
    # With Qt's own reader of Markdown, which takes HTML and pictures.
    document = QTextDocument()
    document.setMarkdown(model_card(config))
    formats = document.allFormats()
    assert not any(each.isImageFormat() for each in formats)
    assert not any(each.isCharFormat() and each.toCharFormat().isAnchor() for each in formats)
    usual = QTextDocument()
    usual.setMarkdown(model_card(small_config()))
    headings = [
        sum(block.startswith("## ") for block in each.toMarkdown().splitlines())
        for each in (document, usual)
    ]
    assert headings[0] == headings[1] + 1, "the section of limits, and no other"
    assert "<img" in document.toPlainText()


def test_a_dock_shows_the_card_that_the_config_makes(qtbot: QtBot, folder: Path) -> None:
    model = save_model_folder(small_model(), folder / "model")
    (folder / "model" / "README.md").write_text("# Another model", encoding="utf-8")
    picker = ModelPicker()
    qtbot.addWidget(picker)
    picker.choose(str(folder / "model"))
    assert picker.card_text() == model_card(model.config)
    picker.choose(f"no such {HOSTILE}")
    assert HOSTILE.replace("<", "&lt;").split(" ")[0] in picker.note.text()
    assert not has_picture(picker.note.text())


# --- figures ---


@pytest.mark.parametrize("gene", [r"$\frac$", "A$_1$B", "$", r"\$x$", "a$b$c$"])
def test_a_gene_with_dollars_is_no_formula(folder: Path, gene: str) -> None:
    path = write_tiff(folder / "section.tif", np.full((300, 400, 3), 200, np.uint8))
    with open_slide(path, mpp=1.0) as slide:
        prediction = drawn_prediction(slide)
    prediction.var_names = pd.Index([gene, *prediction.var_names[1:]])
    prediction.uns["nh2st"]["slide"]["name"] = f"{gene}.tif"
    export(prediction, folder / "out.svg", genes=[gene])
    from matplotlib.figure import Figure

    text = Figure().text(0, 0, for_matplotlib(gene))
    assert text._preprocess_math(text.get_text()) == (gene, False)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((1e6, "1,000,000"), (1234567.25, "1,234,570"), (2**32, "4,294,967,296")),
        *((0, "0"), (2.5, "2.5"), (-3e7, "-30,000,000"), (1e-7, "1e-07"), (float("inf"), "inf")),
    ],
)
def test_large_numbers_have_no_power_of_ten(number: float, text: str) -> None:
    assert plain_number(number) == text
