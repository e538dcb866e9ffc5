"""Code and quantization tables of JPEG data, which the tiles of a TIFF page share.

Tables have no checksum, and a decoder takes nearly any: one changed byte then changes pixels of
every tile. But the tables that encoders write are of few kinds, which a changed byte does not fit.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import SegmentError

_CODES, _STEPS, _SCAN = 0xC4, 0xDB, 0xDA
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xDA)}
_DC_SYMBOLS = frozenset(range(12))
_AC_SYMBOLS = frozenset(
    {0x00, 0xF0, *(16 * run + bits for run in range(16) for bits in range(1, 11))}
)
_MOST_OUTLIERS = 2
_FINEST_SCALE = 0.09
"""Quality 95; above it most steps are 1 or 2 in any table."""

_ZIGZAG = np.array(
    sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8, i % 8)[(i // 8 + i % 8) % 2 == 0]))
)
_LUMA = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
).ravel()[_ZIGZAG]
_CHROMA = np.full((8, 8), 99)
_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_CHROMA = _CHROMA.ravel()[_ZIGZAG]


def check_tables(data: bytes) -> str:
    """Look for what no encoder writes in the tables of JPEG data.

    Parameters
    ----------
    data
        A JPEG, or the tables of an abbreviated one; read up to its first scan.

    Returns
    -------
    str
        What looks damaged and may not be; ``""`` for nothing.

    Raises
    ------
    SegmentError
        A table is one that no encoder writes.
    """
    doubt = ""
    for marker, values in _segments(data):
        if marker == _CODES:
            for of_ac, symbols in _code_tables(values):
                _check_symbols(symbols, _AC_SYMBOLS if of_ac else _DC_SYMBOLS)
        elif marker == _STEPS:
            for steps in _step_tables(values):
                if not steps.all():
                    raise SegmentError("its JPEG tables have a quantization step of 0")
                outliers = _outliers(steps)
                if outliers:
                    doubt = f"{outliers} of 64 quantization steps of its JPEG tables do not fit"
    return doubt


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and values of each segment (ITU T.81, B.1.1)."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        marker = data[at + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        yield marker, data[at + 4 : end]
        at = max(end, at + 4)


def _code_tables(values: bytes) -> Iterator[tuple[bool, list[int]]]:
    """Whether a table is for AC, and its symbols, of each table of a segment (B.2.4.2)."""
    at = 0
    while at < len(values):
        n_symbols = sum(values[at + 1 : at + 17])
        symbols = values[at + 17 : at + 17 + n_symbols]
        if len(symbols) < max(n_symbols, 1):
            raise SegmentError("its JPEG tables are cut off")
        yield values[at] >= 16, list(symbols)
        at += 17 + n_symbols


def _check_symbols(symbols: list[int], complete: frozenset[int]) -> None:
    """Raise where a symbol stands twice, or in a table of all symbols for 8 bits is none of them.

    A table made for one image has the symbols that the image needs, which may be any.
    """
    found = set(symbols)
    is_full = len(symbols) == len(complete)
    if len(found) < len(symbols) or (is_full and found != complete):
        raise SegmentError("its JPEG tables have a code for what no image has, or two for one")


def _step_tables(values: bytes) -> Iterator[NDArray[np.int64]]:
    """The 64 quantization steps, in zigzag order, of each table of a segment (B.2.4.1)."""
    at = 0
    while at < len(values):
        stored = np.dtype(">u2" if values[at] >> 4 else "u1")
        steps = values[at + 1 : at + 1 + 64 * stored.itemsize]
        if len(steps) < 64 * stored.itemsize:
            raise SegmentError("its JPEG tables are cut off")
        yield np.frombuffer(steps, stored).astype(np.int64)
        at += 1 + len(steps)


def _outliers(steps: NDArray[np.int64]) -> int:
    """How many steps do not fit a table that else is the usual one (T.81, K.1) times a number.

    0 for a table that is not the usual one at all.
    """
    fewest, scale = min(
        _unfit(steps, usual, half) for usual in (_LUMA, _CHROMA) for half in (0.5, 0.0)
    )
    return fewest if fewest <= _MOST_OUTLIERS and scale >= _FINEST_SCALE else 0


def _unfit(steps: NDArray[np.int64], usual: NDArray[np.int64], half: float) -> tuple[int, float]:
    """How many steps are not `usual` times a number, rounded (half 0.5) or cut off (0).

    And the number, which is the one that most of them fit.
    """
    least, most = (steps - half) / usual, (steps + 1 - half) / usual
    least[steps == 1] = 0  # smaller ones are 1, greater ones 255
    most[steps >= 255] = np.inf
    scales = np.unique(least)
    fits = (least <= scales[:, None] + 1e-9) & (scales[:, None] < most - 1e-9)
    n_unfit = len(steps) - fits.sum(axis=1)
    best = int(n_unfit.argmin())
    return int(n_unfit[best]), float(scales[best])
