"""Training in a child process, as the viewer runs it."""

import time
from collections.abc import Iterator
from pathlib import Path

from napari_nh2st.jobs import JobFailed
from napari_nh2st.jobs.stoppable import Jobs, StoppableJob
from napari_nh2st.jobs.training import TrainingEvent
from napari_nh2st.training.record import RunRecord


class TrainingRun(StoppableJob):
    """Runs a training elsewhere.

    A stop ends it after the step under way, with the best so far; before the first, with nothing.
    An abort ends it at once, with the last checkpoint.

    Parameters
    ----------
    jobs
        Runs it, in a process that ends with it: this gives the GPU's memory back.
    record
        Sections, settings and name of the training.
    folder
        Gets the run.
    """

    def __init__(self, jobs: Jobs, record: RunRecord, folder: Path) -> None:
        super().__init__(
            jobs.job("train", record=record, folder=folder),
            # After a stop it still tests its best model, and an abort is one click away.
            patience_s=None,
        )
        self.record = record
        self.folder = folder
        self._job.is_last = True
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since it was asked for."""
        return time.monotonic() - self._began

    def close(self) -> None:
        """End with the viewer: the checkpoint is written, and the process goes."""
        self._job.close()

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
            # The application quits. The process ends as well, but not before it
            # has stored where it stands; until then its events have to be read.
            self._job.close()
            for _ in events:
                pass
            raise
        except JobFailed:  # what fails after a mere stop fails: it has a model to keep
            if not self.is_aborted:
                raise
