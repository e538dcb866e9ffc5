"""Pages of the documentation in a window."""

import re
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QImage

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


def test_pictures_are_as_wide_as_the_window_and_missing_ones_take_no_room(
    qtbot: QtBot, tmp_path: Path
) -> None:
    page = DocumentationBrowser("napari.md")
    qtbot.addWidget(page)
    wide = QImage(1400, 900, QImage.Format.Format_RGB32)
    wide.fill(Qt.GlobalColor.blue)
    assert wide.save(str(tmp_path / "wide.png"))
    (tmp_path / "page.md").write_text(
        "![wide](wide.png)\n\n![missing](missing.png)", encoding="utf-8"
    )
    page.setSource(QUrl.fromLocalFile(str(tmp_path / "page.md")))
    assert 300 < page.loadResource(2, QUrl("wide.png")).width() <= 700
    missing = page.loadResource(2, QUrl("missing.png"))
    assert missing.size().width() == 1
    assert missing.pixelColor(0, 0).alpha() == 0


def test_pictures_of_the_pages_are_there_and_lie_beside_the_package() -> None:
    folder = documentation_folder()
    if not (folder / "images").is_dir():  # installed: a wheel has none
        assert folder.parent.name == "napari_nh2st"
        return
    pages = "".join(page.read_text(encoding="utf-8") for page in folder.glob("*.md"))
    named = set(re.findall(r"!\[[^\]]*\]\(images/([^)]+)\)", pages))
    assert named <= {each.name for each in (folder / "images").iterdir()}
