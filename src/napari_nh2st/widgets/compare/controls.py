"""The controls of the *Compare* widget."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QAction, QKeySequence  # type: ignore[attr-defined]  # qtpy re-exports
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.model.sources import bundled_models, is_hub_id
from napari_nh2st.session.measured_layers import KINDS, Kind
from napari_nh2st.widgets.child_jobs import Jobs
from napari_nh2st.widgets.compare.color_scale import ColorScale
from napari_nh2st.widgets.compare.fix import FixBox
from napari_nh2st.widgets.compare.gene_table import ComparisonTable
from napari_nh2st.widgets.compare.measured_source import MeasuredSource
from napari_nh2st.widgets.compare.mpp_box import MppBox
from napari_nh2st.widgets.compare.other_slide import OtherSlide
from napari_nh2st.widgets.compare.scatter import GeneScatter
from napari_nh2st.widgets.connections import Connections
from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.export_button import ExportButton
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.model_picker import ModelPicker
from napari_nh2st.widgets.remembered import Remembered
from napari_nh2st.widgets.scrolled import scroll_within
from napari_nh2st.widgets.slide_choice import SlideChoice

if TYPE_CHECKING:
    import napari

_KIND_TIPS: dict[Kind, str] = {
    "measured": "What was measured, as the model's training has it",
    "predicted": "What the model predicts at the spots, in the colours of the measured",
    "residual": "Predicted minus measured: teal where the model says more, brown where less",
}


class CompareControls(QWidget):
    """What can be chosen and read, top to bottom as it is used.

    Parameters
    ----------
    napari_viewer
        The viewer it is docked in.
    parent
        Of the widget.
    """

    def __init__(self, napari_viewer: "napari.Viewer", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = napari_viewer
        self.connections = Connections()
        self.slide = SlideChoice(napari_viewer, self.connections)
        self.current = CurrentPrediction(napari_viewer)
        self.source = MeasuredSource()
        self.other_slide = OtherSlide()
        self.fix_box = FixBox()
        self.mpp_box = MppBox()
        self.model = ModelPicker()
        self.device = DevicePicker(self.idle_jobs)
        self.reset = QPushButton("Reset")
        self.reset.setToolTip("Model and device as they were at first")
        self.run = QPushButton("Compare")
        self.run.setToolTip("Predict the section at its spots and score every gene (F6)")
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop after the batch under way (Shift+F6)")
        self.bar = QProgressBar()
        self.bar.setToolTip("Spots predicted")
        self.status = _Text()
        self.notices = _Text()
        self.kinds: dict[Kind, QRadioButton] = {}
        self._group = QButtonGroup(self)
        for kind in KINDS:
            button = QRadioButton(kind.capitalize())
            button.setToolTip(_KIND_TIPS[kind])
            self.kinds[kind] = button
            self._group.addButton(button)
        self.beside = QCheckBox("Side by side")
        self.beside.setToolTip(
            "Measured on the left, predicted or the residual on the right, moved and zoomed "
            "together"
        )
        self.scale = ColorScale()
        self.scale.setToolTip("Values of the colours shown")
        self.unit = _Text()
        self.summary = _Text()
        self.summary.setTextFormat(Qt.TextFormat.RichText)  # escaped by who writes it
        self.summary.setToolTip("Over all genes that vary; the interval is over resampled spots")
        self.genes = ComparisonTable()
        self.scatter = GeneScatter()
        self.export = ExportButton()
        self.report = QPushButton("Write report…")
        self.report.setToolTip(
            "Write a folder: scores, the prediction with what was measured, maps and the genes' PCC"
        )
        self._remembered = Remembered("compare")
        self._is_remembering = True
        self._restore(self._remembered.get)
        self.model.chosen.connect(self._remember_model)
        self.device.currentTextChanged.connect(self._remember_device)
        self.reset.clicked.connect(self.reset_settings)
        self._lay_out()
        for key, pressed in (("F6", self.run), ("Shift+F6", self.cancel)):
            action = QAction(pressed.text(), self)
            action.setShortcut(QKeySequence(key))
            # Other docks of the window have keys of their own.
            action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            action.triggered.connect(pressed.click)
            self.addAction(action)

    def idle_jobs(self) -> Jobs | None:
        """What runs jobs, while it runs none."""
        raise NotImplementedError

    # --- what the next session begins with ---

    def reset_settings(self) -> None:
        """Model and device as at first; this is what the next session begins with."""
        self._remembered.reset()
        self._is_remembering = False
        self._restore(lambda _name, default: default)
        self._is_remembering = True

    def offer_model(self, name: str) -> None:
        """Take a model that the user has not chosen here: it is not remembered."""
        self._is_remembering = False
        self.model.choose(name)
        self._is_remembering = True

    def _remember_device(self, device: str) -> None:
        if self._is_remembering:
            self._remembered.set(device=device)

    def _remember_model(self, _config: Any = None) -> None:
        # A name that is still being typed is that of no model.
        if self._is_remembering and (self.model.config is not None or is_hub_id(self.model.text)):
            self._remembered.set(model=self.model.text)

    def _restore(self, get: Callable[[str, Any], Any]) -> None:
        """Set the controls; ``get`` gives a value by its name, or the default it is handed."""
        bundled = next(iter(bundled_models()), "")
        self.model.choose(str(get("model", bundled)) or bundled)
        # A folder may not be there any more.
        if self.model.config is None and bundled and not is_hub_id(self.model.text):
            self.model.choose(bundled)
        device = str(get("device", PredictSettings().device))
        if self.device.findText(device) < 0:
            self.device.addItem(device)
        self.device.setCurrentText(device)

    # --- appearance ---

    def _lay_out(self) -> None:
        device = QHBoxLayout()
        device.addWidget(self.device, 1)
        device.addWidget(self.reset)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Slide", self.slide.picker)
        form.addRow("µm/px", self.slide.mpp)
        form.addRow("Measured", self.source)
        form.addRow(self.source.summary)
        form.addRow(self.source.parts)
        form.addRow(self.other_slide)
        form.addRow(self.mpp_box)
        form.addRow(self.fix_box)
        form.addRow("Model", self.model)
        form.addRow("Device", device)
        buttons = QHBoxLayout()
        buttons.addWidget(self.run)
        buttons.addWidget(self.cancel)
        kinds = QHBoxLayout()
        for button in self.kinds.values():
            kinds.addWidget(button)
        kinds.addStretch()
        files = QHBoxLayout()
        files.addWidget(self.export)
        files.addWidget(self.report)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.addLayout(form)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        layout.addWidget(self.summary)
        layout.addWidget(self.notices)
        layout.addLayout(kinds)
        layout.addWidget(self.beside)
        layout.addWidget(self.scale)
        layout.addWidget(self.unit)
        layout.addWidget(self.genes)
        layout.addWidget(self.scatter)
        layout.addLayout(files)
        layout.addStretch()
        area = scroll_within(self, content)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.setMinimumWidth(340)


class _Text(PlainLabel):
    """Text to read and to copy; takes no room without any."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.hide()

    def setText(self, text: str | None) -> None:  # Qt's name
        super().setText(text)
        self.setVisible(bool(text))
