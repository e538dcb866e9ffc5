"""Buttons, progress bar and status line of what a dock runs."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_nh2st.widgets.labels import PlainLabel


class RunControls(QWidget):
    """Run and Cancel side by side, and below them how far it is, as a bar and in words.

    Parameters
    ----------
    run, cancel
        Texts of the buttons.

    Attributes
    ----------
    run, cancel
        The buttons.
    bar
        Without a number while nothing is known of the total, empty while nothing runs.
    status
        Status in words; can be selected to be copied.
    """

    def __init__(self, run: str = "Run", cancel: str = "Cancel") -> None:
        super().__init__()
        self.run = QPushButton(run)
        self.cancel = QPushButton(cancel)
        self.bar = QProgressBar()
        self.status = PlainLabel(wrap=True)
        self.status.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._buttons = QHBoxLayout()
        self._buttons.addWidget(self.run)
        self._buttons.addWidget(self.cancel)
        self._lines = QVBoxLayout(self)
        self._lines.setContentsMargins(0, 0, 0, 0)
        self._lines.addLayout(self._buttons)
        self._lines.addWidget(self.bar)
        self._lines.addWidget(self.status)
        self.show_running(False)

    def add_button(self, button: QPushButton) -> None:
        """Put a button between the two."""
        self._buttons.insertWidget(1, button)

    def add_below(self, button: QPushButton) -> None:
        """Put a button for what comes next below the status."""
        self._lines.addWidget(button)

    def show_running(self, running: bool) -> None:
        """Enable one of the buttons; a run begins with a bar without a number."""
        self.run.setEnabled(not running)
        self.cancel.setEnabled(running)
        if running:
            self.bar.setRange(0, 0)
        elif self.bar.maximum() == 0:  # the total never came
            self.reset_bar()

    def show_progress(self, done: int, total: int, status: str | None = None) -> None:
        """Show how far it is; None leaves the status as it is."""
        self.bar.setRange(0, total)
        self.bar.setValue(done)
        if status is not None:
            self.status.setText(status)

    def reset_bar(self) -> None:
        """Show no progress."""
        self.bar.setRange(0, 1)
        self.bar.reset()
