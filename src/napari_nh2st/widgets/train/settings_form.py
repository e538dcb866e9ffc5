"""The settings of a training as controls: the ones that matter, and the rest folded away."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from psygnal import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.sources import is_hub_id
from napari_nh2st.spots import PanelSettings
from napari_nh2st.training.known_models import known_models, model_news
from napari_nh2st.training.settings import AugmentationSettings, TrainSettings
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.folded import Folded
from napari_nh2st.widgets.labels import MarkupLabel
from napari_nh2st.widgets.model_picker import ModelPicker
from napari_nh2st.widgets.setting_controls import (
    ChoiceBox,
    Control,
    FileLine,
    control_for,
    without_wheel,
)
from napari_nh2st.widgets.train.given_genes import GivenGenes
from napari_nh2st.widgets.train.more import MORE, PUBLISHED

NOT_OFFERED = ("devices",)
"""Several devices need a script that can be started once for each."""

_ENCODER = {
    "frozen": "frozen: fine-tune the rest",
    "last-stages": "last stages are trained",
    "whole": "whole encoder is trained",
}
_PANEL = {
    None: "the start model's",
    "mean": "highest mean count",
    "variable": "highest variance",
    "spatial": "highest Moran's I",
    "given": "these genes",
}
_VALIDATION = {
    "auto": "automatic: a donor, else a section",
    "donor": "one donor",
    "section": "one section",
    "none": "none: do all epochs, keep the last",
    "table": "as the roles in the table say",
}
_TABLE_VALIDATES = "The sections whose role is validate choose the epoch"


class TrainSettingsForm(QWidget):
    """Controls for everything that :class:`~napari_nh2st.training.TrainSettings` takes.

    Parameters
    ----------
    device
        Where devices are chosen.

    Attributes
    ----------
    start, from_random
        The start model, or none.
    encoder, context, epochs, validation, panel, n_genes, genes
        What it says.
    more
        By name of the field, what is folded away; those of
        :class:`~napari_nh2st.training.AugmentationSettings` and
        :class:`~napari_nh2st.spots.PanelSettings` among them.
    trust_positions
        For reading the sections.
    reset
        Brings the defaults back.
    changed
        Emitted when something is chosen.
    """

    changed = Signal()

    def __init__(self, device: DevicePicker, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._encoder_chosen = False
        self._validated: tuple[str, ...] = ()
        self.device = device
        self.start = ModelPicker()
        policy = self.start.sizePolicy()
        policy.setHeightForWidth(True)  # its note takes as many lines as it needs
        self.start.setSizePolicy(policy)
        self.from_random = QCheckBox("None: random weights")
        self.from_random.setToolTip("Train a network that knows nothing; it takes many sections")
        self.encoder = ChoiceBox(_ENCODER)
        self.encoder.setToolTip(
            "What of the image encoder is trained. A frozen one is fast and needs few sections"
        )
        self.context = control_for(TrainSettings, "context", "the start model's, else query")
        self.context.setToolTip(
            "What a prediction sees: the tile alone (query), the mean over its neighborhood "
            "(average), or the neighborhood's features (neighborhood)"
        )
        self.epochs = control_for(TrainSettings, "epochs")
        self.epochs.setToolTip("At most; training ends earlier when validation gets no better")
        self.validation = ChoiceBox(_VALIDATION)
        choices: Any = self.validation.model()
        choices.item(self.validation.findData("table")).setEnabled(False)  # it chooses itself
        self.panel = ChoiceBox(_PANEL)
        self.panel.setToolTip("Genes to learn; without a start model 250 of the highest mean count")
        self.n_genes = control_for(PanelSettings, "n_genes")
        self.n_genes.setToolTip("How many genes")
        self.genes = GivenGenes()
        self.more: dict[str, Any] = {}
        self.trust_positions = QCheckBox("Trust positions")
        self.trust_positions.setToolTip(
            "Take spots as they lie even where the tissue says that they are turned or mirrored"
        )
        self.reset = QPushButton("Defaults")
        self.reset.setToolTip("All settings as they were at first; forget those that were kept")
        self._lay_out()
        self._connect()
        self._offer_known_models()
        self.show_settings(None)

    # --- what was chosen ---

    def chosen(self) -> TrainSettings:
        """The settings that the controls stand for.

        Raises
        ------
        InputError
            Something typed is no number, is out of its range, or two things do not go together.
        """
        more = {name: control.value() for name, control in self.more.items()}
        looks = {f.name: more.pop(f.name) for f in fields(AugmentationSettings)}
        left_out = {name: more.pop(name) for name in _of_panel()}
        settings: dict[str, Any] = {
            "start": self._start(),
            "encoder": self.encoder.value(),
            "context": self.context.value(),
            "epochs": self.epochs.value(),
            "panel": self._panel(left_out),
            "validation": "auto" if self._validated else self.validation.value(),
            "validation_sections": self._validated,
            "device": self.device.currentText(),
            "augmentation": AugmentationSettings(**looks),
        }
        return TrainSettings(**settings, **more)

    def _start(self) -> str | None:
        if self.from_random.isChecked():
            return None
        name = self.start.checked()
        path = Path(name).expanduser()
        # The child process, and who goes on with the run, may stand in another folder.
        return str(path.absolute()) if path.is_dir() else name

    def _panel(self, left_out: dict[str, Any]) -> PanelSettings | None:
        rule = self.panel.value()
        if rule is None:
            return None
        if rule != "given":
            return PanelSettings(rule=rule, n_genes=self.n_genes.value(), **left_out)
        genes = self.genes.value()
        if not genes:
            raise InputError("No genes are given: paste their names, or choose another panel.")
        return PanelSettings(rule="given", genes=genes, **left_out)

    # --- what is shown ---

    def show_settings(self, settings: TrainSettings | None) -> None:
        """Show settings; None for the defaults: fine-tuning of the first bundled model."""
        self._encoder_chosen = settings is not None
        if settings is None:
            known = known_models()
            self.from_random.setChecked(not known)
            if known:
                self.start.choose(known[0])
            settings = TrainSettings()
            self.trust_positions.setChecked(False)
            self.genes.show_value(())
        else:
            self.from_random.setChecked(settings.start is None)
            if settings.start is not None:
                self.start.choose(settings.start)
            self.encoder.show_value(settings.encoder)
        self.context.show_value(settings.context)
        self.epochs.show_value(settings.epochs)
        self.validation.show_value(settings.validation)
        self.show_device(settings.device)
        panel = settings.panel or PanelSettings()
        self.panel.show_value(None if settings.panel is None else panel.rule)
        self.n_genes.show_value(panel.n_genes)
        if panel.genes:
            self.genes.show_value(panel.genes)
        for name, control in self.more.items():
            part = (
                settings.augmentation
                if hasattr(settings.augmentation, name)
                else panel
                if name in _of_panel()
                else settings
            )
            control.show_value(getattr(part, name))
        self._update()

    def to_remember(self) -> dict[str, Any]:
        """What the next session shall begin with; the settings have to be sound."""
        chosen = self.chosen()
        kept: dict[str, Any] = {
            "start": chosen.start or "",
            "from_random": chosen.start is None,
            "encoder": chosen.encoder if self._encoder_chosen else "",
            "context": chosen.context or "",
            "epochs": chosen.epochs,
            "device": chosen.device,
        }
        if not self._validated:  # that is the table's choice, and holds for these sections
            kept["validation"] = chosen.validation
        return kept

    def restore(self, get: Callable[[str, Any], Any]) -> None:
        """Show the defaults, but for what ``get`` gives by its name; it is handed a default."""
        self.show_settings(None)
        defaults = TrainSettings()
        bundled, start = self.start.text, str(get("start", ""))
        if start:
            self.start.choose(start)
            if self.start.config is None and not is_hub_id(start):  # it is not there any more
                self.start.choose(bundled)
        self.from_random.setChecked(bool(get("from_random", False)) or not self.start.text)
        self.context.choose_known(str(get("context", "")) or None)
        self.epochs.show_value(int(get("epochs", defaults.epochs)))
        self.validation.choose_known(str(get("validation", defaults.validation)))
        self.show_device(str(get("device", defaults.device)))
        encoder = str(get("encoder", ""))
        if encoder in _ENCODER:
            self.encoder.show_value(encoder)
            self._encoder_chosen = True
        self._update()

    def show_device(self, name: str) -> None:
        """Choose a device, whether or not it was found on this machine."""
        if self.device.findText(name) < 0:
            self.device.addItem(name)
        self.device.setCurrentText(name)

    def set_sections(self, genes: Mapping[str, Collection[str]]) -> None:
        """Tell which genes each section has that trains or validates, by its name."""
        self.genes.set_sections(genes)

    def set_validated(self, names: tuple[str, ...]) -> None:
        """Sections that the table sets aside to choose the epoch; empty to leave it to a rule."""
        if names != self._validated:
            self._validated = names
            self._update()

    def close_down(self) -> None:
        """Hear of no more models."""
        model_news.model_added.disconnect(self._offer_known_models, missing_ok=True)

    def _update(self) -> None:
        random = self.from_random.isChecked()
        self.start.setEnabled(not random)
        if not self._encoder_chosen:
            self.encoder.blockSignals(True)  # this is no choice of the user's
            self.encoder.show_value(
                "whole" if random and not self.more["encoder_weights"].value() else "frozen"
            )
            self.encoder.blockSignals(False)
        if self._validated:
            self.validation.show_value("table")
        elif self.validation.value() == "table":
            self.validation.show_value("auto")
        self.validation.setEnabled(not self._validated)
        self.validation.setToolTip(
            _TABLE_VALIDATES
            if self._validated
            else "What is set aside to choose the epoch; the role validate in the table names it"
        )
        rule = self.panel.value()
        self.panel.setItemText(0, "250 of the highest mean count" if random else _PANEL[None])
        self._form.setRowVisible(self.n_genes, rule not in (None, "given"))
        self._form.setRowVisible(self.genes, rule == "given")
        for name in _of_panel():
            self.more[name].setEnabled(rule is not None)
        self.changed.emit()

    def _offer_known_models(self, _folder: str = "") -> None:
        for name in known_models():
            if self.start.name.findText(name) < 0:
                self.start.name.addItem(name)

    def _on_start(self, _config: ModelConfig | None) -> None:
        self._update()

    def _on_encoder(self) -> None:
        self._encoder_chosen = True
        self._update()

    # --- appearance ---

    def _lay_out(self) -> None:
        form = self._form = QFormLayout()
        form.addRow("Start model", self.start)
        form.addRow("", self.from_random)
        form.addRow("Encoder", self.encoder)
        form.addRow("Context", self.context)
        form.addRow("Epochs", self.epochs)
        form.addRow("Validation", self.validation)
        form.addRow("Panel", self.panel)
        form.addRow("Genes", self.n_genes)
        form.addRow("Genes", self.genes)
        form.addRow("Device", self.device)
        typed: Any = self.start.name.lineEdit()  # Qt asks it, not the list, for what to say
        typed.setToolTip(self.start.name.toolTip())
        without_wheel(self.device)
        without_wheel(self.start.name)
        inside = QWidget()
        rest = QFormLayout(inside)
        rest.setContentsMargins(0, 0, 0, 0)
        for title, of, texts in MORE:
            rest.addRow(MarkupLabel(f"<b>{title}</b>"))
            for name, (label, tip) in texts.items():
                control = (
                    FileLine("Weights of the encoder")
                    if name == "encoder_weights"
                    else control_for(of, name, PUBLISHED.get(name, "start model's"))
                )
                control.setToolTip(tip)
                self.more[name] = control
                rest.addRow(label, control)
        rest.addRow(self.trust_positions)
        line = QHBoxLayout()
        line.addStretch()
        line.addWidget(self.reset)
        rest.addRow(line)
        self.folded = Folded("More", inside, "Everything else that shapes a training")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addWidget(self.folded)

    def _connect(self) -> None:
        self.start.chosen.connect(self._on_start)
        self.encoder.currentIndexChanged.connect(self._on_encoder)
        self.reset.clicked.connect(lambda: self.show_settings(None))
        self.genes.changed.connect(self.changed)
        self.from_random.toggled.connect(self._update)
        self.device.currentTextChanged.connect(self.changed)
        for box in (self.context, self.validation, self.panel):
            box.currentIndexChanged.connect(self._update)
        lines: list[Control] = [self.epochs, self.n_genes, *self.more.values()]
        for line in lines:
            for signal in ("textChanged", "currentIndexChanged", "toggled", "changed"):
                if hasattr(line, signal):
                    getattr(line, signal).connect(self._update)
        model_news.model_added.connect(self._offer_known_models)
        # Not a method of the widget: Qt calls none of those once the widget is gone.
        forget = self._offer_known_models
        self.destroyed.connect(lambda: model_news.model_added.disconnect(forget, missing_ok=True))


def _of_panel() -> tuple[str, ...]:
    return ("leave_out_ribosomal", "leave_out_mitochondrial")
