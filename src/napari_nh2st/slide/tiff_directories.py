"""Finds a TIFF that is cut off before its directories of pages."""

import struct
from pathlib import Path

from napari_nh2st.errors import InputError

from .file_bytes import FileBytes

_NDPI_TAG = 65420
_MOST_DIRECTORIES = 100_000


def check_complete(path: Path) -> None:
    """Follow the chain of page directories to its end.

    Writers often put the directories last, so a cut-off file has lost them, and a reader that
    makes the best of it would show what is left as if it were all.

    Raises
    ------
    InputError
        A directory lies behind the end of the file.
    """
    file = FileBytes(path)
    try:
        end = _end_of_chain(file)
    finally:
        file.close()
    if end > file.size:
        raise InputError(
            f"{path}: the file is cut off: it has {file.size:,} bytes and its page directories "
            f"reach to byte {end:,}. Copy or download it again."
        )


def _end_of_chain(file: FileBytes) -> int:
    """Offset behind the last directory that the chain leads to, or that it leads to in vain."""
    header = file.read(0, 16)
    order = "<" if header[:2] == b"II" else ">"
    big = header[2:4] in (b"+\0", b"\0+")
    count_type, offset_type = ("Q", "Q") if big else ("H", "I")
    count_size, entry_size, offset_size = (8, 20, 8) if big else (2, 12, 4)
    first = 8 if big else 4
    if len(header) < first + offset_size:
        return first + offset_size
    (offset,) = struct.unpack_from(order + offset_type, header, first)
    end = first + offset_size
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < _MOST_DIRECTORIES:
        seen.add(offset)
        raw = file.read(offset, count_size)
        if len(raw) < count_size:
            return max(end, offset + count_size)
        (count,) = struct.unpack(order + count_type, raw)
        size = count_size + count * entry_size + offset_size
        directory = file.read(offset, min(size, 1 << 24))
        end = max(end, offset + size)
        if len(directory) < size:
            break
        tags = {
            struct.unpack_from(order + "H", directory, count_size + i * entry_size)[0]
            for i in range(count)
        }
        if _NDPI_TAG in tags:  # its offsets have 8 bytes in a TIFF that says 4
            break
        (offset,) = struct.unpack_from(order + offset_type, directory, size - offset_size)
    return end
