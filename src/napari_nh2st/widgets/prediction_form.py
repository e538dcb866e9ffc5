"""Settings of predictions that the *Predict* and the *Cohort* dock both offer."""

from collections.abc import Collection
from typing import Any

from qtpy.QtWidgets import QFormLayout

from napari_nh2st.inference.nuclei_limit import why_no_nuclei
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.options import settings_of
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.predict.features_line import FeaturesLine
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
)


class PredictionForm(SettingsForm):
    """What rarely changes from run to run, and the features that some models take.

    Parameters
    ----------
    device
        Picker of the device.

    Attributes
    ----------
    features, genes, device
        Stand for fields of :class:`~napari_nh2st.inference.settings.PredictSettings`; the first has
        no row here.
    """

    def __init__(self, device: DevicePicker) -> None:
        super().__init__()
        self.features, self.genes, self.device = FeaturesLine(), GeneField(), device
        self.add_control(settings_of(PredictSettings)["features"], self.features)

    def add_prediction_rows(self, first: Collection[str] = ()) -> None:
        """Add the rows: some further fields, what both docks offer, device and precision."""
        self.add_rows(PredictSettings, first)
        self.add_rows(PredictSettings, _OFFERED, {"genes": self.genes})
        self.add_rows(PredictSettings, ("device", "precision"), {"device": self.device})

    def show_for(self, config: ModelConfig | None, form: QFormLayout) -> None:
        """Offer what a model can give, and ask for the features that it takes.

        Parameters
        ----------
        config
            Of the model; None without one, where all can be chosen.
        form
            Has the line for the features.
        """
        self.features.show_for(config, form)
        self.genes.set_panel(config.panel if config is not None else ())
        no_heads = config is not None and config.heads is None
        self.offer(
            "head_values",
            "Not available: this model has no heads of a cross-validation" if no_heads else "",
        )
        self.offer("nuclei", "" if config is None else why_no_nuclei(config))

    def prediction(self, **more: Any) -> PredictSettings:
        """The settings that the controls stand for.

        Raises
        ------
        InputError
            The panel lacks a gene, or a setting cannot be used.
        """
        values = self.values(PredictSettings)
        if self.features.is_needed:  # the tiles are those that have features
            values |= {"step_um": None, "pitch_um": None}
        return PredictSettings(**values, **more)
