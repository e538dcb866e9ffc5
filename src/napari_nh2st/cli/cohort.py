"""``nh2st predict`` over many slides."""

import argparse
import logging
import sys
import time
from contextlib import closing
from pathlib import Path

from tqdm import tqdm

from napari_nh2st.cli.cohort_estimate import show_estimates
from napari_nh2st.cli.error_log import write_error_log
from napari_nh2st.cli.options import chosen_genes, given_settings, without_configured
from napari_nh2st.cli.output import SAID, complain, notice, print_json, show, shows_progress
from napari_nh2st.cli.output import report as say
from napari_nh2st.cli.stopping import StopRequest
from napari_nh2st.cohort.events import (
    CohortEvent,
    CohortFinished,
    CohortStarted,
    Progress,
    SlideEnded,
    SlideProgress,
    WaitingForWorkers,
)
from napari_nh2st.cohort.progress import progress_in_words, slide_count
from napari_nh2st.cohort.results import SlideResult
from napari_nh2st.cohort.settings import CohortSettings
from napari_nh2st.cohort.slides import find_slides, is_pattern, is_slide_folder, is_slide_table
from napari_nh2st.cohort.summary import SUMMARY
from napari_nh2st.durations import duration
from napari_nh2st.errors import InputError
from napari_nh2st.files import make_folder
from napari_nh2st.shown_text import in_one_line

_log = logging.getLogger(SAID)

_SECONDS_BETWEEN_LINES = 10.0

_OF_ONE_SLIDE = ("image", "region", "tissue")
"""Arguments that belong to one slide; of several, they are columns of a table."""

_GENES_DRAWN = 4


def is_cohort(args: argparse.Namespace) -> bool:
    """Whether the arguments of ``nh2st predict`` are about many slides."""
    first, *others = args.slides
    return bool(
        others
        or is_slide_table(first)
        or is_slide_folder(first)
        or is_pattern(first)
        or (
            (args.output is not None and (args.output.is_dir() or not args.output.suffix))
            and args.output.suffix.lower() not in (".h5ad", ".zarr")
        )
    )


def run(args: argparse.Namespace) -> int:
    """Run ``nh2st predict`` over many slides.

    Returns
    -------
    int
        0 where all slides are done; 2 where some cannot be used, 1 where one failed for a reason
        nobody foresaw.

    Raises
    ------
    InputError
        As :func:`~napari_nh2st.predict_cohort`; an option is given that is for one slide.
    """
    given = [name for name in _OF_ONE_SLIDE if getattr(args, name)]
    if given:
        raise InputError(
            f"--{given[0]} is for one slide; a table of slides has a column {given[0]}"
        )
    from napari_nh2st.inference.settings import PredictSettings

    settings = PredictSettings(
        **given_settings(args, PredictSettings) | {"genes": chosen_genes(args), "region": ()}
    )
    slides = find_slides(args.slides, mpp=args.mpp)
    if args.estimate:
        for sentence in slides.notices:
            notice(sentence)
        return show_estimates(slides.slides, args.model, settings, args.stop, as_json=args.json)
    if args.output is None:
        raise InputError("give the folder to write to: -o FOLDER")
    if args.picture is not None and args.picture.suffix:
        raise InputError(f"{args.picture}: pictures of several slides need a folder")
    if args.output.suffix.lower() in (".h5ad", ".zarr") and not args.output.is_dir():
        raise InputError(f"{args.output}: several slides need a folder: -o FOLDER")
    from napari_nh2st.cohort.early_end import CohortStopped
    from napari_nh2st.cohort.run import predict_cohort_events

    for one, other in (("workers", "scheduler"), ("scheduler", "workers")):
        if one in args:
            without_configured(args, other)
    cohort = CohortSettings(**given_settings(args, CohortSettings))
    report = CohortReport(args.stop, quiet=args.json)
    results: tuple[SlideResult, ...] = ()
    try:
        with (
            args.stop.cleaning_up(),
            closing(
                predict_cohort_events(
                    slides, args.output, args.model, settings, cohort, overwrite=args.overwrite
                )
            ) as events,
        ):
            for event in events:
                report(event)
                if isinstance(event, SlideEnded) and args.picture is not None:
                    _draw(event.result, args.picture, args.overwrite)
                if isinstance(event, CohortFinished):
                    results = event.results
    except KeyboardInterrupt:
        report.close()
        raise KeyboardInterrupt(report.left()) from None
    except CohortStopped as error:
        report.close()
        complain(f"nh2st: {in_one_line(str(error))}. {report.left()}")
        return 1
    finally:
        report.close()
    failures = [result for result in results if result.status == "failed"]
    if args.json:
        print_json(
            {
                "output": str(args.output),
                "summary": str(args.output / SUMMARY),
                "slides": [result.to_json() for result in results],
            }
        )
    else:
        tiles = sum(result.tiles for result in results)
        count = slide_count(len(results) - len(failures), len(results))
        show(f"{args.output}: {count} predicted, {tiles:,} tiles; see {args.output / SUMMARY}")
    if failures:
        complain(
            f"nh2st: {slide_count(len(failures), len(results))} failed: see {args.output / SUMMARY}"
        )
    if any(result.traceback for result in failures):
        return 1
    return 2 if failures else 0


