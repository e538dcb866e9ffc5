"""Queue of slides that are predicted one after another, and their results."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from napari.layers import Layer
from psygnal import Signal

from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.events import CohortStarted, SlideEnded, SlideProgress
from napari_nh2st.cohort.names import with_names
from napari_nh2st.cohort.slides import find_slides
from napari_nh2st.cohort.summary import SUMMARY, is_summary, rows_of, slide_of, write_queue
from napari_nh2st.errors import InputError
from napari_nh2st.files import InUse
from napari_nh2st.layers.open_sections import open_slides
from napari_nh2st.remote import RemotePath

State = Literal["waiting", "running", "done", "failed"]


@dataclass(eq=False)
class QueuedSlide:
    """A slide of the queue.

    Parameters
    ----------
    slide
        The slide, with the name of its output.
    state
        What becomes of it; of a stopped run, one that was begun waits as well.
    done, total
        Its tiles that have a value, and all; 0 where that is not known yet.
    failure
        Why it failed.
    was_done
        Whether it was done before this run.
    has_ended
        Whether the run under way is through with it.
    is_added
        Whether the user has added it; False where it comes from the folder's summary.
    output
        Its prediction, once there was one.
    former
        What it was before the run under way; None where it waited.
    """

    slide: CohortSlide
    state: State = "waiting"
    done: int = 0
    total: int = 0
    failure: str = ""
    was_done: bool = False
    has_ended: bool = False
    is_added: bool = True
    output: Path | None = None
    former: "QueuedSlide | None" = None


class CohortQueue:
    """Slides of a cohort in the order in which they are predicted, and the folder of the results.

    The folder's summary holds the queue: opened again, it shows what is done.

    Attributes
    ----------
    rows
        The slides.
    folder
        Folder of the results; None while none is chosen.
    sent
        Slides of the job that was begun last.
    changed
        Emitted when slides are added, removed or reordered.
    updated
        Emitted when there is news of a slide.
    """

    changed = Signal()
    updated = Signal()

    def __init__(self) -> None:
        self.rows: list[QueuedSlide] = []
        self.folder: Path | None = None
        self._running: dict[str, QueuedSlide] = {}
        self.sent: Sequence[QueuedSlide] = ()

    @property
    def waiting(self) -> list[QueuedSlide]:
        """The slides that the run under way is not through with."""
        return [row for row in self.rows if not row.has_ended]

    # --- which slides ---

    def add_paths(self, paths: Sequence[Path]) -> tuple[str, ...]:
        """Add slides, folders of slides or a table of slides; sentences on what was left out.

        Raises
        ------
        InputError
            As :func:`~napari_nh2st.cohort.find_slides`, or all are in the queue already.
        """
        found = find_slides(paths)
        self._add(found.slides)
        return found.notices

    def add_open(self, layers: Iterable[Layer]) -> None:
        """Add the slides that are open in the viewer, with the µm/px given there.

        Raises
        ------
        InputError
            No slide is open, or all are in the queue already.
        """
        slides = [
            CohortSlide(
                each.path,
                each.path.stem,
                each.mpp,
                image=None if each.image is None else str(each.image),
            )
            for each in open_slides(layers)
        ]
        if not slides:
            raise InputError("No slide is open in the viewer.")
        self._add(slides)

    def _add(self, slides: Iterable[CohortSlide]) -> None:
        known = {row.slide.identity: row for row in self.rows}
        found = [(slide, known.get(slide.identity)) for slide in slides]
        new = [slide for slide, row in found if row is None]
        renewed = [row for slide, row in found if row is not None and _has_new_url(row, slide)]
        if not new and not renewed:
            raise InputError("These slides are in the queue already.")
        self.rows += [QueuedSlide(slide) for slide in new]
        self.changed.emit()

    def remove(self, numbers: Iterable[int]) -> None:
        """Take slides out of the queue; not one that is being predicted. Results stay."""
        gone = {number for number in numbers if self.rows[number].state != "running"}
        self.rows = [row for number, row in enumerate(self.rows) if number not in gone]
        self.changed.emit()

    def move(self, numbers: Sequence[int], by: int) -> list[int]:
        """Move slides up (−1) or down (1) by one place; the numbers that they have then."""
        order = sorted(numbers, reverse=by > 0)
        moved = []
        for number in order:
            place = number + by
            if 0 <= place < len(self.rows) and place not in moved:
                self.rows[number], self.rows[place] = self.rows[place], self.rows[number]
                moved.append(place)
            else:
                moved.append(number)
        self.changed.emit()
        return sorted(moved)

    def give_mpp(self, numbers: Iterable[int], mpp: float | None) -> None:
        """Give slides a µm/px in the place of their own; None for their own."""
        for number in numbers:
            row = self.rows[number]
            row.slide = replace(row.slide, mpp=mpp)
            if row.state == "failed":
                row.state, row.failure = "waiting", ""
        self.changed.emit()

    def open_folder(self, folder: Path | None) -> None:
        """Choose the folder of the results, and show what its summary has.

        Slides that were added stay in the queue; those of the former folder go.

        Raises
        ------
        InputError
            The summary cannot be read, or the file of its name is not one.
        """
        added = [QueuedSlide(row.slide) for row in self.rows if row.is_added]
        self.folder, self.rows = folder, added
        try:
            rows = [] if folder is None else _rows_in(folder)
        finally:
            self.changed.emit()
        known = {row.slide.identity: row for row in added}
        there = []
        for row in rows:
            earlier = known.pop(row.slide.identity, None)
            row.is_added = earlier is not None
            there.append(row)
        self.rows = there + [row for row in added if row.slide.identity in known]
        self.changed.emit()

    def save(self) -> None:
        """Write the queue into the folder's summary, if there is one and no run writes it.

        Raises
        ------
        InputError
            It cannot be written.
        """
        if self.folder is not None and (self.folder / SUMMARY).is_file():
            with suppress(InUse):
                write_queue(self.folder, self.named())

    def named(self) -> tuple[CohortSlide, ...]:
        """The slides, each with a name that no other has."""
        return with_names([row.slide for row in self.rows])

    # --- what becomes of them ---

    def begin(self) -> None:
        """All slides are asked for: a run begins."""
        for row in self.rows:
            row.former = replace(row, former=None) if row.state in ("done", "failed") else None
            row.has_ended = row.was_done = False
            row.done = row.total = 0
            row.state, row.failure = "waiting", ""
        self.updated.emit()

    def send(self) -> tuple[CohortSlide, ...]:
        """The slides that are still to be done, for a job whose events are shown from now on."""
        self.sent = self.waiting
        self._running = {}
        return with_names([row.slide for row in self.sent])

    def show_event(self, event: Any) -> None:
        """Show what has come of a slide."""
        match event:
            case CohortStarted(slides):
                for row, slide in zip(self.sent, slides, strict=True):
                    row.slide = slide
                    self._running[slide.name] = row
            case SlideProgress(slide, done, total):
                row = self._running[slide.name]
                row.state, row.done, row.total = "running", done, total
            case SlideEnded(result):
                row = self._running[result.slide.name]
                row.state = "failed" if result.status == "failed" else "done"
                row.failure, row.output = result.failure, result.output
                row.done = row.total = result.tiles
                row.was_done, row.has_ended = not result.is_new, True
        self.updated.emit()

    def show_ended(self) -> None:
        """No job runs any more: what was begun waits."""
        for row in self.rows:
            if row.state == "running":
                row.state = "waiting"
        self.updated.emit()

    def end(self) -> None:
        """The run is over: what it did not come to is as it was before."""
        for row in self.rows:
            former, row.former = row.former, None
            if former is not None and row.state == "waiting" and not row.done:
                row.state, row.failure, row.output = former.state, former.failure, former.output
                row.done, row.total, row.was_done = former.done, former.total, former.was_done
        self.updated.emit()


def _has_new_url(row: QueuedSlide, slide: CohortSlide) -> bool:
    """Take over a slide's URL, signed anew, of which a summary has no signature."""
    path = slide.path
    if not isinstance(path, RemotePath) or row.slide.path == path or row.state == "running":
        return False
    row.slide = replace(row.slide, path=path)
    if row.state == "failed":
        row.state, row.failure = "waiting", ""
    return True


def _rows_in(folder: Path) -> list[QueuedSlide]:
    """The queue that a folder's summary holds."""
    path = folder / SUMMARY
    if path.exists() and not is_summary(path):
        raise InputError(f"{path} is not a summary that NH2ST wrote; choose another folder")
    found = []
    for row in rows_of(path):
        slide, status = slide_of(row), row.get("status")
        output = folder / row["output"]
        tiles = int(row["tiles"]) if row.get("tiles", "").isdecimal() else 0
        if status == "done" and output.exists():
            queued = QueuedSlide(slide, "done", tiles, tiles, was_done=True, output=output)
        elif status == "failed":
            queued = QueuedSlide(slide, "failed", failure=row.get("failure", ""), output=output)
        else:
            queued = QueuedSlide(slide)
        queued.is_added = False
        found.append(queued)
    return found
