"""Encoders fetched from a Hub, which a server on this machine stands for."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from encoder_folders import write_dinov2
from napari_nh2st.errors import InputError
from napari_nh2st.files import Lock
from napari_nh2st.model.encoders.foreign import find_place
from napari_nh2st.model.encoders.hub import fetch
from napari_nh2st.model.encoders.key import parse_key
from napari_nh2st.model.encoders.readers import read_encoder

COMMIT = "c0ffee" + "0" * 34


class _Hub(BaseHTTPRequestHandler):
    folder: Path

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        body, mark = b"", ""
        if path.startswith("/api/models/owner/tiny/tree"):
            files = sorted(self.folder.iterdir())
            sizes = {file.name: file.stat().st_size for file in files}
            body = json.dumps(
                [{"type": "file", "path": n, "size": s, "oid": n} for n, s in sizes.items()]
            ).encode()
        elif path.startswith("/api/models/owner/tiny"):
            names = [{"rfilename": file.name} for file in sorted(self.folder.iterdir())]
            body = json.dumps({"id": "owner/tiny", "sha": COMMIT, "siblings": names}).encode()
        elif path.startswith(f"/owner/tiny/resolve/{COMMIT}/"):
            body = (self.folder / path.rpartition("/")[2]).read_bytes()
            mark = hashlib.sha256(body).hexdigest()
        self.send_response(200 if body else 404)
        if not body:
            self.send_header("X-Error-Code", "RepoNotFound")
        if mark:
            self.send_header("ETag", f'"{mark}"')
            self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Hub with one model, ``owner/tiny``."""
    _Hub.folder = write_dinov2(tmp_path / "served", licence="mit")
    (_Hub.folder / "remote_code.py").write_text("raise SystemExit", encoding="utf-8")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield url
        server.shutdown()


@pytest.mark.usefixtures("hub")
def test_what_was_fetched_once_is_read_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = fetch(parse_key("transformers:owner/tiny"))
    assert str(pinned) == f"transformers:owner/tiny@{COMMIT}"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody answers there
    encoder = read_encoder(pinned)
    assert (encoder.spec.revision, encoder.spec.licence) == (COMMIT, "mit")
    assert encoder.spec.key == str(pinned)
    # Without a revision it is what was fetched as the newest.
    place = find_place(parse_key("transformers:owner/tiny"))
    assert str(place.key) == str(pinned)
    assert not (place.folder / "remote_code.py").exists()


@pytest.mark.usefixtures("hub")
def test_parts_of_killed_fetches_go_and_those_of_others_stay(tmp_path: Path) -> None:
    blobs = tmp_path / "cache" / "models--owner--tiny" / "blobs"
    locks = tmp_path / "cache" / ".locks" / "models--owner--tiny"
    blobs.mkdir(parents=True)
    locks.mkdir(parents=True)
    # The last is of a version of the library that goes on with it.
    parts = [blobs / f"{name}.incomplete" for name in ("killed.0a1b", "fetched.2c3d", "resumed")]
    for part in parts:
        part.touch()
    held = Lock(locks / "fetched.lock")
    fetch(parse_key("transformers:owner/tiny"))
    held.release()
    assert [part.exists() for part in parts] == [False, True, True]


def test_a_stopped_fetch_goes_on_with_what_is_not_there(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    whole = huggingface_hub.hf_hub_download

    def download(repository: str, file: str, **options: Any) -> str:
        asked.append(file)
        if file == "model.safetensors" and asked.count(file) == 1:
            part = tmp_path / "cache" / "models--owner--tiny" / "blobs" / "f00d.4e5f.incomplete"
            part.touch()
            raise KeyboardInterrupt
        return str(whole(repository, file, **options))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(KeyboardInterrupt):
        fetch(parse_key("transformers:owner/tiny"))
    assert not list(tmp_path.rglob("*.incomplete"))
    assert list(tmp_path.rglob("snapshots/*/config.json"))
    pinned = fetch(parse_key("transformers:owner/tiny"))
    assert read_encoder(pinned).spec.revision == COMMIT


@pytest.mark.usefixtures("hub")
def test_a_plain_name_of_timm_is_fetched_from_timms_own_repository() -> None:
    with pytest.raises(InputError, match=r"the Hub has no model timm/vit_tiny\.dino"):
        fetch(parse_key("timm:vit_tiny.dino"))


@pytest.mark.usefixtures("hub")
def test_a_model_that_the_hub_has_not_is_a_sentence() -> None:
    with pytest.raises(InputError, match="the Hub has no model owner/other"):
        fetch(parse_key("transformers:owner/other"))
    with pytest.raises(InputError, match="is not on the Hugging Face Hub"):
        fetch(parse_key("onnx:owner/tiny"))
