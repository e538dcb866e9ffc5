"""The sample slides: found, downloaded and refused as they should be, with a server of our own."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from napari_nh2st import sample_data
from napari_nh2st.errors import InputError
from napari_nh2st.synthetic import DRAWING_VERSION, write_synthetic_slide

CONTENT = b"stands for the slide" * 1000


class Server:
    """Serves one file and counts how often it was asked for."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.status = 200
        self.requests = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                self.send_response(server.status)
                self.send_header("Content-Length", str(len(server.content)))
                self.end_headers()
                self.wfile.write(server.content)

            def log_message(self, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/{sample_data.REAL_SLIDE}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.http.shutdown()
            self.thread.join()
            self.http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with the only copy of the slide, none of which is on this machine."""
    server = Server()
    monkeypatch.delenv("NH2ST_TEST_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(sample_data, "REAL_SLIDE_URL", server.url)
    monkeypatch.setattr(sample_data, "REAL_SLIDE_SHA256", hashlib.sha256(CONTENT).hexdigest())
    yield server
    server.stop()


@pytest.fixture
def small_synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the synthetic sample small: its size is not what these tests are about."""

    def write(path: Path, seed: int = 0) -> Path:
        return write_synthetic_slide(path, seed=seed, shape=(300, 300))

    monkeypatch.setattr(sample_data, "write_synthetic_slide", write)


def files_below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


class TestRealSlide:
    def test_it_is_downloaded_once_and_then_taken_from_the_cache(
        self, server: Server, own_cache: Path
    ) -> None:
        first = sample_data.real_slide_path()
        second = sample_data.real_slide_path()
        assert first == second == own_cache / "samples" / sample_data.REAL_SLIDE
        assert first.read_bytes() == CONTENT
        assert server.requests == 1

    def test_a_damaged_copy_in_the_cache_is_downloaded_again(
        self, server: Server, own_cache: Path
    ) -> None:
        sample_data.real_slide_path().write_bytes(CONTENT[:100])
        assert sample_data.real_slide_path().read_bytes() == CONTENT
        assert server.requests == 2

    def test_another_file_than_expected_is_refused_and_not_kept(
        self, server: Server, own_cache: Path
    ) -> None:
        server.content = b"<html>a log-in page</html>"
        with pytest.raises(InputError, match=r"sha256 is not the one known"):
            sample_data.real_slide_path()
        assert files_below(own_cache) == []

    @pytest.mark.parametrize("status", [404, 500])
    def test_a_server_without_it_gives_one_sentence(
        self, server: Server, own_cache: Path, status: int
    ) -> None:
        server.status = status
        with pytest.raises(InputError, match=r"cannot be downloaded from http.*HTTPError") as error:
            sample_data.real_slide_path()
        assert len(str(error.value).splitlines()) == 1
        assert files_below(own_cache) == []

    def test_a_dead_server_gives_one_sentence(self, server: Server, own_cache: Path) -> None:
        server.stop()  # nobody listens on its port any more
        with pytest.raises(InputError, match=r"cannot be downloaded from http.*Connection"):
            sample_data.real_slide_path()
        assert files_below(own_cache) == []

    def test_nothing_is_downloaded_where_that_is_not_wanted(self, server: Server) -> None:
        with pytest.raises(InputError, match="not on this machine"):
            sample_data.real_slide_path(download=False)
        assert server.requests == 0

    def test_the_test_data_comes_first_if_it_is_the_right_file(
        self, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NH2ST_TEST_DATA", str(tmp_path))
        copy = tmp_path / "slides" / sample_data.REAL_SLIDE
        copy.parent.mkdir()
        copy.write_bytes(CONTENT)
        assert sample_data.real_slide_path() == copy
        assert server.requests == 0
        copy.write_bytes(b"another file")
        assert sample_data.real_slide_path() != copy
        assert server.requests == 1

    def test_the_known_sha256_is_that_of_the_real_file(self, test_data: Path) -> None:
        real = test_data / "slides" / sample_data.REAL_SLIDE
        assert sample_data.real_slide_path(download=False).resolve() == real


@pytest.mark.usefixtures("small_synthetic")
class TestSyntheticSlide:
    def test_it_is_drawn_once_for_each_seed(self, own_cache: Path) -> None:
        path = sample_data.synthetic_slide_path()
        written = path.stat().st_mtime_ns
        assert path.parent == own_cache / "samples"
        assert sample_data.synthetic_slide_path() == path
        assert path.stat().st_mtime_ns == written
        other = sample_data.synthetic_slide_path(seed=1)
        assert other.read_bytes() != path.read_bytes()

    def test_another_drawing_version_is_drawn_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        path = sample_data.synthetic_slide_path()
        monkeypatch.setattr(sample_data, "DRAWING_VERSION", DRAWING_VERSION + 1)
        assert sample_data.synthetic_slide_path() != path


@pytest.mark.usefixtures("small_synthetic")
class TestSampleSlide:
    def test_it_is_the_real_one_where_that_can_be_had(self, server: Server) -> None:
        path, words = sample_data.sample_slide()
        assert path.read_bytes() == CONTENT
        assert "a real H&E section" in words

    def test_it_is_the_synthetic_one_otherwise_and_says_why(self, server: Server) -> None:
        server.status = 404
        path, words = sample_data.sample_slide()
        assert path == sample_data.synthetic_slide_path()
        assert "synthetic H&E slide" in words
        assert "cannot be downloaded" in words


def test_importing_the_sample_data_imports_neither_torch_nor_napari() -> None:
    code = (
        "import sys, napari_nh2st.sample_data; "
        "print(sorted({'torch', 'napari', 'qtpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


class TestLayers:
    """Through the plugin's own reader."""

    def test_the_synthetic_sample_is_one_image_in_micrometres(self, small_synthetic: None) -> None:
        data, options, kind = sample_data.synthetic_sample()[0]
        assert kind == "image"
        # So small a slide has one level: napari takes it as it is, not as a pyramid of one.
        assert (data.shape, options["multiscale"]) == ((300, 300, 3), False)
        assert tuple(options["scale"]) == pytest.approx((0.5, 0.5))

    def test_the_real_sample_opens(self, test_data: Path) -> None:
        data, _options, kind = sample_data.real_sample()[0]
        assert kind == "image"
        assert data[0].shape == (2967, 2220, 3)
