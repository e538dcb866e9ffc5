"""``nh2st predict --estimate`` over many slides."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from napari_nh2st.cli.output import complain, print_json, show
from napari_nh2st.cli.stopping import StopRequest
from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.progress import slide_count
from napari_nh2st.durations import duration
from napari_nh2st.errors import InputError
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.shown_text import in_one_line


def show_estimates(
    slides: Sequence[CohortSlide],
    model: str | None,
    settings: PredictSettings,
    stop: StopRequest,
    *,
    as_json: bool,
) -> int:
    """Show the tiles and the time of each slide, and of all.

    Returns
    -------
    int
        0, or 2 where a slide cannot be used.

    Raises
    ------
    InputError
        No slide can be used, or there is no model.
    """
    from napari_nh2st.cohort.job import SlideJob, open_job
    from napari_nh2st.inference.step_choice import estimate_chosen
    from napari_nh2st.model import bundled_models, load_model
    from napari_nh2st.slide import open_slide

    usual = model or next(iter(bundled_models()), None)
    if usual is None:
        raise InputError("no model is bundled with this version: give --model")
    loaded = lru_cache(maxsize=4)(load_model)
    rows: list[dict[str, Any]] = []
    for each in slides:
        stop.check()
        row: dict[str, Any] = {"slide": str(each.path), "name": each.name}
        job = SlideJob(each, Path(each.name), each.model or usual, "", settings, False)
        try:
            with open_slide(each.path, mpp=each.mpp, image=each.image) as slide:
                opened = open_job(job, slide, loaded(job.model))
                detail = estimate_chosen(slide, opened.model, opened.settings, opened.tissue)
        except InputError as error:
            row |= {"failure": str(error)}
            if not as_json:
                complain(f"{each.name}: failed: {in_one_line(str(error))}")
        else:
            row |= vars(detail)
            if not as_json:
                show(f"{each.name}: {detail}")
        rows.append(row)
    usable = [row for row in rows if "failure" not in row]
    known = [row["seconds"] for row in usable if row["seconds"] is not None]
    tiles = sum(row["n_tiles"] for row in usable)
    seconds = sum(known) if len(known) == len(usable) else None
    if as_json:
        print_json({"slides": rows, "n_tiles": tiles, "seconds": seconds})
    else:
        time = duration(max(1.0, seconds)) if seconds is not None else ""
        count = slide_count(len(usable), len(rows))
        show(" · ".join(filter(None, (f"all: {count}", f"{tiles:,} tiles", time))))
        if seconds is None:
            show("The time is known once this machine has predicted with such a model.")
    return 0 if len(usable) == len(rows) else 2
