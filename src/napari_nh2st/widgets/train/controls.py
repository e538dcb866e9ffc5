"""What the *Train* widget shows: the sections, the settings, the run and what came of it."""

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut  # type: ignore[attr-defined]  # qtpy re-exports
from qtpy.QtWidgets import (
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.training.checks import check_folder, check_record
from napari_nh2st.training.known_models import models_folder
from napari_nh2st.training.notices import check_overlaps, held_out_notice, overlaps
from napari_nh2st.training.record import RunRecord, is_unfinished, read_record
from napari_nh2st.training.split import section_to_spare
from napari_nh2st.widgets.child_jobs import Jobs
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.labels import MarkupLabel, PlainLabel
from napari_nh2st.widgets.setting_controls import FileLine
from napari_nh2st.widgets.train.curves import TrainCurves
from napari_nh2st.widgets.train.outlook import Outlook
from napari_nh2st.widgets.train.scores import HeldOutScores
from napari_nh2st.widgets.train.sections import SectionsTable
from napari_nh2st.widgets.train.settings_form import TrainSettingsForm

if TYPE_CHECKING:
    import napari


_WIDTH = 350

TRAIN_KEY, STOP_KEY = "F7", "Shift+F7"


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
    outlook
        What to know before it begins.
    train, stop_button
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
        self.unfinished = PlainLabel()
        self.unfinished.setWordWrap(True)
        self.take_over = QPushButton("Take over")
        self.take_over.setToolTip("Show its sections and settings, to resume it")
        self.dismiss = QPushButton("Not now")
        self.dismiss.setToolTip("Do not offer it until the widget is opened again")
        self.outlook = Outlook()
        self.train = QPushButton("Train")
        self.stop_button = QPushButton("Stop")
        # Not shortcuts of the buttons: they lose theirs with each new text.
        for key, button in ((TRAIN_KEY, self.train), (STOP_KEY, self.stop_button)):
            QShortcut(QKeySequence(key), self).activated.connect(button.click)
        self.bar = QProgressBar()
        self.bar.setToolTip("Epochs done, or what is made ready before them")
        self.status = PlainLabel()
        self.status.setWordWrap(True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.notes = PlainLabel()
        self.notes.setWordWrap(True)
        self.notes.setToolTip("What to know about this training and its numbers")
        self.notes.hide()
        self._notes: list[str] = []
        self.curves = TrainCurves()
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

    def start_config(self) -> ModelConfig | None:
        """Of the start model; None without one, or where it is still to be fetched."""
        return None if self.settings.from_random.isChecked() else self.settings.start.config

    def check_new(self, record: RunRecord, folder: Path) -> None:
        """Refuse what a training would refuse only after it has read everything.

        Raises
        ------
        InputError
            Its folder cannot be used, or the choices do not go together.
        """
        check_folder(folder, record)
        start, panel = self.start_config(), record.settings.panel
        check_record(record, start)
        if panel is None and start is not None:
            check_overlaps(start.panel, self.sections.genes())
        elif panel is not None and panel.rule == "given":
            self.settings.genes.show_match()
            if problem := self.settings.genes.problem():
                raise InputError(problem)

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

    # --- what is shown ---

    def show_outlook(self) -> None:
        """What to know before the training begins."""
        used = [row for row in self.sections.rows.all if row.role != "leave out"]
        trained = [(row.name, row.donor) for row in used if row.role == "train"]
        if not trained:
            self.outlook.show_notices([], "")
            return
        nothing_held_out = held_out_notice(len(self.sections.names("hold out")))
        start = self.start_config()
        seen = set() if start is None else set(start.training.get("sections", ()))
        spare = section_to_spare(trained, seen) if nothing_held_out else ""
        told = [nothing_held_out] if nothing_held_out else []
        if start is not None and self.settings.panel.value() is None:
            found = overlaps(start.panel, self.sections.genes())
            told += [overlap.sentence for overlap in found if overlap.sentence]
        self.outlook.show_notices(told, spare)

    def show_notes(self, *sentences: str) -> None:
        """Keep what the user should read below the status: notifications would pass by."""
        self._notes = list(dict.fromkeys([*self._notes, *sentences]))
        self.notes.setText("\n".join(f"• {sentence}" for sentence in self._notes))
        self.notes.setVisible(bool(self._notes))

    def clear_notes(self) -> None:
        """Show none."""
        self._notes = []
        self.show_notes()

    def scroll_to_top(self) -> None:
        """Bring what is offered at the top into view."""
        bar = self.scroll_area.verticalScrollBar()
        if bar is not None:
            bar.setValue(bar.minimum())

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
        content.addWidget(self.outlook)
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


def goes_on(folder: Path, record: RunRecord) -> bool:
    """Whether a folder holds an unfinished training that this one would go on with."""
    if not is_unfinished(folder):
        return False
    try:
        return record.goes_on_with(read_record(folder))
    except InputError:  # it was begun elsewhere: the training will see
        return True


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


def _title(text: str) -> MarkupLabel:
    return MarkupLabel(f"<b>{text}</b>")
