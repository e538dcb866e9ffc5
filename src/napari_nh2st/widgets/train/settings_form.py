"""Settings of a training as a form: the ones that matter, and the rest folded away."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QWidget
from superqt.utils import signals_blocked

from napari_nh2st.errors import InputError
from napari_nh2st.model.catalogue import DEFAULT_ARCHITECTURE, entry_of
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.encoders.key import DEFAULT_ENCODER, FEATURES, EncoderKey, parse_key
from napari_nh2st.model.sources import whole_path
from napari_nh2st.options import nested_values, settings_of
from napari_nh2st.session.remembered import (
    remembered_values,
    restored_values,
    usual_values,
    warn_once,
)
from napari_nh2st.spots import PanelSettings
from napari_nh2st.training.augmentation_settings import AugmentationSettings
from napari_nh2st.training.known_models import known_models
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.unused_settings import unused_settings
from napari_nh2st.user_config import config_path
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.folded import Folded
from napari_nh2st.widgets.model_picker import ModelPicker
from napari_nh2st.widgets.setting_controls import (
    ChoiceBox,
    FileLine,
    NumberLine,
    control_for,
    without_wheel,
)
from napari_nh2st.widgets.settings_form import SettingsForm
from napari_nh2st.widgets.train.encoder_picker import EncoderPicker
from napari_nh2st.widgets.train.given_genes import GivenGenes

NOT_OFFERED = ("devices",)
"""Several devices need a script that can be started once for each."""

_LEFT_OUT = ("leave_out_ribosomal", "leave_out_mitochondrial")
_TABLE_VALIDATES = "The sections whose role is validate choose the epoch"


def _usual_settings() -> TrainSettings:
    """Fine-tuning of the first known model, but for what the user's configuration says."""
    first = next(iter(known_models()), None)
    values = {"start": first, **usual_values("train")}
    if "rule" not in values and values["start"] is not None:  # the panel is the start model's
        values = {n: value for n, value in values.items() if n not in ("n_genes", *_LEFT_OUT)}
    try:
        return TrainSettings(**nested_values(TrainSettings, values))
    except InputError as error:
        warn_once(f"{config_path()}, [train]: {error}")
        return TrainSettings(start=first)


