"""Images that say they are to be turned, as Pillow writes them, are named and read as stored."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_nh2st.slide import open_slide

PIXELS = np.repeat(np.linspace(20, 230, 60 * 80).reshape(60, 80, 1), 3, 2).astype(np.uint8)


def written(path: Path, orientation: int | None) -> Path:
    exif = Image.Exif()
    if orientation is not None:
        exif[274] = orientation
    Image.fromarray(PIXELS).save(path, exif=exif, quality=100)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize("orientation", [2, 6, 8])
def test_an_image_to_be_turned_is_named_and_read_as_stored(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    path = written(tmp_path / f"photo{suffix}", orientation)
    with open_slide(path, mpp=1.0) as slide:
        (notice,) = slide.notices
        assert f"(Exif orientation {orientation})" in notice
        np.testing.assert_allclose(slide.read_region(0, 0, 60, 80).astype(int), PIXELS, atol=3)


@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
@pytest.mark.parametrize("orientation", [None, 0, 1, 9])
def test_an_upright_image_needs_no_notice(
    tmp_path: Path, suffix: str, orientation: int | None
) -> None:
    with open_slide(written(tmp_path / f"photo{suffix}", orientation), mpp=1.0) as slide:
        assert slide.notices == ()


def test_damaged_exif_data_say_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "photo.jpg", 6)
    data = bytearray(path.read_bytes())
    at = data.index(b"Exif\0\0")
    data[at + 6 : at + 14] = b"\xff" * 8
    path.write_bytes(data)
    with open_slide(path, mpp=1.0) as slide:
        assert slide.notices == ()
