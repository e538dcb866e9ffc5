"""Results of the slides of a cohort: what came of each, and the summary of all."""

import csv
import errno
import io
import json
import logging
import math
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from anndata import AnnData

from napari_nh2st.cohort.slides import RESULT_COLUMNS, CohortSlide
from napari_nh2st.errors import InputError, SegmentError, first_line
from napari_nh2st.files import check_place, write_text
from napari_nh2st.prediction.schema import PREDICTED, STATUS, notes, reliability

SUMMARY = "summary.csv"

_SHARE_OF_TIME = 0.05
"""At most so much of the time goes into rewriting the summary of a large cohort."""

_NO_MORE_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}

log = logging.getLogger(__name__)

Status = Literal["done", "failed"]


@dataclass(frozen=True, eq=False)
class SlideResult:
    """What came of a slide.

    Parameters
    ----------
    slide
        The slide.
    output
        Its prediction, also where it failed.
    status
        ``"done"`` or ``"failed"``.
    is_new
        Whether this run did it; False for a prediction that was there.
    tiles, failed_tiles
        Tiles of the prediction, and those without a value.
    step_um
        Distance between its values.
    seconds
        Duration; NaN where it is not known any more.
    mean_reliability
        Held-out Pearson correlation averaged over the genes predicted; NaN where unknown.
    model, device, precision
        Of the prediction.
    notices
        As the prediction has them.
    failure
        Why it failed, in a sentence.
    traceback
        Of an error that nobody foresaw; empty for one that is the input's.
    is_fatal
        Whether the disk is full or read-only, so that every further slide would be predicted in
        vain.
    request
        What makes it another prediction if it changes, as a sha256.
    """

    slide: CohortSlide
    output: Path
    status: Status
    is_new: bool = True
    tiles: int = 0
    failed_tiles: int = 0
    step_um: float = math.nan
    seconds: float = math.nan
    mean_reliability: float = math.nan
    model: str = ""
    device: str = ""
    precision: str = ""
    notices: tuple[str, ...] = ()
    failure: str = ""
    traceback: str = ""
    is_fatal: bool = False
    request: str = ""

    def row(self) -> dict[str, str]:
        """Cells of the summary by column; empty where something is not known."""
        about = {name: getattr(self, name) for name in RESULT_COLUMNS}
        about |= {"slide": self.slide.path, "output": self.output.name}
        about["notices"] = " | ".join(self.notices)
        if self.status == "failed":
            about["tiles"] = about["failed_tiles"] = None
        return {name: _cell(value) for name, value in about.items()} | dict(self.slide.columns)

    def to_json(self) -> dict[str, Any]:
        """The row with numbers as numbers, and the notices one by one."""
        about = {name: getattr(self, name) for name in RESULT_COLUMNS}
        about |= {"slide": str(self.slide.path), "output": str(self.output)}
        about["notices"] = list(self.notices)
        about["skipped"] = not self.is_new
        return about | dict(self.slide.columns)


def done(
    slide: CohortSlide,
    output: Path,
    prediction: AnnData,
    *,
    request: str,
    seconds: float = math.nan,
    is_new: bool = True,
) -> SlideResult:
    """The result of a slide that has been predicted.

    Parameters
    ----------
    prediction
        With or without its values.
    request, seconds, is_new
        As in :class:`SlideResult`.
    """
    about = notes(prediction)
    return SlideResult(
        slide,
        output,
        "done",
        is_new,
        prediction.n_obs,
        int((prediction.obs[STATUS] != PREDICTED).sum()),
        float(about.get("step_um", about["pitch_um"])),
        seconds,
        float(reliability(prediction).mean()),
        str(about["model"]["name"]),
        str(about["run"]["device"]),
        str(about["run"]["precision"]),
        tuple(str(notice) for notice in about.get("notices", ())),
        request=request,
    )


def failed(
    slide: CohortSlide, output: Path, error: Exception, seconds: float = math.nan
) -> SlideResult:
    """The result of a slide that could not be predicted."""
    if isinstance(error, InputError | SegmentError):
        text, trace = " ".join(str(error).split()), ""
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        text, trace = f"{where}{error.strerror or error}", ""
    else:
        text = f"{type(error).__name__}: {first_line(error)}"
        trace = "".join(traceback.format_exception(error))
    return SlideResult(
        slide,
        output,
        "failed",
        seconds=seconds,
        failure=text,
        traceback=trace,
        is_fatal=_is_of_the_disk(error),
    )


def _is_of_the_disk(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_MORE_WRITING:
            return True
        error = error.__cause__ or error.__context__
    return False


class Summary:
    """``summary.csv`` in the folder of a cohort: a row for each slide that is done or failed.

    Rows of an earlier run that this one does not have stay as long as their outputs are there.

    Parameters
    ----------
    folder
        Of the cohort.
    slides
        In the order of the rows.

    Raises
    ------
    InputError
        A file of that name is there and is none of ours, or cannot be read.
    """

    def __init__(self, folder: Path, slides: Sequence[CohortSlide]) -> None:
        self.path = folder / SUMMARY
        self._order = {slide.name: number for number, slide in enumerate(slides)}
        self._results: dict[str, SlideResult] = {}
        self._took = self._written = 0.0
        self._has_warned = False
        check_place(self.path, True, is_ours=is_summary, kind="a summary that NH2ST wrote")
        self._earlier = {
            row["output"]: row for row in _rows_of(self.path) if (folder / row["output"]).exists()
        }

    def earlier(self, output: Path, request: str) -> Mapping[str, str]:
        """The row of an earlier run for the same output and request; empty where none is known."""
        row = self._earlier.get(output.name, {})
        return row if row.get("request") == request else {}

    def add(self, result: SlideResult) -> None:
        """Take a result in; it is on the disk soon."""
        self._results[result.slide.name] = result
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
        rows = [result.row() for result in self.results()]
        outputs = {row["output"] for row in rows}
        rows += [row for name, row in self._earlier.items() if name not in outputs]
        columns = dict.fromkeys([*RESULT_COLUMNS, *(name for row in rows for name in row)])
        text = io.StringIO()
        writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())
        self._written = time.monotonic()
        self._took = self._written - started

    def _write_if_possible(self) -> None:
        try:
            self.write()
        except InputError as error:  # such as one that is open in a spreadsheet on Windows
            if not self._has_warned:
                log.warning("%s. The run goes on, and writes it later.", error)
            self._has_warned = True


def is_summary(path: Path) -> bool:
    """Whether a file begins as a summary does."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            return file.readline(1000).startswith(",".join(RESULT_COLUMNS))
    except (OSError, UnicodeDecodeError):
        return False


def _rows_of(path: Path) -> Iterable[dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"{path} cannot be read: {reason}") from None
    rows = csv.DictReader(io.StringIO(text, newline=""), restval="")
    return [{k: v for k, v in row.items() if isinstance(k, str)} for row in rows if row["output"]]


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return json.dumps(round(value, 4))
    return str(value)
