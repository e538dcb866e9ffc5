"""Picker of the image encoder that a training is built around."""

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QWidget

from napari_nh2st.model.encoders.listing import EncoderLine, encoder_lines


class EncoderPicker(QWidget):
    """A key of an encoder, typed or chosen among those that can run here; empty for none.

    What cannot run here is not in the list; the tooltip says why.

    Parameters
    ----------
    shown
        What stands there where none is chosen.
    tooltip
        What the setting is.

    Attributes
    ----------
    box
        Where it is typed or chosen.
    changed
        Emitted with what is typed.
    """

    changed = Signal(str)

    def __init__(self, shown: str, tooltip: str) -> None:
        super().__init__()
        self.box = QComboBox()
        self.box.setEditable(True)
        self.box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        # A key is as long as a path: the box need not be.
        self.box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.box.setMinimumContentsLength(12)
        line = self.box.lineEdit()
        assert line is not None
        line.setPlaceholderText(shown)
        lines = list(encoder_lines(importing=False))
        for each in lines:
            if each.is_key and not each.problem:
                self.box.addItem(each.key)
                about = Qt.ItemDataRole.ToolTipRole
                self.box.setItemData(self.box.count() - 1, each.about, about)
        self.box.setCurrentIndex(-1)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.box)
        for widget in (self, self.box, line):
            widget.setToolTip("\n\n".join(filter(None, (tooltip, _forms(lines), _absent(lines)))))
        self.box.currentTextChanged.connect(self.changed)

    def value(self) -> str | None:
        """The key; None where there is none."""
        return self.box.currentText().strip() or None

    def show_value(self, value: str | None) -> None:
        """Show a key."""
        self.box.setCurrentText(value or "")


def _forms(lines: list[EncoderLine]) -> str:
    """What can be typed: a line for each kind of encoder that can run here."""
    here = [f"{each.key}: {each.about}" for each in lines if not (each.is_key or each.problem)]
    return "\n".join(["To be typed:", *here]) if here else ""


def _absent(lines: list[EncoderLine]) -> str:
    """Say what is not in the list, and why: once for what a library is missing for."""
    of_kinds = {line.problem for line in lines if not line.is_key}
    absent = [
        f"{line.key}: {line.problem}"
        for line in lines
        if line.problem and not (line.is_key and line.problem in of_kinds)
    ]
    return "\n".join(["Not here:", *absent]) if absent else ""
