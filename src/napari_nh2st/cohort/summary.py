"""Summary of a cohort, ``summary.csv``: what came of each slide, and what its output is called."""

import csv
import io
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.names import with_earlier_names
from napari_nh2st.cohort.results import SlideResult
from napari_nh2st.cohort.slides import RESULT_COLUMNS
from napari_nh2st.errors import InputError
from napari_nh2st.files import InUse, Lock, check_place
from napari_nh2st.remote import slide_path
from napari_nh2st.table_cells import write_csv

SUMMARY = "summary.csv"

_FIRST_COLUMNS = 5
"""By which a summary is known, also one of another version."""

_SHARE_OF_TIME = 0.05
"""At most so much of the time goes into rewriting the summary of a large cohort."""

_OF_THE_RESULT = RESULT_COLUMNS[RESULT_COLUMNS.index("status") : RESULT_COLUMNS.index("mpp")]
"""Columns on what came of a slide; the others say what was given for it."""

_log = logging.getLogger(__name__)


class Summary:
    """``summary.csv`` in the folder of a cohort: a row for each slide.

    Rows of an earlier run that this one does not have stay as long as their outputs are there. A
    slide that an earlier run had keeps the name of its output.

    Parameters
    ----------
    folder
        Of the cohort.
    slides
        In the order of the rows.
    format
        Suffix of outputs that are still to be written.

    Attributes
    ----------
    path
        The file.
    slides
        The slides, with the names of their outputs.

    Raises
    ------
    InputError
        A file of that name is there and is none of ours, or cannot be read.
    """

    def __init__(self, folder: Path, slides: Sequence[CohortSlide], format: str = "h5ad") -> None:
        self.path = folder / SUMMARY
        self._results: dict[str, SlideResult] = {}
        self._took = self._written = 0.0
        self._has_warned = False
        check_place(self.path, True, is_ours=is_summary, kind="a summary that NH2ST wrote")
        rows = rows_of(self.path)
        there = _outputs_in(folder) if rows else set()
        self._former = {row["output"]: row for row in rows}
        self._earlier = {name: row for name, row in self._former.items() if name in there}
        earlier = [slide_of(row) for row in rows]
        taken = [Path(output).stem for output in self._earlier]
        self.slides = with_earlier_names(slides, earlier, taken)
        self._order = {slide.name: number for number, slide in enumerate(self.slides)}
        self._waiting = {
            slide.name: SlideResult(slide, folder / f"{slide.name}.{format}", "waiting")
            for slide in self.slides
        }

    def earlier(self, output: Path, request: str) -> Mapping[str, str]:
        """The row of an earlier run for the same output and request; empty where none is known."""
        row = self._earlier.get(output.name, {})
        return row if row.get("request") == request else {}

    def add(self, result: SlideResult) -> None:
        """Take a result in; it is on the disk soon."""
        self._results[result.slide.name] = result
        self._waiting.pop(result.slide.name, None)
        if time.monotonic() - self._written > self._took / _SHARE_OF_TIME:
            self._write_if_possible()

    def results(self) -> list[SlideResult]:
        """All results, in the order of the slides."""
        return sorted(self._results.values(), key=lambda each: self._order[each.slide.name])

    def table(self) -> pd.DataFrame:
        """The rows of this run; see :class:`SlideResult`."""
        rows = [result.to_json() for result in self.results()]
        return pd.DataFrame(rows, columns=None if rows else list(RESULT_COLUMNS))

    def write(self) -> None:
        """Write the file.

        Raises
        ------
        InputError
            It cannot be written.
        """
        started = time.monotonic()
        rows = [self._row(slide.name) for slide in self.slides]
        outputs = {row["output"] for row in rows}
        rows += [row for name, row in self._earlier.items() if name not in outputs]
        columns = dict.fromkeys([*RESULT_COLUMNS, *(name for row in rows for name in row)])
        text = io.StringIO()
        writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_csv(self.path, text.getvalue())
        self._written = time.monotonic()
        self._took = self._written - started

    def _row(self, name: str) -> dict[str, str]:
        """The row of a slide; what an earlier run made of it, until this one has."""
        result = self._results.get(name)
        if result is not None:
            return result.row()
        waiting = self._waiting[name]
        row, former = waiting.row(), self._former.get(waiting.output.name, {})
        is_there = former.get("status") == "failed" or waiting.output.name in self._earlier
        if former.get("status") in ("done", "failed") and is_there:
            row |= {column: former.get(column, "") for column in _OF_THE_RESULT}
        return row

    def _write_if_possible(self) -> None:
        try:
            self.write()
        except InputError as error:  # such as one that is open in a spreadsheet on Windows
            if not self._has_warned:
                _log.warning("%s. The run continues, and writes it later.", error)
            self._has_warned = True


def write_queue(folder: Path, slides: Sequence[CohortSlide]) -> None:
    """Write which slides a cohort has, in their order, without predicting them.

    Raises
    ------
    InputError
        As :class:`Summary` and :func:`lock_of`.
    """
    lock = lock_of(folder)
    try:
        Summary(folder, slides).write()
    finally:
        lock.release()


def lock_of(folder: Path) -> Lock:
    """Lock of a cohort's folder: whoever has it may write there.

    Raises
    ------
    InputError
        Another run has it, or nothing can be written there.
    """
    try:
        return Lock(folder / ".summary.csv.lock")
    except InUse:
        raise InUse(
            f"{folder} is in use: another run writes to it. Wait for it, or give another folder."
        ) from None
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None


def is_summary(path: Path) -> bool:
    """Whether a file begins as a summary does."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.readline(1000).startswith(",".join(RESULT_COLUMNS[:_FIRST_COLUMNS]))
    except (OSError, UnicodeDecodeError):
        return False


def rows_of(path: Path) -> list[dict[str, str]]:
    """Rows of a summary, as text by column; none where there is no file.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"{path} cannot be read: {reason}") from None
    rows = csv.DictReader(io.StringIO(text, newline=""), restval="")
    named = ({k: v for k, v in row.items() if isinstance(k, str)} for row in rows)
    return [row for row in named if row.get("output")]


def slide_of(row: Mapping[str, str]) -> CohortSlide:
    """The slide of a summary's row."""

    def path(name: str) -> Path | None:
        return Path(row[name]) if row.get(name) else None

    try:
        mpp = float(row["mpp"]) if row.get("mpp") else None
    except ValueError:  # somebody has written into it
        mpp = None
    return CohortSlide(
        slide_path(row["slide"]),
        Path(row["output"]).stem,
        mpp,
        row.get("own_model") or None,
        path("region"),
        path("tissue"),
        row.get("image") or None,
        {name: text for name, text in row.items() if name not in RESULT_COLUMNS},
    )


def _outputs_in(folder: Path) -> set[str]:
    """Names of outputs that are there, or begun."""
    names = {path.name for path in folder.iterdir()}
    begun = {
        name.rpartition(".")[0].rpartition(".")[0] for name in names if name.endswith(".partial")
    }
    return names | begun
