"""A prediction's events on a terminal, or as plain lines."""

import sys
import time

from tqdm import tqdm

from napari_nh2st.cli.output import notice, report, shows_progress
from napari_nh2st.cli.stopping import StopRequest
from napari_nh2st.durations import duration
from napari_nh2st.inference import Detail
from napari_nh2st.inference.events import Event, Finished, Started, TilesDone, TilesEncoded

_SECONDS_BETWEEN_LINES = 10.0


class ProgressReport:
    """Shows events on stderr: a bar on a terminal, a line now and then elsewhere.

    Parameters
    ----------
    stop
        Seen to after each event: a library may have swallowed it.
    quiet
        Only notices are shown.

    Attributes
    ----------
    done, total
        Tiles, of the latest event.
    notices
        Of the run so far.
    stain_distance
        As the run began with.
    """

    def __init__(self, stop: StopRequest, *, quiet: bool = False) -> None:
        self._stop = stop
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._bar: tqdm | None = None
        self._last_line = 0.0
        self.done = self.total = 0
        self.notices: tuple[str, ...] = ()
        self.stain_distance: float | None = None

    def __call__(self, event: Event) -> None:
        """Show one event."""
        self._stop.check()
        match event:
            case Started():
                self._start(event)
            case TilesDone() | TilesEncoded():
                self.done = event.done
                self._advance(event)
            case Finished():
                self.close()
                self._show_notices(event.notices)

    def close(self) -> None:
        """Leave the terminal's line, finished or not."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _show_notices(self, notices: tuple[str, ...]) -> None:
        self.notices += notices
        for sentence in notices:
            notice(sentence)

    def _start(self, event: Started) -> None:
        self.done, self.total = event.done, event.total
        self.stain_distance = event.stain_distance
        self._show_notices(event.notices)
        if self._quiet:
            return
        resumed = f", {event.done} done by an earlier run" if event.done else ""
        detail = Detail(event.grid.step_um, event.total, event.seconds)
        report(f"{detail} on {event.device} in {event.precision}{resumed}")
        if self._terminal and shows_progress():
            self._bar = tqdm(
                total=event.total, initial=event.done, unit="tile", file=sys.stderr, leave=False
            )
        self._last_line = time.monotonic()

    def _advance(self, event: TilesDone | TilesEncoded) -> None:
        if self._bar is not None:
            self._bar.update(event.done - self._bar.n)
        elif not self._quiet and time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            report(
                f"{event.done} of {event.total} tiles, {event.tiles_per_s:.1f} tiles/s, "
                f"{duration(event.seconds_left)} left"
            )
