"""Rows of the sections of a training, as the user puts them together, with undo."""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import Literal, get_args

from napari_nh2st.remote import SlidePath
from napari_nh2st.slide.images import ImageChoice
from napari_nh2st.spots import Fix, Section, SpotChoice
from napari_nh2st.spots.choice import NO_CHOICE
from napari_nh2st.spots.read import needs_positions, takes_positions

Role = Literal["train", "validate", "hold out", "leave out"]
"""What a section is for: to learn from, to choose the epoch, to test, or nothing."""

ROLES: tuple[Role, ...] = get_args(Role)

_ALIKE = 0.6
_MOST_UNDO = 100
# Endings of names that say what a file is and not of which section.
_KIND_WORDS = re.compile(
    r"(selection|stdata|spot_data|spots?|counts?|alignment|positions?|table|image|tissue|he)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SectionRow:
    """A section that may still lack something.

    Parameters
    ----------
    role
        What it is for.
    name, donor
        As in :class:`~napari_nh2st.spots.Section`; empty while not given.
    slide, expression, positions, mpp, fix, image, features
        Likewise; None while not given.
    choice
        Which part of the ST's file, where it holds several.
    """

    role: Role = "train"
    name: str = ""
    donor: str = ""
    slide: SlidePath | None = None
    expression: Path | None = None
    positions: Path | None = None
    mpp: float | None = None
    fix: Fix | None = None
    image: ImageChoice = None
    choice: SpotChoice = NO_CHOICE
    features: Path | None = None

    @property
    def missing_files(self) -> tuple[str, ...]:
        """Which files have to be given, in words; without them nothing can be checked."""
        needed = [
            what for what, file in (("slide", self.slide), ("ST", self.expression)) if file is None
        ]
        if (
            self.expression is not None
            and needs_positions(self.expression)
            and self.positions is None
        ):
            needed.append("positions")
        return tuple(needed)

    @property
    def missing(self) -> tuple[str, ...]:
        """What has to be given, in words."""
        words = [what for what, text in (("name", self.name), ("donor", self.donor)) if not text]
        return (*self.missing_files, *words)

    @property
    def files(self) -> Section | None:
        """The section without its name and donor; None while a file is missing."""
        if self.missing_files or self.slide is None or self.expression is None:
            return None
        return Section(
            "",
            "",
            self.slide,
            self.expression,
            self.positions,
            self.mpp,
            self.fix,
            image=self.image,
            features=self.features,
            **asdict(self.choice),
        )

    @property
    def section(self) -> Section | None:
        """The section; None while something is missing."""
        files = None if self.missing else self.files
        return files and replace(files, section_id=self.name, donor_id=self.donor)


def row_of(section: Section, role: Role = "train") -> SectionRow:
    """The row of a section that is complete."""
    return SectionRow(
        role,
        section.section_id,
        section.donor_id,
        section.slide,
        section.expression,
        section.positions,
        section.mpp,
        section.fix,
        image=section.image,
        features=section.features,
        choice=section.choice,
    )


class SectionRows:
    """The rows, and what they were before each change."""

    def __init__(self) -> None:
        self._rows: tuple[SectionRow, ...] = ()
        self._before: list[tuple[SectionRow, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number: int) -> SectionRow:
        return self._rows[number]

    @property
    def all(self) -> tuple[SectionRow, ...]:
        """All rows, in order."""
        return self._rows

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to undo."""
        return bool(self._before)

    def set(self, rows: Sequence[SectionRow]) -> None:
        """Take other rows instead."""
        if tuple(rows) != self._rows:
            self._before = [*self._before, self._rows][-_MOST_UNDO:]
            self._rows = tuple(rows)

    def undo(self) -> None:
        """Go back to the state before the last change."""
        if self._before:
            self._rows = self._before.pop()

    def change_together(self, change: Callable[[], None]) -> None:
        """Do several changes that one undo takes back."""
        rows, before = self._rows, self._before
        try:
            change()
        finally:
            changed = self._rows
            self._rows, self._before = rows, before
            self.set(changed)

    def remove(self, numbers: Sequence[int]) -> None:
        """Remove rows."""
        self.set([row for k, row in enumerate(self._rows) if k not in set(numbers)])

    def change(self, numbers: Sequence[int], **values: object) -> None:
        """Give fields of rows other values."""
        chosen = set(numbers)
        self.set(
            [
                replace(row, **values) if k in chosen else row  # type: ignore[arg-type]
                for k, row in enumerate(self._rows)
            ]
        )

    def add_slide(
        self, path: SlidePath, mpp: float | None = None, image: ImageChoice = None
    ) -> None:
        """Add a row for a slide, or fill one that waits for its slide."""
        free = [k for k, row in enumerate(self._rows) if row.slide is None]
        place = _best(path, [(k, self._rows[k]) for k in free])
        if place is None:
            row = SectionRow(name=self._free_name(path), slide=path, mpp=mpp, image=image)
            self.set([*self._rows, row])
        else:
            row = self._rows[place]
            name = row.name or self._free_name(path)
            self.change([place], slide=path, name=name, mpp=row.mpp or mpp, image=image)

    def add_open_slide(self, path: SlidePath, mpp: float | None, image: ImageChoice = None) -> None:
        """Add a slide that is open; rows that have it take the µm/px given for it if they lack it.

        Parameters
        ----------
        path
            The slide.
        mpp
            µm/px that was given for it; None for its own.
        image
            Which image of a file that has several.
        """
        same = (image, None if image is None else str(image))
        its = [k for k, row in enumerate(self._rows) if row.slide == path and row.image in same]
        if its:
            self.change([k for k in its if self._rows[k].mpp is None], mpp=mpp)
        else:
            self.add_slide(path, mpp, image)

    def add_expression(self, path: Path) -> None:
        """Give measured spots to the row they seem to belong to; a new one if none waits."""
        place = self._waiting(path, "expression")
        if place is None:
            self.set([*self._rows, SectionRow(name=self._free_name(path), expression=path)])
        else:
            self.change([place], expression=path)

    def add_positions(self, path: Path) -> None:
        """Give a table of positions to the row it seems to belong to; a new one if none waits."""
        place = self._waiting(path, "positions")
        if place is None:
            self.set([*self._rows, SectionRow(name=self._free_name(path), positions=path)])
        else:
            self.change([place], positions=path)

    def add_features(self, path: Path) -> None:
        """Give features to the row they seem to belong to; a new one if none waits."""
        place = self._waiting(path, "features")
        if place is None:
            self.set([*self._rows, SectionRow(name=self._free_name(path), features=path)])
        else:
            self.change([place], features=path)

    def add_measured(
        self,
        expression: Path,
        positions: Path | None = None,
        fix: Fix | None = None,
        slide: SlidePath | None = None,
        choice: SpotChoice = NO_CHOICE,
    ) -> None:
        """Add measured spots of which more is known than their file.

        Parameters
        ----------
        expression, positions
            As in :class:`~napari_nh2st.spots.Section`.
        fix
            Likewise; a row that has these files already takes it as well. None where nobody has
            decided: such a row keeps its own.
        slide
            The one they lie on; None to find it by name.
        choice
            Which part of the file.
        """
        on_it = [k for k, row in enumerate(self._rows) if slide is None or row.slide == slide]
        its = (expression, choice)
        rows = self._rows
        place = next((k for k in on_it if (rows[k].expression, rows[k].choice) == its), None)
        done = None if fix == Fix() else fix
        if place is not None:
            if fix is not None:
                self.change([place], fix=done)
            return
        if slide is None:
            place = self._waiting(expression, "expression")
        else:
            place = next((k for k in on_it if self._rows[k].expression is None), None)
        if place is None:
            row = SectionRow(name=self._free_name(slide or expression), slide=slide)
            self.set([*self._rows, row])
            place = len(self._rows) - 1
        self.change([place], expression=expression, positions=positions, fix=done, choice=choice)

    def add_sections(self, sections: Sequence[Section]) -> None:
        """Add complete sections; those that are there already, with the same files, are not."""
        there = {(row.slide, row.expression, row.choice) for row in self._rows}
        new = [row_of(s) for s in sections if (s.slide, s.expression, s.choice) not in there]
        self.set([*self._rows, *new])

    def namesake(self, number: int) -> int | None:
        """Number of another row of the same name; None if there is none."""
        return self._other(number, lambda row: row.name or None)

    def same_files(self, number: int) -> int | None:
        """Number of another row, not left out, of the same slide and ST; None if there is none."""
        return self._other(
            number,
            lambda row: (
                None
                if row.missing_files or row.role == "leave out"
                else (row.slide, row.expression, row.choice)
            ),
        )

    def _other(self, number: int, key: Callable[[SectionRow], object]) -> int | None:
        wanted = key(self._rows[number])
        others = (k for k, row in enumerate(self._rows) if k != number and key(row) == wanted)
        return None if wanted is None else next(others, None)

    def _waiting(self, path: Path, field: str) -> int | None:
        """The row of the most similar name that waits for a file, or else the nearest folder's."""
        waiting = [
            (k, row)
            for k, row in enumerate(self._rows)
            if getattr(row, field) is None and (field != "positions" or _takes_positions(row))
        ]
        best = _best(path, waiting)
        if best is not None:
            return best
        nearest = max(waiting, key=lambda item: (_nearness(path, item[1]), -item[0]), default=None)
        return None if nearest is None else nearest[0]

    def _free_name(self, path: SlidePath) -> str:
        """A name for a file: where another section has it, with the folder's before it."""
        names = {row.name for row in self._rows}
        name = short_name(path)
        if name in names:
            folders = (parent.name for parent in path.parents)
            telling = (folder for folder in folders if folder not in ("", "outs", name))
            name = "-".join([*islice(telling, 1), name])
        number, free = 1, name
        while free in names:
            number += 1
            free = f"{name}-{number}"
        return free


def short_name(path: SlidePath) -> str:
    """A section's name from that of its file: without endings and words for what it holds."""
    if path.name in ("outs", "filtered_feature_bc_matrix.h5", "tissue_positions_list.csv"):
        path = path.parent if path.parent.name != "outs" else path.parent.parent
    base = path.name.split(".")[0]
    words = [word for word in re.split(r"[_\-\s]+", base) if word]
    telling = [word for word in words if not _KIND_WORDS.fullmatch(word)]
    return "-".join(telling) or base or str(path)


def _takes_positions(row: SectionRow) -> bool:
    return row.expression is None or takes_positions(row.expression)


def _best(path: SlidePath, rows: Sequence[tuple[int, SectionRow]]) -> int | None:
    """The row that is named most like a file; None where none is.

    Of those named alike, the one whose files are nearest: studies have a folder a section, too.
    """
    wanted = short_name(path).casefold()
    scored = []
    for number, row in rows:
        names = {row.name, *(short_name(p) for p in (row.slide, row.expression) if p)}
        alike = max(_likeness(wanted, name.casefold()) for name in names)
        scored.append((alike, _nearness(path, row), -number))
    if not scored or max(scored)[0] < _ALIKE:
        return None
    return -max(scored)[2]


def _nearness(path: SlidePath, row: SectionRow) -> int:
    """Folders that a file shares with the nearest of a row's."""
    shared = 0
    for file in (row.slide, row.expression, row.positions):
        if file is not None:
            both = zip(path.parts[:-1], file.parts[:-1], strict=False)
            shared = max(shared, sum(1 for _ in takewhile(lambda two: two[0] == two[1], both)))
    return shared


def _likeness(one: str, other: str) -> float:
    """1 for the same, 0 for nothing in common; other numbers are other sections."""
    if one == other:
        return 1.0
    if re.findall(r"\d+", one) != re.findall(r"\d+", other):
        return 0.0
    return difflib.SequenceMatcher(None, one, other).ratio()
