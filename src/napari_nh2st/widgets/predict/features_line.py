"""File of the features that a model takes, where it takes some."""

from qtpy.QtWidgets import QFileDialog, QFormLayout, QMenu

from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.options import settings_of
from napari_nh2st.widgets.setting_controls import FileLine


class FeaturesLine(FileLine):
    """A file or folder of features, typed or chosen; shown for a model that takes features.

    A control of ``features``: None for a model that takes pixels, whatever was typed before.
    """

    def __init__(self) -> None:
        option = settings_of(PredictSettings)["features"].option
        super().__init__("Features of the slide", "file, or folder with a file for each slide")
        self.setToolTip(option.tooltip)
        self.is_needed = False
        menu = QMenu(self)
        menu.addAction("File (.h5)…", self._browse_file)
        menu.addAction("Folder, or store (.zarr)…", self._browse_folder)
        self.browse.clicked.disconnect()
        self.browse.setMenu(menu)

    def value(self) -> str | None:
        """The path, whole, with the options that follow it; None where there is none."""
        return super().value() if self.is_needed else None

    def show_for(self, config: ModelConfig | None, form: QFormLayout) -> None:
        """Show the line where a model takes features, and say which.

        Parameters
        ----------
        config
            Of the model; None without one.
        form
            Has the line in a row.
        """
        self.is_needed = config is not None and config.takes_features
        form.setRowVisible(self, self.is_needed)
        if config is not None and config.encoder is not None and self.is_needed:
            name = config.encoder["recipe"].get("name") or "features"
            self.line.setPlaceholderText(
                f"{name}: tiles of {config.tile_px} px at {config.mpp:.3g} µm/px"
            )

    def _browse_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Features of the slide", "", "Features (*.h5 *.hdf5);;All files (*)"
        )
        if chosen:
            self.line.setText(chosen)

    def _browse_folder(self) -> None:
        if chosen := QFileDialog.getExistingDirectory(self, "Features of the slide"):
            self.line.setText(chosen)
