"""Choice of a column of ``obs`` that is shown in the place of a gene."""

import html
from collections.abc import Mapping, Sequence

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox
from superqt.utils import signals_blocked

from napari_nh2st.prediction.schema import UNFAMILIAR
from napari_nh2st.prediction.tile_columns import TileColumn
from napari_nh2st.shown_text import for_qt
from napari_nh2st.widgets.setting_controls import without_wheel


def column_line(about: TileColumn) -> str:
    """A line of rich text with what a column shows."""
    meaning = f" — {html.escape(about.meaning)}" if about.meaning else ""
    return f"<b>{html.escape(about.title)}</b>{meaning}"


def column_colors(limits: Sequence[float]) -> str:
    """What the ends of the colors of a column stand for."""
    low, high = limits
    return f"Colors: {low:,.4g} to {high:,.4g}"


class ColumnChoice(QComboBox):
    """A column of ``obs`` to show instead of a gene; hidden where there is none.

    Attributes
    ----------
    changed
        Emitted with the column that the user chooses; None for the gene.
    """

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "Show a number that the tiles have, such as the density of nuclei, instead of a gene"
        )
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        without_wheel(self)
        self._offered: Mapping[str, TileColumn] = {}
        self.offer({}, None)
        self.currentIndexChanged.connect(lambda _index: self.changed.emit(self.currentData()))

    def offer(self, columns: Mapping[str, TileColumn], shown: str | None) -> None:
        """List columns but for the unfamiliar places, and choose the one that is shown."""
        columns = {name: about for name, about in columns.items() if name != UNFAMILIAR}
        with signals_blocked(self):
            if columns != self._offered or not self.count():
                self.clear()
                self.addItem("Instead of a gene …", None)
                for name, about in columns.items():
                    self.addItem(for_qt(about.title), name)
                    meaning = Qt.ItemDataRole.ToolTipRole
                    self.setItemData(self.count() - 1, for_qt(about.meaning), meaning)
                self._offered = columns
            self.setCurrentIndex(max(0, self.findData(shown)) if shown else 0)
        self.setVisible(bool(columns))
