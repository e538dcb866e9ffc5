"""Ranges of a file in what fsspec reaches: S3, Google Cloud Storage, memory and others."""

from typing import Any
from urllib.parse import urlsplit

from napari_nh2st.errors import RemoteError, first_line
from napari_nh2st.extras import ExtraError, import_extra

from .transport import Forbidden, Interrupted, Version, changed
from .urls import shown_url

_S3 = ("s3", "s3a")
_MARKS = ("ETag", "etag", "md5Hash", "generation", "content_md5")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")


class FilesystemFile:
    """A file of an fsspec file system, whose credentials are found as its library finds them.

    Parameters
    ----------
    url
        With a protocol that fsspec knows, and that leads to no other.

    Raises
    ------
    ExtraError
        The library for its protocol is not installed.
    RemoteError
        No library knows the protocol, or one is given that leads elsewhere.
    """

    def __init__(self, url: str) -> None:
        self._shown = shown_url(url)
        scheme = urlsplit(url).scheme.lower()
        if "::" in url or scheme in ("file", "local", "reference", "simplecache", "filecache"):
            raise RemoteError(f"{self._shown}: give the URL of the slide itself.")
        if scheme in _S3:
            import_extra("s3fs", "s3", f"Reading {scheme}:// URLs")
        from fsspec.core import url_to_fs

        try:
            self._files, self._place = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ExtraError(f"{self._shown} cannot be read: {first_line(error)}") from None

    def open(self, known: Version | None, n_bytes: int) -> tuple[Version, bytes]:
        """See `Transport.open`."""
        version = self._version()
        return version, b"" if version == known and known.mark else self._read(0, n_bytes)

    def read(self, start: int, stop: int, version: Version) -> bytes:
        """See `Transport.read`."""
        try:
            data = self._read(start, stop)
            now = self._version()
        except FileNotFoundError:
            raise RemoteError(f"{self._shown} is no longer there.") from None
        if now != version:
            raise RemoteError(changed(self._shown))
        if len(data) < stop - start:
            raise Interrupted("fewer bytes came than were asked for")
        return data

    def _version(self) -> Version:
        self._files.invalidate_cache()
        about = self._asked(self._files.info, self._place)
        if about.get("type") == "directory":
            raise FileNotFoundError(f"{self._shown}: is a folder, not a file")
        names = [name for name in (*_MARKS, *_TIMES) if about.get(name)]
        return Version(int(about["size"]), str(about[names[0]]) if names else "")

    def _read(self, start: int, stop: int) -> bytes:
        return bytes(self._asked(self._files.cat_file, self._place, start=start, end=stop))

    def _asked(self, function: Any, place: str, **options: Any) -> Any:
        try:
            return function(place, **options)
        except (FileNotFoundError, IsADirectoryError):
            raise FileNotFoundError(f"{self._shown}: there is no such file.") from None
        except PermissionError:
            raise Forbidden(
                f"{self._shown}: you are not allowed to read it, or there is no such file."
            ) from None
        except Exception as error:  # every library has its own kinds of error
            # What it says may hold keys.
            kind = type(error).__name__
            if kind == "NoCredentialsError":
                raise Forbidden(
                    f"{self._shown}: no credentials were found. For a public bucket set the "
                    "environment variable FSSPEC_S3_ANON to true."
                ) from None
            raise Interrupted(f"it cannot be read now ({kind})") from None
