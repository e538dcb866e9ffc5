"""Reads bytes of one remote file, over HTTP or by fsspec."""

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from napari_nh2st.errors import RemoteError


@dataclass(frozen=True)
class Version:
    """State of a remote file: another one as soon as the file was replaced.

    Parameters
    ----------
    size
        In bytes.
    mark
        ETag, time of change or what else tells versions apart; empty where nothing does.
    """

    size: int
    mark: str


class Interrupted(Exception):
    """A request failed in a way that the next may not, with the reason in words."""


class Forbidden(RemoteError):
    """The server gives the file to others, or does not say whether there is one."""


def changed(shown: str) -> str:
    """That a file is another one than when it was opened."""
    return f"{shown} was changed while it was read. Open it again."


class Transport(Protocol):
    """Reads one file. Its methods are called by several threads at once.

    Both raise `Interrupted` where it is worth to ask again, `RemoteError` where it is not.
    """

    def open(self, known: Version | None, n_bytes: int) -> tuple[Version, bytes]:
        """Ask for the file's version and its first bytes.

        Parameters
        ----------
        known
            The version that was there last time.
        n_bytes
            How many bytes to ask for.

        Returns
        -------
        version, first
            ``first`` may be all of the file, or nothing where the file is the known version.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        """

    def read(self, start: int, stop: int, version: Version) -> bytes:
        """Bytes from `start` up to `stop`, of this version."""


def transport(url: str) -> Transport:
    """What reads a URL."""
    if urlsplit(url).scheme.lower() in ("http", "https"):
        from .http import HttpFile

        return HttpFile(url)
    from .filesystem import FilesystemFile

    return FilesystemFile(url)
