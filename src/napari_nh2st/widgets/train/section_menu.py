"""Menu of a row of the sections table."""

from typing import TYPE_CHECKING

from qtpy.QtCore import QModelIndex
from qtpy.QtWidgets import QMenu

from napari_nh2st.spots import SpotChoice
from napari_nh2st.widgets.train.sections_model import FILES, POSITIONS

if TYPE_CHECKING:
    from napari_nh2st.widgets.train.sections import SectionsTable


def section_menu(table: "SectionsTable", index: QModelIndex) -> QMenu:
    """Menu of a cell and its row.

    Parameters
    ----------
    table
        Does it.
    index
        The cell.
    """
    menu = QMenu(table)
    column, number = index.column(), index.row()
    if column in FILES:
        empty: dict[str, object] = {FILES[column]: None}
        if FILES[column] == "expression":
            empty["choice"] = SpotChoice()
        menu.addAction("Choose a file…", lambda: table.choose(index, folder=False))
        if column != POSITIONS:
            menu.addAction("Choose a folder…", lambda: table.choose(index, folder=True))
        menu.addAction("Empty", lambda: table.model.change([number], **empty))
        menu.addSeparator()
    _add_fixes(menu, table, number)
    menu.addAction("Check again", lambda: table.check_again(number))
    menu.addAction("Remove", table.remove_selected)
    return menu


def _add_fixes(menu: QMenu, table: "SectionsTable", number: int) -> None:
    """Actions on the positions of a row, and of those selected with it."""
    selected = table.view.selected_rows()
    numbers = selected if number in selected else [number]
    proposed = [(n, p.fix) for n in numbers if (p := table.model.state(n).proposal) is not None]
    if len(proposed) > 1:
        text = f"Fix {len(proposed)} sections as proposed"
        menu.addAction(text, lambda: table.fix_positions(numbers))
    elif proposed:
        ((which, fix),) = proposed
        menu.addAction(f"Fix: {fix.in_short()}", lambda: table.fix_positions([which]))
    if fixed := [n for n in numbers if table.rows[n].fix is not None]:
        menu.addAction("Positions as in the file", lambda: table.model.change(fixed, fix=None))
