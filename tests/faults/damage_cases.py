"""What the process of a damaged slide does (see :mod:`forking`)."""

import contextlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError, SegmentError
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.tiles import find_tissue

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Looked:
    """What a slide shows.

    Parameters
    ----------
    levels
        Pixels of each level that the file has; (height, width, 3).
    marked
        By level: where a segment cannot be read; (height, width).
    refused
        Why it does not open; ``""`` where it does.
    said
        Sentences about it.
    brightfield
        Whether it is taken for one of a stained section; else a prediction refuses it.
    """

    levels: tuple[Pixels, ...]
    marked: tuple[NDArray[np.bool_], ...]
    refused: str
    said: tuple[str, ...]
    brightfield: bool


def look_at(path: Path) -> Looked:
    """Open a slide, read all of it, and use it as a prediction does.

    Only what is no :class:`InputError` of opening and no :class:`SegmentError` of reading is
    raised.
    """
    warnings.simplefilter("ignore")
    try:
        slide = open_slide(path)
    except InputError as error:
        return Looked((), (), str(error), (), False)
    with slide:
        read = [_read(slide, number) for number in range(slide.n_native_levels)]
        for name in slide.associated:
            try:
                slide.associated[name]
            except SegmentError:
                continue
        with contextlib.suppress(InputError, SegmentError):
            find_tissue(slide)
        said = tuple(slide.notices)
    return Looked(tuple(r[0] for r in read), tuple(r[1] for r in read), "", said, slide.brightfield)


def _read(slide: Slide, number: int) -> tuple[Pixels, NDArray[np.bool_]]:
    level = slide.levels[number]
    pixels = np.zeros((*level.shape, 3), np.uint8)
    marked = np.zeros(level.shape, bool)
    rows, columns = level.n_segments
    for row in range(rows):
        for column in range(columns):
            top, left, height, width = level.segment_bounds(row, column)
            place = slice(top, top + height), slice(left, left + width)
            try:
                pixels[place] = level.read_segment(row, column)
            except SegmentError:
                marked[place] = True
    return pixels, marked


def outcome(path: Path, undamaged: Looked) -> tuple[str, str]:
    """How a damaged slide shows itself.

    Returns
    -------
    tuple
        ``"refused"``; ``"marked"``: some segment cannot be read, or a sentence says what is
        wrong; ``"unchanged"``; or without a word ``"other pixels"`` or ``"other size"``. And in
        words what it shows.
    """
    looked = look_at(path)
    if looked.refused:
        return "refused", looked.refused
    if undamaged.brightfield and not looked.brightfield:
        return "refused", "not brightfield"
    said = set(looked.said) - set(undamaged.said)
    why = _difference(looked, undamaged)
    if why and not said:
        return ("other pixels" if why.endswith("differs") else "other size"), why
    if said or any(marked.any() for marked in looked.marked):
        return "marked", why
    return "unchanged", ""


def _difference(looked: Looked, undamaged: Looked) -> str:
    if looked.marked[0].all():  # nothing of it is shown, whatever its size
        return ""
    if looked.levels[0].shape != undamaged.levels[0].shape:
        return f"level 0 is {looked.levels[0].shape}, was {undamaged.levels[0].shape}"
    known = {pixels.shape: pixels for pixels in undamaged.levels}
    for number, (pixels, marked) in enumerate(zip(looked.levels, looked.marked, strict=True)):
        was = known.get(pixels.shape)
        if was is None:
            return f"level {number} is {pixels.shape}, as none was"
        differ = (pixels != was).any(-1) & ~marked
        if differ.any():
            return f"{differ.mean():.2%} of level {number} differs"
    return ""
