"""Settings of a prediction, as the *Predict* dock offers them."""

from typing import Any

from numpy.typing import NDArray
from qtpy.QtWidgets import QHBoxLayout

from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.options import settings_of
from napari_nh2st.session.remembered import KEEP, KEEP_GB
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.predict.detail_choice import DetailChoice
from napari_nh2st.widgets.predict.forget_button import ForgetButton
from napari_nh2st.widgets.prediction_form import PredictionForm


class PredictSettingsForm(PredictionForm):
    """What rarely changes from run to run: genes, pitch, tissue, device and kept results.

    Parameters
    ----------
    device
        Picker of the device.
    detail
        Choice of the step; it has no row here.

    Attributes
    ----------
    detail, features, genes, pitch, min_tissue, all_tiles, any_stain, device
        Stand for fields of :class:`~napari_nh2st.inference.settings.PredictSettings`.
    keep, keep_gb, forget
        Whether results are kept, how many at most, and what deletes them.
    reset
        Button to bring the defaults back; the dock, which remembers the settings, connects it.
    """

    def __init__(self, device: DevicePicker, detail: DetailChoice) -> None:
        super().__init__(device)
        self.detail = detail
        self.add_control(settings_of(PredictSettings)["step_um"], detail)
        self.forget = ForgetButton()
        self.add_prediction_rows()
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
        return self.prediction(region=region, order="coarse-to-fine")
