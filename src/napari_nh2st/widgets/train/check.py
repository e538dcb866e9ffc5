"""Checks of sections beside the viewer, one after another in a thread."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from anndata import AnnData
from napari.qt.threading import create_worker
from psygnal import Signal

from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.slide.images import ImageChoice
from napari_nh2st.spots import (
    ChoiceNeeded,
    Fix,
    Proposal,
    Section,
    SpotChoice,
    apply_fix,
    check_counts,
    check_enough_spots,
    check_section,
    propose_fix,
    read_spots,
)
from napari_nh2st.spots.assembly import INFO
from napari_nh2st.spots.choice import NO_CHOICE, Parts
from napari_nh2st.spots.orientation import AS_THEY_ARE

_NAME = "This section"
"""What checks call it."""


@dataclass(frozen=True)
class Measured:
    """What is checked: the files of a section, whatever it is called.

    Parameters
    ----------
    slide, expression, positions, mpp, fix, image, choice
        As in :class:`~napari_nh2st.spots.Section`.
    trust_positions
        As in :func:`~napari_nh2st.spots.check_section`.
    """

    slide: Path
    expression: Path
    positions: Path | None = None
    mpp: float | None = None
    fix: Fix | None = None
    trust_positions: bool = False
    image: ImageChoice = None
    choice: SpotChoice = NO_CHOICE

    @classmethod
    def of(cls, section: Section, trust_positions: bool) -> "Measured":
        """Of a section."""
        return cls(
            section.slide,
            section.expression,
            section.positions,
            section.mpp,
            section.fix,
            trust_positions,
            section.image,
            section.choice,
        )


@dataclass(frozen=True)
class Found:
    """What a check found.

    Parameters
    ----------
    sentences
        The spots and the µm/px, or what is wrong.
    is_good
        Whether the section can be trained on.
    short
        The same in two words.
    warnings
        Sentences to be read nevertheless.
    proposal
        What seems wrong with the places of the spots, and what would put it right.
    genes
        What was measured; empty where it could not be read.
    parts
        What the ST's file holds several of.
    """

    sentences: tuple[str, ...]
    is_good: bool
    short: str = "ok"
    warnings: tuple[str, ...] = ()
    proposal: Proposal | None = None
    genes: frozenset[str] = field(default=frozenset(), repr=False)
    parts: Parts = field(default_factory=Parts)


def check(measured: Measured) -> Found:
    """Read a section's spots and slide, and see whether they fit; takes seconds."""
    unreadable: list[str] = []
    with ExitStack() as opened:
        spots, slide = None, None
        try:
            slide = opened.enter_context(
                open_slide(measured.slide, mpp=measured.mpp, image=measured.image)
            )
        except InputError as error:
            unreadable.append(_sentence(error))
        except Exception as error:  # a reader that met what nobody foresaw: the row says so
            unreadable.append(_unforeseen("The slide", error))
        try:
            part = asdict(measured.choice)
            spots = read_spots(measured.expression, measured.positions, **part)
        except ChoiceNeeded as error:
            what = f"The ST holds {len(error.names)} sections: choose one below."
            return Found((*unreadable, what), False, "which section?", parts=error.parts)
        except InputError as error:
            unreadable.append(_sentence(error))
        except Exception as error:
            unreadable.append(_unforeseen("The ST", error))
        if spots is None or slide is None:
            return Found(tuple(unreadable), False, "unreadable")
        parts = Parts.of(spots.uns.get(INFO, {}))
        try:
            return replace(_fit(spots, slide, measured), parts=parts)
        except Exception as error:
            return Found((_unforeseen("The section", error),), False, "not usable", parts=parts)


def _fit(spots: AnnData, slide: Slide, measured: Measured) -> Found:
    """Whether spots and slide that can be read belong together."""
    genes = frozenset(spots.var_names)
    try:
        check_counts(spots, _NAME)
        check_enough_spots(spots, _NAME)
    except InputError as error:
        return Found((_sentence(error),), False, "not usable", genes=genes)
    fixed = spots if measured.fix is None else apply_fix(spots, measured.fix, slide.shape)
    trust = measured.trust_positions
    try:
        result = check_section(fixed, slide, name=_NAME, trust_positions=trust)
    except InputError as error:
        proposal = _proposal(spots, slide, measured)
        if proposal is None:
            return Found((_sentence(error),), False, "not usable", genes=genes)
        return Found(_advice(proposal), False, "wrong places", (), proposal, genes)
    warnings = tuple(_sentence(warning) for warning in result.warnings)
    return Found(
        (f"{spots.n_obs:,} spots, {result.mpp[0]:.3g} µm/px.",),
        True,
        "ok, but read" if warnings else "ok",
        warnings,
        _proposal(spots, slide, measured) if warnings else None,
        genes,
    )


def _proposal(spots: AnnData, slide: Slide, measured: Measured) -> Proposal | None:
    """What would put the spots of the file right, unless that is done."""
    proposal = propose_fix(spots, slide)
    if proposal is None or proposal.fix == measured.fix:
        return None
    if measured.trust_positions and proposal.fix.orientation != AS_THEY_ARE:
        return None
    return proposal


def _advice(proposal: Proposal) -> tuple[str, ...]:
    """What was noticed, and what can be done about it here."""
    what = "Take them as proposed"
    if proposal.fix.factor == 1:
        what += "; or, if they are right as they are, tick Trust positions under More"
    return (*proposal.reasons, f"{what}.")


def _sentence(message: object) -> str:
    """A message about the section, where the row itself says which one."""
    text = str(message).removeprefix(f"{_NAME}: ")
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"


def _unforeseen(what: str, error: Exception) -> str:
    return f"{what} cannot be read: {type(error).__name__}: {error}."


class SectionChecks:
    """Checks what it is asked to, and keeps what it found.

    Attributes
    ----------
    changed
        Emitted when something was found.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._found: dict[Measured, Found] = {}
        self._wanted: list[Measured] = []
        self._worker: Any = None
        self._is_open = True

    @property
    def is_busy(self) -> bool:
        """Whether something is still being checked."""
        return self._worker is not None

    def found(self, measured: Measured) -> Found | None:
        """What the check found; None while it is under way."""
        return self._found.get(measured)

    def want(self, all_measured: Sequence[Measured]) -> None:
        """Check these, and no others; what was checked before is not checked again."""
        self._is_open = True
        self._wanted = [one for one in dict.fromkeys(all_measured) if one not in self._found]
        if self._wanted and self._worker is None:
            self._worker = create_worker(
                self._check_all,
                _connect={"yielded": self._on_found, "finished": self._on_finished},
                _ignore_errors=True,
            )

    def forget(self, measured: Measured) -> None:
        """Check it anew when it is wanted again: its files may have changed."""
        self._found.pop(measured, None)

    def close(self) -> None:
        """End after the section that is being checked."""
        self._wanted = []
        self._is_open = False
        if self._worker is not None:
            self._worker.quit()

    def _check_all(self) -> Iterator[tuple[Measured, Found]]:
        done: set[Measured] = set()
        while rest := [one for one in self._wanted if one not in done]:
            done.add(rest[0])
            yield rest[0], check(rest[0])

    def _on_found(self, result: tuple[Measured, Found]) -> None:
        measured, found = result
        self._found[measured] = found
        if self._is_open:  # else whoever listens may be gone
            self.changed.emit()

    def _on_finished(self) -> None:
        self._worker = None
        if self._wanted:
            self.want(self._wanted)  # what came while the thread was ending
