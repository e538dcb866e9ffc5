"""A training on a terminal: what it shows, and how it is asked to stop."""

import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any

from tqdm import tqdm

from napari_nh2st.training.events import (
    EpochDone,
    Preparing,
    StepDone,
    TrainEvent,
    TrainFinished,
    TrainStarted,
)

_SECONDS_BETWEEN_LINES = 30.0


class StopRequest:
    """Turns the first Ctrl-C, or SIGTERM, into a wish that a training grants; the second ends it.

    A context manager; calling it tells whether a stop was asked for. While ``graceful`` is false,
    as before the first step, there is nothing to be kept and the first ends it at once.
    """

    def __init__(self) -> None:
        self.graceful = False
        self._asked = False
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked

    def __enter__(self) -> "StopRequest":
        # Signals reach the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked or not self.graceful:
            raise KeyboardInterrupt
        self._asked = True


class TrainingReport:
    """Shows a training's events on stderr: a bar and a line per epoch, or lines alone.

    Parameters
    ----------
    quiet
        Only notices are shown.
    silent
        Not even these.
    stop
        Told when a training can be stopped gracefully; that it was asked to is shown.
    """

    def __init__(self, *, quiet: bool, silent: bool, stop: StopRequest) -> None:
        self._quiet = quiet or silent
        self._silent = silent
        self._stop = stop
        self._stop_shown = False
        self._terminal = sys.stderr.isatty()
        self._bar: tqdm | None = None
        self._bar_of = ""
        self._last_line = 0.0
        self._noticed: set[str] = set()

    def __call__(self, event: TrainEvent) -> None:
        """Show one event."""
        match event:
            case Preparing():
                self._advance(event.what, event.done, event.total, "tile")
            case TrainStarted():
                self._stop.graceful = True
                self._start(event)
            case StepDone():
                self._step(event)
            case EpochDone():
                self.close()
                self.line(epoch_line(event))
            case TrainFinished():
                self._stop.graceful = False
                self.close()
        if self._stop() and not self._stop_shown:
            self._stop_shown = True
            self.line("Stopping with the best so far. Once more stops at once.")

    def notices(self, sentences: Sequence[str]) -> None:
        """Show sentences that the user should read, each once."""
        for sentence in sentences:
            if sentence not in self._noticed and not self._silent:
                self._print(f"Notice: {sentence}")
            self._noticed.add(sentence)

    def line(self, text: str) -> None:
        """Show a line, above the bar if there is one."""
        if not self._quiet:
            self._print(text)

    def counted(self, name: str, done: int, total: int) -> None:
        """Show how much of something is done, such as a section's spots of an evaluation."""
        self._advance(name, done, total, "spot")

    def close(self) -> None:
        """Leave the terminal's line."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None

    def _start(self, event: TrainStarted) -> None:
        self.close()
        self.notices(event.notices)
        aside = f"; epoch chosen on {', '.join(event.validation)}" if event.validation else ""
        self.line(
            f"{event.n_spots} spots of {', '.join(event.training)}{aside}. {len(event.panel)} "
            f"genes, {event.n_trained:,} weights, on {event.device} in {event.precision}."
        )
        if event.epoch:
            self.line(
                f"Going on after epoch {event.epoch} of {event.epochs}, done by an earlier run."
            )

    def _step(self, event: StepDone) -> None:
        state = (
            f"loss {event.loss:.3f}, {event.spots_per_s:.0f} spots/s, "
            f"{in_time(event.seconds_left)} left"
        )
        self._advance(f"epoch {event.epoch}", event.step, event.steps, "step", state)

    def _advance(self, title: str, done: int, total: int, unit: str, state: str = "") -> None:
        if self._quiet:
            return
        if self._terminal:
            if self._bar is None or self._bar_of != title:
                self.close()
                self._bar = tqdm(total=total, desc=title, unit=unit, file=sys.stderr, leave=False)
                self._bar_of = title
            self._bar.set_postfix_str(state, refresh=False)
            self._bar.update(done - self._bar.n)
        elif 0 < done < total and time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            self._print(f"{title}: {done} of {total} {unit}s" + (f", {state}" if state else ""))

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)
        self._last_line = time.monotonic()


def epoch_line(event: EpochDone) -> str:
    """What an epoch came to, in a line."""
    parts = [f"epoch {event.epoch}/{event.epochs}"]
    if event.loss is None:
        parts[0] += ", before the first step"
    else:
        parts[0] += f": loss {event.loss:.4f}, MSE {event.mse:.4f}"
    if event.validation_pcc is not None:
        parts.append(
            f"validation PCC {event.validation_pcc:.3f}, MSE {event.validation_mse:.4f} "
            f"(mean: {event.baseline_mse:.4f}), best {event.best_epoch}"
        )
    if 0 < event.epoch < event.epochs:
        parts.append(f"{in_time(event.seconds_left)} left")
    return "; ".join(parts)


def in_time(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
