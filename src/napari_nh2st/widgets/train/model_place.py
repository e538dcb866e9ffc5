"""Name of the new model, and the folder that its training goes to."""

from pathlib import Path

from psygnal import Signal
from qtpy.QtWidgets import QFormLayout, QLineEdit, QWidget

from napari_nh2st.training.known_models import models_folder
from napari_nh2st.widgets.setting_controls import FileLine


class ModelPlace(QWidget):
    """Two lines, each with what is taken where nothing is typed.

    Attributes
    ----------
    name, folder
        The lines.
    changed
        Emitted when something is typed.
    """

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = QLineEdit()
        self.name.setToolTip("Name of the model in lists of models")
        self.folder = FileLine("Folder of the training", folder=True)
        self.folder.setToolTip(
            "Folder for the checkpoints and the model. An unfinished training in it, with the "
            "same sections and settings, is resumed"
        )
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Name", self.name)
        form.addRow("Folder", self.folder)
        self._default_name = ""
        self.name.textChanged.connect(lambda _: self._on_changed())
        self.folder.changed.connect(lambda _: self._on_changed())
        self.take_next_name()

    @property
    def chosen_name(self) -> str | None:
        """The name as typed; None for that of the folder."""
        return self.name.text().strip() or None

    @property
    def chosen_folder(self) -> Path:
        """Folder of the training."""
        given = self.folder.value()
        return Path(given) if given else models_folder() / self._folder_name

    def show_place(self, name: str | None, folder: Path | None) -> None:
        """Show a name and a folder; None for those that are proposed."""
        self.name.setText(name or "")
        self.folder.show_value(None if folder is None else str(folder))

    def take_next_name(self) -> None:
        """Propose a folder that no training has yet."""
        self._default_name = _free_name(models_folder())
        self._on_changed()

    @property
    def _folder_name(self) -> str:
        return _as_folder(self.name.text()) or self._default_name

    def _on_changed(self) -> None:
        self.name.setPlaceholderText(self._default_name)
        self.folder.line.setPlaceholderText(str(models_folder() / self._folder_name))
        self.changed.emit()


def _free_name(folder: Path) -> str:
    """A name that no training in a folder has."""
    number = 1
    while (folder / f"model-{number}").exists():
        number += 1
    return f"model-{number}"


def _as_folder(name: str) -> str:
    """A name without what folders cannot be called."""
    kept = "".join(c if c.isalnum() or c in " ._-" else "-" for c in name.strip())
    return kept.strip(" .")