def _draw(result: SlideResult, folder: Path, overwrite: bool) -> None:
    """Draw the heatmaps of a slide that is done, unless they were drawn before."""
    from napari_nh2st.export.figure import check_figure, save_heatmap_figure
    from napari_nh2st.prediction.files import read_anndata_file

    path = folder / f"{result.slide.name}.png"
    if result.status != "done" or (path.exists() and not result.is_new and not overwrite):
        return
    try:
        make_folder(folder)
        check_figure(path, overwrite=True)  # of the same slide, and ours
        prediction = read_anndata_file(result.output)
        save_heatmap_figure(prediction, tuple(prediction.var_names[:_GENES_DRAWN]), path)
    except InputError as error:
        notice(f"{result.slide.name}: no picture: {in_one_line(str(error))}")


class CohortReport:
    """Shows a cohort's events on stderr: a bar on a terminal, a line now and then elsewhere.

    Parameters
    ----------
    stop
        Seen to after each event: a library may have swallowed it.
    quiet
        Only notices and failures are shown.
    """

    def __init__(self, stop: StopRequest, *, quiet: bool = False) -> None:
        self._stop = stop
        self._quiet = quiet
        self._bar: tqdm | None = None
        self._last_line = 0.0
        self._seen: set[str] = set()
        self._progress: Progress | None = None
        self._folder = Path()

    def __call__(self, event: CohortEvent) -> None:
        """Show one event."""
        self._stop.check()
        match event:
            case CohortStarted():
                self._start(event)
            case SlideProgress():
                self._advance(event.progress)
            case SlideEnded():
                self._progress = event.progress  # what is shown as done counts as done
                self._end(event.result)
                self._advance(event.progress)
            case WaitingForWorkers(is_first=True):
                say(f"{event}; Ctrl-C stops.", self._bar)
            case CohortFinished():
                self.close()

    def close(self) -> None:
        """Leave the terminal's line, finished or not."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def left(self) -> str:
        """What a stop has left, in a sentence."""
        if self._progress is None:
            return "No slide was started."
        count = slide_count(self._progress.slides_done, self._progress.slides)
        return f"{count} done; the same command continues from there."

    def _start(self, event: CohortStarted) -> None:
        for sentence in event.notices:
            notice(sentence)
        if self._quiet:
            return
        say(slide_count(len(event.slides)))
        if sys.stderr.isatty() and shows_progress():
            self._bar = tqdm(
                total=1.0,
                file=sys.stderr,
                leave=False,
                bar_format="{percentage:3.0f}%|{bar}| {desc}",
            )
        self._last_line = time.monotonic()

    def _advance(self, progress: Progress) -> None:
        self._progress = progress
        if self._bar is not None:
            self._bar.set_description_str(progress_in_words(progress), refresh=False)
            self._bar.update(progress.share - self._bar.n)
        elif not self._quiet and time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            say(progress_in_words(progress))

    def _end(self, result: SlideResult) -> None:
        name = result.slide.name
        for sentence in result.notices:
            if result.is_new and sentence not in self._seen:
                self._seen.add(sentence)
                notice(f"{name}: {sentence}", self._bar)
        if result.status == "failed":
            if result.traceback:
                _log.debug("%s:\n%s", name, result.traceback)
            log = write_error_log(result.traceback) if result.traceback else None
            where = f" (traceback in {log})" if log else ""
            complain(f"{name}: failed: {in_one_line(result.failure)}{where}", self._bar)
        elif not self._quiet:
            how = f"in {duration(result.seconds)}" if result.is_new else "done before"
            bad = f", {result.failed_tiles:,} could not be read" if result.failed_tiles else ""
            say(f"{name}: {result.tiles:,} tiles {how}{bad}", self._bar)
