"""Checks of sections in a thread, one after another."""

from collections.abc import Iterator, Sequence
from typing import Any

from napari.qt.threading import create_worker
from psygnal import Signal

from napari_nh2st.spots.section_check import Found, Measured, check


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
