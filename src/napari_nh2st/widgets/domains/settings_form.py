"""Settings of a search for domains, as the *Domains* tab offers them."""

from dataclasses import replace
from typing import Any

from psygnal import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QWidget

from napari_nh2st.analysis.domain_settings import DomainSettings
from napari_nh2st.options import settings_of
from napari_nh2st.session.remembered import usual_values
from napari_nh2st.widgets.setting_controls import NumberBox
from napari_nh2st.widgets.settings_form import SettingsForm


class DomainSettingsForm(SettingsForm):
    """The controls that become :class:`~napari_nh2st.analysis.domains.DomainSettings`.

    Attributes
    ----------
    method, n_domains, only_reliable, least_reliability, smoothness, image_weight, refine, seed
        Controls by what they are about.
    """

    def __init__(self) -> None:
        super().__init__()
        reliable = _LeastReliability()
        self.add_rows(
            DomainSettings,
            ("method", "n_domains", "min_reliability"),
            {"min_reliability": reliable},
        )
        for names in (("spatial_weight",), ("image_weight",), ("refine", "seed")):
            self.add_rows(DomainSettings, names)
        self.only_reliable, self.least_reliability = reliable.only, reliable.least
        self.method, self.n_domains = self.controls["method"], self.controls["n_domains"]
        self.smoothness, self.seed = self.controls["spatial_weight"], self.controls["seed"]
        self.refine, self.image_weight = self.controls["refine"], self.controls["image_weight"]
        self._threshold = self.least_reliability.value()
        for name, value in usual_values("domains").items():
            if name in self.controls:
                self.controls[name].show_value(value)

    def chosen(self) -> DomainSettings:
        """The settings that the controls stand for."""
        return DomainSettings(**self.values(DomainSettings))

    def offer_image(self, has_features: bool) -> None:
        """Let the look of the tiles count, or say why it cannot: it was not kept."""
        self.offer(
            "image_weight",
            ""
            if has_features
            else "Not available: this prediction has no image features. Predict again with “Keep "
            "image features”",
        )

    def follow_threshold(self, threshold: float) -> None:
        """Take over the reliability that counts elsewhere, unless another was chosen here."""
        if self.least_reliability.value() == self._threshold:
            self.least_reliability.setValue(threshold)
            self._threshold = self.least_reliability.value()


class _LeastReliability(QWidget):
    """Whether only genes of a least reliability count, and of which."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        setting = settings_of(DomainSettings)["min_reliability"]
        self.only = QCheckBox("reliable from")
        self.only.setToolTip("Leave out genes that the model predicts badly")
        self.least = NumberBox(replace(setting, optional=False))
        self.least.setToolTip(
            f"{setting.option.help}; the threshold of the Genes tab until you change it here"
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.only)
        layout.addWidget(self.least, 1)
        self.show_value(setting.default)
        self.only.toggled.connect(self._on_toggled)
        self.least.changed.connect(self.changed)

    def value(self) -> Any:
        """The least reliability; None where all genes are used."""
        return self.least.value() if self.only.isChecked() else None

    def show_value(self, value: float | None) -> None:
        """Show a least reliability, or that all genes are used."""
        self.only.setChecked(value is not None)
        if value is not None:
            self.least.setValue(value)

    def _on_toggled(self, only: bool) -> None:
        self.least.setEnabled(only)
        self.changed.emit()
