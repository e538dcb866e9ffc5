"""One training in a child process, as the viewer holds it."""

import time
from collections.abc import Iterator
from pathlib import Path

from napari_nh2st.jobs import JobFailed
from napari_nh2st.jobs.training import TrainingEvent
from napari_nh2st.training.record import RunRecord
from napari_nh2st.widgets.child_jobs import Jobs


class TrainingRun:
    """Runs a training elsewhere.

    Parameters
    ----------
    jobs
        Runs it, and is closed in the end: the process gives the GPU's memory back.
    record
        What is asked for.
    folder
        Gets the run.

    Attributes
    ----------
    is_loading
        Whether it has told nothing yet, and cannot hear that it is to stop.
    is_stopping, is_aborted
        Whether it was asked to end with the best so far; at once.
    """

    def __init__(self, jobs: Jobs, record: RunRecord, folder: Path) -> None:
        self.record = record
        self.folder = folder
        self._jobs = jobs
        self._job = jobs.job(
            "train",
            sections=record.sections,
            settings=record.settings,
            folder=folder,
            name=record.name,
            held_out=record.held_out,
            trust_positions=record.trust_positions,
        )
        self._began = time.monotonic()
        self.is_loading = True
        self.is_stopping = False
        self.is_aborted = False

    @property
    def seconds(self) -> float:
        """Since it was asked for."""
        return time.monotonic() - self._began

    def stop(self) -> None:
        """End after the step under way, with the best so far; before the first, with nothing."""
        self.is_stopping = True
        if self.is_loading:  # importing torch cannot be interrupted otherwise
            self.abort()
        else:
            self._job.stop()

    def abort(self) -> None:
        """End at once, with the last checkpoint."""
        self.is_aborted = True
        self._job.kill()

    def close(self) -> None:
        """End with the viewer: the checkpoint is written, and the process goes."""
        self._jobs.close()

    def events(self) -> Iterator[TrainingEvent]:
        """Run it, in the thread that asks for the events.

        Raises
        ------
        InputError
            As :func:`~napari_nh2st.jobs.training.train`.
        JobFailed
            It failed otherwise.
        """
        events = self._job.events()
        try:
            for event in events:  # it is not to be closed with this generator
                self.is_loading = False
                yield event  # type: ignore[misc]
        except GeneratorExit:
            # napari ends its threads when it quits. The process ends as well, but not before it
            # has stored where it stands; until then what it tells has to be taken from it.
            self._jobs.close()
            for _ in events:
                pass
            raise
        except JobFailed:
            if not self.is_aborted:
                raise
        finally:
            self._jobs.close()
