"""*Export…*: asks for a file and writes the prediction there, in a thread."""

from pathlib import Path

from anndata import AnnData
from napari.qt.threading import create_worker
from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog, QPushButton, QWidget

from napari_nh2st.errors import InputError
from napari_nh2st.export.anndata_file import SUFFIXES, write_anndata


class ExportButton(QPushButton):
    """Writes the prediction it was given; disabled without one, while it runs, and in between.

    Parameters
    ----------
    parent
        Of the button.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Export…", parent)
        self._prediction: AnnData | None = None
        self._name = ""
        self._filling = self._writing = False
        self.setToolTip("Write the prediction as AnnData (.h5ad or .zarr)")
        self.clicked.connect(self._ask)
        self._enable()

    def offer(self, prediction: AnnData, name: str) -> None:
        """Export this prediction from now on, by default under this name."""
        self._prediction, self._name = prediction, name

    def set_filling(self, filling: bool) -> None:
        """Whether a run fills the prediction: it is not exported meanwhile."""
        self._filling = filling
        self._enable()

    def write(self, path: Path, overwrite: bool = False) -> None:
        """Write the prediction in a thread; how it ended is a notification.

        Parameters
        ----------
        path
            Ends in .h5ad or .zarr.
        overwrite
            The user has agreed that what is there is replaced.
        """
        if self._prediction is None:
            show_error("There is no prediction to export yet.")
            return
        self._writing = True
        self._enable()
        create_worker(
            write_anndata,
            self._prediction,
            path,
            overwrite,
            _connect={
                "returned": lambda _: show_info(f"Wrote {path}"),
                "errored": _show_failure,
                "finished": self._on_written,
            },
            _ignore_errors=True,
        )

    def _on_written(self) -> None:
        self._writing = False
        self._enable()

    def _enable(self) -> None:
        self.setEnabled(self._prediction is not None and not self._filling and not self._writing)

    def _ask(self) -> None:
        dialog = QFileDialog(self, "Export the prediction")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilter("AnnData (*.h5ad *.zarr)")
        dialog.setDefaultSuffix("h5ad")  # added before it asks about an existing file
        dialog.selectFile(f"{self._name}.h5ad")
        if not dialog.exec():
            return
        path = Path(dialog.selectedFiles()[0])
        if path.suffix in SUFFIXES:
            self.write(path, overwrite=True)
        else:  # a name it did not ask about
            self.write(path.with_name(path.name + ".h5ad"))


def _show_failure(error: Exception) -> None:
    known = isinstance(error, InputError)
    show_error(str(error) if known else f"The export failed: {type(error).__name__}: {error}")
