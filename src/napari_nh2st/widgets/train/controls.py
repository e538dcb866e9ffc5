"""What the *Train* widget shows: the sections, the settings, the run and what came of it."""

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.training.record import RunRecord
from napari_nh2st.widgets.child_jobs import Jobs
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.known_models import models_folder
from napari_nh2st.widgets.train.curves import TrainCurves
from napari_nh2st.widgets.train.fields import FileLine
from napari_nh2st.widgets.train.scores import HeldOutScores
from napari_nh2st.widgets.train.sections import SectionsTable
from napari_nh2st.widgets.train.settings_form import TrainSettingsForm

if TYPE_CHECKING:
    import napari


_WIDTH = 350


class TrainControls(QWidget):
    """Everything that can be chosen for a training, and what it shows, laid out.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.

    Attributes
    ----------
    sections, settings
        What is trained on, and how.
    name, folder
        Of the model, and where the run goes.
    unfinished, take_over, dismiss
        A training that was not finished, offered to be gone on with.
    train, stop
        The buttons.
    bar, status, notes
        How it goes, and what to know about it.
    curves, scores, predict
        What came of it.
    """

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.sections = SectionsTable(napari_viewer)
        self.settings = TrainSettingsForm(DevicePicker(self.idle_jobs))
        self.name = QLineEdit()
        self.name.setToolTip("What the model is called where models are listed")
        self.folder = FileLine("Folder of the training", folder=True)
        self.folder.setToolTip(
            "Gets the checkpoints and the model. A folder with an unfinished training of the same "
            "sections and settings is gone on with"
        )
        self.unfinished = QLabel()
        self.unfinished.setWordWrap(True)
        self.take_over = QPushButton("Take over")
        self.take_over.setToolTip("Show its sections and settings, to resume it")
        self.dismiss = QPushButton("Not now")
        self.dismiss.setToolTip("Do not offer it until the widget is opened again")
        self.train = QPushButton("Train")
        self.stop_button = QPushButton("Stop")
        self.bar = QProgressBar()
        self.bar.setToolTip("Epochs done, or what is made ready before them")
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.notes = QLabel()
        self.notes.setWordWrap(True)
        self.notes.setToolTip("What to know about this training and its numbers")
        self.notes.hide()
        self.curves = TrainCurves()
        self.curves.hide()
        self.scores = HeldOutScores()
        self.predict = QPushButton("Predict with it")
        self.predict.setToolTip("Open the Predict widget with the new model")
        self._default_name = free_name(models_folder())
        self._lay_out()

    def idle_jobs(self) -> Jobs | None:
        """What tells which devices there are."""
        raise NotImplementedError

    # --- what was chosen ---

    def chosen_record(self) -> RunRecord:
        """The training that the controls stand for.

        Raises
        ------
        InputError
            Sections or settings cannot be used.
        """
        sections = self.sections.sections()
        return RunRecord(
            sections,
            self.settings.chosen(),
            self.name.text().strip() or None,
            self.sections.names("hold out"),
            self.settings.trust_positions.isChecked(),
        )

    def chosen_folder(self) -> Path:
        """Where the run goes."""
        given = self.folder.value()
        if given:
            return Path(given)
        return models_folder() / (_as_folder(self.name.text()) or self._default_name)

    def show_record(self, record: RunRecord, folder: Path) -> None:
        """Show the sections and settings of a run."""
        settings = record.settings
        self.sections.show_sections(record.sections, record.held_out, settings.validation_sections)
        self.settings.show_settings(settings)
        self.settings.trust_positions.setChecked(record.trust_positions)
        self.name.setText(record.name or "")
        self.folder.show_value(str(folder))

    def refresh_place(self) -> None:
        """Show where the run would go."""
        name = _as_folder(self.name.text()) or self._default_name
        self.name.setPlaceholderText(self._default_name)
        self.folder.line.setPlaceholderText(str(models_folder() / name))

    def take_next_name(self) -> None:
        """The default folder is used now: offer another one."""
        self._default_name = free_name(models_folder())
        self.refresh_place()

    # --- appearance ---

    def _lay_out(self) -> None:
        place = QFormLayout()
        place.addRow("Name", self.name)
        place.addRow("Folder", self.folder)
        buttons = QHBoxLayout()
        buttons.addWidget(self.train)
        buttons.addWidget(self.stop_button)
        self.offer = QFrame()
        self.offer.setFrameShape(QFrame.Shape.StyledPanel)
        offer = QHBoxLayout(self.offer)
        offer.addWidget(self.unfinished, 1)
        offer.addWidget(self.take_over)
        offer.addWidget(self.dismiss)
        inside = QWidget()
        content = QVBoxLayout(inside)
        content.addWidget(self.offer)
        content.addWidget(_title("Sections"))
        content.addWidget(self.sections)
        content.addWidget(_title("Settings"))
        content.addWidget(self.settings)
        content.addLayout(place)
        content.addLayout(buttons)
        content.addWidget(self.bar)
        content.addWidget(self.status)
        content.addWidget(self.notes)
        content.addWidget(self.curves)
        content.addWidget(self.scores)
        content.addWidget(self.predict)
        content.addStretch()
        self.scroll_area = QScrollArea()
        self.scroll_area.setWidgetResizable(True)
        self.scroll_area.setFrameShape(QFrame.Shape.NoFrame)
        self.scroll_area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroll_area.setWidget(inside)
        self.setMinimumWidth(_WIDTH)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.scroll_area)


def free_name(folder: Path) -> str:
    """A name that no training in a folder has."""
    number = 1
    while (folder / f"model-{number}").exists():
        number += 1
    return f"model-{number}"


def _as_folder(name: str) -> str:
    """A name without what folders cannot be called."""
    kept = "".join(c if c.isalnum() or c in " ._-" else "-" for c in name.strip())
    return kept.strip(" .")


def _title(text: str) -> QLabel:
    return QLabel(f"<b>{text}</b>")
