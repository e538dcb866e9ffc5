"""Checks of sections beside the viewer, one after another in a thread."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.qt.threading import create_worker
from psygnal import Signal

from napari_nh2st.errors import InputError
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import Section, check_section, read_spots


@dataclass(frozen=True)
class Measured:
    """What is checked: the files of a section, whatever it is called.

    Parameters
    ----------
    slide, expression, positions, mpp
        As in :class:`~napari_nh2st.spots.Section`.
    trust_positions
        As in :func:`~napari_nh2st.spots.check_section`.
    """

    slide: Path
    expression: Path
    positions: Path | None
    mpp: float | None
    trust_positions: bool

    @classmethod
    def of(cls, section: Section, trust_positions: bool) -> "Measured":
        """Of a section."""
        return cls(
            section.slide, section.expression, section.positions, section.mpp, trust_positions
        )


@dataclass(frozen=True)
class Found:
    """What a check found.

    Parameters
    ----------
    text
        In words: the spots and the µm/px, or what is wrong.
    is_good
        Whether the section can be trained on.
    warnings
        Sentences to be read nevertheless.
    """

    text: str
    is_good: bool
    warnings: tuple[str, ...] = ()


def check(measured: Measured) -> Found:
    """Read a section's spots and slide, and see whether they fit."""
    try:
        spots = read_spots(measured.expression, positions=measured.positions)
        with open_slide(measured.slide, mpp=measured.mpp) as slide:
            result = check_section(
                spots, slide, name="The section", trust_positions=measured.trust_positions
            )
    except InputError as error:
        return Found(str(error), False)
    except Exception as error:  # a reader that met what nobody foresaw: the row says so
        return Found(f"It cannot be read: {type(error).__name__}: {error}", False)
    mpp = result.mpp[0]
    return Found(f"ok: {spots.n_obs:,} spots, {mpp:.2f} µm/px", True, result.warnings)


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

    @property
    def is_busy(self) -> bool:
        """Whether something is still being checked."""
        return self._worker is not None

    def found(self, measured: Measured) -> Found | None:
        """What the check found; None while it is under way."""
        return self._found.get(measured)

    def want(self, all_measured: Sequence[Measured]) -> None:
        """Check these, and no others; what was checked before is not checked again."""
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
        self.changed.emit()

    def _on_finished(self) -> None:
        self._worker = None
        self.want(self._wanted)  # what came while the thread was ending
