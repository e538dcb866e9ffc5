"""Measured ST for the *Compare* widget: which files, and what is in them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from psygnal import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from napari_nh2st.slide import Slide
from napari_nh2st.spots import (
    SpotChoice,
    check_counts,
    check_enough_spots,
    expression_target,
    read_spots,
    spot_array,
)
from napari_nh2st.spots.assembly import INFO
from napari_nh2st.spots.checks import MppProposal, pitch_of, propose_mpp
from napari_nh2st.spots.choice import NO_CHOICE, Parts
from napari_nh2st.spots.overlap import panel_overlap
from napari_nh2st.spots.placement import Proposal, on_tissue, propose_fix
from napari_nh2st.spots.read import needs_positions
from napari_nh2st.widgets.dropped_files import kind_of
from napari_nh2st.widgets.labels import PlainLabel
from napari_nh2st.widgets.part_choice import PartChoice

_TABLES = "*.tsv *.tsv.gz *.csv *.csv.gz *.txt *.txt.gz"
_FILES = f"Measured ST (*.h5ad *.h5 *.mtx *.mtx.gz {_TABLES});;All files (*)"
_POSITIONS = f"Tables ({_TABLES} *.parquet);;All files (*)"

MOST_GENES = 250
"""Genes shown of a section that no model's panel chooses from: those with the most counts."""


@dataclass(frozen=True, eq=False)
class MeasuredST:
    """What was read.

    Parameters
    ----------
    expression, positions
        The files.
    spots
        Raw counts, where the file has them.
    pitch_px, pitch_um
        Distance between spots: there, in full-resolution pixels, and by the kind of array, None
        where that is not known.
    proposal
        What seems wrong with the places; None where nothing does.
    mpp_proposal
        Another µm/px for the slide, where the spots tell one and their own scale seems right.
    on_tissue
        Share of the spots' area that is tissue, as they are.
    choice
        The part of the file that was asked for.
    """

    expression: Path
    positions: Path | None
    spots: AnnData
    pitch_px: float
    pitch_um: float | None
    proposal: Proposal | None
    mpp_proposal: MppProposal | None
    on_tissue: float
    choice: SpotChoice = NO_CHOICE

    @property
    def parts(self) -> Parts:
        """What the file holds several of, and what of it this is."""
        return Parts.of(self.spots.uns.get(INFO, {}))

    @property
    def report(self) -> str:
        """In one line what was read, left out and added up."""
        return str(self.spots.uns.get(INFO, {}).get("report", self.expression.name))


def read_measured(
    expression: Path, positions: Path | None, slide: Slide, choice: SpotChoice | None = None
) -> MeasuredST:
    """Read ST and see how it lies on a slide; takes seconds.

    Raises
    ------
    ChoiceNeeded
        The file holds several sections, and none is chosen.
    InputError
        It cannot be read, holds no raw counts, or too few spots.
    """
    choice = choice or NO_CHOICE
    spots = read_spots(expression, positions, **asdict(choice))
    check_counts(spots, expression.name)
    check_enough_spots(spots, expression.name)
    array = spot_array(spots)
    proposal = propose_fix(spots, slide)
    is_scaled = proposal is not None and proposal.fix.factor != 1
    return MeasuredST(
        expression,
        positions,
        spots,
        array.pitch_px,
        pitch_of(spots, array),
        proposal,
        None if is_scaled else propose_mpp(spots, slide),
        on_tissue(spots, slide),
        choice,
    )


def target_of(spots: AnnData, panel: Sequence[str]) -> pd.DataFrame:
    """Spots × genes of what a model learns to predict.

    Parameters
    ----------
    spots
        Raw counts.
    panel
        Of the model. Where the section has next to nothing of it, its own 250 genes of the most
        counts.
    """
    genes = [gene for gene in panel if gene in spots.var_names]
    if not genes or panel_overlap(panel, spots.var_names).is_refused:
        total = np.asarray(spots.X.sum(0)).ravel()
        most = np.sort(np.argsort(-total, kind="stable")[:MOST_GENES])
        genes = spots.var_names[most].tolist()
    return pd.DataFrame(expression_target(spots, genes), columns=genes)


class MeasuredSource(QWidget):
    """Buttons that ask for measured ST; files and folders can be dropped on it as well.

    Attributes
    ----------
    file, folder, clear
        Choose a file, or a folder; take the ST away.
    summary
        What was read; to be placed by whoever has room for it.
    parts
        Which part of the file, where it holds several; placed likewise.
    chosen
        Emitted with the path of the ST and that of its positions, or None.
    cleared
        Emitted when the ST is to go.
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
        self.clear.setToolTip("Take the measured ST and its layers away")
        self.clear.setEnabled(False)
        self.summary = PlainLabel("Drop a file here, or choose one.")
        self.summary.setWordWrap(True)
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
                f"{what}: a file or folder of measured ST, and the positions of its spots where "
                "they are a table of their own."
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
