"""Choice of the model and the device of a comparison, remembered for the next session."""

from collections.abc import Callable
from typing import Any

from psygnal import Signal
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QPushButton

from napari_nh2st.jobs.stoppable import Jobs
from napari_nh2st.model.sources import bundled_models
from napari_nh2st.prediction.schema import notes
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.session.remembered import Remembered
from napari_nh2st.widgets.device_picker import DevicePicker
from napari_nh2st.widgets.model_picker import ModelPicker
from napari_nh2st.widgets.remembered_controls import RememberedControls


class ModelChoice:
    """Pickers of a model and a device.

    Until the user has chosen a model, that of the current prediction is taken.

    Parameters
    ----------
    session
        Has the current prediction.
    connections
        Of the dock.
    remembered
        Settings of the dock.
    jobs
        As for :class:`~napari_nh2st.widgets.device_picker.DevicePicker`.

    Attributes
    ----------
    model, device, reset
        The pickers, and a button for what they were at first.
    chosen
        Emitted with the config of another model.
    """

    chosen = Signal(object)

    def __init__(
        self,
        session: Session,
        connections: Connections,
        remembered: Remembered,
        jobs: Callable[[], Jobs | None],
    ) -> None:
        self._session = session
        self.model, self.device = ModelPicker(), DevicePicker(jobs)
        controls: dict[str, Any] = {"model": self.model, "device": self.device}
        self._remembered = RememberedControls(remembered, controls)
        self.reset = QPushButton("Reset")
        self.reset.setToolTip("Reset model and device to the defaults")
        self._own_model = self.model.text
        self.model.changed.connect(self._on_model)
        self.reset.clicked.connect(self._remembered.reset)
        connections.add(session.heatmap_changed, self._take_current_model)
        connections.when_opened(self._take_current_model)

    def add_to(self, form: QFormLayout) -> None:
        """Add them to a form."""
        device = QHBoxLayout()
        device.addWidget(self.device, 1)
        device.addWidget(self.reset)
        form.addRow("Model", self.model)
        form.addRow("Device", device)

    def offer(self, name: str) -> None:
        """Take a model that the user has not chosen here: it is not remembered."""
        with self._remembered.paused():
            self.model.choose(name)

    def _on_model(self, config: Any) -> None:
        if config is not None:
            self.chosen.emit(config)

    def _take_current_model(self) -> None:
        prediction = self._session.prediction
        if prediction is None or self.model.text != self._own_model:
            return
        name = str(notes(prediction)["model"]["name"])
        if name in bundled_models():
            self._own_model = name
            self.offer(name)
