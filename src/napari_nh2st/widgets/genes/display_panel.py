"""Controls of the display of genes."""

from dataclasses import replace
from typing import Any

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QPushButton
from superqt import QDoubleSlider

from napari_nh2st.options import settings_of
from napari_nh2st.session.connections import Connections
from napari_nh2st.session.display import Display
from napari_nh2st.session.display_settings import COLORMAPS, DisplaySettings
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.setting_controls import ChoiceBox
from napari_nh2st.widgets.settings_form import SettingsForm


class DisplayPanel(SettingsForm):
    """Shows and changes the settings of a display.

    Parameters
    ----------
    display
        Has the settings.
    connections
        Connections of the dock.
    """

    def __init__(self, display: Display, connections: Connections) -> None:
        super().__init__()
        self._display = display
        self.limits = ChoiceBox({False: "per gene", True: "shared between layers"})
        self.surface = ChoiceBox({False: "grid", True: "smoothed"})
        self.opacity, self.colormap = _OpacitySlider(), _ColormapBox()
        self.reset = QPushButton("Reset settings")
        self.reset.setToolTip(
            "Reset the display and the threshold of reliability, including limits set by hand. "
            "Your settings are remembered until then"
        )
        own: dict[str, Any] = {
            "shared_limits": self.limits,
            "smooth": self.surface,
            "opacity": self.opacity,
            "colormap": self.colormap,
        }
        for name, setting in settings_of(DisplaySettings).items():
            self.add_control(setting, own.get(name)).setToolTip(setting.option.tooltip)
        self.fade = self.controls["fade"]  # laid out by whoever says that it can fade
        self.low, self.high = self.controls["low_percentile"], self.controls["high_percentile"]
        percentiles = QHBoxLayout()
        percentiles.addWidget(self.low, 1)
        percentiles.addWidget(PlainLabel("to"))
        percentiles.addWidget(self.high, 1)
        drawing = QHBoxLayout()
        drawing.addWidget(self.colormap, 1)
        drawing.addWidget(self.surface, 1)
        self.form.addRow("Percentiles", percentiles)
        self.form.addRow("Limits", self.limits)
        self.form.addRow("Colors", drawing)
        self.form.addRow("Opacity", self.opacity)
        self.form.addRow(self.reset)
        self.reset.clicked.connect(display.reset)
        self.changed.connect(self._apply)
        connections.add(display.changed, self.show_settings)
        connections.when_opened(lambda: self.show_settings(display.settings))

    def settings(self) -> DisplaySettings:
        """What the controls say."""
        return replace(self._display.settings, **self.values(DisplaySettings))

    def show_settings(self, settings: DisplaySettings) -> None:
        """Set the controls."""
        with self.changed.blocked():
            self.show_values(settings)

    def _apply(self) -> None:
        self._display.apply(self.settings())


class _OpacitySlider(QDoubleSlider):
    """An opacity from 0 to 1."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)  # type: ignore[no-untyped-call]
        self.setRange(0, 1)
        self.setSingleStep(0.01)
        self.setPageStep(0.1)
        self.valueChanged.connect(lambda _value: self.changed.emit())

    def show_value(self, opacity: float) -> None:
        """Show an opacity."""
        self.setValue(opacity)


class _ColormapBox(ChoiceBox):
    """One of the uniform colormaps, or another that was chosen in napari's own controls."""

    def __init__(self) -> None:
        super().__init__({name: name for name in COLORMAPS})

    def show_value(self, value: Any) -> None:
        """Choose a colormap."""
        if self.findData(value) < 0:
            self.addItem(value, value)
        super().show_value(value)