class TrainSettingsForm(SettingsForm):
    """Controls for everything that :class:`~napari_nh2st.training.TrainSettings` takes.

    Parameters
    ----------
    device
        Picker of the device.

    Rows of settings that the chosen architecture and encoder do not use are hidden; what was chosen
    there comes back with them.

    Attributes
    ----------
    start, from_random
        The start model, or none.
    encoder, context, epochs, validation, panel, n_genes, genes, device
        Controls of the settings that matter most.
    more
        Controls of those that are folded away, by name of the field; those of
        :class:`~napari_nh2st.training.AugmentationSettings` and
        :class:`~napari_nh2st.spots.PanelSettings` among them.
    trust_positions
        Whether sections are read with spots that seem turned or mirrored.
    reset
        Brings the defaults back.
    """

    def __init__(self, device: DevicePicker, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._encoder_chosen = False
        self._validated: tuple[str, ...] = ()
        options = {name: s.option for name, s in settings_of(TrainSettings).items()}
        panel = settings_of(PanelSettings)
        self.device = device
        self.start = ModelPicker()
        policy = self.start.sizePolicy()
        policy.setHeightForWidth(True)  # its note takes as many lines as it needs
        self.start.setSizePolicy(policy)
        self.from_random = QCheckBox("None: random weights")
        self.from_random.setToolTip(
            "Train a network that has learned nothing yet; this needs many sections"
        )
        # It shows what fits the start, rather than that it does.
        encoder = settings_of(TrainSettings)["encoder"]
        self.encoder = control_for(replace(encoder, optional=False, default="whole"))
        self.encoder.changed.connect(self._on_encoder)
        self.validation = ChoiceBox(
            {**options["validation"].words, "table": "as the roles in the table say"}
        )
        choices: Any = self.validation.model()
        choices.item(self.validation.findData("table")).setEnabled(False)  # it chooses itself
        self._validation_tip = f"{options['validation'].help}; the role validate names it"
        self.panel = ChoiceBox({None: options["panel"].special, **panel["rule"].option.words})
        self.panel.setToolTip(options["panel"].tooltip)
        self.n_genes = control_for(panel["n_genes"])
        self.genes = GivenGenes()
        self.trust_positions = QCheckBox("Trust positions")
        self.trust_positions.setToolTip(
            "Use the spots as they are, even if the tissue suggests that they are turned or "
            "mirrored"
        )
        self.reset = QPushButton("Defaults")
        self.reset.setToolTip("Reset all settings to the defaults, including remembered ones")
        self._lay_out()
        self.context, self.epochs = self.controls["context"], self.controls["epochs"]
        self.more = self._rest.controls
        self._connect()
        self.show_settings(None)

    # --- what was chosen ---

    def chosen(self) -> TrainSettings:
        """The settings that the controls stand for.

        Raises
        ------
        InputError
            Something typed is not a number, is out of its range, or two things do not go together.
        """
        values = self._rest.values(TrainSettings) | self.values(TrainSettings)
        values |= {"start": self._start(), "panel": self._panel()}
        values.setdefault("encoder", "frozen")  # it cannot be trained where it is not asked
        values["validation_sections"] = self._validated
        if self._validated:
            values["validation"] = "auto"
        return TrainSettings(**values)

    def _start(self) -> str | None:
        if self.from_random.isChecked():
            return None
        # The child process, and who resumes the run, may stand in another folder.
        return whole_path(self.start.value())

    def _panel(self) -> PanelSettings | None:
        rule, left_out = self.panel.value(), self._rest.values(PanelSettings)
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
        shown = settings or _usual_settings()
        if settings is None:
            self.trust_positions.setChecked(False)
            self.genes.show_value(())
        self.from_random.setChecked(shown.start is None)
        if shown.start is not None:
            self.start.choose(shown.start)
        panel = shown.panel or PanelSettings()
        self.panel.show_value(None if shown.panel is None else panel.rule)
        self.n_genes.show_value(panel.n_genes)
        if panel.genes:
            self.genes.show_value(panel.genes)
        for form in (self, self._rest):
            form.show_values(shown)
        self._rest.show_values(panel)
        self._encoder_chosen = settings is not None and settings.encoder is not None
        self._update()

    def to_remember(self) -> dict[str, Any]:
        """What the next session shall begin with; the settings have to be sound."""
        chosen = self.chosen()
        values = {**vars(chosen), "from_random": chosen.start is None}
        for name in self._unused():  # what was kept of it stays
            values.pop(name, None)
        if not self._encoder_chosen:
            values["encoder"] = None
        if self._validated:  # that is the table's choice, and holds for these sections
            del values["validation"]
        return remembered_values("train", values)

    def restore(self, get: Callable[[str, Any], Any]) -> None:
        """Show the defaults, but for what ``get`` gives by its name; it is handed a default."""
        self.show_settings(None)
        kept = restored_values("train", get)
        self.start.show_value(kept["start"])
        self.from_random.setChecked(kept["from_random"] or not self.start.text)
        for name in ("context", "epochs", "validation", "device"):
            self.controls[name].show_value(kept[name])
        if kept["encoder"]:
            self.encoder.show_value(kept["encoder"])
            self._encoder_chosen = True
        self._update()

    def set_sections(self, genes: Mapping[str, Collection[str]]) -> None:
        """Set which genes each section has that trains or validates, by its name."""
        self.genes.set_sections(genes)

    def set_validated(self, names: tuple[str, ...]) -> None:
        """Sections that the table sets aside to choose the epoch; empty to leave it to a rule."""
        if names != self._validated:
            self._validated = names
            self._update()

    @property
    def features(self) -> str | None:
        """Key of the features that are learned from in place of pixels; None where none are."""
        key = self._encoder_key()
        return str(key) if key is not None and key.kind == FEATURES else None

    def _encoder_key(self) -> EncoderKey | None:
        """Key of the image encoder, of the start model or chosen; None while it is being typed."""
        start = self._start_config()
        key = self.more["image_encoder"].value()
        if key is None and start is not None and start.encoder is not None:
            key = str(start.encoder["key"])
        with suppress(InputError):
            return parse_key(key or DEFAULT_ENCODER)
        return None

    def _start_config(self) -> ModelConfig | None:
        return None if self.from_random.isChecked() else self.start.config

    def _architecture(self) -> str:
        """Key of the architecture, of the start model or chosen."""
        if (chosen := self.controls["architecture"].value()) is not None:
            return str(chosen)
        start = self._start_config()
        return DEFAULT_ARCHITECTURE if start is None else start.architecture

    def _show_shapes(self) -> None:
        """Show what shapes are where none is typed."""
        start, architecture = self._start_config(), self._architecture()
        is_of_start = start is not None and start.architecture == architecture
        for name, default in entry_of(architecture).settings.items():
            if isinstance(control := self.more.get(name), NumberLine):
                control.setPlaceholderText("the start model's" if is_of_start else f"{default:g}")

    def _unused(self) -> frozenset[str]:
        """Settings that the chosen architecture and encoder do not use."""
        key, rank = self._encoder_key(), 0
        with suppress(InputError):  # it is still being typed
            rank = self.more["adapter_rank"].value() or 0
        kind = None if key is None else key.kind
        return unused_settings(self._architecture(), kind, self.encoder.value(), rank)

    def _update(self, *_value: Any) -> None:
        random = self.from_random.isChecked()
        self.start.setEnabled(not random)
        if not self._encoder_chosen:
            with signals_blocked(self.encoder):  # this is no choice of the user's
                sources = (self.more["encoder_weights"], self.more["image_encoder"])
                is_given = any(source.value() for source in sources)
                self.encoder.show_value("whole" if random and not is_given else "frozen")
        unused = self._unused()
        for form in (self, self._rest):
            form.hide_unused(unused)
        self._show_shapes()
        if self._validated:
            self.validation.show_value("table")
        elif self.validation.value() == "table":
            self.validation.show_value("auto")
        self.validation.setEnabled(not self._validated)
        self.validation.setToolTip(_TABLE_VALIDATES if self._validated else self._validation_tip)
        rule = self.panel.value()
        of_start = settings_of(TrainSettings)["panel"].option.special
        self.panel.setItemText(0, "250 with the highest mean count" if random else of_start)
        self.form.setRowVisible(self.n_genes, rule not in (None, "given"))
        self.form.setRowVisible(self.genes, rule == "given")
        for name in _LEFT_OUT:
            self.more[name].setEnabled(rule is not None)
        self.changed.emit()

    def _on_encoder(self) -> None:
        self._encoder_chosen = True

    def _on_changed(self, *_value: Any) -> None:
        self._update()

    # --- appearance ---

    def _lay_out(self) -> None:
        self.form.addRow("Start model", self.start)
        self.form.addRow("", self.from_random)
        own = {"encoder": self.encoder, "validation": self.validation, "device": self.device}
        main = ("architecture", "encoder", "context", "epochs", "validation", "device")
        self.add_rows(TrainSettings, main[:-1], own)
        self.form.addRow("Panel", self.panel)
        self.form.addRow("Genes", self.n_genes)
        self.form.addRow("Genes", self.genes)
        self.add_rows(TrainSettings, main[-1:], own)
        without_wheel(self.device)
        without_wheel(self.start.name)
        weights = FileLine("Weights of the encoder")
        weights.setToolTip(settings_of(TrainSettings)["encoder_weights"].option.tooltip)
        rest = {*settings_of(TrainSettings), *settings_of(AugmentationSettings), *_LEFT_OUT}
        rest -= {*main, *NOT_OFFERED, "start", "validation_sections"}
        self._rest = SettingsForm()
        about = settings_of(TrainSettings)["image_encoder"].option
        own = {
            "encoder_weights": weights,
            "image_encoder": EncoderPicker(about.special, about.tooltip),
        }
        self._rest.add_rows(TrainSettings, rest, own, headings=True)
        self._rest.form.addRow(self.trust_positions)
        line = QHBoxLayout()
        line.addStretch()
        line.addWidget(self.reset)
        self._rest.form.addRow(line)
        self.folded = Folded("More", self._rest, "Everything else that shapes a training")
        self.form.addRow(self.folded)

    def _connect(self) -> None:
        self.start.changed.connect(self._update)
        self.reset.clicked.connect(lambda: self.show_settings(None))
        self.from_random.toggled.connect(self._update)
        for part in (self.panel, self.n_genes, self.genes, self._rest):
            part.changed.connect(self._update)
