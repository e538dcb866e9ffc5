"""Steps of a grid: parts of the pitch, which of them are offered, and what each costs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from napari_nh2st.durations import duration
from napari_nh2st.errors import InputError

_TOLERANCE = 0.01
"""Share by which a step may be off: 33.3 µm is a sixth of 200."""

_OFFERED = (4, 2, 1)
_FINEST_OFFERED_UM = 20.0
"""Finer than this is a cell or two, and what a tile shows hardly changes from step to step."""

FEW_TILES = 600
"""So few are predicted in a minute or two on the slowest machine: nothing is timed for them."""

_MOST_BYTES = 2**30
"""Bound on the values of a step that nobody asked for."""


@dataclass(frozen=True)
class Detail:
    """Cost of a prediction with one step.

    Parameters
    ----------
    step_um
        Distance between values in µm.
    n_tiles
        Number of tiles that are predicted.
    seconds
        Expected duration in seconds; None while the speed of this machine is unknown.
    """

    step_um: float
    n_tiles: int
    seconds: float | None

    def at_speed(self, tiles_per_s: float | None) -> "Detail":
        """The same at a speed in tiles per second; None for an unknown speed."""
        return replace(self, seconds=None if tiles_per_s is None else self.n_tiles / tiles_per_s)

    def __str__(self) -> str:
        tiles = f"{self.n_tiles:,} tile" + ("" if self.n_tiles == 1 else "s")
        parts = [f"{self.step_um:.4g} µm", tiles]
        if self.seconds is not None:
            parts.append(duration(max(1.0, self.seconds)))
        return " · ".join(parts)


def divisions_of(pitch_um: float, step_um: float) -> int:
    """How many steps a pitch is.

    Parameters
    ----------
    pitch_um
        Distance between the neighbors that the model looks at.
    step_um
        Distance between values.

    Raises
    ------
    InputError
        It is not a whole number; the nearest steps of which it is are named.
    """
    ratio = pitch_um / step_um
    divisions = max(1, round(ratio))
    if abs(ratio - divisions) > _TOLERANCE * divisions:
        fewer = max(1, int(ratio))
        raise InputError(
            f"step_um is {step_um:g}, but it must divide the pitch of {pitch_um:g} µm evenly; "
            f"the nearest are {pitch_um / fewer:.4g} and {pitch_um / (fewer + 1):.4g}"
        )
    return divisions


def offered_divisions(pitch_um: float) -> tuple[int, ...]:
    """Divisions of a pitch that are worth offering, the finest first and 1 last."""
    return tuple(n for n in _OFFERED if n == 1 or pitch_um / n >= _FINEST_OFFERED_UM)


def finest_that_fits(
    details: Sequence[Detail], n_columns: int, most_seconds: float
) -> tuple[int, str | None]:
    """Which of some steps to take where none was asked for.

    Parameters
    ----------
    details
        The finest first.
    n_columns
        Numbers that are computed of a tile.
    most_seconds
        What the prediction may take, unless its step is the last.

    Returns
    -------
    number, notice
        Of the step; and a sentence where it is not the finest.
    """

    def fits(detail: Detail) -> bool:
        in_time = detail.seconds is None or detail.seconds <= most_seconds
        return in_time and 4 * detail.n_tiles * n_columns <= _MOST_BYTES

    fitting = (number for number, detail in enumerate(details) if fits(detail))
    number = next(fitting, len(details) - 1)
    if number == 0:
        return 0, None
    finest, chosen = details[0], details[number]
    return number, (
        f"Values are {chosen.step_um:.4g} µm apart: {finest.step_um:.4g} µm would be "
        f"{str(finest).split(' · ', 1)[1]}. Give the step to use it all the same."
    )
