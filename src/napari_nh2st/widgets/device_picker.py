"""On which device a prediction runs."""

from napari.qt.threading import create_worker
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox


class DevicePicker(QComboBox):
    """ "auto", the CPU and, once it was opened, what else torch finds on this machine.

    Finding out needs torch, which takes seconds to load: a thread does it, at the first opening.
    """

    def __init__(self) -> None:
        super().__init__()
        self._asked = False
        self.addItems(["auto", "cpu"])
        self.setToolTip("auto takes a GPU where there is one")

    def showPopup(self) -> None:  # Qt's name
        """Show the list; at first, ask for the devices as well."""
        super().showPopup()
        if not self._asked:
            self._asked = True
            create_worker(_devices, _connect={"returned": self._offer})

    def _offer(self, devices: dict[str, str]) -> None:
        before = self.count()
        for name, what in devices.items():
            if self.findText(name) < 0:
                self.addItem(name)
            self.setItemData(self.findText(name), what, Qt.ItemDataRole.ToolTipRole)
        popup = self.view()
        if self.count() > before and popup is not None and popup.isVisible():
            self.hidePopup()  # its height is that of the shorter list
            super().showPopup()


def _devices() -> dict[str, str]:
    from napari_nh2st.inference.device import available_devices

    return available_devices()
