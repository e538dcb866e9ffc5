"""Images that can only be decoded whole: JPEG, PNG, a TIFF page of one compressed strip."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError, SegmentError

from .colors import Once, StoredColors, full_scale
from .contents import NotReadable, NotThisFormat, SlideContents
from .level import Level

_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_TAIL = 1 << 16


class WholeImageLevel(Level):
    """A level decoded once, when first read, and kept; its segments are cut out of it.

    Parameters
    ----------
    shape
        Height and width in px.
    decode
        Gives uint8, (height, width, 3); may raise.
    """

    def __init__(self, shape: tuple[int, int], decode: Callable[[], NDArray[np.uint8]]) -> None:
        super().__init__(shape, (1024, 1024))
        self._pixels = Once(decode)

    def read_segment(self, row: int, column: int) -> NDArray[np.uint8]:
        """Cut one segment out of the decoded image; see `Level.read_segment`."""
        top, left, height, width = self.segment_bounds(row, column)
        try:
            pixels = self._pixels()
        except Exception as error:  # every decoder has its own kind of error
            raise SegmentError(str(error)) from error
        return pixels[top : top + height, left : left + width]


def open_jpeg(path: Path) -> SlideContents:
    """Open a JPEG image.

    Raises
    ------
    NotReadable
        It is not a JPEG, or one of four colours.
    InputError
        It is cut off.
    """
    with path.open("rb") as file:
        data = file.read()
    if not data.startswith(b"\xff\xd8"):
        raise NotThisFormat("is not a JPEG")
    height, width, components, scan = _jpeg_header(path, data)
    if components not in (1, 3):
        raise NotReadable(f"is a JPEG of {components} colours; save it as RGB")
    if data.rfind(b"\xff\xd9", max(scan, len(data) - _TAIL)) < 0 and (
        data.find(b"\xff\xd9", scan) < 0
    ):
        raise InputError(
            f"{path}: the JPEG is cut off: it ends after {len(data):,} bytes without its end "
            "marker. Copy or download it again."
        )
    del data

    def decode() -> NDArray[np.uint8]:
        pixels = imagecodecs.jpeg_decode(path.read_bytes())
        return np.repeat(pixels[..., None], 3, axis=-1) if pixels.ndim == 2 else pixels

    return SlideContents(
        vendor="jpeg",
        levels=(WholeImageLevel((height, width), decode),),
        resolution=None,
        brightfield=True,
        brightfield_reason="8-bit colours",
        fingerprint_files=(path,),
    )


def open_png(path: Path) -> SlideContents:
    """Open a PNG image.

    Raises
    ------
    NotReadable
        It is not a PNG.
    InputError
        It is cut off.
    """
    with path.open("rb") as file:
        head = file.read(33)
        size = file.seek(0, 2)
        file.seek(max(0, size - _TAIL))
        tail = file.read()
    if not head.startswith(_PNG_MAGIC):
        raise NotThisFormat("is not a PNG")
    if len(head) < 33 or b"IEND" not in tail:
        raise InputError(
            f"{path}: the PNG is cut off: it ends after {size:,} bytes without its end chunk. "
            "Copy or download it again."
        )
    width, height, bits = struct.unpack(">IIB", head[16:25])

    def decode() -> NDArray[np.uint8]:
        pixels: NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
        pixels = pixels.reshape(height, width, -1)
        convert = StoredColors(
            "grey" if pixels.shape[-1] < 3 else "rgb",
            alpha="straight" if pixels.shape[-1] in (2, 4) else None,
            full_scale=lambda: full_scale(pixels) if bits == 16 else 255.0,
        )
        return convert(pixels)

    return SlideContents(
        vendor="png",
        levels=(WholeImageLevel((height, width), decode),),
        resolution=None,
        brightfield=bits <= 8,
        brightfield_reason="8-bit colours" if bits <= 8 else "16-bit values",
        fingerprint_files=(path,),
    )


def _jpeg_header(path: Path, data: bytes) -> tuple[int, int, int, int]:
    """Height, width, number of components and offset of the first scan (ITU T.81, B.1.1)."""
    frame: tuple[int, int, int] | None = None
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        length = int.from_bytes(data[position + 2 : position + 4])
        if marker in _JPEG_FRAMES and position + 10 <= len(data):
            height, width, components = struct.unpack(">HHB", data[position + 5 : position + 10])
            frame = (height, width, components)
        position += 2 + length
        if marker == 0xDA:
            if frame is None or 0 in frame:
                break
            return *frame, position
    raise InputError(
        f"{path}: the JPEG is cut off or damaged: no image is found in its {len(data):,} bytes."
    )
