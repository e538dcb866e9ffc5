"""Slides on S3: s3fs itself, and a server of this machine that answers as S3 does."""

from pathlib import Path

import fsspec.config
import numpy as np
import pytest

from array_slides import textured, write_tiff
from file_server import FileServer
from napari_nh2st.errors import InputError, RemoteError
from napari_nh2st.remote import file
from napari_nh2st.slide import open_slide

SIDE = 1024


@pytest.fixture
def bucket(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A public bucket, with a slide of some 3 MB in it."""
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": server.url, "anon": True})
    folder = server.folder / "bucket"
    folder.mkdir()
    write_tiff(folder / "slide.tif", textured(SIDE, SIDE), segment=128)
    return folder


def test_a_slide_is_read_by_ranges(bucket: Path, server: FileServer) -> None:
    with open_slide("s3://bucket/slide.tif") as slide:
        assert str(slide.path) == "s3://bucket/slide.tif"
        assert 0 < max(request.n_bytes for request in server.requests) <= 2 * file.BLOCK
        pixels = slide.read_region(0, 0, SIDE, SIDE)
    np.testing.assert_array_equal(pixels, textured(SIDE, SIDE))


def test_another_version_is_never_mixed_in(bucket: Path) -> None:
    with open_slide("s3://bucket/slide.tif") as slide:
        write_tiff(bucket / "slide.tif", textured(SIDE, SIDE, 1), segment=128)
        with pytest.raises(RemoteError, match=r"slide.tif was changed while it was read. Open it"):
            slide.read_region(0, 0, SIDE, SIDE)


def test_a_slide_that_is_taken_away_is_a_sentence(bucket: Path) -> None:
    with open_slide("s3://bucket/slide.tif") as slide:
        (bucket / "slide.tif").unlink()
        with pytest.raises(RemoteError, match=r"^s3://bucket/slide.tif is no longer there.$"):
            slide.read_region(0, 0, SIDE, SIDE)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "there is no such file"), (403, "you are not allowed to read it, or there is no such")],
)
def test_refusals_are_sentences(bucket: Path, server: FileServer, status: int, reason: str) -> None:
    server.status = status
    with pytest.raises(InputError, match=f"^s3://bucket/slide.tif: {reason}"):
        open_slide("s3://bucket/slide.tif")
