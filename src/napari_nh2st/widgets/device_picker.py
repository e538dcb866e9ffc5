"""Picker of the device that a prediction or a training runs on."""

from collections.abc import Callable
from typing import Any

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox

from napari_nh2st.inference.settings import DEVICE
from napari_nh2st.jobs.stoppable import Jobs
from napari_nh2st.widgets.background import Background

_WHAT = Qt.ItemDataRole.ToolTipRole
_SCROLL_BAR = 24
"""Pixels that a list needs beside its text."""


class DevicePicker(QComboBox):
    """ "auto", the CPU and, once it was opened, what else there is, and why the rest is not.

    Finding out needs torch: a child process does it, at the first opening, or at the next if that
    process was ended.

    Parameters
    ----------
    jobs
        Gives what runs jobs; None where it is busy, and the list stays as it is.

    Attributes
    ----------
    changed
        Emitted when another device is chosen.
    """

    changed = Signal()

    def __init__(self, jobs: Callable[[], Jobs | None]) -> None:
        super().__init__()
        self._jobs = jobs
        self._asked = False
        self._asking = Background(self)
        self.addItems(["auto", "cpu"])
        self.setToolTip(DEVICE.help)
        self.currentTextChanged.connect(lambda _name: self.changed.emit())

    def value(self) -> str:
        """The chosen device."""
        return self.currentText()

    def show_value(self, name: str) -> None:
        """Show a device, whether or not it was found on this machine."""
        if self.findText(name) < 0:
            self.addItem(name)
        self.setCurrentText(name)

    def showPopup(self) -> None:  # Qt's name
        """Show the list; at first, ask for the devices as well."""
        super().showPopup()
        jobs = self._jobs()
        if not self._asked and not self._asking.is_busy and jobs is not None:
            # An error is not shown: the next opening asks again.
            self._asking.start(jobs.run, "devices", done=self._offer)

    def _offer(self, found: tuple[dict[str, str], dict[str, str]]) -> None:
        self._asked = True
        there, missing = found
        before = self.count()
        for name, what in there.items():
            self._add(name, what)
        for name, why in missing.items():
            self._add(name, f"not on this machine: {why}")
            row = self.findText(name)
            model: Any = self.model()
            model.item(row).setEnabled(False)
            # It cannot be chosen: its text need not be a name. One that was remembered stays one.
            if row != self.currentIndex():
                self.setItemText(row, f"{name}: {_in_short(why)}")
        popup = self.view()
        if popup is not None:  # as wide as its longest line, however narrow the picker is
            popup.setMinimumWidth(popup.sizeHintForColumn(0) + _SCROLL_BAR)
        if self.count() > before and popup is not None and popup.isVisible():
            self.hidePopup()  # its height is that of the shorter list
            super().showPopup()

    def _add(self, name: str, what: str) -> None:
        if self.findText(name) < 0:
            self.addItem(name)
        self.setItemData(self.findText(name), what, _WHAT)


def _in_short(why: str) -> str:
    """The first of several reasons."""
    return why.partition(", or ")[0]
