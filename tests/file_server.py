"""A server of files for this machine alone, with the habits of good and of bad ones."""

import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """One that was answered: path, status, first byte and how many bytes were sent."""

    path: str
    status: int
    start: int = 0
    n_bytes: int = 0


@dataclass
class FileServer:
    """What it serves, how, and what it was asked for.

    Attributes
    ----------
    folder
        Of the files.
    requests
        All that were answered.
    ranges, marks
        Whether it knows ranges of bytes, and tells versions apart.
    dated
        It tells them apart by the time of change instead of an ETag.
    extra
        Further headers of what is sent, in the place of its own.
    cuts
        So many of the next answers are cut in their middle.
    status
        Answers all requests, where it is not 0.
    redirect
        Where all requests are sent.
    hangs
        It answers when this is cleared.
    """

    folder: Path
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    ranges: bool = True
    marks: bool = True
    dated: bool = False
    extra: dict[str, str] = field(default_factory=dict)
    cuts: int = 0
    status: int = 0
    redirect: str = ""
    hangs: bool = False

    @property
    def n_bytes(self) -> int:
        """Bytes that were sent."""
        return sum(request.n_bytes for request in self.requests)


class _Server(ThreadingHTTPServer):
    def handle_error(self, *about: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # who asked has gone
            super().handle_error(*about)


@contextmanager
def serving(folder: Path) -> Iterator[FileServer]:
    """Serve a folder while the block runs."""
    state = FileServer(folder)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            while state.hangs:
                time.sleep(0.01)
            path = unquote(urlsplit(self.path).path)
            if state.redirect:
                self._answer(302, {"Location": state.redirect})
            elif state.status:
                self._answer(state.status, {})
            elif not (file := state.folder / path.lstrip("/")).is_file():
                self._answer(404, {})
            else:
                self._send(path, file)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _send(self, path: str, file: Path) -> None:
            data, changed = file.read_bytes(), file.stat().st_mtime_ns
            mark, condition = f'"{len(data)}-{changed}"', "If-None-Match"
            if state.dated:
                mark, condition = formatdate(changed // 10**9, usegmt=True), "If-Modified-Since"
            headers = {"Last-Modified" if state.dated else "ETag": mark} if state.marks else {}
            if state.marks and self.headers.get(condition) == mark:
                self._answer(304, headers)
                return
            asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
            if asked is None or not state.ranges:
                self._answer(200, headers, data)
                return
            start, stop = int(asked[1]), min(int(asked[2]) + 1, len(data))
            if start >= stop:
                self._answer(416, headers | {"Content-Range": f"bytes */{len(data)}"}, b"no")
                return
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            headers |= state.extra
            self._answer(206, headers, data[start:stop], start)

        def _answer(
            self, status: int, headers: dict[str, str], data: bytes = b"", start: int = 0
        ) -> None:
            length = len(data)
            if data and state.cuts > 0:
                state.cuts -= 1
                data = data[: length // 2]
                self.close_connection = True
            # First: who has the whole answer may look at once.
            path = unquote(urlsplit(self.path).path)
            sent = 0 if self.command == "HEAD" else len(data)
            state.requests.append(Request(path, status, start, sent))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                with suppress(BrokenPipeError):  # who asked has gone
                    self.wfile.write(data)

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield state
    finally:
        state.hangs = False
        server.shutdown()
        thread.join()
        server.server_close()
