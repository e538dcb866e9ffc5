"""Whose results are shown while another slide is chosen, or none."""

from qtpy.QtWidgets import QFrame, QPushButton, QVBoxLayout, QWidget

from napari_nh2st.widgets.labels import PlainLabel


class OtherSlide(QFrame):
    """A box that is there only while what is shown is not of the slide that is chosen.

    Attributes
    ----------
    text
        What is shown, and of which slide.
    lay_over
        Lay the measured ST over the chosen slide instead.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("nh2st-other-slide")
        # Grey of middle tone: seen on napari's light theme and on its dark one.
        self.setStyleSheet("#nh2st-other-slide { border: 1px solid #888888; border-radius: 5px; }")
        self.text = PlainLabel()
        self.text.setWordWrap(True)
        self.lay_over = QPushButton()
        self.lay_over.setToolTip(
            "Lay the same measured ST over the chosen slide; a comparison with the other slide "
            "is taken away"
        )
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(self.lay_over)
        self.say("")

    def say(self, sentence: str, slide_name: str | None = None) -> None:
        """Show a sentence; empty for none.

        Parameters
        ----------
        sentence
            What is shown.
        slide_name
            Of the slide over which ST can be laid; None where it cannot.
        """
        self.text.setText(sentence)
        self.setVisible(bool(sentence))
        self.lay_over.setVisible(slide_name is not None)
        self.lay_over.setText(f"Lay it over {slide_name}" if slide_name is not None else "")
