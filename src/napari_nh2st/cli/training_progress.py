"""Progress of a training on a terminal, or as plain lines."""

import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from napari_nh2st.cli.output import notice, report, shows_progress
from napari_nh2st.cli.stopping import StopRequest
from napari_nh2st.durations import duration
from napari_nh2st.evaluation.events import FoldProgress, SpotsPredicted
from napari_nh2st.shown_text import in_one_line
from napari_nh2st.training.events import (
    EpochDone,
    Preparing,
    StepDone,
    TrainEvent,
    TrainFinished,
    TrainStarted,
)

_SECONDS_BETWEEN_LINES = 30.0


class TrainingReport:
    """Shows a training's events on stderr: a bar and a line per epoch, or lines alone.

    Parameters
    ----------
    quiet
        Only notices are shown.
    silent
        Not even these.
    stop
        Made graceful while a training can be stopped so; a request to stop is shown.

    Attributes
    ----------
    noticed
        Sentences that were shown.
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
        self.noticed: list[str] = []

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
            self.line("Stopping with the best so far. Press Ctrl-C again to stop at once.")

    def notices(self, sentences: Sequence[str]) -> None:
        """Show sentences that the user should read, each once."""
        for sentence in sentences:
            if sentence not in self.noticed:
                self.noticed.append(sentence)
                if not self._silent:
                    notice(sentence, self._bar)
                    self._last_line = time.monotonic()

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
            self.line(f"Continuing after epoch {event.epoch} of {event.epochs} of an earlier run.")

    def _step(self, event: StepDone) -> None:
        state = (
            f"loss {event.loss:.3f}, {event.spots_per_s:.0f} spots/s, "
            f"{duration(event.seconds_left)} left"
        )
        self._advance(f"epoch {event.epoch}", event.step, event.steps, "step", state)

    def _advance(self, title: str, done: int, total: int, unit: str, state: str = "") -> None:
        self._stop.check()
        if self._quiet:
            return
        title = in_one_line(title)
        if self._terminal and shows_progress():
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
        report(text, self._bar)
        self._last_line = time.monotonic()


class FoldReport:
    """Shows the progress of a cross-validation, with a line before each training.

    Parameters
    ----------
    report
        Shows the events of the trainings.
    leave
        What is left out: a donor or a section.
    """

    def __init__(self, report: TrainingReport, leave: str) -> None:
        self._report = report
        self._leave = leave
        self._training = ""

    def __call__(self, progress: FoldProgress, architecture: str = "") -> None:
        """Show one event; of several architectures, which one it is of."""
        of = f"{architecture}: " if architecture else ""
        event = progress.event
        if isinstance(event, SpotsPredicted):
            self._report.counted(f"{of}{event.section}", event.done, event.total)
            return
        left_out = f"without {self._leave} {progress.left_out}"
        training = f"{of}Training {left_out if progress.left_out else 'on all sections'}"
        if training != self._training:
            self._report.line(training)
        self._training = "" if isinstance(event, TrainFinished) else training
        self._report(event)


def epoch_line(event: EpochDone) -> str:
    """Results of an epoch in a line."""
    parts = [f"epoch {event.epoch}/{event.epochs}"]
    if event.loss is None:
        parts[0] += ", before the first step"
    else:
        parts[0] += f": loss {event.loss:.4f}, MSE {event.losses['mse']:.4f}"
    if event.validation_pcc is not None:
        parts.append(
            f"validation PCC {event.validation_pcc:.3f}, MSE {event.validation_mse:.4f} "
            f"(mean: {event.baseline_mse:.4f}), best {event.best_epoch}"
        )
    if 0 < event.epoch < event.epochs:
        parts.append(f"{duration(event.seconds_left)} left")
    return "; ".join(parts)
