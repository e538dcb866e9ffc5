"""Sections to train on: their rows, the checks of their files, and undo."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from napari.layers import Layer
from psygnal import Signal

from napari_nh2st.errors import InputError
from napari_nh2st.layers.open_sections import open_measured, open_slides
from napari_nh2st.model.encoders.key import parse_key
from napari_nh2st.session.latest_call import LatestCall
from napari_nh2st.session.row_state import RowState, row_state
from napari_nh2st.session.section_rows import Role, SectionRow, SectionRows, row_of
from napari_nh2st.spots import Section, read_sections, write_sections
from napari_nh2st.spots.file_kinds import Kind, kind_of
from napari_nh2st.spots.section_check import Found, check

_Files = tuple[Section, bool, str | None]
"""Files of a section, whatever it is called, whether its positions are trusted, and the key of
features that are given in place of an image encoder."""

_FIELDS = {
    "slide": "slide",
    "ST": "expression",
    "positions": "positions",
    "features": "features",
}
"""Field of a row for each kind of file."""


class TrainingSections:
    """Sections of the next training, each checked in a thread as soon as it has its files.

    Attributes
    ----------
    rows
        The sections, as far as they are known.
    changed
        Emitted when the rows are others, or what is known of them.
    """

    changed = Signal()

    def __init__(self) -> None:
        self.rows = SectionRows()
        self._trust_positions = False
        self._features: str | None = None
        self._found: dict[_Files, Found] = {}
        self._wanted: list[_Files] = []
        self._checking = LatestCall(_checked, seconds=0)
        self._checking.done.connect(self._on_found)

    # --- rows ---

    def update(self, change: Callable[[], None]) -> None:
        """Change the rows; one undo takes it back."""
        self.rows.change_together(change)
        self.check()

    def change(self, numbers: Sequence[int], **values: object) -> None:
        """Give fields of rows other values."""
        self.update(lambda: self.rows.change(numbers, **values))

    def undo(self) -> None:
        """Take back the last change."""
        self.rows.undo()
        self.check()

    def fix_positions(self, numbers: Sequence[int]) -> None:
        """Fix the positions of rows as their checks propose."""
        proposals = {number: self.state(number).proposal for number in numbers}

        def fix() -> None:
            for number, proposal in proposals.items():
                if proposal is not None:
                    self.rows.change([number], fix=proposal.fix)

        self.update(fix)

    def hold_out(self, name: str) -> None:
        """Give a section the role *hold out*."""
        self.change([k for k, row in enumerate(self.rows.all) if row.name == name], role="hold out")

    def show(
        self, sections: Sequence[Section], held_out: Sequence[str], validated: Sequence[str]
    ) -> None:
        """Take these sections instead of what is there, with the roles of those named."""
        roles = dict.fromkeys(validated, "validate") | dict.fromkeys(held_out, "hold out")
        rows = [row_of(s, cast(Role, roles.get(s.section_id, "train"))) for s in sections]
        self.update(lambda: self.rows.set(rows))

    def add_paths(self, paths: Iterable[Path], onto: int | None = None) -> None:
        """Add slides, measured spots, features, tables of positions or of sections.

        Parameters
        ----------
        paths
            Files or folders.
        onto
            The row they were dropped on, for those that it lacks; None for the best fitting one.

        Raises
        ------
        InputError
            A table of sections cannot be read; all else is added.
        """
        # Slides first: what belongs to them then finds their rows.
        kinds_in_order: tuple[Kind, ...] = ("sections", "slide", "ST", "positions", "features")
        order = {kind: number for number, kind in enumerate(kinds_in_order)}
        kinds = sorted(((kind_of(path), path) for path in paths), key=lambda item: order[item[0]])
        problems: list[InputError] = []

        def add() -> None:
            for kind, path in kinds:
                try:
                    self._add(kind, path, onto)
                except InputError as error:
                    problems.append(error)

        self.update(add)
        if problems:
            raise problems[0]

    def _add(self, kind: Kind, path: Path, onto: int | None) -> None:
        if kind == "sections":
            self.rows.add_sections(read_sections(path))
        elif onto is not None and getattr(self.rows[onto], _FIELDS[kind]) is None:
            self.rows.change([onto], **{_FIELDS[kind]: path})
        elif kind == "slide":
            self.rows.add_slide(path)
        elif kind == "ST":
            self.rows.add_expression(path)
        elif kind == "features":
            self.rows.add_features(path)
        else:
            self.rows.add_positions(path)

    def add_from_layers(self, layers: Sequence[Layer]) -> None:
        """Add the slides and measured spots among layers.

        Raises
        ------
        InputError
            No slide is among them.
        """
        slides, spots = open_slides(layers), open_measured(layers)
        if not slides:
            raise InputError("No slide is open in the viewer.")

        def add() -> None:
            for slide in slides:
                self.rows.add_open_slide(slide.path, slide.mpp, slide.image)
            for one in spots:
                self.rows.add_measured(
                    one.expression, one.positions, one.fix, one.slide, one.choice
                )

        self.update(add)

    def save(self, path: Path) -> int:
        """Write the complete rows as a sections table; number of those that are left out.

        Raises
        ------
        InputError
            As :func:`~napari_nh2st.spots.write_sections`.
        """
        sections = [row.section for row in self.rows.all if row.section is not None]
        write_sections(sections, path)
        return len(self.rows) - len(sections)

    # --- what was chosen ---

    def chosen(self) -> tuple[Section, ...]:
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
            state = self.state(number)
            name = f"Section {row.name or number + 1}"
            if state.level == "checking":
                raise InputError(f"{name} is still being checked: wait a moment.")
            if state.level == "bad" or row.section is None:
                raise InputError(
                    f"{name}: {' '.join(state.sentences)} Correct it, or give it the role leave out"
                )
            sections.append(row.section)
        return tuple(sections)

    def names(self, role: Role) -> tuple[str, ...]:
        """Names of the sections with a role."""
        return tuple(row.name for row in self.rows.all if row.role == role)

    def genes(self) -> Mapping[str, frozenset[str]]:
        """Genes of each section that trains or validates, by its name, as far as it was read."""
        return {
            row.name or f"row {number}": found.genes
            for number, row in enumerate(self.rows.all, start=1)
            if row.role in ("train", "validate") and (found := self._found_of(row)) and found.genes
        }

    # --- checks ---

    @property
    def is_busy(self) -> bool:
        """Whether files are still being checked."""
        return not self._checking.is_idle

    @property
    def trust_positions(self) -> bool:
        """Whether positions are taken that the tissue speaks against."""
        return self._trust_positions

    @trust_positions.setter
    def trust_positions(self, trust: bool) -> None:
        self._trust_positions = trust
        self.check()

    @property
    def features(self) -> str | None:
        """Key of the features that are learned from in place of pixels; None where none are."""
        return self._features

    @features.setter
    def features(self, key: str | None) -> None:
        if key != self._features:
            self._features = key
            self.check()

    def state(self, number: int) -> RowState:
        """State of a row: its level, and sentences on it."""
        return row_state(self.rows, number, self._found_of(self.rows[number]))

    def check(self) -> None:
        """Have every row checked that has its files and is not yet, and none else."""
        used = [self._files(row) for row in self.rows.all if row.role != "leave out"]
        self._wanted = list(dict.fromkeys(files for files in used if files is not None))
        if not self.is_busy:
            self._check_next()
        self.changed.emit()

    def check_again(self, number: int) -> None:
        """Read a section's files anew: they may have changed."""
        files = self._files(self.rows[number])
        if files is not None:
            self._found.pop(files, None)
            self.check()

    def stop_checking(self) -> None:
        """Check no more files after those that are being read."""
        self._wanted = []

    def _files(self, row: SectionRow) -> _Files | None:
        if row.files is None:
            return None
        return row.files, self._trust_positions, self._features

    def _found_of(self, row: SectionRow) -> Found | None:
        """Result of a row's check; None while there is none."""
        files = self._files(row)
        return None if files is None else self._found.get(files)

    def _check_next(self) -> None:
        rest = (files for files in self._wanted if files not in self._found)
        if (files := next(rest, None)) is not None:
            self._checking.request(files)

    def _on_found(self, result: tuple[_Files, Found]) -> None:
        files, self._found[files] = result
        self._check_next()
        self.changed.emit()


def _checked(files: _Files) -> tuple[_Files, Found]:
    section, trust_positions, features = files
    key = None if features is None else parse_key(features)
    return files, check(section, trust_positions=trust_positions, features=key)
