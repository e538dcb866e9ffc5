"""The controls of the *Compare* widget."""

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QAction, QKeySequence  # type: ignore[attr-defined]  # qtpy re-exports
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QRadioButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.widgets.child_jobs import Jobs
from napari_nh2st.widgets.compare.fix import FixBox
from napari_nh2st.widgets.compare.layers import KINDS, Kind
from napari_nh2st.widgets.compare.scale import ColorScale
from napari_nh2st.widgets.compare.scatter import GeneScatter
from napari_nh2st.widgets.compare.source import MeasuredSource
from napari_nh2st.widgets.compare.table import ComparisonTable
from napari_nh2st.widgets.current_prediction import CurrentPrediction
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.export_button import ExportButton
from napari_nh2st.widgets.model_picker import ModelPicker
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
        self.slide = SlideChoice(napari_viewer)
        self.current = CurrentPrediction(napari_viewer)
        self.source = MeasuredSource()
        self.fix_box = FixBox()
        self.model = ModelPicker()
        self.device = DevicePicker(self.idle_jobs)
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
        self.summary.setToolTip("Over all genes that vary; the interval is over resampled spots")
        self.genes = ComparisonTable()
        self.scatter = GeneScatter()
        self.export = ExportButton()
        self.report = QPushButton("Write report…")
        self.report.setToolTip(
            "Write a folder: scores, the prediction with what was measured, maps and the genes' PCC"
        )
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

    def _lay_out(self) -> None:
        top = QFormLayout()
        top.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        top.addRow("Slide", self.slide.picker.native)
        top.addRow("µm/px", self.slide.mpp)
        top.addRow("Measured", self.source)
        model = QFormLayout()
        model.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        model.addRow("Model", self.model)
        model.addRow("Device", self.device)
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
        layout.addLayout(top)
        layout.addWidget(self.source.summary)
        layout.addWidget(self.fix_box)
        layout.addLayout(model)
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
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(content)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self.setMinimumWidth(340)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(area)


class _Text(QLabel):
    """Text to read and to copy; takes no room without any."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.hide()

    def setText(self, text: str | None) -> None:  # Qt's name
        super().setText(text)
        self.setVisible(bool(text))
