"""Controls of the display of genes."""

from dataclasses import replace

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QSlider,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_nh2st.session.display import COLORMAPS, Display, DisplaySettings
from napari_nh2st.widgets.connections import Connections
from napari_nh2st.widgets.labels import PlainLabel

_STEPS = 100


class DisplayPanel(QWidget):
    """Shows and changes the settings of a display.

    Parameters
    ----------
    display
        Has the settings.
    connections
        Of the dock.
    """

    def __init__(
        self, display: Display, connections: Connections, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._display = display
        self.low = _percentile_box(0.0, 49.0, "Percentile of the values that the colors begin at")
        self.high = _percentile_box(51.0, 100.0, "Percentile of the values that the colors end at")
        self.limits = QComboBox()
        self.limits.addItems(["per gene", "shared between layers"])
        self.limits.setToolTip(
            "Limits of each gene's own values, or the same for the heatmap and all pinned genes"
        )
        self.surface = QComboBox()
        self.surface.addItems(["grid", "smoothed"])
        self.surface.setToolTip("One square per tile, or interpolated between tiles")
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, _STEPS)
        self.opacity.setToolTip("Opacity of the heatmap over the slide")
        self.colormap = QComboBox()
        self.colormap.addItems(list(COLORMAPS))
        self.colormap.setToolTip("Colormap of the heatmap; these are perceptually uniform")
        self.reset = QPushButton("Reset settings")
        self.reset.setToolTip(
            "Draw as in the beginning, with the first threshold of reliability; gives up limits "
            "set by hand. What is set here is remembered until then"
        )
        percentiles = QHBoxLayout()
        percentiles.addWidget(self.low, 1)
        percentiles.addWidget(PlainLabel("to"))
        percentiles.addWidget(self.high, 1)
        drawing = QHBoxLayout()
        drawing.addWidget(self.colormap, 1)
        drawing.addWidget(self.surface, 1)
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addRow("Percentiles", percentiles)
        layout.addRow("Limits", self.limits)
        layout.addRow("Colors", drawing)
        layout.addRow("Opacity", self.opacity)
        layout.addRow(self.reset)
        for box in (self.low, self.high):
            box.valueChanged.connect(self._apply)
        for choice in (self.limits, self.surface, self.colormap):
            choice.activated.connect(self._apply)
        self.opacity.valueChanged.connect(self._apply)
        self.reset.clicked.connect(display.reset)
        connections.add(display.changed, self.show_settings)
        connections.when_opened(lambda: self.show_settings(display.settings))

    def settings(self) -> DisplaySettings:
        """What the controls say."""
        former = self._display.settings
        opacity = self.opacity.value() / _STEPS
        return replace(
            former,
            percentiles=(self.low.value(), self.high.value()),
            shared=self.limits.currentIndex() == 1,
            smooth=self.surface.currentIndex() == 1,
            # The slider is coarser than an opacity that was set elsewhere.
            opacity=opacity
            if round(former.opacity * _STEPS) != self.opacity.value()
            else former.opacity,
            colormap=self.colormap.currentText(),
        )

    def show_settings(self, settings: DisplaySettings) -> None:
        """Set the controls."""
        with signals_blocked(self.low), signals_blocked(self.high), signals_blocked(self.opacity):
            self.low.setValue(settings.percentiles[0])
            self.high.setValue(settings.percentiles[1])
            self.opacity.setValue(round(settings.opacity * _STEPS))
        # Of these only what the user chooses is heard.
        self.limits.setCurrentIndex(int(settings.shared))
        self.surface.setCurrentIndex(int(settings.smooth))
        if self.colormap.findText(settings.colormap) < 0:  # chosen in napari's own controls
            self.colormap.addItem(settings.colormap)
        self.colormap.setCurrentText(settings.colormap)

    def _apply(self) -> None:
        self._display.apply(self.settings())


def _percentile_box(low: float, high: float, tooltip: str) -> QDoubleSpinBox:
    box = QDoubleSpinBox()
    box.setRange(low, high)
    box.setDecimals(1)
    box.setToolTip(tooltip)
    return box
