"""Result of a slide of a cohort."""

import errno
import json
import math
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from anndata import AnnData

from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.slides import RESULT_COLUMNS
from napari_nh2st.errors import InputError, SegmentError, first_line
from napari_nh2st.prediction.schema import PREDICTED, STATUS, notes, reliability
from napari_nh2st.table_cells import in_ascii

_NO_MORE_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}

Status = Literal["done", "failed", "waiting"]


@dataclass(frozen=True, eq=False)
class SlideResult:
    """Outcome of the prediction of a slide.

    Parameters
    ----------
    slide
        The slide.
    output
        Path of its prediction, also if it failed.
    status
        ``"done"`` or ``"failed"``; in the summary also ``"waiting"``: for its turn, or for the
        next run if none is under way.
    is_new
        Whether this run predicted it; False for a prediction that existed before.
    tiles, failed_tiles
        Number of tiles of the prediction, and of those without a value.
    step_um
        Distance between its values in µm.
    seconds
        Duration in seconds; NaN if no longer known.
    mean_reliability
        Held-out Pearson correlation averaged over the genes predicted; NaN if unknown.
    model, device, precision
        Model, device and precision of the prediction.
    notices
        Notices of the prediction.
    failure
        Why it failed, in a sentence.
    traceback
        Traceback of an unexpected error; empty if the input was at fault.
    is_fatal
        Whether the disk is full or read-only, so that no further slide could be written.
    request
        SHA-256 of all that makes it another prediction if it changes.
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
        """Cells of the summary by column; empty for what is unknown."""
        about = self._values() | {"output": self.output.name}
        if self.slide.mpp is not None:
            about["mpp"] = f"{self.slide.mpp:.10g}"
        about["notices"] = in_ascii(" | ".join(self.notices))
        if self.status != "done":
            about["tiles"] = about["failed_tiles"] = None
        return {name: _cell(value) for name, value in about.items()} | dict(self.slide.columns)

    def to_json(self) -> dict[str, Any]:
        """The row with numbers as numbers, and the notices one by one."""
        about = self._values() | {"output": str(self.output)}
        about["notices"] = list(self.notices)
        about["skipped"] = not self.is_new
        return about | dict(self.slide.columns)

    def _values(self) -> dict[str, Any]:
        """By column."""
        slide = self.slide
        given = {"slide": str(slide.path), "mpp": slide.mpp, "own_model": slide.model}
        given |= {name: _path_text(getattr(slide, name)) for name in ("region", "tissue", "image")}
        return {name: given.get(name, getattr(self, name, None)) for name in RESULT_COLUMNS}


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


def _path_text(value: object) -> str | None:
    return None if value is None else str(value)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return json.dumps(round(value, 4))
    return str(value)
