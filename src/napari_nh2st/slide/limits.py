"""Limits on what a slide may make the program allocate."""

import os

from napari_nh2st.errors import InputError
from napari_nh2st.remote import SlidePath

VARIABLE = "NH2ST_MAX_DECODED_MB"
"""Environment variable: MB to which an image that is decoded whole may decode."""

_DEFAULT_MB = 1536  # a JPEG of 20,000 × 20,000 px takes 1,200
_PIECES_TOGETHER = 6
_MEGABYTE = 1 << 20
_MOST_PIXELS = 1 << 38  # 500,000 × 500,000 px, some ten times the largest slides
_MOST_SEGMENTS = 1 << 26


def max_decoded_bytes(*, of_many: bool = False) -> int:
    """Bytes to which one stored piece may decode.

    Parameters
    ----------
    of_many
        It is one tile, strip or chunk among others. Several are decoded at a time, so each may
        take a sixth of what an image may that is decoded whole.

    Raises
    ------
    InputError
        The environment variable is no positive number.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        megabytes = float(text) if text else float(_DEFAULT_MB)
    except ValueError:
        megabytes = 0.0
    if not 0 < megabytes < float("inf"):
        raise InputError(f"The environment variable {VARIABLE} must be a number of MB, not {text}.")
    return int(megabytes * _MEGABYTE) // (_PIECES_TOGETHER if of_many else 1)


def check_decoded_size(path: SlidePath, what: str, n_bytes: int, *, of_many: bool = False) -> None:
    """Refuse a piece that would fill the memory.

    Parameters
    ----------
    path
        The file or folder, for the message.
    what
        The piece, for example ``"a tile of 30,000 × 30,000 px"``.
    n_bytes
        Bytes to which it decodes.
    of_many
        As of `max_decoded_bytes`.

    Raises
    ------
    InputError
        It decodes to more than is allowed, or the environment variable is no positive number.
    """
    limit = max_decoded_bytes(of_many=of_many)
    if n_bytes <= limit:
        return
    needed = -(-n_bytes * (_PIECES_TOGETHER if of_many else 1) // _MEGABYTE)
    raise InputError(
        f"{path}: {what} takes {n_bytes / _MEGABYTE:,.0f} MB once decoded, more than the "
        f"{limit / _MEGABYTE:,.0f} MB that are allowed. If the file can be trusted and the memory "
        f"is there, set the environment variable {VARIABLE} to {needed}."
    )


def impossible_size(shape: tuple[int, int], n_segments: tuple[int, int]) -> str | None:
    """Why a slide is not opened by its size; None where it is.

    Parameters
    ----------
    shape
        Height and width of level 0 in px.
    n_segments
        Rows and columns of its tiles, strips or chunks.
    """
    size = f"says that it has {shape[0]:,} × {shape[1]:,} px"
    if shape[0] * shape[1] > _MOST_PIXELS:
        return f"{size}, which no slide has: the file is damaged"
    if n_segments[0] * n_segments[1] > _MOST_SEGMENTS:
        return (
            f"{size} in {n_segments[0] * n_segments[1]:,} pieces, too many to keep count of; "
            "save it in larger tiles or chunks"
        )
    return None
