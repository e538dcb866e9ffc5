"""Sections table of the *Train* dock: its buttons, its dialogs and the menu of a row."""

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtCore import QModelIndex, QPoint, Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.errors import InputError
from napari_nh2st.session import Session
from napari_nh2st.session.connections import Connections
from napari_nh2st.spots import SpotChoice
from napari_nh2st.widgets.drop_table import DropTable
from napari_nh2st.widgets.notifications import show_error, show_info
from napari_nh2st.widgets.train.row_details import RowDetails
from napari_nh2st.widgets.train.sections_model import (
    DONOR,
    EXPRESSION,
    FEATURES,
    FILES,
    FIX,
    MPP,
    NAME,
    POSITIONS,
    ROLE,
    SLIDE,
    STATUS,
    SectionsModel,
)
from napari_nh2st.widgets.train.sections_view import RoleDelegate

_WIDTHS = {
    ROLE: 60,
    NAME: 86,
    DONOR: 54,
    STATUS: 92,
    SLIDE: 46,
    EXPRESSION: 46,
    POSITIONS: 62,
    MPP: 50,
    FIX: 90,
    FEATURES: 90,
}
"""Width in pixels: a row stands in a dock of 380 as far as its ST."""

_HEIGHT = 190

_HOW = "Drop slides and their ST here, or a sections table; or use the buttons below"
_TIP = (
    "The sections to train on. Drop slides, ST files or folders, features, or a sections table here"
)


