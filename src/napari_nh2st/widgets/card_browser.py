"""Browser of a model card, which loads nothing that the card refers to."""

from typing import Any

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices, QImage, QTextCursor, QTextDocument
from qtpy.QtWidgets import QTextBrowser


class CardBrowser(QTextBrowser):
    """Shows Markdown: no HTML and no pictures, and no file or address is read.

    Parameters
    ----------
    markdown
        Somebody else's text.
    """

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.setOpenLinks(False)
        self.anchorClicked.connect(open_web_page)
        document = self.document()
        assert document is not None
        features = QTextDocument.MarkdownFeature
        document.setMarkdown(
            markdown.replace("![", "!\N{ZERO WIDTH SPACE}["),  # a link, and no picture
            features.MarkdownDialectGitHub | features.MarkdownNoHTML,
        )
        self.moveCursor(QTextCursor.MoveOperation.Start)

    def loadResource(self, _type: int, _name: QUrl) -> Any:  # Qt's name
        """A point that cannot be seen: where there is nothing, Qt looks for a file itself."""
        point = QImage(1, 1, QImage.Format.Format_ARGB32)
        point.fill(0)
        return point


def open_web_page(address: QUrl) -> None:
    """Open what was clicked on in a web browser, if it is a page fetched by ``https``."""
    if address.scheme() == "https":
        QDesktopServices.openUrl(address)
