"""Offer to resume a training that an earlier session did not finish."""

from pathlib import Path

from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QWidget

from napari_nh2st.shown_text import for_qt
from napari_nh2st.widgets.labels import PlainLabel


class UnfinishedOffer(QFrame):
    """A box with the name of a training and two answers; hidden while there is nothing to offer.

    Attributes
    ----------
    folder
        Folder of the training that is offered; None while there is none.
    text, take_over, dismiss
        The sentence, and the buttons.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.folder: Path | None = None
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.text = PlainLabel(wrap=True)
        self.take_over = QPushButton("Take over")
        self.take_over.setToolTip("Show its sections and settings, to resume it")
        self.dismiss = QPushButton("Not now")
        self.dismiss.setToolTip("Do not offer it until the dock is opened again")
        self.dismiss.clicked.connect(lambda: self.offer(None))
        layout = QHBoxLayout(self)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.take_over)
        layout.addWidget(self.dismiss)

    def offer(self, folder: Path | None) -> None:
        """Offer to resume the training in a folder; None for none."""
        self.folder = folder
        self.setVisible(folder is not None)
        if folder is not None:
            self.text.setText(f"A training in {folder.name} was not finished.")
            self.text.setToolTip(for_qt(str(folder)))