class SectionsTable(QWidget):
    """Table of the sections to train on, and the buttons that fill it.

    Parameters
    ----------
    session
        Has the sections, and the layers that can be taken over.
    connections
        Of the dock.

    Attributes
    ----------
    sections
        The sections of the session.
    view, model
        The table.
    details
        Sentences on the selected section, or on the first with a problem.
    add, from_layers, load, save, remove, undo
        The buttons below.
    """

    def __init__(
        self, session: Session, connections: Connections, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session = session
        self.sections = session.training_sections
        self.view = DropTable(self.add_paths, _HOW, _TIP)
        self.model = SectionsModel(self.sections, self.view.selected_rows)
        self.view.setModel(self.model)
        self.view.setItemDelegateForColumn(ROLE, RoleDelegate(self.view))
        for column, width in _WIDTHS.items():
            self.view.setColumnWidth(column, width)
        self.details = RowDetails()
        self.add = _button("Add…", "Choose slides, then the ST of each")
        self.from_layers = _button("From layers", "Take the slides, and the spots, that are open")
        self.load = _button("Load table…", "Read a sections table (CSV or YAML)")
        self.save = _button("Save table…", "Write the sections as a table (CSV)")
        self.remove = _button("Remove", "Remove the selected sections (Delete)")
        self.undo = _button("Undo", "Undo the last change of the table (Ctrl+Z)")
        self._lay_out()

        self.add.clicked.connect(self._on_add)
        self.from_layers.clicked.connect(self.add_from_layers)
        self.load.clicked.connect(self._on_load)
        self.save.clicked.connect(self._on_save)
        self.remove.clicked.connect(self.remove_selected)
        self.undo.clicked.connect(self.sections.undo)
        self.view.doubleClicked.connect(self._on_double_click)
        self.view.customContextMenuRequested.connect(self._on_menu)
        self.view.delete_pressed.connect(self.remove_selected)
        self.view.undo_pressed.connect(self.sections.undo)
        self.model.refused.connect(lambda text: show_error(text))
        self.details.fix.clicked.connect(self._on_fix)
        self.details.parts.chosen.connect(self._on_part)
        selection = self.view.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(self._show_details)
        connections.add(self.sections.changed, self._on_changed)
        connections.when_opened(self.sections.check)
        connections.when_closed(self.sections.stop_checking)
        self._on_changed()

    # --- adding and removing ---

    def add_paths(self, paths: Sequence[Path], onto: int | None = None) -> None:
        """Add files or folders as :meth:`TrainingSections.add_paths`; problems are shown."""
        try:
            self.sections.add_paths(paths, onto)
        except InputError as error:
            show_error(str(error))

    def add_from_layers(self) -> None:
        """Add the slides and measured spots that are open in the viewer."""
        try:
            self.sections.add_from_layers(self._session.viewer.layers)
        except InputError as error:
            show_info(str(error))

    def save_table(self, path: Path) -> None:
        """Write the complete rows as a table."""
        try:
            left = self.sections.save(path)
        except InputError as error:
            show_error(str(error))
            return
        if left:
            show_info(f"Incomplete rows are not in {path.name}: {left}.")

    def remove_selected(self) -> None:
        """Remove the selected rows; undo brings them back."""
        numbers = self.view.selected_rows()
        if numbers:
            self.sections.update(lambda: self.sections.rows.remove(numbers))

    def _on_changed(self) -> None:
        self.model.refresh()
        rows = self.sections.rows.all
        wanted = self.sections.features is not None or any(row.features for row in rows)
        self.view.setColumnHidden(FEATURES, not wanted)
        self.undo.setEnabled(self.sections.rows.can_undo)
        self.save.setEnabled(len(self.sections.rows) > 0)
        self._show_details()

    def _detailed(self) -> int | None:
        """Number of the row that is described below the table."""
        if selected := self.view.selected_rows():
            return selected[0]
        levels = [self.sections.state(number).level for number in range(len(self.sections.rows))]
        return next((levels.index(level) for level in ("bad", "warned") if level in levels), None)

    def _show_details(self, *_: object) -> None:
        number = self._detailed()
        if number is None:
            self.details.clear()
        else:
            self.details.show_row(number, self.sections.rows[number], self.sections.state(number))

    def _on_part(self, choice: SpotChoice) -> None:
        number = self._detailed()
        if number is not None:
            self.sections.change([number], choice=choice)

    def _on_fix(self) -> None:
        number = self._detailed()
        if number is not None:
            self.sections.fix_positions([number])

    # --- dialogs ---

    def _on_add(self) -> None:
        files, _ = QFileDialog.getOpenFileNames(self, "Slides of the sections")
        for file in files:
            name = Path(file).name
            spots, _ = QFileDialog.getOpenFileName(
                self, f"Measured spots of {name} (Cancel: drop or choose them later)"
            )
            self.add_paths([Path(file), *([Path(spots)] if spots else [])])

    def _on_load(self) -> None:
        file, _ = QFileDialog.getOpenFileName(
            self, "Sections table", "", "Tables (*.csv *.tsv *.txt *.yaml *.yml)"
        )
        if file:
            self.add_paths([Path(file)])

    def _on_save(self) -> None:
        file, _ = QFileDialog.getSaveFileName(self, "Save sections", "sections.csv", "CSV (*.csv)")
        if file:
            self.save_table(Path(file))

    def _on_double_click(self, index: QModelIndex) -> None:
        if index.column() in FILES:
            self.choose(index, folder=False)

    def choose(self, index: QModelIndex, *, folder: bool) -> None:
        """Ask for the file or folder of a cell."""
        row, field = self.sections.rows[index.row()], FILES[index.column()]
        what = {
            "slide": "Slide",
            "expression": "Measured spots",
            "positions": "Positions",
            "features": "Features",
        }[field]
        title = f"{what} of {row.name or 'the section'}"
        if folder:
            chosen = QFileDialog.getExistingDirectory(self, title)
        else:
            chosen, _ = QFileDialog.getOpenFileName(self, title)
        if chosen:
            values: dict[str, object] = {field: Path(chosen)}
            if field == "expression":  # another file has other parts
                values["choice"] = SpotChoice()
            self.sections.change([index.row()], **values)

    def _on_menu(self, where: QPoint) -> None:
        index = self.view.indexAt(where)
        if index.isValid():
            menu = section_menu(self, index)
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.popup(self.view.mapToGlobal(where))

    # --- appearance ---

    def _lay_out(self) -> None:
        self.view.setMinimumHeight(_HEIGHT)
        buttons = QGridLayout()
        for k, button in enumerate(
            (self.add, self.from_layers, self.remove, self.load, self.save, self.undo)
        ):
            buttons.addWidget(button, k // 3, k % 3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)
        layout.addWidget(self.details)
        layout.addLayout(buttons)


def _button(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setToolTip(tip)
    return button


def section_menu(table: SectionsTable, index: QModelIndex) -> QMenu:
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
        menu.addAction("Empty", lambda: table.sections.change([number], **empty))
        menu.addSeparator()
    _add_fixes(menu, table, number)
    menu.addAction("Check again", lambda: table.sections.check_again(number))
    menu.addAction("Remove", table.remove_selected)
    return menu


def _add_fixes(menu: QMenu, table: SectionsTable, number: int) -> None:
    """Actions on the positions of a row, and of those selected with it."""
    selected = table.view.selected_rows()
    numbers = selected if number in selected else [number]
    proposed = [(n, p.fix) for n in numbers if (p := table.sections.state(n).proposal) is not None]
    if len(proposed) > 1:
        text = f"Fix {len(proposed)} sections as proposed"
        menu.addAction(text, lambda: table.sections.fix_positions(numbers))
    elif proposed:
        ((which, fix),) = proposed
        menu.addAction(f"Fix: {fix.in_short()}", lambda: table.sections.fix_positions([which]))
    if fixed := [n for n in numbers if table.sections.rows[n].fix is not None]:
        menu.addAction("Positions as in the file", lambda: table.sections.change(fixed, fix=None))
