"""Dialog that asks for the URL of a slide, and opens it."""

from napari import Viewer
from qtpy.QtWidgets import QApplication, QInputDialog, QLineEdit

from napari_nh2st.remote import is_url
from napari_nh2st.widgets.notifications import show_error

_QUESTION = (
    "URL of an SVS, a TIFF or an OME-Zarr folder, https://… or s3://…\nOnly the parts that you "
    "look at are read."
)


def open_url(viewer: Viewer) -> None:
    """Ask for a URL, which a copied one is proposed for, and open the slide."""
    clipboard = QApplication.clipboard()
    copied = "" if clipboard is None else clipboard.text().strip()
    proposed = copied if is_url(copied) and "\n" not in copied else "https://"
    text, is_given = QInputDialog.getText(
        viewer.window._qt_window,
        "Open slide from URL",
        _QUESTION,
        QLineEdit.EchoMode.Normal,
        proposed,
    )
    if is_given and text.strip():
        open_slide_at(viewer, text.strip())


def open_slide_at(viewer: Viewer, url: str) -> None:
    """Open the slide at a URL as a layer; what is no URL is said to be none."""
    if not is_url(url):
        show_error(f"{url} is not a URL: a URL begins with https:// or s3://.")
        return
    viewer.open(url, plugin="napari-nh2st")
