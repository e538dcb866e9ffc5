"""Pages of the documentation in a window."""

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QUrl

from napari_nh2st.widgets.documentation import DocumentationBrowser, documentation_folder


@pytest.mark.parametrize("dock", ["Predict", "Genes", "Compare", "Train"])
def test_each_dock_has_a_section(qtbot: QtBot, dock: str) -> None:
    page = DocumentationBrowser("napari.md", dock)
    qtbot.addWidget(page)
    page.resize(700, 400)
    page.show()
    assert page.textCursor().block().text() == dock
    assert page.cursorRect().top() < 40, "its heading is at the top"


def test_links_lead_to_other_pages_and_their_sections(qtbot: QtBot) -> None:
    page = DocumentationBrowser("napari.md")
    qtbot.addWidget(page)
    page.anchorClicked.emit(QUrl("training.md#in-napari"))
    assert page.toPlainText().startswith("Training")
    assert page.textCursor().block().text() == "In napari"
    assert not page.show_section("not a heading")


def test_pictures_are_as_wide_as_the_window(qtbot: QtBot) -> None:
    page = DocumentationBrowser("napari.md")
    qtbot.addWidget(page)
    (name, *_) = sorted(each.name for each in (documentation_folder() / "images").glob("*.png"))
    picture = page.loadResource(2, QUrl(f"images/{name}"))
    assert 300 < picture.width() <= 700
