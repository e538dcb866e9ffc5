"""Settings of a prediction, as the *Predict* dock offers them."""

from typing import Any

from numpy.typing import NDArray
from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.options import settings_of
from napari_nh2st.session.remembered import KEEP, KEEP_GB
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.predict.detail_choice import DetailChoice
from napari_nh2st.widgets.predict.features_line import FeaturesLine
from napari_nh2st.widgets.predict.forget_button import ForgetButton
from napari_nh2st.widgets.predict.gene_field import GeneField
from napari_nh2st.widgets.settings_form import SettingsForm

_OFFERED = (
    "genes",
    "pitch_um",
    "min_tissue",
    "tissue_only",
    "head_values",
    "image_features",
    "nuclei",
    "any_stain",
    "device",
)


class PredictSettingsForm(SettingsForm):
    """What rarely changes from run to run: genes, pitch, tissue, device and kept results.

    Parameters
    ----------
    device
        Picker of the device.
    detail
        Choice of the step; it has no row here, and nor have the features.

    Attributes
    ----------
    detail, features, genes, pitch, min_tissue, all_tiles, any_stain, device
        Stand for fields of :class:`~napari_nh2st.inference.settings.PredictSettings`.
    keep, keep_gb, forget
        Whether results are kept, how many at most, and what deletes them.
    reset
        Button to bring the defaults back; the dock, which remembers the settings, connects it.
    """

    def __init__(
        self, device: DevicePicker, detail: DetailChoice, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.detail = detail
        self.features = FeaturesLine()
        self.add_control(settings_of(PredictSettings)["step_um"], detail)
        self.add_control(settings_of(PredictSettings)["features"], self.features)
        self.genes, self.device = GeneField(), device
        self.forget = ForgetButton()
        own = {"genes": self.genes, "device": device}
        self.add_rows(PredictSettings, _OFFERED[:-1], own)
        self.add_rows(PredictSettings, _OFFERED[-1:], own)
        kept = QHBoxLayout()
        for setting in (KEEP, KEEP_GB):
            kept.addWidget(self.add_control(setting))
        self.form.addRow("", kept)
        self.form.addRow(self.forget)
        self.reset = self.add_reset()
        self.pitch, self.min_tissue = self.controls["pitch_um"], self.controls["min_tissue"]
        self.all_tiles, self.any_stain = self.controls["tissue_only"], self.controls["any_stain"]
        self.keep, self.keep_gb = self.controls["keep"], self.controls["keep_gb"]

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
        values = self.values(PredictSettings)
        if self.features.is_needed:  # the tiles are those that have features
            values |= {"step_um": None, "pitch_um": None}
        return PredictSettings(**values, region=region, order="coarse-to-fine")
