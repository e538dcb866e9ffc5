"""NDPI: a TIFF with 64-bit offsets whose levels are big JPEGs with restart markers.

No real one is small enough to keep, so this writes one after what is known of the format: a
classic TIFF whose directories end with 8-byte offsets of the next, followed by the high words of
the entries' values; each level is one JPEG, and McuStarts lists where its restart intervals
begin, which makes tiles of them.
"""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from napari_nh2st.errors import SegmentError
from napari_nh2st.slide import open_slide

INTERVAL = 8  # MCUs of 8 px between restart markers: tiles of 8 × 64 px


def picture(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    planes = [127 + 120 * np.sin(y / 23 + i) * np.cos(x / (31 + i)) for i in range(3)]
    return np.stack(planes, axis=-1).astype(np.uint8)


def jpeg(pixels: NDArray[np.uint8]) -> tuple[bytes, list[int]]:
    """A JPEG and the offsets at which its restart intervals begin."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(
        file, "jpeg", quality=95, subsampling=0, restart_marker_blocks=INTERVAL
    )
    data = file.getvalue()
    scan = data.index(b"\xff\xda")
    starts = [scan + 2 + int.from_bytes(data[scan + 2 : scan + 4])]
    starts += [
        i + 2
        for i in range(starts[0], len(data) - 1)
        if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7
    ]
    return data, starts


def write_ndpi(path: Path, images: list[tuple[NDArray[np.uint8], float]]) -> None:
    """Write images, each with its magnification (-1 marks the macro image)."""
    out = bytearray(struct.pack("<2sHQ", b"II", 42, 0))
    link = 4  # where the offset of the next directory goes
    for pixels, magnification in images:
        data, starts = jpeg(pixels)
        strip = len(out)
        out += data
        blobs = {
            271: (2, b"Hamamatsu\0"),
            282: (5, struct.pack("<II", 43959, 1)),
            283: (5, struct.pack("<II", 43959, 1)),
            258: (3, struct.pack("<HHH", 8, 8, 8)),
        }
        if magnification > 0:
            blobs[65426] = (4, struct.pack(f"<{len(starts)}I", *starts))
        sizes = {2: 1, 3: 2, 4: 4, 5: 8}
        entries: dict[int, tuple[int, int, int]] = {
            256: (4, 1, pixels.shape[1]),
            257: (4, 1, pixels.shape[0]),
            259: (3, 1, 7),
            262: (3, 1, 6),
            273: (4, 1, strip),
            277: (3, 1, 3),
            278: (4, 1, pixels.shape[0]),
            279: (4, 1, len(data)),
            296: (3, 1, 3),
            65420: (4, 1, 1),
            65421: (11, 1, struct.unpack("<I", struct.pack("<f", magnification))[0]),
        }
        for tag, (kind, blob) in blobs.items():
            entries[tag] = (kind, len(blob) // sizes[kind], len(out))
            out += blob
        struct.pack_into("<Q", out, link, len(out))
        out += struct.pack("<H", len(entries))
        for tag, (kind, count, value) in sorted(entries.items()):
            out += struct.pack("<HHII", tag, kind, count, value)
        link = len(out)
        out += bytes(8 + 4 * len(entries))
    path.write_bytes(out)


@pytest.fixture
def slide_path(tmp_path: Path) -> Path:
    path = tmp_path / "slide.ndpi"
    full = picture(512, 1024)
    write_ndpi(path, [(full, 20.0), (full[::4, ::4], 5.0), (picture(128, 384), -1.0)])
    return path


def test_levels_macro_and_resolution(slide_path: Path) -> None:
    with open_slide(slide_path) as slide:
        assert slide.vendor == "hamamatsu"
        assert [level.shape for level in slide.levels] == [(512, 1024), (128, 256)]
        assert slide.levels[0].segment_shape == (256, 64)  # 32 tiles of 8 rows
        assert slide.mpp == pytest.approx((1e4 / 43959, 1e4 / 43959))
        assert slide.mpp_source == "Hamamatsu resolution tags"
        assert set(slide.associated) == {"macro"}
        macro = slide.associated["macro"].astype(int)
        assert np.abs(macro - picture(128, 384)).max() < 20


def test_tiles_between_restart_markers_make_up_the_image(slide_path: Path) -> None:
    data, _ = jpeg(picture(512, 1024))
    expected = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    with open_slide(slide_path) as slide:
        seen = slide.read_region(0, 0, 512, 1024)
        assert np.abs(seen - expected).max() <= 2
        np.testing.assert_array_equal(slide.levels[0].read_segment(1, 3), seen[256:, 192:256])


def test_closed_ndpi_cannot_be_read(slide_path: Path) -> None:
    with open_slide(slide_path) as slide:
        pass
    with pytest.raises(SegmentError):
        slide.levels[0].read_segment(0, 0)
