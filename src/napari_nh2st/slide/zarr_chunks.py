"""The files in which a zarr array keeps its chunks, looked at before they are decoded."""

import bz2
import itertools
import lzma
import math
import os
import stat
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np

from napari_nh2st.errors import SegmentError
from napari_nh2st.regular_files import special_kind
from napari_nh2st.remote import RemotePath, SlidePath, prefetch_files

from .codestreams import has_zeros

_SLACK = 1 << 20
_BLOCK = 1 << 20
_WITHOUT_SUM = {"blosc", "zstd", "lz4"}
_STORED_AS_IT_IS = 2
"""Flag of Blosc, in its third byte: the data did not get smaller."""

_MOST_OF_DEFLATE = 1032
"""Bytes that one byte of Deflate can decode to at most."""


class ChunkFiles:
    """The chunk files of an array in a folder.

    Parameters
    ----------
    array
        A zarr array.
    folder
        The folder of the store that it is in.
    """

    def __init__(self, array: Any, folder: SlidePath) -> None:
        self._folder = folder / array.path
        self._key: Callable[[tuple[int, ...]], str] = array.metadata.encode_chunk_key
        self._chunks: tuple[int, ...] = getattr(array, "shards", None) or array.chunks
        self._shape: tuple[int, ...] = array.shape
        shards = getattr(array, "shards", None)
        self._is_sharded = shards is not None
        self._codec = None if shards is not None else _outermost_codec(array)
        self._sharding = None if shards is None else _Sharding.of(array, shards)
        self._checked_shards: set[SlidePath] = set()
        self._n_bytes = math.prod(array.chunks) * np.dtype(array.dtype).itemsize

    def of(self, where: Sequence[int | slice]) -> list[SlidePath]:
        """The files that hold a part of the array."""
        along = []
        for part, size in zip(where, self._chunks, strict=True):
            start, stop = (part.start, part.stop) if isinstance(part, slice) else (part, part + 1)
            along.append(range(start // size, (stop - 1) // size + 1))
        return [self._folder / self._key(index) for index in itertools.product(*along)]

    def prefetch(self, files: Iterable[SlidePath]) -> None:
        """Ask for files of a server, several at a time."""
        remote = [file for file in files if isinstance(file, RemotePath)]
        if len(remote) > 1:
            prefetch_files(remote, whole=not self._is_sharded)

    def check(self, file: SlidePath) -> bool:
        """Whether a chunk is stored.

        Raises
        ------
        SegmentError
            It is no file, or decodes to more than a chunk.
        OSError
            It cannot be read.
        """
        try:
            mode = file.stat().st_mode
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(mode) and isinstance(file, Path):
            raise SegmentError(f"{file} is {special_kind(file) or 'a folder'}, not a file")
        if self._sharding is not None and file not in self._checked_shards:
            with file.open("rb", buffering=0) as stream:
                name, codec = f"of the shard {file.name}", self._sharding.codec
                for part in self._sharding.parts(stream):
                    self._check_decoded_size(codec, part, name)
            self._checked_shards.add(file)
        if self._codec is not None:
            with file.open("rb", buffering=0) as stream:
                self._check_decoded_size(self._codec, stream, file.name)
            if self._codec == "blosc" and _is_cut_blosc(file):
                raise SegmentError(f"the chunk {file.name} is cut off")
            if self._codec in _WITHOUT_SUM and _is_zeroed(file, self._codec):
                raise SegmentError(f"the chunk {file.name} has a run of zeros")
        return True

    def _check_decoded_size(self, codec: str, stream: "BinaryIO | _Part", name: str) -> None:
        limit = 2 * self._n_bytes + _SLACK
        size = decoded_size(codec, stream, limit)
        if size is not None and size > limit:
            raise SegmentError(
                f"the chunk {name} decodes to more than the {self._n_bytes:,} bytes of a chunk"
            )

    @property
    def n_chunks(self) -> int:
        """How many chunks the array has, stored or not."""
        return math.prod(len(along) for along in self._indices())

    def all_keys(self) -> list[str]:
        """Paths of all chunks below the array, stored or not, as a listing of folders has them."""
        keys = (self._key(index) for index in itertools.product(*self._indices()))
        return sorted(keys, key=lambda key: key.split("/"))

    @property
    def is_remote(self) -> bool:
        """Whether the folder is at a URL, where it cannot be listed."""
        return isinstance(self._folder, RemotePath)

    def missing(self) -> list[tuple[int, ...]]:
        """Indices of the chunks that are not stored, where they can be listed."""
        stored = {
            Path(folder, name).relative_to(self._folder).as_posix()
            for folder, _, names in os.walk(self._folder)
            for name in names
        }
        return [i for i in itertools.product(*self._indices()) if self._key(i) not in stored]

    def _indices(self) -> list[range]:
        sizes = zip(self._shape, self._chunks, strict=True)
        return [range(-(-size // chunk)) for size, chunk in sizes]


class _Part:
    """Bytes of a file from one place on, as a file of their own."""

    def __init__(self, stream: BinaryIO, start: int, size: int) -> None:
        self._stream, self._start, self._size, self._at = stream, start, size, 0

    def read(self, n: int = -1, /) -> bytes:
        left = self._size - self._at
        self._stream.seek(self._start + self._at)
        data = self._stream.read(left if n < 0 else min(n, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = offset + (self._size if whence == 2 else 0)
        return self._at


@dataclass(frozen=True)
class _Sharding:
    """How chunks lie in a shard.

    Parameters
    ----------
    codec
        Name of the chunks' outermost codec.
    n_chunks
        In a shard.
    is_first
        Whether the index is at the shard's start, not its end.
    has_sum
        Whether the index has a checksum of four bytes.
    """

    codec: str
    n_chunks: int
    is_first: bool
    has_sum: bool

    @classmethod
    def of(cls, array: Any, shards: Sequence[int]) -> "_Sharding | None":
        """None where the chunks have no codec, or the index is compressed."""
        sharding = array.metadata.codecs[0]
        codec = _last_codec(getattr(sharding, "codecs", ()))
        names = _codec_names(getattr(sharding, "index_codecs", ()))
        if codec is None or names not in (["bytes"], ["bytes", "crc32c"]):
            return None
        counts = (shard // chunk for shard, chunk in zip(shards, array.chunks, strict=True))
        is_first = (
            str(getattr(sharding.index_location, "value", sharding.index_location)) == "start"
        )
        return cls(codec, math.prod(counts), is_first, "crc32c" in names)

    def parts(self, stream: BinaryIO) -> Iterator[_Part]:
        """The chunks that are stored; what lies behind the end of the file is left to zarr."""
        n_bytes = 16 * self.n_chunks
        size = stream.seek(0, 2)
        if size < n_bytes + 4 * self.has_sum:
            return
        stream.seek(0 if self.is_first else size - n_bytes - 4 * self.has_sum)
        places = np.frombuffer(stream.read(n_bytes), "<u8").reshape(-1, 2)
        for start, length in places.tolist():
            if start + length <= size:
                yield _Part(stream, start, length)


def _outermost_codec(array: Any) -> str | None:
    """Name of the codec that a chunk's bytes have been through last."""
    metadata = array.metadata
    if metadata.zarr_format == 2:
        codec = metadata.compressor
        return getattr(codec, "codec_id", None)
    return _last_codec(metadata.codecs)


def _codec_names(codecs: Iterable[Any]) -> list[str]:
    return [type(codec).__name__.removesuffix("Codec").lower() for codec in codecs]


def _last_codec(codecs: Iterable[Any]) -> str | None:
    names = _codec_names(codecs)
    while names and names[-1] == "crc32c":
        names.pop()  # four bytes at the end, which change nothing before them
    return names[-1] if names else None


def decoded_size(codec: str, stream: "BinaryIO | _Part", limit: int) -> int | None:
    """Bytes to which a chunk decodes, at least where that is more than `limit`.

    None where the codec says nothing of it. What a chunk claims in its first bytes is what its
    decoder asks memory for.
    """
    head = stream.read(18)
    try:
        if codec == "blosc":
            return int(struct.unpack_from("<I", head, 4)[0])
        if codec == "lz4":
            return int(struct.unpack_from("<I", head)[0])
        if codec == "zstd":
            return _zstd_size(head, stream, limit)
    except struct.error:  # cut off; the decoder says so
        return None
    decoders: dict[str, Callable[[], Any]] = {
        "gzip": lambda: zlib.decompressobj(31),
        "zlib": lambda: zlib.decompressobj(15),
        "bz2": bz2.BZ2Decompressor,
        "lzma": lzma.LZMADecompressor,
    }
    if codec not in decoders:
        return None
    if codec in ("gzip", "zlib"):
        n_bytes = stream.seek(0, 2)
        if n_bytes * _MOST_OF_DEFLATE <= limit:
            return None
        if codec == "gzip" and n_bytes * _MOST_OF_DEFLATE < 1 << 32 and n_bytes >= 18:
            stream.seek(0)
            data = stream.read()
            if data.find(b"\x1f\x8b\x08", 1) < 0:  # one member, whose size is at its end
                return int(struct.unpack("<I", data[-4:])[0])
    stream.seek(0)
    return _counted(stream, decoders[codec], limit)


def _is_cut_blosc(file: SlidePath) -> bool:
    """Whether a chunk has fewer bytes than its head says; Blosc reads on behind them."""
    with file.open("rb", buffering=0) as stream:
        head = stream.read(16)
        return len(head) < 16 or stream.seek(0, 2) < struct.unpack_from("<I", head, 12)[0]


def _is_zeroed(file: SlidePath, codec: str) -> bool:
    data = file.read_bytes()
    if codec == "blosc" and len(data) > 2 and data[2] & _STORED_AS_IT_IS:
        return False
    return has_zeros(data)


def _zstd_size(head: bytes, stream: "BinaryIO | _Part", limit: int) -> int | None:
    """Content size of the first frame (RFC 8878, 3.1.1.1)."""
    if head[:4] != b"\x28\xb5\x2f\xfd":
        return None
    flags = head[4]
    is_single, width = bool(flags & 0x20), (0, 2, 4, 8)[flags >> 6]
    if is_single and width == 0:
        width = 1
    if width == 0:  # not said, and the decoder would grow its memory as it goes
        stream.seek(0)
        try:
            return len(imagecodecs.zstd_decode(stream.read(), out=limit))
        except imagecodecs.ZstdError as error:
            return limit + 1 if "too small" in str(error) else None
    at = 5 + (not is_single) + (0, 1, 2, 4)[flags & 3]
    size = int.from_bytes(head[at : at + width], "little")
    return size + 256 if width == 2 else size


def _counted(stream: Any, decoder: Callable[[], Any], limit: int) -> int | None:
    """Decode to count, one block at a time; over `limit` as soon as that is reached."""
    total = 0
    current, data = decoder(), b""
    try:
        while total <= limit:
            data = data or stream.read(_BLOCK)
            if not data and getattr(current, "needs_input", True):
                return total
            total += len(current.decompress(data, _BLOCK))
            data = getattr(current, "unconsumed_tail", b"")
            if current.eof:
                data = current.unused_data.lstrip(b"\0")
                current = decoder()
    except Exception:  # damaged; the decoder says so
        return None
    return total
