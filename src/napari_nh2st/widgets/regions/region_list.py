"""Table of the regions: how many tiles each has, and their names to be typed."""

from collections.abc import Mapping

from qtpy.QtWidgets import QTableWidgetItem, QWidget

from napari_nh2st.widgets.name_table import NameTable, fixed_item

_HEADS = {"Region": "Name of the region", "Tiles": "Predicted tiles whose center lies in it"}
_ROWS_SEEN = 5


class RegionList(NameTable):
    """One row a region: its name and its predicted tiles."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(_HEADS, _ROWS_SEEN, parent)

    def show_regions(self, tiles: Mapping[str, int]) -> None:
        """Show regions by name with their number of tiles."""
        self.show_rows(
            [(QTableWidgetItem(name), fixed_item(f"{count:,}")) for name, count in tiles.items()]
        )
