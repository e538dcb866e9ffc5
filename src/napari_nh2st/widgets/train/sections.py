"""Sections table of the *Train* dock: add, drop, edit, check, remove, undo, load and save."""

from collections.abc import Sequence
from pathlib import Path

from napari.components import ViewerModel
from psygnal import Signal
from qtpy.QtCore import QModelIndex, QPoint, Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_nh2st.errors import InputError
from napari_nh2st.layers.open_sections import open_measured, open_slides
from napari_nh2st.session.section_rows import SectionRow, SectionRows, row_of
from napari_nh2st.spots import Section, SpotChoice, read_sections, write_sections
from napari_nh2st.spots.file_kinds import Kind, kind_of
from napari_nh2st.widgets.notifications import show_error, show_info
from napari_nh2st.widgets.train.row_details import RowDetails
from napari_nh2st.widgets.train.section_checks import SectionChecks
from napari_nh2st.widgets.train.section_menu import section_menu
from napari_nh2st.widgets.train.sections_model import (
    DONOR,
    EXPRESSION,
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
from napari_nh2st.widgets.train.sections_view import DropTable, RoleDelegate

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
}
"""Width in pixels: a row stands in a dock of 380 as far as its ST."""

_HEIGHT = 190


class SectionsTable(QWidget):
    """The sections of a training, each checked as soon as it has its files.

    Parameters
    ----------
    viewer
        Its slides and measured spots can be taken over.

    Attributes
    ----------
    view, model
        The table.
    details
        Sentences on the selected section, or on the first with a problem.
    add, from_layers, load, save, remove, undo
        The buttons below.
    changed
        Emitted when the rows are others, or what is known of them.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.rows = SectionRows()
        self.checks = SectionChecks(self)
        self.view = DropTable(self.add_paths)
        self.model = SectionsModel(self.rows, self.checks, self.view.selected_rows)
        self.view.setModel(self.model)
        self.view.setItemDelegateForColumn(ROLE, RoleDelegate(self.view))
        for column, width in _WIDTHS.items():
            self.view.setColumnWidth(column, width)
        self.details = RowDetails()
        self.add = _button("Add…", "Choose slides, and then the ST of each")
        self.from_layers = _button("From layers", "Take the slides, and the spots, that are open")
        self.load = _button("Load table…", "Read a sections table (CSV or YAML)")
        self.save = _button("Save table…", "Write the sections as a table (CSV)")
        self.remove = _button("Remove", "Remove the selected sections (Delete)")
        self.undo = _button("Undo", "Take back the last change of the table (Ctrl+Z)")
        self._lay_out()

        self.add.clicked.connect(self._on_add)
        self.from_layers.clicked.connect(self.add_from_layers)
        self.load.clicked.connect(self._on_load)
        self.save.clicked.connect(self._on_save)
        self.remove.clicked.connect(self.remove_selected)
        self.undo.clicked.connect(self.take_back)
        self.view.doubleClicked.connect(self._on_double_click)
        self.view.customContextMenuRequested.connect(self._on_menu)
        self.view.delete_pressed.connect(self.remove_selected)
        self.view.undo_pressed.connect(self.take_back)
        self.model.refused.connect(lambda text: show_error(text))
        self.model.edited.connect(self._on_edited)
        self.checks.changed.connect(self._on_known)
        self.details.fix.clicked.connect(self._on_fix)
        self.details.parts.chosen.connect(self._on_part)
        selection = self.view.selectionModel()
        assert selection is not None
        selection.selectionChanged.connect(self._show_details)
        self._on_edited()

    # --- what was chosen ---

    def sections(self) -> tuple[Section, ...]:
        """All sections but those left out.

        Raises
        ------
        InputError
            There is none to train on, or one is incomplete, not checked yet, or no good.
        """
        used = [(k, row) for k, row in enumerate(self.rows.all) if row.role != "leave out"]
        if not any(row.role == "train" for _, row in used):
            raise InputError("There is no section to train on: add a slide and its ST.")
        sections = []
        for number, row in used:
            state = self.model.state(number)
            name = f"Section {row.name or number + 1}"
            if state.level == "checking":
                raise InputError(f"{name} is still being checked: wait a moment.")
            if state.level == "bad" or row.section is None:
                raise InputError(
                    f"{name}: {' '.join(state.sentences)} Correct it, or give it the role leave out"
                )
            sections.append(row.section)
        return tuple(sections)

    def names(self, role: str) -> tuple[str, ...]:
        """Names of the sections with a role."""
        return tuple(row.name for row in self.rows.all if row.role == role)

    def genes(self) -> dict[str, frozenset[str]]:
        """Genes of each section that trains or validates, by its name, as far as it was read."""
        genes: dict[str, frozenset[str]] = {}
        for number, row in enumerate(self.rows.all, start=1):
            measured = self.model.measured(row)
            found = None if measured is None else self.checks.found(measured)
            if row.role in ("train", "validate") and found is not None and found.genes:
                genes[row.name or f"row {number}"] = found.genes
        return genes

    def show_sections(
        self, sections: Sequence[Section], held_out: Sequence[str], validated: Sequence[str]
    ) -> None:
        """Take these sections instead of what is there."""
        rows: list[SectionRow] = []
        for section in sections:
            name = section.section_id
            role = "hold out" if name in held_out else "validate" if name in validated else "train"
            rows.append(row_of(section, role))  # type: ignore[arg-type]
        self.model.update(lambda: self.rows.set(rows))

    def set_trust_positions(self, trust: bool) -> None:
        """Whether positions are taken that the tissue speaks against."""
        self.model.trust_positions = trust
        self.model.check()
        self._on_known()

    # --- adding ---

    def add_paths(self, paths: Sequence[Path], onto: int | None = None) -> None:
        """Add slides, measured spots, tables of positions or of sections.

        Parameters
        ----------
        paths
            Files or folders.
        onto
            The row they were dropped on, for those that it lacks; None for the best fitting one.
        """
        # Slides first: what belongs to them then finds their rows.
        order: dict[Kind, int] = {"sections": 0, "slide": 1, "ST": 2, "positions": 3}
        kinds = sorted(((kind_of(path), path) for path in paths), key=lambda item: order[item[0]])
        for kind, path in kinds:
            if kind == "sections":
                self.load_table(path)

        def add() -> None:
            for kind, path in kinds:
                if kind != "sections":
                    self._add(kind, path, onto)

        self.model.update(add)

    def _add(self, kind: Kind, path: Path, onto: int | None) -> None:
        field = {"slide": "slide", "ST": "expression", "positions": "positions"}[kind]
        if onto is not None and getattr(self.rows[onto], field) is None:
            self.rows.change([onto], **{field: path})
        elif kind == "slide":
            self.rows.add_slide(path)
        elif kind == "ST":
            self.rows.add_expression(path)
        else:
            self.rows.add_positions(path)

    def add_from_layers(self) -> None:
        """Add the slides and measured spots that are open in the viewer."""
        slides, spots = open_slides(self.viewer.layers), open_measured(self.viewer.layers)
        if not slides:
            show_info("No slide is open in the viewer.")
            return

        def add() -> None:
            for slide in slides:
                self.rows.add_open_slide(slide.path, slide.mpp, slide.image)
            for one in spots:
                self.rows.add_measured(
                    one.expression, one.positions, one.fix, one.slide, one.choice
                )

        self.model.update(add)

    def load_table(self, path: Path) -> None:
        """Add the sections of a table; what is wrong with it is shown."""
        try:
            sections = read_sections(path)
        except InputError as error:
            show_error(str(error))
            return
        self.model.update(lambda: self.rows.add_sections(sections))

    def save_table(self, path: Path) -> None:
        """Write the complete rows as a table."""
        sections = [row.section for row in self.rows.all if row.section is not None]
        try:
            write_sections(sections, path)
        except InputError as error:
            show_error(str(error))
            return
        left = len(self.rows) - len(sections)
        if left:
            show_info(f"Rows that lack something are not in {path.name}: {left}.")

    # --- changing ---

    def remove_selected(self) -> None:
        """Remove the selected rows; :meth:`take_back` brings them back."""
        numbers = self.view.selected_rows()
        if numbers:
            self.model.update(lambda: self.rows.remove(numbers))

    def take_back(self) -> None:
        """Undo the last change."""
        self.model.undo()

    def fix_positions(self, numbers: Sequence[int]) -> None:
        """Have the spots of rows where their checks propose it; :meth:`take_back` undoes it."""
        proposals = {number: self.model.state(number).proposal for number in numbers}
        self.model.change_each({n: {"fix": p.fix} for n, p in proposals.items() if p is not None})

    def _on_edited(self) -> None:
        self.undo.setEnabled(self.rows.can_undo)
        self.save.setEnabled(len(self.rows) > 0)
        self._on_known()

    def _on_known(self) -> None:
        self._show_details()
        self.changed.emit()

    def _detailed(self) -> int | None:
        """Number of the row that is described below the table."""
        if selected := self.view.selected_rows():
            return selected[0]
        levels = [self.model.state(number).level for number in range(len(self.rows))]
        return next((levels.index(level) for level in ("bad", "warned") if level in levels), None)

    def _show_details(self, *_: object) -> None:
        number = self._detailed()
        if number is None:
            self.details.clear()
        else:
            self.details.show_row(number, self.rows[number], self.model.state(number))

    def _on_part(self, choice: SpotChoice) -> None:
        number = self._detailed()
        if number is not None:
            self.model.change([number], choice=choice)

    def _on_fix(self) -> None:
        number = self._detailed()
        if number is not None:
            self.fix_positions([number])

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
            self.load_table(Path(file))

    def _on_save(self) -> None:
        file, _ = QFileDialog.getSaveFileName(self, "Save sections", "sections.csv", "CSV (*.csv)")
        if file:
            self.save_table(Path(file))

    def _on_double_click(self, index: QModelIndex) -> None:
        if index.column() in FILES:
            self.choose(index, folder=False)

    def choose(self, index: QModelIndex, *, folder: bool) -> None:
        """Ask for the file or folder of a cell."""
        row, field = self.rows[index.row()], FILES[index.column()]
        what = {"slide": "Slide", "expression": "Measured spots", "positions": "Positions"}[field]
        title = f"{what} of {row.name or 'the section'}"
        if folder:
            chosen = QFileDialog.getExistingDirectory(self, title)
        else:
            chosen, _ = QFileDialog.getOpenFileName(self, title)
        if chosen:
            values: dict[str, object] = {field: Path(chosen)}
            if field == "expression":  # another file has other parts
                values["choice"] = SpotChoice()
            self.model.change([index.row()], **values)

    def _on_menu(self, where: QPoint) -> None:
        index = self.view.indexAt(where)
        if index.isValid():
            menu = section_menu(self, index)
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.popup(self.view.mapToGlobal(where))

    def check_again(self, number: int) -> None:
        """Read a section's files anew."""
        measured = self.model.measured(self.rows[number])
        if measured is not None:
            self.checks.forget(measured)
            self.model.check()

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
