"""*Export…* button: asks for a file and writes a prediction there, in a thread."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_nh2st.analysis.named_domains import COLUMN
from napari_nh2st.errors import InputError
from napari_nh2st.export import FORMATS, Format, export, format_of
from napari_nh2st.export.figure import SUFFIXES as FIGURE_SUFFIXES
from napari_nh2st.export.figure_settings import FigureSettings
from napari_nh2st.layers.heatmap import note_limits
from napari_nh2st.prediction.snapshot import snapshot
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.session.shown_figure import shown_figure
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.notifications import show_error, show_info

Figure = tuple[FigureSettings, tuple[str, ...] | None]
"""Settings of a figure, and the genes in it; None for the best."""

_EXTRAS = {"spatialdata": "spatialdata"}
"""Formats that need a package which an extra of the same name installs."""


class ExportButton(QPushButton):
    """Writes the prediction it was given; disabled without one, while it runs, and in between."""

    def __init__(self) -> None:
        super().__init__("Export…")
        self._prediction: AnnData | None = None
        self._tip = (
            "Write the prediction as AnnData, SpatialData, GeoJSON for QuPath, a Vitessce page, "
            "CSV, OME-Zarr, or what is shown as a figure"
        )
        self._name = ""
        self._figure: Callable[[], Figure] | None = None
        self._filling = False
        self._writing = Background(self)
        self._writing.busy_changed.connect(self._enable)
        self.clicked.connect(self._ask)
        self.offer(None, "")

    def offer(self, prediction: AnnData | None, name: str, why_not: str = "") -> None:
        """Export this prediction from now on.

        Parameters
        ----------
        prediction
            None for none.
        name
            What its file is called by default.
        why_not
            For the tooltip: why there is none.
        """
        self._prediction, self._name = prediction, name
        self.setToolTip(why_not or self._tip)
        self._enable()

    def set_filling(self, filling: bool) -> None:
        """Whether a run fills the prediction: it is not exported meanwhile."""
        self._filling = filling
        self._enable()

    def set_figure(self, figure: Callable[[], Figure] | None) -> None:
        """Ask this for genes and contrast when a figure is exported; None for the best gene.

        Parameters
        ----------
        figure
            Called in the viewer's thread, each time; gives how to draw, and the genes.
        """
        self._figure = figure

    def write(self, path: Path, overwrite: bool = False, format: str | None = None) -> None:
        """Write the prediction in a thread; how it ended is a notification.

        Parameters
        ----------
        path
            The end of its name gives the format; see :func:`~napari_nh2st.export.export`.
        overwrite
            The user has agreed that what is there is replaced.
        format
            Name of the format, where the file's name does not give it.
        """
        if self._prediction is None:
            show_error("There is no prediction to export yet.")
            return
        settings: FigureSettings | None = None
        genes: tuple[str, ...] | None = None
        try:
            is_figure = format_of(path, format).suffix in FIGURE_SUFFIXES
            if is_figure and self._figure is not None:
                settings, genes = self._figure()
        except InputError as error:
            show_error(str(error))
            return
        self._writing.start(
            _export,
            snapshot(self._prediction),  # domains may be renamed while it is written
            path,
            format=format,
            genes=genes,
            figure=settings,
            domains=COLUMN if COLUMN in self._prediction.obs else None,
            overwrite=overwrite,
        )

    def _enable(self, _busy: bool = False) -> None:
        ready = not self._filling and not self._writing.is_busy
        self.setEnabled(self._prediction is not None and ready)

    def _ask(self) -> None:
        dialog = QFileDialog(self, "Export the prediction")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters(list(_filters()))
        _add_suffix_of(dialog)
        dialog.filterSelected.connect(lambda _: _add_suffix_of(dialog))
        dialog.selectFile(f"{self._name}{_chosen(dialog).suffix}")
        if not dialog.exec():
            return
        path, chosen = Path(dialog.selectedFiles()[0]), _chosen(dialog)
        try:
            by_name = format_of(path)
        except InputError:  # a name it did not ask about
            self.write(path.with_name(path.name + chosen.suffix), format=chosen.name)
            return
        # What was chosen in the dialog says more than ".zarr" does.
        closer = chosen.accepts(path) and len(chosen.suffix) > len(by_name.suffix)
        # It asks about files only.
        self.write(path, not path.is_dir(), (chosen if closer else by_name).name)


class PredictionExport(ExportButton):
    """Writes the current prediction, one opened from a file too; disabled while a run fills it.

    Parameters
    ----------
    session
        Has the prediction.
    connections
        Connections of the dock.
    """

    def __init__(self, session: Session, connections: Connections) -> None:
        super().__init__()
        self._session = session
        self.set_figure(lambda: shown_figure(session.heatmap, session.viewer.layers))
        connections.add(session.heatmap_changed, self._update)
        connections.add(session.filling_changed, self._update)
        connections.when_opened(self._update)

    def write(self, path: Path, overwrite: bool = False, format: str | None = None) -> None:
        """Write the prediction with the contrast limits that were set by hand."""
        if (heatmap := self._session.heatmap) is not None:
            layer = heatmap.layer
            note_limits(heatmap.prediction, layer.metadata, layer.contrast_limits)
        super().write(path, overwrite, format)

    def _update(self) -> None:
        heatmap = self._session.heatmap
        if heatmap is None:
            self.offer(None, "", "There is no prediction to export yet")
        elif not np.isfinite(heatmap.values_of(heatmap.gene)).any():
            self.offer(None, "", "No tile has a value yet: there is nothing to export")
        else:
            self.offer(heatmap.prediction, heatmap.slide_name)
        self.set_filling(self._session.is_filling)


def _filters() -> dict[str, Format]:
    """Formats by what the dialog shows of them; those that need more than is there say so."""
    return {f"{_title(known)} (*{known.suffix})": known for known in FORMATS}


def _title(known: Format) -> str:
    package = _EXTRAS.get(known.name)
    if package is None or find_spec(package) is not None:
        return known.title
    return f"{known.title}, not installed: needs the extra {package}"


def _chosen(dialog: QFileDialog) -> Format:
    return _filters()[dialog.selectedNameFilter()]


def _add_suffix_of(dialog: QFileDialog) -> None:
    """Let the dialog add the suffix, so that it asks about the file that will be written."""
    dialog.setDefaultSuffix(_chosen(dialog).suffix[1:])


def _export(prediction: AnnData, path: Path, **options: Any) -> None:
    """Export, and say how it ended here: the dock may be closed by then."""
    try:
        export(prediction, path, **options)
    except InputError as error:
        show_error(str(error))
    except Exception as error:
        show_error(f"The export failed: {type(error).__name__}: {error}")
    else:
        show_info(f"Wrote {path}")
