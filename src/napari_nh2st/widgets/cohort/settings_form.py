"""Settings of a cohort, as the *Cohort* dock offers them."""

from importlib.util import find_spec

from qtpy.QtWidgets import QCheckBox

from napari_nh2st.cohort.settings import CohortSettings
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.prediction_form import PredictionForm

_WITH_WORKERS = ("workers", "scheduler")
_NO_WORKERS = (
    "To predict several slides at the same time, here or on a cluster: "
    "pip install 'napari-nh2st[distributed]'"
)


class CohortSettingsForm(PredictionForm):
    """What rarely changes from run to run.

    Parameters
    ----------
    device
        Picker of the device.

    Attributes
    ----------
    features, genes, device
        As in :class:`~napari_nh2st.widgets.prediction_form.PredictionForm`.
    without_workers
        What to install for several workers; empty where they are offered.
    overwrite
        Whether predictions of other settings that are in the folder are replaced.
    reset
        Button to bring the defaults back; the dock, which remembers the settings, connects it.
    """

    def __init__(self, device: DevicePicker) -> None:
        super().__init__(device)
        self.add_prediction_rows(first=("step_um",))
        self.add_rows(CohortSettings, ("format",))
        self.without_workers = PlainLabel(wrap=True, fits=True)
        if find_spec("distributed") is not None:
            self.add_rows(CohortSettings, _WITH_WORKERS)
        else:
            self.without_workers.setText(_NO_WORKERS)
            self.form.addRow(self.without_workers)
        self.overwrite = QCheckBox("Replace results of other settings")
        self.overwrite.setToolTip(
            "Predict slides again if their result in the folder is from another model, other "
            "settings or another state of the slide; otherwise they fail, and the result stays"
        )
        self.form.addRow("", self.overwrite)
        self.reset = self.add_reset()

    def reset_unremembered(self) -> None:
        """Show the defaults of what holds for one session of napari."""
        self.genes.show_value(None)
        self.overwrite.setChecked(False)

    def chosen(self) -> tuple[PredictSettings, CohortSettings]:
        """The settings that the controls stand for.

        Raises
        ------
        InputError
            The panel lacks a gene, or a setting cannot be used.
        """
        return self.prediction(), CohortSettings(**self.values(CohortSettings))
