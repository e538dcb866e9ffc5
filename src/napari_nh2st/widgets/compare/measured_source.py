"""Buttons that ask for files of measured ST."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from psygnal import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_nh2st.spots.file_kinds import kind_of
from napari_nh2st.spots.read import needs_positions
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.part_choice import PartChoice

_TABLES = "*.tsv *.tsv.gz *.csv *.csv.gz *.txt *.txt.gz"
_FILES = f"Measured ST (*.h5ad *.h5 *.mtx *.mtx.gz {_TABLES});;All files (*)"
_POSITIONS = f"Tables ({_TABLES} *.parquet);;All files (*)"


class MeasuredSource(QWidget):
    """Buttons that ask for measured ST; files and folders can be dropped on it as well.

    Attributes
    ----------
    file, folder, clear
        Choose a file, or a folder; take the ST away.
    summary
        Summary of what was read; placed by the dock.
    parts
        Choice of a part of the file, where it holds several; placed by the dock.
    chosen
        Emitted with the path of the ST and that of its positions, or None.
    cleared
        Emitted when the ST is to be removed.
    refused
        Emitted with a sentence when files cannot be what is asked for.
    """

    chosen = Signal(object, object)
    cleared = Signal()
    refused = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.file = QPushButton("File…")
        self.file.setToolTip(
            "Measured ST in a file: .h5ad, the .h5 matrix of Space Ranger, or a table of counts; "
            "it can be dropped here as well"
        )
        self.folder = QPushButton("Folder…")
        self.folder.setToolTip("Measured ST in a folder: outs of Space Ranger, or a .zarr")
        self.clear = QPushButton("Remove")
        self.clear.setToolTip("Remove the measured ST and its layers")
        self.clear.setEnabled(False)
        self.summary = PlainLabel("Drop a file here, or choose one.", wrap=True)
        self.parts = PartChoice()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for button in (self.file, self.folder, self.clear):
            layout.addWidget(button)
        self.setAcceptDrops(True)
        self.file.clicked.connect(self._ask_file)
        self.folder.clicked.connect(self._ask_folder)
        self.clear.clicked.connect(self.cleared.emit)

    def take(self, paths: Sequence[Path]) -> None:
        """Take what was chosen or dropped; for a table of counts alone, ask for its positions."""
        positions = [path for path in paths if path.is_file() and kind_of(path) == "positions"]
        others = [path for path in paths if path not in positions]
        if len(others) != 1 or len(positions) > 1:
            what = "Give the table of counts as well" if positions else "Give one section"
            self.refused.emit(
                f"{what}: a file or folder of measured ST, and, if they are in a separate table, "
                "the positions of its spots."
            )
            return
        (expression,) = others
        where = positions[0] if positions else None
        if where is None and needs_positions(expression):
            where = self._ask_positions(expression)
            if where is None:
                return
        self.chosen.emit(expression, where)

    def dragEnterEvent(self, event: Any) -> None:  # Qt's name
        """Take files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:  # Qt's name
        """Read what was dropped."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.take(paths)

    def _ask_file(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self, "Measured ST", "", _FILES)
        if names:
            self.take([Path(name) for name in names])

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Measured ST: outs, or a .zarr")
        if folder:
            self.take([Path(folder)])

    def _ask_positions(self, expression: Path) -> Path | None:
        title = f"Positions of the spots in {expression.name}"
        name, _ = QFileDialog.getOpenFileName(self, title, str(expression.parent), _POSITIONS)
        return Path(name) if name else None
