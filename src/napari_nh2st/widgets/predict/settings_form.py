"""Settings of a prediction, as the *Predict* dock offers them."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtWidgets import QCheckBox, QFormLayout, QHBoxLayout, QPushButton, QWidget

from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.number_box import number_box
from napari_nh2st.widgets.predict.gene_field import GeneField
from napari_nh2st.widgets.predict.kept_results import ForgetButton

_DEFAULT_PITCH = 0.0
"""As in training."""


class PredictSettingsForm(QWidget):
    """What rarely changes from run to run: genes, pitch, tissue, device and kept results.

    Parameters
    ----------
    device
        Picker of the device.

    Attributes
    ----------
    genes, pitch, min_tissue, all_tiles, any_stain, device
        Stand for fields of :class:`~napari_nh2st.inference.settings.PredictSettings`.
    keep, keep_gb, forget
        Whether results are kept, how many at most, and what deletes them.
    reset
        For whoever remembers the settings.
    changed
        Emitted when a setting is another.
    """

    changed = Signal()

    def __init__(self, device: DevicePicker, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.genes = GeneField()
        self.pitch = number_box(0.0, 1000.0, 1, " µm", "as in training")
        self.pitch.setToolTip("Distance between tiles; smaller is a finer heatmap and takes longer")
        self.min_tissue = number_box(0.0, 1.0, 2, "", "any")
        self.min_tissue.setValue(PredictSettings().min_tissue)
        self.min_tissue.setSingleStep(0.05)
        self.min_tissue.setToolTip("Share of a tile that has to be tissue")
        self.all_tiles = QCheckBox("All tiles, glass too")
        self.all_tiles.setToolTip("Do not look for tissue")
        self.any_stain = QCheckBox("Allow slides that are not H&&E")
        self.any_stain.setToolTip("Predict what the model was not made for, such as fluorescence")
        self.device = device
        self.keep = QCheckBox("Keep results")
        self.keep.setChecked(True)
        self.keep.setToolTip(
            "Keep what was computed on this machine, so that it is never computed again"
        )
        self.keep_gb = number_box(0.1, 1000.0, 1, " GB", "")
        self.keep_gb.setValue(4.0)
        self.keep_gb.setToolTip("Beyond this, results that were not used for longest are deleted")
        self.forget = ForgetButton()
        self.reset = QPushButton("Reset settings")
        self.reset.setToolTip("All settings of this widget as they were at first")
        kept = QHBoxLayout()
        kept.addWidget(self.keep)
        kept.addWidget(self.keep_gb)
        form = QFormLayout(self)
        form.addRow("Genes", self.genes)
        form.addRow("Pitch", self.pitch)
        form.addRow("Tissue", self.min_tissue)
        form.addRow("", self.all_tiles)
        form.addRow("", self.any_stain)
        form.addRow("Device", self.device)
        form.addRow("", kept)
        form.addRow(self.forget)
        form.addRow(self.reset)
        for signal in (
            self.genes.line.textChanged,
            self.pitch.valueChanged,
            self.min_tissue.valueChanged,
            self.all_tiles.toggled,
            self.any_stain.toggled,
            self.device.currentTextChanged,
            self.keep.toggled,
            self.keep_gb.valueChanged,
        ):
            signal.connect(lambda *_: self.changed.emit())

    def chosen(self, region: tuple[NDArray[Any], ...]) -> PredictSettings:
        """The settings that the controls stand for.

        Parameters
        ----------
        region
            Polygons, each (n, 2) corners (y, x) in full-resolution pixels; empty for the slide.

        Raises
        ------
        InputError
            The panel lacks a gene, or a setting cannot be used.
        """
        return PredictSettings(
            genes=self.genes.checked() or None,
            region=region,
            pitch_um=self.pitch.value() or None,
            min_tissue=self.min_tissue.value(),
            tissue_only=not self.all_tiles.isChecked(),
            device=self.device.currentText(),
            order="coarse-to-fine",
            any_stain=self.any_stain.isChecked(),
        )

    def to_remember(self) -> dict[str, Any]:
        """What the next session shall begin with."""
        return {
            "device": self.device.currentText(),
            "pitch_um": self.pitch.value(),
            "min_tissue": self.min_tissue.value(),
            "all_tiles": self.all_tiles.isChecked(),
            "any_stain": self.any_stain.isChecked(),
            "keep": self.keep.isChecked(),
            "keep_gb": self.keep_gb.value(),
        }

    def restore(self, get: Callable[[str, Any], Any]) -> None:
        """Set the controls; ``get`` gives a value by its name, or the default it is handed."""
        defaults = PredictSettings()
        self.device.choose(str(get("device", defaults.device)))
        self.pitch.setValue(float(get("pitch_um", _DEFAULT_PITCH)))
        self.min_tissue.setValue(float(get("min_tissue", defaults.min_tissue)))
        self.keep.setChecked(bool(get("keep", True)))
        self.keep_gb.setValue(float(get("keep_gb", 4.0)))
        self.all_tiles.setChecked(bool(get("all_tiles", not defaults.tissue_only)))
        self.any_stain.setChecked(bool(get("any_stain", defaults.any_stain)))
        self.genes.line.clear()
