"""Checks of sections in a thread, one after another."""

from collections.abc import Sequence

from psygnal import Signal
from qtpy.QtCore import QObject

from napari_nh2st.spots.section_check import Found, Measured, check
from napari_nh2st.widgets.background import Background


class SectionChecks:
    """Checks sections, and keeps what it found.

    Parameters
    ----------
    parent
        A widget of the dock: with it, checking ends.

    Attributes
    ----------
    changed
        Emitted when something was found.
    """

    changed = Signal()

    def __init__(self, parent: QObject) -> None:
        self._found: dict[Measured, Found] = {}
        self._wanted: list[Measured] = []
        self._checking = Background(parent)

    @property
    def is_busy(self) -> bool:
        """Whether something is still being checked."""
        return self._checking.is_busy

    def found(self, measured: Measured) -> Found | None:
        """Result of the check; None while it is under way."""
        return self._found.get(measured)

    def want(self, all_measured: Sequence[Measured]) -> None:
        """Check these, and no others; what was checked before is not checked again."""
        self._wanted = list(dict.fromkeys(all_measured))
        if not self._checking.is_busy:
            self._check_next()

    def forget(self, measured: Measured) -> None:
        """Check it anew when it is wanted again: its files may have changed."""
        self._found.pop(measured, None)

    def _check_next(self) -> None:
        rest = (one for one in self._wanted if one not in self._found)
        if (measured := next(rest, None)) is not None:
            self._checking.start(_checked, measured, done=self._on_found)

    def _on_found(self, result: tuple[Measured, Found]) -> None:
        measured, self._found[measured] = result
        self._check_next()
        self.changed.emit()


def _checked(measured: Measured) -> tuple[Measured, Found]:
    return measured, check(measured)
