"""A Hugging Face Hub for this machine alone: repositories of models that can be read and pushed to.

It speaks the few endpoints that pulling and pushing a model use, and keeps all in memory.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_this_is_the_tests_token"


@dataclass
class Repository:
    """Commits of a repository, each with the content of its files, by hash; the newest last."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def newest(self) -> str:
        return next(reversed(self.commits), "")

    def commit(self, files: dict[str, bytes]) -> str:
        name = hashlib.sha1(repr((len(self.commits), sorted(files))).encode()).hexdigest()
        self.commits[name] = files
        return name


@dataclass
class Hub:
    """What it holds, and how it behaves.

    Attributes
    ----------
    repositories
        By ``owner/name``.
    fails
        Requests whose path matches get this status.
    stalls
        A request whose path matches is answered by nothing but the beginning, until this is served
        no more.
    stalled
        Set when there was one.
    requests
        ``METHOD path`` of all, in their order.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    fails: dict[str, int] = field(default_factory=dict)
    stalls: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)
    requests: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    url: str = ""


@contextmanager
def serving_hub() -> Iterator[Hub]:
    """Serve a Hub while the block runs."""
    hub, over = Hub(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self._handle()

        do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

        def _handle(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append(f"{self.command} {path}")
            self.stalls = bool(hub.stalls and re.search(hub.stalls, f"{self.command} {path}"))
            if self.stalls and self.command != "GET":
                self._stall()
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status = next((s for p, s in hub.fails.items() if re.search(p, path)), 0)
            if status:
                self._answer(status, {"error": "as the test wants it"})
                return
            for method, pattern, answer in self._routes():
                if method == self.command and (match := re.fullmatch(pattern, path)):
                    answer(body, **match.groupdict())
                    return
            self._answer(404, {"error": "no such page"})

        def _routes(self) -> list[tuple[str, str, Any]]:
            model = r"(?P<name>[\w.-]+/[\w.-]+)"
            return [
                ("GET", rf"/api/models/{model}", self._info),
                ("GET", rf"/api/models/{model}/revision/(?P<revision>.+)", self._info),
                ("GET", rf"/api/models/{model}/tree/(?P<revision>\w+)/?", self._tree),
                ("GET", rf"/{model}/resolve/(?P<revision>\w+)/(?P<file>.+)", self._file),
                ("HEAD", rf"/{model}/resolve/(?P<revision>\w+)/(?P<file>.+)", self._file),
                ("POST", "/api/validate-yaml", lambda _: self._answer(200, {})),
                ("POST", "/api/repos/create", self._create),
                ("DELETE", "/api/repos/delete", self._delete),
                ("POST", rf"/api/models/{model}/preupload/main", self._modes),
                ("POST", rf"/{model}\.git/info/lfs/objects/batch", self._batch),
                ("PUT", r"/upload/(?P<oid>\w+)", self._upload),
                ("POST", rf"/api/models/{model}/commit/main", self._commit),
            ]

        def _allowed(self, name: str, *, write: bool = False) -> Repository | None:
            repository = hub.repositories.get(name)
            known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            if repository is None or (repository.private and not known):
                self._answer(404, {}, {"X-Error-Code": "RepoNotFound"})
                return None
            if write and not known:
                self._answer(401, {"error": "no token"})
                return None
            return repository

        def _info(self, _: bytes, name: str, revision: str = "main") -> None:
            if (repository := self._allowed(name)) is None:
                return
            commit = repository.newest if revision == "main" else revision
            if commit not in repository.commits and (commit or revision != "main"):
                self._answer(404, {}, {"X-Error-Code": "RevisionNotFound"})
                return
            files = [{"rfilename": each} for each in repository.commits.get(commit, {})]
            self._answer(200, {"id": name, "sha": commit or "0" * 40, "siblings": files})

        def _tree(self, _: bytes, name: str, revision: str) -> None:
            if (repository := self._allowed(name)) is not None:
                files = repository.commits[revision]
                self._answer(
                    200,
                    [
                        {"type": "file", "path": path, "size": len(data), "oid": _git(data)}
                        for path, data in files.items()
                    ],
                )

        def _file(self, _: bytes, name: str, revision: str, file: str) -> None:
            if (repository := self._allowed(name)) is None:
                return
            data = repository.commits.get(revision, {}).get(file)
            if data is None:
                self._answer(404, {}, {"X-Error-Code": "EntryNotFound"})
                return
            mark = f'"{hashlib.sha256(data).hexdigest()}"'
            self._answer(200, data, {"ETag": mark, "X-Repo-Commit": revision})

        def _create(self, body: bytes) -> None:
            said = json.loads(body)
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._answer(401, {"error": "no token"})
                return
            name = f"{said['organization']}/{said['name']}"
            private = said.get("visibility") == "private" or bool(said.get("private"))
            hub.repositories[name] = Repository(private)
            self._answer(200, {"url": f"{hub.url}/{name}"})

        def _delete(self, body: bytes) -> None:
            said = json.loads(body)
            del hub.repositories[f"{said['organization']}/{said['name']}"]
            self._answer(200, {})

        def _modes(self, body: bytes, name: str) -> None:
            if self._allowed(name, write=True) is None:
                return
            files = [
                {
                    "path": each["path"],
                    "uploadMode": "lfs" if each["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for each in json.loads(body)["files"]
            ]
            self._answer(200, {"files": files})

        def _batch(self, body: bytes, name: str) -> None:
            if self._allowed(name, write=True) is None:
                return
            objects = [
                {**each, "actions": {"upload": {"href": f"{hub.url}/upload/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._answer(200, {"transfer": "basic", "objects": objects})

        def _upload(self, body: bytes, oid: str) -> None:
            hub.blobs[oid] = body
            self._answer(200, {})

        def _commit(self, body: bytes, name: str) -> None:
            if (repository := self._allowed(name, write=True)) is None:
                return
            files = dict(repository.commits.get(repository.newest, {}))
            for line in body.splitlines():
                said = json.loads(line)
                value = said["value"]
                match said["key"]:
                    case "file":
                        files[value["path"]] = base64.b64decode(value["content"])
                    case "lfsFile":
                        files[value["path"]] = hub.blobs[value["oid"]]
                    case "deletedFile":
                        del files[value["path"]]
            commit = repository.commit(files)
            self._answer(
                200, {"commitUrl": f"{hub.url}/{name}/commit/{commit}", "commitOid": commit}
            )

        def _answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD" and not self.stalls:
                self.wfile.write(data)
            elif self.stalls:
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                self._stall()

        def _stall(self) -> None:
            hub.stalled.set()
            over.wait()
            self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _git(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
