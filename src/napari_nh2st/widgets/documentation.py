"""Window with a page of the documentation, which the *?* of each dock opens."""

from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices, QImage, QTextCursor, QTextDocument
from qtpy.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from napari_nh2st.errors import InputError

_WIDTH, _HEIGHT = 760, 680
_MARGIN = 60
"""Pixels beside a picture."""


def documentation_folder() -> Path:
    """Folder of the pages: in the package where it is installed, else in the repository.

    Raises
    ------
    InputError
        It is in neither place.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "docs", package.parents[1] / "docs"):
        if (folder / "napari.md").is_file():
            return folder
    raise InputError("The documentation is not installed: it lies in the folder docs of NH2ST.")


class DocumentationBrowser(QTextBrowser):
    """Shows a page, follows its links to others, and opens web pages in the web browser.

    Parameters
    ----------
    page
        Name of a file, such as ``napari.md``.
    section
        Heading that is shown at the top; the page's beginning without.
    """

    def __init__(self, page: str, section: str = "") -> None:
        super().__init__()
        self.setOpenLinks(False)
        self.anchorClicked.connect(self._follow)
        self.setSource(QUrl.fromLocalFile(str(documentation_folder() / page)))
        self._section = section

    def show_section(self, heading: str) -> bool:
        """Bring a heading to the top; whether there is one of these words."""
        document, bar = self.document(), self.verticalScrollBar()
        assert document is not None
        assert bar is not None
        block = document.begin()
        while block.isValid():
            if block.blockFormat().headingLevel() and _anchor(block.text()) == _anchor(heading):
                self.setTextCursor(QTextCursor(block))
                bar.setValue(bar.value() + self.cursorRect().top())
                return True
            block = block.next()
        return False

    def showEvent(self, event: Any) -> None:  # Qt's name
        """Go to the section now that it is known how high the page is."""
        super().showEvent(event)
        if self._section:
            self.show_section(self._section)

    def loadResource(self, kind: int, name: QUrl) -> Any:  # Qt's name
        """Pictures as wide as the window is, at most; none where they are not installed."""
        path = self.source().resolved(name).toLocalFile()
        if kind == QTextDocument.ResourceType.ImageResource.value and not Path(path).is_file():
            nothing = QImage(1, 1, QImage.Format.Format_ARGB32)
            nothing.fill(Qt.GlobalColor.transparent)
            return nothing  # Qt would draw a broken picture
        found = super().loadResource(kind, name)
        picture = QImage(path)
        widest = _WIDTH - _MARGIN
        if picture.isNull() or picture.width() <= widest:
            return found
        return picture.scaledToWidth(widest, Qt.TransformationMode.SmoothTransformation)

    def _follow(self, address: QUrl) -> None:
        if address.scheme() in ("http", "https"):
            QDesktopServices.openUrl(address)
            return
        page, section = address.path(), address.fragment()
        if page:
            self.setSource(self.source().resolved(QUrl(page)))
        if section:
            self.show_section(section)


def show_documentation(parent: QWidget, page: str, section: str = "") -> QDialog:
    """Open a page in a window of its own.

    Raises
    ------
    InputError
        The documentation is not installed.
    """
    browser = DocumentationBrowser(page, section)
    dialog = QDialog(parent)
    dialog.setWindowTitle("NH2ST: documentation")
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.resize(_WIDTH, _HEIGHT)
    QVBoxLayout(dialog).addWidget(browser)
    dialog.show()
    return dialog


def _anchor(heading: str) -> str:
    """A heading as links name it."""
    kept = (letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return "".join(kept).replace(" ", "-")
