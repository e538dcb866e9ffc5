"""Lists to choose the part of a file of measured ST that is meant."""

from psygnal import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QWidget

from napari_nh2st.spots.choice import OPTIONS, Parts, SpotChoice, SpotOption

_LABELS: dict[SpotOption, tuple[str, str]] = {
    "library": (
        "Section",
        "The file holds several sections; a section is one slide with its spots",
    ),
    "bin_um": ("Bins", "Side of Visium HD's bins"),
    "coordinate_system": (
        "Coordinates",
        "The coordinate system of the store in which positions are full-resolution pixels",
    ),
}


class PartChoice(QWidget):
    """One list for each thing that a file holds several of; hidden where it holds one of each.

    Attributes
    ----------
    lists
        By argument of :func:`~napari_nh2st.spots.read_spots`.
    chosen
        Emitted with a :class:`~napari_nh2st.spots.SpotChoice` when the user chose another part.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[SpotOption, QComboBox] = {}
        self._choice = SpotChoice()
        self._form = QFormLayout(self)
        self._form.setContentsMargins(0, 0, 0, 0)
        for option in OPTIONS:
            label, tip = _LABELS[option]
            box = QComboBox()
            box.setToolTip(tip)
            box.setPlaceholderText("choose…")
            # As wide as the dock, not as the longest of the file's names.
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            # By the user only: what is offered anew chooses nothing.
            box.activated.connect(lambda _index, option=option: self._on_activated(option))
            self.lists[option] = box
            self._form.addRow(label, box)
        self.offer(Parts(), SpotChoice())

    def offer(self, parts: Parts, choice: SpotChoice) -> None:
        """Show what there is to choose from.

        Parameters
        ----------
        parts
            Parts of the file.
        choice
            What was asked for so far; another choice keeps the rest of it.
        """
        self._choice = choice
        for option, box in self.lists.items():
            names = parts.offered.get(option, ())
            box.clear()
            for name in names:
                box.addItem(f"{name} µm" if option == "bin_um" else name, name)
            box.setCurrentIndex(box.findData(parts.chosen.get(option)))  # -1 for none
            self._form.setRowVisible(box, len(names) > 1)
        self.setVisible(bool(parts.offered))

    def _on_activated(self, option: SpotOption) -> None:
        self.chosen.emit(self._choice.with_part(option, str(self.lists[option].currentData())))
