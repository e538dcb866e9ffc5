"""Ranges of a file over HTTP and HTTPS."""

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http import HTTPStatus
from urllib.parse import urlsplit

import requests
import urllib3

from napari_nh2st.errors import RemoteError

from .transport import Forbidden, Interrupted, Version, changed
from .urls import shown_url

_log = logging.getLogger(__name__)

CONNECT_S, ANSWER_S = 10.0, 20.0
"""A connection, and then any byte of an answer, is waited for so long."""

_SLOWEST = 16 * 1024
"""Bytes per second; an answer that is slower than this counts as cut."""

_PIECE = 1 << 16
_MOST_WHOLE = 64 * 1024**2
"""A file that comes only as a whole may have so many bytes."""

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_CONNECTIONS = 32


class HttpFile:
    """A file over HTTP; proxies, certificates and ``.netrc`` are those of `requests`.

    Parameters
    ----------
    url
        With ``http`` or ``https``, before any redirection.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._shown = shown_url(url)
        self._host = urlsplit(url).hostname or ""

    def open(self, known: Version | None, n_bytes: int) -> tuple[Version, bytes]:
        """See `Transport.open`."""
        condition = {}
        if known is not None and known.mark:
            is_time = known.mark.endswith(" GMT")
            condition = {"If-Modified-Since" if is_time else "If-None-Match": known.mark}
        with self._answer(0, n_bytes, condition) as answer:
            if known is not None and answer.status_code == HTTPStatus.NOT_MODIFIED:
                return known, b""
            mark = _mark(answer)
            if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # it is empty
                return Version(0, mark), b""
            if answer.status_code == HTTPStatus.PARTIAL_CONTENT:
                start, stop, size = self._range(answer)
                if start != 0:
                    raise RemoteError(f"{self._shown}: {self._host} sends other bytes than asked")
                return Version(size, mark), self._body(answer, stop)
            return self._whole(answer, mark)

    def read(self, start: int, stop: int, version: Version) -> bytes:
        """See `Transport.read`."""
        try:
            with self._answer(start, stop, {}) as answer:
                if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
                    now, whole = self._whole(answer, _mark(answer))
                    if now != version:
                        raise RemoteError(changed(self._shown))
                    return whole[start:stop]
                first, end, size = self._range(answer)
                if Version(size, _mark(answer)) != version:
                    raise RemoteError(changed(self._shown))
                if (first, end) != (start, stop):
                    raise Interrupted(f"{self._host} sends other bytes than asked")
                return self._body(answer, stop - start)
        except FileNotFoundError:
            raise RemoteError(f"{self._shown} is no longer there.") from None

    def _whole(self, answer: requests.Response, mark: str) -> tuple[Version, bytes]:
        """A file of a server that knows no ranges: all of it, if it is not large."""
        length = answer.headers.get("Content-Length", "")
        size = int(length) if length.isdecimal() else None
        if size is None or size > _MOST_WHOLE:
            raise RemoteError(
                f"{self._shown}: {self._host} sends only whole files, no byte ranges. Download it "
                "and open the copy."
            )
        return Version(size, mark), self._body(answer, size)

    @contextmanager
    def _answer(
        self, start: int, stop: int, condition: dict[str, str]
    ) -> Iterator[requests.Response]:
        headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"} | condition
        try:
            with _session().get(
                self._url, headers=headers, stream=True, timeout=(CONNECT_S, ANSWER_S)
            ) as answer:
                _log.debug("%s, bytes %d-%d: %d", self._shown, start, stop - 1, answer.status_code)
                self._check_status(answer)
                yield answer
        except requests.exceptions.SSLError:
            raise RemoteError(
                f"{self._shown}: the certificate of {self._host} is not accepted."
            ) from None
        except requests.exceptions.Timeout:
            raise Interrupted(f"{self._host} does not answer") from None
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as e:
            raise Interrupted(self._connection_problem(e)) from None
        except urllib3.exceptions.HTTPError:
            raise Interrupted(f"the connection to {self._host} was cut") from None
        except requests.exceptions.RequestException as error:
            # What these say may hold the whole URL.
            kind = re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower()
            raise RemoteError(f"{self._shown} cannot be asked for ({kind}).") from None

    def _check_status(self, answer: requests.Response) -> None:
        code = answer.status_code
        said = f"{code} {answer.reason or ''}".strip()
        if code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
            raise FileNotFoundError(f"{self._shown}: there is no such file ({said}).")
        if code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Forbidden(
                f"{self._shown}: {self._host} refuses access ({said}). The file needs a key or "
                "password, a signed URL has expired, or there is no such file."
            )
        if code in _BUSY:
            raise Interrupted(f"{self._host} answers {said}")
        if code not in (
            HTTPStatus.OK,
            HTTPStatus.PARTIAL_CONTENT,
            HTTPStatus.NOT_MODIFIED,
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        ):
            raise RemoteError(f"{self._shown}: {self._host} answers {said}.")
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise RemoteError(f"{self._shown}: {self._host} sends it compressed, not as it is.")

    def _range(self, answer: requests.Response) -> tuple[int, int, int]:
        """Start, stop and size of the file, of what is sent."""
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        if found is None:
            raise RemoteError(f"{self._shown}: {self._host} does not say which bytes it sends.")
        start, last, size = map(int, found.groups())
        return start, last + 1, size

    def _body(self, answer: requests.Response, n_bytes: int) -> bytes:
        """All bytes of an answer.

        They are taken as they come: one that drips forever never runs into a timeout.
        """
        until = time.monotonic() + ANSWER_S + n_bytes / _SLOWEST
        body = bytearray()
        while piece := answer.raw.read1(_PIECE):
            body += piece
            if len(body) > n_bytes:
                raise RemoteError(f"{self._shown}: {self._host} sends more bytes than it says.")
            if time.monotonic() > until:
                raise Interrupted(f"{self._host} sends too slowly")
        if len(body) < n_bytes:
            raise Interrupted(f"the connection to {self._host} was cut")
        return bytes(body)

    def _connection_problem(self, error: Exception) -> str:
        reason = getattr(error.args[0] if error.args else None, "reason", None)
        if isinstance(reason, urllib3.exceptions.NameResolutionError):
            return f"the host {self._host} is not found"
        if isinstance(reason, urllib3.exceptions.NewConnectionError):
            return f"{self._host} cannot be reached"
        return f"the connection to {self._host} was cut"


def _mark(answer: requests.Response) -> str:
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


@cache
def _session() -> requests.Session:
    """The connections of this process, kept open from one request to the next."""
    session = requests.Session()
    session.max_redirects = 10
    for scheme in ("http://", "https://"):
        session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS))
    return session
