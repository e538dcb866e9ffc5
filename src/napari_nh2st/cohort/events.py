"""Events of a prediction over many slides.

The command line and the tests read the same. None of them needs torch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.results import SlideResult

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Progress:
    """Progress of a cohort as a whole.

    Parameters
    ----------
    slides_done, slides
        Number of slides that are done or failed, and of all slides.
    tiles
        Number of tiles predicted in this run.
    tiles_per_s
        Tiles per second in this run; None before the first tile.
    share
        Share (0–1) of the work that is done, slides weighted by the size of their files.
    seconds_left
        Time left at the rate of this run, in seconds; None before the first tile.
    """

    slides_done: int
    slides: int
    tiles: int
    tiles_per_s: float | None
    share: float
    seconds_left: float | None


@dataclass(frozen=True, eq=False)
class CohortStarted:
    """The slides are known, and settings and models are checked.

    Parameters
    ----------
    slides
        All slides, in their order.
    notices
        Sentences the user should read.
    """

    slides: tuple[CohortSlide, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class SlideProgress:
    """Some tiles of a slide have values.

    Parameters
    ----------
    slide
        The slide.
    done, total
        Number of its tiles that have a value, also from an earlier run, and of all its tiles.
    progress
        Progress of the cohort.
    """

    slide: CohortSlide
    done: int
    total: int
    progress: Progress


@dataclass(frozen=True, eq=False)
class SlideEnded:
    """A slide is done, was done before, or failed; its row is in the summary."""

    result: SlideResult
    progress: Progress


@dataclass(frozen=True, eq=False)
class WaitingForWorkers:
    """The scheduler has no workers, or none with a GPU; work goes on when one comes.

    Parameters
    ----------
    scheduler
        Its address.
    is_first
        Whether the wait has just begun; the event is repeated while it lasts.
    for_gpu
        Whether there are workers, but none with the GPU that tasks need.
    """

    scheduler: str
    is_first: bool
    for_gpu: bool = False

    def __str__(self) -> str:
        if self.for_gpu:
            return (
                f"No worker of the scheduler at {self.scheduler} has a GPU any more, which the "
                "slides ask for; waiting for one. Choose the device cpu to continue without"
            )
        return f"The scheduler at {self.scheduler} has no workers; waiting for one"


@dataclass(frozen=True, eq=False)
class CohortFinished:
    """Every slide is done or failed, and the summary is written.

    Parameters
    ----------
    results
        Results in the order of the slides.
    summary
        The same as a table, one row per slide.
    """

    results: tuple[SlideResult, ...]
    summary: "pd.DataFrame"


CohortEvent = CohortStarted | SlideProgress | SlideEnded | WaitingForWorkers | CohortFinished
"""CohortStarted once; SlideProgress any number of times and SlideEnded once for each slide, those
of several slides mixed where they are predicted at the same time; WaitingForWorkers every second
while there are none; CohortFinished once."""
