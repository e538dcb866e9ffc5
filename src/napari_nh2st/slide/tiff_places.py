"""Places of a TIFF's pieces in its file, and those that are impossible."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .tiff_page import StoredPage

_PADDING = 4096


def mark_misplaced(pages: Sequence[StoredPage], starts: NDArray[np.int64], size: int) -> None:
    """Mark the pieces whose place in the file must be wrong, as the list of them is damaged.

    Parameters
    ----------
    pages
        All pages of one file whose pixels are used.
    starts
        Sorted offsets at which something else begins.
    size
        Bytes of the file.
    """
    places = np.concatenate([page.places for page in pages])
    wrong = misplaced(places[:, 0], places[:, 1], np.append(starts, size))
    ends = np.cumsum([len(page.places) for page in pages])
    for page, of_page in zip(pages, np.split(wrong, ends[:-1]), strict=True):
        page.misplaced[:] = of_page


def misplaced(
    offsets: NDArray[np.int64], counts: NDArray[np.int64], others: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which pieces cannot lie where they should.

    That is those that overlap others without being the same; those of a size but no place; and
    those of a place but no size where nothing else begins for a while, so that there must be
    data. (The pieces that a sparse file leaves out have no place, or that of the next piece.)

    Parameters
    ----------
    offsets, counts
        (n,) where each begins and its bytes.
    others
        Sorted offsets at which something else begins.
    """
    wrong = (offsets <= 0) & (counts > 0)
    stored = np.flatnonzero((offsets > 0) & (counts > 0))
    stored = stored[np.lexsort((counts[stored], offsets[stored]))]
    starts, ends = offsets[stored], offsets[stored] + counts[stored]
    same = np.append((starts[1:] == starts[:-1]) & (ends[1:] == ends[:-1]), False)
    # One that overlaps several others is the wrong one; of two, either may be.
    behind = np.searchsorted(starts, ends) - np.searchsorted(starts, starts, "right")
    before = np.searchsorted(starts, starts) - np.searchsorted(np.sort(ends), starts, "right")
    overlaps_several = (behind + before > 1) & ~same
    wrong[stored[overlaps_several]] = True
    stored = stored[~overlaps_several]
    starts, ends = offsets[stored], offsets[stored] + counts[stored]
    overlaps = starts[1:] < np.maximum.accumulate(ends)[:-1]
    overlaps &= (starts[1:] != starts[:-1]) | (ends[1:] != ends[:-1])
    wrong[stored[1:][overlaps]] = True
    wrong[stored[:-1][overlaps]] = True
    empty = np.flatnonzero((offsets > 0) & (counts <= 0))
    begins = np.unique(np.concatenate([starts, others]))
    following = np.searchsorted(begins, offsets[empty])
    following = np.minimum(following, len(begins) - 1)
    wrong[empty] = begins[following] - offsets[empty] > _padding(counts)
    return wrong


def _padding(counts: NDArray[np.int64]) -> int:
    """Bytes between pieces that may be padding: less than most pieces have."""
    stored = counts[counts > 0]
    return int(min(_PADDING, np.median(stored) / 4)) if len(stored) else _PADDING
