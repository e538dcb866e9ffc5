"""Run of a comparison, or of the writing of its report, in a child process."""

from collections.abc import Iterator

from napari_nh2st.jobs.comparison import Predicting
from napari_nh2st.jobs.stoppable import PATIENCE_S, Job, StoppableJob


class ComparisonRun(StoppableJob):
    """A job of the *Compare* widget; once it is stopped, it emits nothing more.

    Parameters
    ----------
    job
        To be run.
    can_stop
        Whether it may be stopped: a folder that is being written would be left half done.
    patience_s
        As for :class:`StoppableJob`.
    """

    def __init__(
        self, job: Job, *, can_stop: bool = True, patience_s: float | None = PATIENCE_S
    ) -> None:
        super().__init__(job, patience_s)
        self.can_stop = can_stop

    def stop(self) -> None:
        """End as :class:`StoppableJob` does, if that may be."""
        if self.can_stop:
            super().stop()

    def events(self) -> Iterator[object]:
        """Run it, in the thread that asks for the events.

        Yields
        ------
        object
            Events of :mod:`napari_nh2st.jobs.comparison`.

        Raises
        ------
        InputError, JobFailed
            As :meth:`napari_nh2st.jobs.Job.events`.
        """
        for event in self.job_events():
            if isinstance(event, Predicting):
                self.is_loading = False
            if not self.stopped():
                yield event
