"""Picker of a model: bundled, a folder, or on the Hugging Face Hub; its card is a click away."""

import contextlib
import html
from pathlib import Path

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QHBoxLayout,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_nh2st.errors import InputError
from napari_nh2st.model.card import model_card, model_summary
from napari_nh2st.model.config import ModelConfig, read_config
from napari_nh2st.model.labels import model_labels
from napari_nh2st.model.sources import bundled_models, find_config, find_model, is_hub_id
from napari_nh2st.shown_text import for_qt
from napari_nh2st.training.known_models import known_models, remember_model
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.card_browser import CardBrowser
from napari_nh2st.widgets.labels import MarkupLabel

_TIP = "A bundled model, a model folder, or Hugging Face owner/name@REVISION"


class ModelNews:
    """Signal of a new model, for all pickers.

    Attributes
    ----------
    model_added
        Emitted with the folder.
    """

    model_added = Signal(str)


model_news = ModelNews()


def add_model(folder: Path) -> None:
    """List a model folder in all pickers, in this session and in later ones."""
    remember_model(folder)
    model_news.model_added.emit(str(folder.absolute()))


class ModelPicker(QWidget):
    """A line for the model, what it is in a few words, and its card.

    Attributes
    ----------
    name
        An editable list of the known models by their labels, see
        :func:`~napari_nh2st.model.labels.model_labels`; what they are found by is their data.
    browse, card
        Choose a folder; read the card.
    note
        The chosen model in a few words, or what is wrong with it.
    changed
        Emitted with the config when another model is chosen; None where it is not known, or not
        known yet: that of a model on the Hub is fetched in a thread, without its weights.
    """

    changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.config: ModelConfig | None = None
        self._folder: Path | None = None
        self._fetching = Background(self)
        self.name = QComboBox()
        self.name.setEditable(True)
        for model in known_models():
            self.name.addItem(model, model)
        self._label()
        model_news.model_added.connect(self._on_model_added)
        self.name.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.browse = QToolButton()
        self.browse.setText("…")
        self.browse.setToolTip("Choose a model folder")
        self.card = QPushButton("Card")
        self.card.setToolTip("What the model was trained on, its panel, and how far to trust it")
        self.note = MarkupLabel(wrap=True, fits=True)
        line = QHBoxLayout()
        line.addWidget(self.name, 1)
        line.addWidget(self.browse)
        below = QHBoxLayout()
        below.addWidget(self.note, 1)
        below.addWidget(self.card, 0, Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(line)
        layout.addLayout(below)
        self.name.currentTextChanged.connect(self._on_changed)
        self.browse.clicked.connect(self._on_browse)
        self.card.clicked.connect(self.show_card)
        self._on_changed()

    @property
    def text(self) -> str:
        """The name, folder or Hub id of the chosen model, or what was typed."""
        typed = self.name.currentText().strip()
        row = self.name.findText(typed)
        return str(self.name.itemData(row) or typed) if row >= 0 else typed

    def choose(self, name: str) -> None:
        """Take a model, and keep it in the list."""
        self._add(name)
        row = self.name.findData(name)
        self.name.setCurrentIndex(row)
        self.name.setEditText(self.name.itemText(row))  # something else may have been typed
        self._show_beginning()

    def show_value(self, name: str | None) -> None:
        """Take a remembered model; the bundled one for none, or for a folder that is gone."""
        bundled = next(iter(bundled_models()), "")
        self.choose(name or bundled)
        if self.config is None and bundled and not is_hub_id(self.text):
            self.choose(bundled)

    def value(self) -> str:
        """The model's name, if it can be found.

        Raises
        ------
        InputError
            None is named, or there is no such model.
        """
        if not self.text:
            raise InputError("Choose a model: a folder, or a Hugging Face owner/name@REVISION.")
        if not is_hub_id(self.text):
            read_config(find_model(self.text))
        return self.text

    def card_text(self) -> str:
        """The card of the chosen model, as Markdown; empty where there is none.

        It is made from the config, as ``nh2st model info`` makes it: the model's README.md can
        say anything.
        """
        return "" if self.config is None else model_card(self.config)

    def show_card(self) -> QDialog:
        """Open the card in a window of its own."""
        dialog = QDialog(self)
        dialog.setWindowTitle(f"Model card: {self.text}")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.resize(720, 640)
        QVBoxLayout(dialog).addWidget(CardBrowser(self.card_text()))
        dialog.show()
        return dialog

    def _on_changed(self) -> None:
        self._fetching.stop()
        if is_hub_id(self.text):
            self._show(None, "Asking the Hugging Face Hub for its card …")
            self._fetching.start(_looked_up, self.text, done=lambda found: self._show(*found))
        elif self.text:
            self._show(*_looked_up(self.text))
        else:
            self._show(None, "No model is bundled with this version: choose a folder.")

    def _show(self, folder: Path | None, note: str, config: ModelConfig | None = None) -> None:
        self._folder, self.config = folder, config
        line = self.name.lineEdit()
        self.name.setToolTip(f"{for_qt(self.text)}\n{_TIP}" if self.text else _TIP)
        if line is not None:  # Qt asks it, not the list, for what to say
            line.setToolTip(self.name.toolTip())
        self._show_beginning()
        self.note.setText(note)
        self.card.setEnabled(self.config is not None)
        self.changed.emit(self.config)

    def _show_beginning(self) -> None:
        """Show a long name or path from its beginning, unless it is being typed."""
        line = self.name.lineEdit()
        if line is not None and not line.hasFocus():
            line.home(False)

    def _on_browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a model folder")
        if folder:
            self.choose(folder)
            if self.config is not None:
                add_model(Path(folder))

    def _on_model_added(self, folder: str) -> None:
        # Qt may have deleted the widget while Python still has it.
        with contextlib.suppress(RuntimeError):
            self._add(folder)

    def _add(self, name: str) -> None:
        if self.name.findData(name) < 0:
            self.name.addItem(name, name)
        self._label()

    def _label(self) -> None:
        """Label the list anew: another one may have a name that was there once."""
        typed, chosen = self.name.currentText(), self.name.currentIndex()
        is_chosen = chosen >= 0 and typed == self.name.itemText(chosen)
        models = [str(self.name.itemData(row) or "") for row in range(self.name.count())]
        labels = model_labels([model for model in models if model])
        with signals_blocked(self.name):
            for row, model in enumerate(models):
                if model:
                    self.name.setItemText(row, labels[model])
                    self.name.setItemData(row, for_qt(model), Qt.ItemDataRole.ToolTipRole)
            if not is_chosen:
                self.name.setEditText(typed)
        self._show_beginning()


_Found = tuple[Path | None, str, ModelConfig | None]
"""Folder of the config, a few words on it, or what is wrong, as markup, and the config."""


def _looked_up(name: str) -> _Found:
    try:
        folder = find_config(name)
        config = read_config(folder)
    except InputError as error:
        return None, html.escape(str(error)), None
    return folder, _in_words(config), config


def _in_words(config: ModelConfig) -> str:
    note = html.escape(model_summary(config))
    return note if config.trained else f"<b class='bad'>UNTRAINED</b>: values mean nothing. {note}"
