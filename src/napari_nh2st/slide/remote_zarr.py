"""The store from which zarr reads what is at a URL."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from napari_nh2st.remote import RemotePath

_METADATA = frozenset({"zarr.json", ".zgroup", ".zattrs", ".zarray", ".zmetadata"})


class RemoteStore(Store):
    """A folder at a URL, read through the cache of remote files; it cannot be listed.

    Parameters
    ----------
    folder
        Whose opened files are used, so that all chunks are of the version that was opened.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, folder: RemotePath) -> None:
        super().__init__(read_only=True)
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteStore) and self._folder == other._folder

    def __hash__(self) -> int:
        return hash(self._folder)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Bytes of a file, None where it is not there."""
        data = await asyncio.to_thread(self._read, key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Bytes of several files."""
        found = [self.get(key, prototype, byte_range) for key, byte_range in key_ranges]
        return list(await asyncio.gather(*found))

    async def exists(self, key: str) -> bool:
        """Whether a file is there."""
        return await asyncio.to_thread((self._folder / key).is_file)

    async def set(self, key: str, value: Buffer) -> None:
        """Raise."""
        self._check_writable()

    async def delete(self, key: str) -> None:
        """Raise."""
        self._check_writable()

    def list(self) -> AsyncIterator[str]:
        """Raise."""
        raise NotImplementedError("a remote folder cannot be listed")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Raise."""
        raise NotImplementedError("a remote folder cannot be listed")

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Raise."""
        raise NotImplementedError("a remote folder cannot be listed")

    def _read(self, key: str, byte_range: Any) -> bytes | None:
        path = self._folder / key
        if path.name in _METADATA and not path.is_file():
            return None
        try:
            file = path.file()
        except FileNotFoundError:
            return None
        if isinstance(byte_range, RangeByteRequest):
            return file.read(byte_range.start, byte_range.end - byte_range.start)
        start = 0
        if isinstance(byte_range, OffsetByteRequest):
            start = byte_range.offset
        elif isinstance(byte_range, SuffixByteRequest):
            start = max(0, file.size - byte_range.suffix)
        return file.read(start, file.size - start)
