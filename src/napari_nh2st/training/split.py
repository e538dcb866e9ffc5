"""Split of the sections into those that train, choose the epoch, and test."""

import random
from collections.abc import Collection, Sequence
from typing import Literal, Protocol, TypeVar

from napari_nh2st.errors import InputError
from napari_nh2st.model.catalogue import DEFAULT_ARCHITECTURE, entry_of
from napari_nh2st.training.settings import TrainSettings

Leave = Literal["donor", "section"]

_LEAST_TO_HOLD_OUT = 3
"""Sections: with one held out, two are left to learn from and to choose the epoch by."""


class Named(Protocol):
    """A section, as far as a split looks at it."""

    @property
    def name(self) -> str:
        """Its id."""

    @property
    def donor(self) -> str:
        """Its donor."""


T = TypeVar("T", bound=Named)


def set_aside(
    sections: Sequence[T], settings: TrainSettings
) -> tuple[tuple[T, ...], tuple[T, ...], str]:
    """Set sections aside for choosing the epoch.

    Parameters
    ----------
    sections
        To train on; those of the test split are not among them.
    settings
        ``validation``, ``validation_sections``, ``seed``, and ``architecture``: one without epochs
        has all sections to train on.

    Returns
    -------
    training, validation
        The two parts; validation may be empty.
    notice
        A sentence where validation was left out or is by section of one donor; else empty.

    Raises
    ------
    InputError
        A name is not among the sections, nothing would be left to train on, or there is one donor
        only where one is to be set aside.
    """
    donors = list(dict.fromkeys(section.donor for section in sections))
    if settings.validation_sections:
        chosen = _by_name(sections, settings.validation_sections)
    else:
        by = settings.validation
        if by == "auto":
            if entry_of(settings.architecture or DEFAULT_ARCHITECTURE).closed_form:
                return tuple(sections), (), ""  # there is no epoch to choose
            by = "donor" if len(donors) > 1 else "section" if len(sections) > 1 else "none"
        if by == "none":
            notice = "No section is set aside: all epochs are done and the last is kept."
            return tuple(sections), (), notice
        draw = random.Random(settings.seed)
        if by == "donor":
            if len(donors) < 2:
                raise InputError(
                    f"all {len(sections)} sections are of one donor ({donors[0]}), so none can be "
                    "set aside for validation; set a section aside instead (validation: section)"
                )
            donor = draw.choice(donors)
            chosen = [section for section in sections if section.donor == donor]
        else:
            if len(sections) < 2:
                raise InputError(
                    f"there is only one section ({sections[0].name}), so none can be set aside "
                    "for validation; do without (validation: none)"
                )
            chosen = [draw.choice(list(sections))]
    names = {section.name for section in chosen}
    training = tuple(section for section in sections if section.name not in names)
    if not training:
        raise InputError("all sections are set aside for validation; none is left to train on")
    shared = {s.donor for s in training} & {s.donor for s in chosen}
    notice = ""
    if shared:
        notice = (
            f"Validation section {', '.join(sorted(names))} shares its donor "
            f"({', '.join(sorted(shared))}) with the training sections: correlations on other "
            "donors will be lower."
        )
    return training, tuple(chosen), notice


def folds(sections: Sequence[T], leave: Leave) -> tuple[tuple[str, tuple[T, ...]], ...]:
    """The test splits of a cross-validation: name and sections left out of each.

    Raises
    ------
    InputError
        There is one donor or one section only.
    """
    groups: dict[str, list[T]] = {}
    for section in sections:
        groups.setdefault(section.donor if leave == "donor" else section.name, []).append(section)
    if len(groups) < 2:
        only = next(iter(groups), "none")
        hint = "; leave out sections instead (--leave section)" if leave == "donor" else ""
        raise InputError(
            f"cross-validation leaves out one {leave} at a time and needs at least two; there is "
            f"one ({only}){hint}"
        )
    return tuple((name, tuple(group)) for name, group in groups.items())


def _by_name(sections: Sequence[T], names: Sequence[str]) -> list[T]:
    known = {section.name: section for section in sections}
    for name in names:
        if name not in known:
            raise InputError(f"there is no section {name!r}; there are {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)]


def section_to_spare(trained: Sequence[tuple[str, str]], seen: Collection[str] = ()) -> str:
    """Choose a section to hold out.

    Parameters
    ----------
    trained
        Name and donor of each section that trains.
    seen
        Names of those that the start model was trained on: they tell nothing about it.

    Returns
    -------
    str
        The last section of the donor with the fewest: most is learned from the rest, and no
        other section of that donor where it is the only one. Empty where there are too few.
    """
    unseen = [row for row in reversed(trained) if row[0] and row[0] not in seen]
    if len(trained) < _LEAST_TO_HOLD_OUT or not unseen:
        return ""
    donors = [donor for _, donor in trained]
    return min(unseen, key=lambda row: donors.count(row[1]))[0]
