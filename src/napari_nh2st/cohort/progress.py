"""Progress of a cohort: slides, tiles, and the time that is left."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.events import Progress
from napari_nh2st.cohort.results import SlideResult
from napari_nh2st.durations import duration
from napari_nh2st.remote import RemotePath, SlidePath


@dataclass
class _Tiles:
    """Tiles of a slide that is being predicted; ``before``: by an earlier run."""

    done: int = 0
    total: int = 0
    before: int = 0


class ProgressMeter:
    """Progress over all slides; each counts by the size of its file.

    A file grows with its tissue: glass takes hardly any space in it.
    """

    def __init__(self, slides: Sequence[CohortSlide]) -> None:
        sizes = [_size_of(slide.path) for slide in slides]
        known = [size for size in sizes if size]
        usual = sum(known) / len(known) if known else 1.0
        self._weight = {s.name: size or usual for s, size in zip(slides, sizes, strict=True)}
        self._all = sum(self._weight.values())
        self._running: dict[str, _Tiles] = {}
        self._ended = 0
        self._ended_weight = self._skipped_weight = 0.0
        self._tiles = 0
        self._started = time.perf_counter()

    def tiles_done(self, slide: CohortSlide, done: int, total: int) -> Progress:
        """Count tiles of a slide."""
        rate = self._running.setdefault(slide.name, _Tiles(done, total, done))
        self._tiles += done - rate.done
        rate.done, rate.total = done, total
        return self._progress()

    def slide_ended(self, result: SlideResult) -> Progress:
        """Count a slide."""
        name = result.slide.name
        before = self._running.pop(name, _Tiles())
        self._ended += 1
        self._ended_weight += self._weight[name]
        if not result.is_new or result.status == "failed":
            self._skipped_weight += self._weight[name]
        elif before.total:
            self._skipped_weight += self._weight[name] * before.before / before.total
        return self._progress()

    def _progress(self) -> Progress:
        done, skipped = self._ended_weight, self._skipped_weight
        for name, rate in self._running.items():
            if rate.total:
                done += self._weight[name] * rate.done / rate.total
                skipped += self._weight[name] * rate.before / rate.total
        seconds = time.perf_counter() - self._started
        own = done - skipped
        return Progress(
            self._ended,
            len(self._weight),
            self._tiles,
            self._tiles / seconds if self._tiles else None,
            min(1.0, done / self._all),
            seconds * (self._all - done) / own if own > 0 else None,
        )


def progress_in_words(progress: Progress) -> str:
    """Such as ``3 of 12 slides, 3,400 tiles, 80.1 tiles/s, 12 min 05 s left``."""
    parts = [
        slide_count(progress.slides_done, progress.slides),
        f"{progress.tiles:,} tiles",
    ]
    if progress.tiles_per_s is not None:
        parts.append(f"{progress.tiles_per_s:.1f} tiles/s")
    if progress.seconds_left is not None:
        parts.append(f"{duration(progress.seconds_left)} left")
    return ", ".join(parts)


def slide_count(count: int, of: int | None = None) -> str:
    """Such as ``1 slide``, or ``3 of 12 slides``."""
    number = of if of is not None else count
    noun = "slide" if number == 1 else "slides"
    return f"{count:,} {noun}" if of is None else f"{count:,} of {of:,} {noun}"


def _size_of(path: SlidePath) -> float:
    """Bytes of a slide's file; 0 for a folder or a URL, whose size takes long to find out."""
    try:
        return 0.0 if isinstance(path, RemotePath) or path.is_dir() else float(path.stat().st_size)
    except OSError:
        return 0.0
