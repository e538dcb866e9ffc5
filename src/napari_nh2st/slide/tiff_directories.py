"""Finds a TIFF that is cut off before its directories of pages."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from napari_nh2st.errors import InputError

from .file_bytes import FileBytes

_NDPI_TAG = 65420
_SUB_DIRECTORIES = 330
_NEEDED = {273, 279, 324, 325, 347, _SUB_DIRECTORIES}
"""Tags without whose values no pixel can be found: offsets, byte counts, JPEG tables."""

_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
_OFFSET_TYPES = {4: "I", 13: "I", 16: "Q", 18: "Q"}
_MOST_DIRECTORIES = 100_000


def check_complete(path: Path) -> None:
    """Follow the page directories and their sub-directories to their ends.

    Writers often put the directories last, so a cut-off file has lost them, and a reader that
    makes the best of it would show what is left as if it were all.

    Raises
    ------
    InputError
        A directory, or the list of a page's tiles or strips, lies behind the end of the file.
    """
    file = FileBytes(path)
    try:
        end = _end_of_directories(file)
    finally:
        file.close()
    if end > file.size:
        raise InputError(
            f"{path}: the file is cut off: it has {file.size:,} bytes and its page directories "
            f"reach to byte {end:,}. Copy or download it again."
        )


class _Layout(NamedTuple):
    """Byte order (of struct) and the sizes in which TIFF and BigTIFF differ."""

    order: str
    number: str
    tag_count: str
    entry_size: int

    @property
    def value_size(self) -> int:
        return struct.calcsize(self.number)


class _Entry(NamedTuple):
    """One tag of a directory: where its values are, which may be in the entry itself."""

    tag: int
    kind: int
    n_values: int
    offset: int
    size: int


def _end_of_directories(file: FileBytes) -> int:
    """Offset behind the last byte that directories and the lists they need take up."""
    header = file.read(0, 16)
    order = "<" if header[:2] == b"II" else ">"
    is_big = header[2:4] in (b"+\0", b"\0+")
    layout = _Layout(order, "Q", "Q", 20) if is_big else _Layout(order, "I", "H", 12)
    first = 8 if is_big else 4
    end = first + layout.value_size
    if len(header) < end:
        return end
    waiting = [struct.unpack_from(order + layout.number, header, first)[0]]
    seen: set[int] = {0}
    while waiting and len(seen) < _MOST_DIRECTORIES:
        offset = waiting.pop()
        if offset in seen:
            continue
        seen.add(offset)
        size, entries, following = _directory(file, layout, offset)
        end = max(end, offset + size)
        if end > file.size or any(entry.tag == _NDPI_TAG for entry in entries):
            break  # an NDPI's offsets have 8 bytes in a TIFF that says 4
        waiting.append(following)
        for entry in entries:
            if entry.tag in _NEEDED:
                end = max(end, entry.offset + entry.size)
            if entry.tag == _SUB_DIRECTORIES:
                waiting += _offsets(file, layout, entry)
    return end


def _directory(file: FileBytes, layout: _Layout, offset: int) -> tuple[int, list[_Entry], int]:
    """Size of a directory, its entries, and the offset of the next; as far as they are there."""
    count_size = struct.calcsize(layout.tag_count)
    raw = file.read(offset, count_size)
    if len(raw) < count_size:
        return count_size, [], 0
    (count,) = struct.unpack(layout.order + layout.tag_count, raw)
    size = count_size + count * layout.entry_size + layout.value_size
    data = file.read(offset, size) if offset + size <= file.size else b""
    if len(data) < size:
        return size, [], 0
    entries = list(_entries(data, layout, offset, count_size, count))
    (following,) = struct.unpack_from(layout.order + layout.number, data, size - layout.value_size)
    return size, entries, following


def _entries(data: bytes, layout: _Layout, offset: int, start: int, count: int) -> Iterator[_Entry]:
    for position in range(start, start + count * layout.entry_size, layout.entry_size):
        tag, kind, n_values = struct.unpack_from(
            layout.order + "HH" + layout.number, data, position
        )
        value = position + layout.entry_size - layout.value_size
        size = n_values * _TYPE_SIZES.get(kind, 0)
        where = offset + value
        if size > layout.value_size:
            (where,) = struct.unpack_from(layout.order + layout.number, data, value)
        yield _Entry(tag, kind, n_values, where, size)


def _offsets(file: FileBytes, layout: _Layout, entry: _Entry) -> tuple[int, ...]:
    number = _OFFSET_TYPES.get(entry.kind)
    data = file.read(entry.offset, entry.size) if entry.offset + entry.size <= file.size else b""
    if number is None or len(data) < entry.size:
        return ()
    return struct.unpack(f"{layout.order}{entry.n_values}{number}", data)
