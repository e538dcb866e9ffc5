"""Settings of a cohort, as the *Cohort* dock offers them."""

from qtpy.QtWidgets import QCheckBox, QPushButton

from napari_nh2st.cohort.settings import CohortSettings
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.predict.gene_field import GeneField
from napari_nh2st.widgets.settings_form import SettingsForm

_OFFERED = ("genes", "pitch_um", "min_tissue", "tissue_only", "any_stain")


class CohortSettingsForm(SettingsForm):
    """What rarely changes from run to run.

    Parameters
    ----------
    device
        Picker of the device.

    Attributes
    ----------
    genes, device
        Genes to predict, and where.
    overwrite
        Whether predictions of other settings that are in the folder are replaced.
    reset
        Button to bring the defaults back; the dock, which remembers the settings, connects it.
    """

    def __init__(self, device: DevicePicker) -> None:
        super().__init__()
        self.genes, self.device = GeneField(), device
        self.add_rows(PredictSettings, ("step_um",))
        self.add_rows(PredictSettings, _OFFERED, {"genes": self.genes})
        self.add_rows(PredictSettings, ("device",), {"device": device})
        self.add_rows(CohortSettings, ("format",))
        self.overwrite = QCheckBox("Replace results of other settings")
        self.overwrite.setToolTip(
            "Predict slides again whose result in the folder is of another model, of other "
            "settings or of another state of the slide; else they fail, and the result stays"
        )
        self.reset = QPushButton("Reset settings")
        self.reset.setToolTip("All settings of this widget as they were at first")
        self.form.addRow("", self.overwrite)
        self.form.addRow(self.reset)

    def chosen(self) -> tuple[PredictSettings, CohortSettings]:
        """The settings that the controls stand for.

        Raises
        ------
        InputError
            The panel lacks a gene, or a setting cannot be used.
        """
        predict = PredictSettings(**self.values(PredictSettings))
        return predict, CohortSettings(**self.values(CohortSettings))
