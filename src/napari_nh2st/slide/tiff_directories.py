"""The page directories of a TIFF, checked before pixels are looked for by them."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.remote import SlidePath

from .file_bytes import SlideBytes, open_bytes

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_COUNTS = 273, 277, 278, 279
_PLANAR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 284, 322, 323, 324, 325
_SUB_DIRECTORIES, _EXTRA_SAMPLES, _JPEG_TABLES, _OLD_JPEG = 330, 338, 347, 513
_FILL_ORDER, _PREDICTOR, _SAMPLE_FORMAT = 266, 317, 339
_YCBCR = 6
_SUBSAMPLING, _IMAGE_DEPTH, _TILE_DEPTH = 530, 32997, 32998

_NEEDED = {
    _STRIP_OFFSETS,
    _STRIP_COUNTS,
    _TILE_OFFSETS,
    _TILE_COUNTS,
    _JPEG_TABLES,
    _SUB_DIRECTORIES,
}
"""Tags without whose values no pixel can be found."""

_KNOWN_VALUES = {
    _BITS: ("BitsPerSample", range(1, 129)),
    _FILL_ORDER: ("FillOrder", (1, 2)),
    _PLANAR: ("PlanarConfiguration", (1, 2)),
    _PREDICTOR: ("Predictor", (1, 2, 3, 34892, 34893, 34894, 34895)),
    _SAMPLE_FORMAT: ("SampleFormat", range(1, 7)),
}
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE_NUMBERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_RAW = 1
_SLACK = 4096
_MOST_DIRECTORIES = 100_000
_DEEPEST = 8


@dataclass(frozen=True)
class Directories:
    """What was found in the directories of one file.

    Attributes
    ----------
    pages
        Offset of each directory that describes pixels, with its number.
    starts
        Sorted offsets at which directories, and values outside of them, begin.
    notices
        What looks damaged and may not be, and what is left out, each a sentence for the user.
    left_out
        Offsets of the directories of damaged pages that a slide can do without.
    """

    pages: dict[int, int]
    starts: NDArray[np.int64]
    notices: tuple[str, ...]
    left_out: frozenset[int] = frozenset()


def check_directories(path: SlidePath) -> Directories:
    """Follow the page directories and their sub-directories to their ends.

    Writers often put the directories last, so a cut-off file has lost them, and a reader that
    makes the best of it would show what is left as if it were all. A damaged directory makes it
    leave out a page, take a coarser level for the full resolution, or place tiles wrongly.

    Raises
    ------
    InputError
        A directory, or the list of a page's tiles or strips, lies behind the end of the file;
        the directories form a loop; or a page's size does not fit its list of tiles or strips.
    """
    file = open_bytes(path)
    try:
        return _Check(path, file, is_ndpi=path.suffix.lower() == ".ndpi").run()
    finally:
        file.close()


class _Layout(NamedTuple):
    """Byte order (of struct) and the sizes in which TIFF, BigTIFF and NDPI differ."""

    order: str
    number: str
    tag_count: str
    entry_size: int
    link: str
    high_words: bool

    @property
    def value_size(self) -> int:
        return struct.calcsize(self.number)

    @property
    def link_size(self) -> int:
        return struct.calcsize(self.link)


class _Entry(NamedTuple):
    """One tag of a directory: where its values are, which may be in the entry itself."""

    tag: int
    kind: int
    n_values: int
    offset: int
    size: int


@dataclass(frozen=True)
class _Directory:
    number: int
    offset: int
    entries: tuple[_Entry, ...]
    following: int

    def __getitem__(self, tag: int) -> _Entry | None:
        return next((entry for entry in self.entries if entry.tag == tag), None)


class _Damage(Exception):
    """What is wrong with a page, to follow its number."""


def _is_tiled(page: _Directory) -> bool:
    return any(page[tag] for tag in (_TILE_OFFSETS, _TILE_WIDTH, _TILE_COUNTS))


class _Check:
    """One pass over the directories of one file."""

    def __init__(self, path: SlidePath, file: SlideBytes, *, is_ndpi: bool) -> None:
        self._path = path
        self._file = file
        header = file.read(0, 16)
        order = "<" if header[:2] == b"II" else ">"
        is_big = header[2:4] in (b"+\0", b"\0+")
        self._layout = _Layout(order, "I", "H", 12, "I", high_words=False)
        if is_big:
            self._layout = _Layout(order, "Q", "Q", 20, "Q", high_words=False)
        elif is_ndpi and order == "<":
            self._layout = _Layout(order, "I", "H", 12, "Q", high_words=True)
        self._first = 8 if is_big else 4
        self._end = self._first + self._layout.link_size
        self._header = header
        self._seen: set[int] = set()
        self._pages: dict[int, int] = {}
        self._values_at: list[int] = []
        self._notices: list[str] = []
        self._left_out: set[int] = set()
        self._has_tiles = False

    def run(self) -> Directories:
        self._require(self._end)
        (first,) = struct.unpack_from(
            self._layout.order + self._layout.link, self._header, self._first
        )
        self._follow(first, frozenset())
        starts = np.unique(np.array([*self._seen, *self._values_at], np.int64))
        return Directories(self._pages, starts, tuple(self._notices), frozenset(self._left_out))

    def _follow(self, offset: int, parents: frozenset[int]) -> None:
        """Check a chain of directories, and the sub-directories of each.

        Some writers also link the sub-directories of a page to each other, so that one may be
        met again; but no chain leads back into itself or to a page that it belongs to.
        """
        chain: set[int] = set()
        while offset and len(self._seen) < _MOST_DIRECTORIES:
            if offset in chain or offset in parents or len(parents) > _DEEPEST:
                raise self._damaged("its page directories form a loop")
            if offset in self._seen:
                return
            chain.add(offset)
            self._seen.add(offset)
            directory = self._directory(offset, len(self._seen) - 1)
            self._check_or_leave_out(directory)
            tags = [entry.tag for entry in directory.entries]
            if any(tag >= following for tag, following in pairwise(tags)):
                self._notices.append(
                    f"The directory of page {directory.number} is out of order: it may be damaged."
                )
            sub_directories = directory[_SUB_DIRECTORIES]
            if sub_directories is not None:
                for first in self._values(sub_directories).tolist():
                    self._follow(first, parents | {offset})
            offset = directory.following

    def _directory(self, offset: int, number: int) -> _Directory:
        layout = self._layout
        count_size = struct.calcsize(layout.tag_count)
        self._require(offset + count_size)
        raw = self._file.read(offset, count_size)
        (count,) = struct.unpack(layout.order + layout.tag_count, raw)
        size = count_size + count * layout.entry_size + layout.link_size
        full_size = size + 4 * count * layout.high_words
        self._require(offset + full_size)
        data = self._file.read(offset, full_size)
        entries = tuple(self._entries(data, offset, count_size, count))
        if not entries:
            raise self._damaged(f"the directory of page {number} is empty")
        for entry in entries:
            if offset + full_size < entry.offset < self._file.size or entry.offset < offset:
                self._values_at.append(entry.offset)
        (following,) = struct.unpack_from(layout.order + layout.link, data, size - layout.link_size)
        return _Directory(number, offset, entries, following)

    def _entries(self, data: bytes, offset: int, start: int, count: int) -> Iterator[_Entry]:
        layout = self._layout
        high_words = start + count * layout.entry_size + layout.link_size
        for index in range(count):
            position = start + index * layout.entry_size
            tag, kind, n_values = struct.unpack_from(
                layout.order + "HH" + layout.number, data, position
            )
            value = position + layout.entry_size - layout.value_size
            size = n_values * _TYPE_SIZES.get(kind, 0)
            where = offset + value
            if size > layout.value_size:
                (where,) = struct.unpack_from(layout.order + layout.number, data, value)
                if layout.high_words:
                    (high,) = struct.unpack_from("<I", data, high_words + 4 * index)
                    where += high << 32
            yield _Entry(tag, kind, n_values, where, size)

    def _values(self, entry: _Entry) -> NDArray[np.int64]:
        """Whole numbers of a tag; none where it has other values or they are not in the file."""
        kind = _WHOLE_NUMBERS.get(entry.kind)
        if kind is None or entry.offset + entry.size > self._file.size:
            return np.zeros(0, np.int64)
        data = self._file.read(entry.offset, entry.size)
        return np.frombuffer(data, np.dtype(self._layout.order + kind)).astype(np.int64)

    def _one(self, directory: _Directory, tag: int, default: int = 0) -> int:
        entry = directory[tag]
        if entry is None:
            return default
        if entry.n_values != 1 and tag not in _KNOWN_VALUES:
            return 0
        values = self._values(entry)
        return int(values[0]) if len(values) else 0

    def _check_or_leave_out(self, page: _Directory) -> None:
        """Check a page; of a tiled slide, a damaged page of strips is but a label or thumbnail."""
        if page.number == 0:
            self._has_tiles = _is_tiled(page)
        try:
            for entry in page.entries:
                if entry.tag in _NEEDED:
                    self._require(entry.offset + entry.size)
            self._check_page(page)
        except (_Damage, InputError) as error:
            is_cut = isinstance(error, InputError)
            what = "lists strips beyond the end of the file" if is_cut else str(error)
            if not self._has_tiles or _is_tiled(page) or page[_SUB_DIRECTORIES]:
                if is_cut:
                    raise
                raise self._damaged(f"page {page.number} {what}") from None
            self._pages.pop(page.offset, None)
            self._left_out.add(page.offset)
            self._notices.append(
                f"A label, macro or thumbnail is left out: page {page.number} {what}."
            )

    def _check_page(self, page: _Directory) -> None:
        """Raise where a page's size and its list of tiles or strips do not fit each other."""
        is_tiled = _is_tiled(page)
        offsets = page[_TILE_OFFSETS if is_tiled else _STRIP_OFFSETS]
        counts = page[_TILE_COUNTS if is_tiled else _STRIP_COUNTS]
        if page[_OLD_JPEG] or not any((page[_WIDTH], page[_HEIGHT], offsets, counts)):
            return  # without pixels, or with those of a JPEG as TIFF 6 had it
        self._pages[page.offset] = page.number
        width, height = self._one(page, _WIDTH), self._one(page, _HEIGHT)
        compression = self._one(page, _COMPRESSION, _RAW)
        if width < 1 or height < 1:
            raise _Damage("has no size")
        if offsets is None or (counts is None and compression != _RAW):
            raise _Damage("lacks the list of its tiles or strips")
        samples = self._one(page, _SAMPLES, 1)
        extra = page[_EXTRA_SAMPLES]
        n_colors = samples - (extra.n_values if extra else 0)
        if self._one(page, _PHOTOMETRIC) == 0 and page[_PHOTOMETRIC] and n_colors >= 3:
            raise _Damage("calls its colors grey values")
        for tag, (name, known) in _KNOWN_VALUES.items():
            entry = page[tag]
            values = self._values(entry).tolist() if entry else []
            value = next((value for value in values or [0] if value not in known), None)
            if entry and value is not None:
                raise _Damage(f"has the unknown {name} {value}")
        rows, columns = height, width
        if is_tiled:
            rows, columns = self._one(page, _TILE_HEIGHT), self._one(page, _TILE_WIDTH)
        else:
            rows = min(self._one(page, _ROWS_PER_STRIP, height), height)
        if rows < 1 or columns < 1 or samples < 1:
            raise _Damage("has tiles or strips of no size")
        if self._one(page, _IMAGE_DEPTH, 1) > 1 or self._one(page, _TILE_DEPTH, 1) > 1:
            return
        n_rows, n_columns = -(-height // rows), -(-width // columns)
        is_planar = self._one(page, _PLANAR, 1) == 2
        expected = n_rows * n_columns * (samples if is_planar else 1)
        row_bits = columns * self._one(page, _BITS, 1) * (1 if is_planar else samples)
        piece_bytes = -(-row_bits // 8) * rows
        is_whole = offsets.n_values == 1 and compression == _RAW  # whatever it says of its strips
        n_counts = expected if counts is None else counts.n_values
        what = "tiles" if is_tiled else "strips"
        if not is_whole and (offsets.n_values != expected or n_counts != expected):
            raise _Damage(
                f"of {width:,} × {height:,} px needs {expected:,} {what} and "
                f"lists {offsets.n_values:,}"
                + ("" if n_counts == offsets.n_values else f", with {n_counts:,} sizes")
            )
        may_be_subsampled = page[_SUBSAMPLING] or self._one(page, _PHOTOMETRIC) == _YCBCR
        if compression == _RAW and counts is not None and not may_be_subsampled:
            self._check_raw_sizes(page, self._values(counts), piece_bytes, is_tiled)

    def _check_raw_sizes(
        self, page: _Directory, sizes: NDArray[np.int64], piece_bytes: int, is_tiled: bool
    ) -> None:
        """Raise where pieces without compression do not have the bytes that their size takes.

        Some writers round sizes up; the last strips may be lower, and a sparse page has zeros.
        """
        if len(sizes) == 1 and not is_tiled:
            return  # one run of bytes, which may be that of a whole stack; its end is looked at
        stored = sizes[sizes > 0]
        wrong = stored > piece_bytes + _SLACK
        if is_tiled:
            wrong |= stored < piece_bytes
        elif len(stored) > 1:
            wrong[0] |= stored[0] < piece_bytes
        if wrong.any():
            found = int(stored[np.flatnonzero(wrong)[0]])
            raise _Damage(
                f"lists a {'tile' if is_tiled else 'strip'} of {found:,} bytes "
                f"where {piece_bytes:,} are needed"
            )

    def _require(self, end: int) -> None:
        if end > self._file.size:
            raise InputError(
                f"{self._path}: the file is cut off: it has {self._file.size:,} bytes and its "
                f"page directories reach to byte {end:,}. Copy or download it again."
            )

    def _damaged(self, what: str) -> InputError:
        return InputError(f"{self._path}: the file is damaged: {what}. Copy or download it again.")
