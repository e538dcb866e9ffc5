"""Comparison of two regions: the genes that differ most between them."""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import signals_blocked

from napari_nh2st.analysis.regions import compare_regions
from napari_nh2st.prediction.reliability import with_reliability
from napari_nh2st.widgets.background import Background
from napari_nh2st.widgets.frame_model import ColumnHead
from napari_nh2st.widgets.frame_table import FrameTable
from napari_nh2st.widgets.labels import CautionLabel, PlainLabel
from napari_nh2st.widgets.notifications import show_info

NOT_INDEPENDENT = (
    "Neighboring tiles resemble each other and are not independent: p and q are smaller than "
    "they should be. They rank the genes, and are not evidence."
)
_CHANGED = "The regions have changed: compare again."
_HEADS = {
    "gene": ColumnHead("gene", "The genes that differ most come first"),
    "effect": ColumnHead("effect", "Cohen's d: the difference in standard deviations of the tiles"),
    "q": ColumnHead("q", "p, adjusted for the number of genes (Benjamini and Hochberg)"),
    "p": ColumnHead("p", "Of the two-sided Mann–Whitney U test; see the caution below the table"),
    "difference": ColumnHead("difference", "Mean of the first region less that of the second"),
    "mean_first": ColumnHead("first", "Mean of the first region's tiles"),
    "mean_second": ColumnHead("second", "Mean of the second region's tiles"),
    "n_first": ColumnHead("tiles 1st", "Predicted tiles of the first region"),
    "n_second": ColumnHead("tiles 2nd", "Predicted tiles of the second region"),
}
"""Columns, what matters most first."""

_TABLE_HEIGHT = 168

Polygons = Mapping[str, NDArray[np.float64]]
"""By name of the region, corners (n, 2) (y, x) in full-resolution pixels."""


@dataclass(frozen=True, eq=False)
class _Compared:
    """Two regions at the time of their comparison."""

    prediction: "weakref.ref[AnnData]"
    names: tuple[str, str]
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    def holds(self, prediction: AnnData | None, polygons: Polygons) -> bool:
        """Whether these regions are still there as they were."""
        pairs = zip(self.names, (self.first, self.second), strict=True)
        return prediction is self.prediction() and all(
            name in polygons and np.array_equal(polygons[name], corners) for name, corners in pairs
        )


class RegionComparison(QWidget):
    """Two regions to choose, and a table of genes once they were compared.

    Attributes
    ----------
    first, second, compare
        The two regions, and the button.
    sentence
        Which two were compared.
    table
        The genes; hidden until there are some.
    warning
        Why p and q are no evidence.
    failed
        Emitted with the exception when the regions could not be compared.
    """

    failed = Signal(Exception)

    def __init__(self) -> None:
        super().__init__()
        self._prediction: AnnData | None = None
        self._polygons: Polygons = {}
        self._comparing = Background(self)
        self._comparing.busy_changed.connect(self._on_busy)
        self._compared: _Compared | None = None
        self.first, self.second = QComboBox(), QComboBox()
        self.first.setToolTip("Region whose genes are compared")
        self.second.setToolTip("Region to compare it with")
        self.compare = QPushButton("Compare")
        self.compare.setToolTip("Genes that differ most between the two regions")
        self.compare.clicked.connect(self.start)
        self.sentence = PlainLabel(wrap=True, tip="The regions that the table compares")
        self.table = FrameTable("comparison", _HEADS)
        self.table.view.setMinimumHeight(_TABLE_HEIGHT)
        self.warning = CautionLabel(NOT_INDEPENDENT, tip="How to read p and q")
        for widget in (self.sentence, self.table, self.warning):
            widget.hide()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        pair = QHBoxLayout()
        pair.addWidget(self.first, 1)
        pair.addWidget(self.second, 1)
        pair.addWidget(self.compare)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(pair)
        layout.addWidget(self.sentence)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.warning)
        self._enable()

    @property
    def is_running(self) -> bool:
        """Whether regions are being compared."""
        return self._comparing.is_busy

    def show_regions(self, prediction: AnnData | None, polygons: Polygons) -> None:
        """Offer regions; a comparison that they no longer belong to says so.

        Parameters
        ----------
        prediction
            Whose tiles lie in them.
        polygons
            Polygons of the slide.
        """
        self._prediction, self._polygons = prediction, polygons
        offer(self.first, list(polygons))
        offer(self.second, list(polygons), other_than=self.first.currentText())
        if self._compared is not None and not self._compared.holds(prediction, polygons):
            self.sentence.setText(_CHANGED)
        self._enable()

    def start(self) -> None:
        """Compare the two chosen regions in a thread."""
        names = self.first.currentText(), self.second.currentText()
        if self._prediction is None or self.is_running:
            return
        if names[0] == names[1] or not all(name in self._polygons for name in names):
            show_info("Choose two different regions to compare.")
            return
        first, second = (self._polygons[name] for name in names)
        compared = _Compared(weakref.ref(self._prediction), names, first, second)
        self._comparing.start(
            compare_regions,
            self._prediction,
            first,
            second,
            done=partial(self._on_compared, compared),
            failed=self._on_error,
        )

    def _on_compared(self, compared: _Compared, table: pd.DataFrame) -> None:
        if self._prediction is None or compared.prediction() is not self._prediction:
            return
        self._compared = compared
        first, second = compared.names
        holds = compared.holds(self._prediction, self._polygons)
        self.sentence.setText(f"First: {first}; second: {second}." if holds else _CHANGED)
        ordered = table[[name for name in _HEADS if name in table]]
        self.table.show_table(with_reliability(ordered, self._prediction))
        for widget in (self.sentence, self.table, self.warning):
            widget.show()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)

    def _on_error(self, error: Exception) -> None:
        self.failed.emit(error)

    def _on_busy(self, _busy: bool) -> None:
        self._enable()

    def _enable(self) -> None:
        two = self._prediction is not None and len(self._polygons) > 1
        self.compare.setEnabled(two and not self.is_running)


def offer(box: QComboBox, names: list[str], other_than: str | None = None) -> None:
    """Offer names in a box, the chosen one kept if it is among them.

    Parameters
    ----------
    box
        Gets the names; emits nothing.
    names
        Names, in the order shown.
    other_than
        Where nothing else was chosen, the first that is not this one.
    """
    chosen = box.currentText()
    with signals_blocked(box):
        box.clear()
        box.addItems(names)
        if chosen in names and chosen != other_than:
            box.setCurrentText(chosen)
        elif other_than is not None:
            box.setCurrentText(next((name for name in names if name != other_than), ""))
