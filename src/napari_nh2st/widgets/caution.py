"""Sentences that are to be minded, in a colour of their own."""

from qtpy.QtWidgets import QWidget

from napari_nh2st.widgets.labels import PlainLabel

CAUTION_COLOR = "#d98c2b"
"""A mid tone that reads on both of napari's themes."""


class CautionLabel(PlainLabel):
    """Text that wraps, in the colour of a caution.

    Parameters
    ----------
    text
        Shown first.
    parent
        Parent widget.
    """

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setWordWrap(True)
        self.setStyleSheet(f"color: {CAUTION_COLOR}")
