"""Images that can only be decoded whole: JPEG, PNG, a TIFF page of one compressed strip."""

import struct
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError, SegmentError
from napari_nh2st.remote import SlidePath

from . import jpeg
from .colors import Once, StoredColors, full_scale
from .contents import NotReadable, NotThisFormat, SlideContents
from .level import Level
from .limits import check_decoded_size
from .orientation_tag import exif_orientation, orientation_notice

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_TAIL = 1 << 16
_BLOCK = 1 << 20
_LEFT_OVER = (
    "The JPEG has bytes after its image: its writer left them there, or the image is damaged. "
    "Check that the picture is complete."
)


class WholeImageLevel(Level):
    """A level decoded once, when first read, and kept; its segments are cut out of it.

    A damaged image, too, is decoded only once: its failure is kept.

    Parameters
    ----------
    shape
        Height and width in px.
    decode
        Gives uint8, (height, width, 3); may raise.
    notices
        Sentences on what decoding met; `decode` may add to them.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        decode: Callable[[], NDArray[np.uint8]],
        notices: Sequence[str] = (),
    ) -> None:
        super().__init__(shape, (1024, 1024))
        self._decode = decode
        self._notices = notices
        self._pixels = Once(self._decoded)

    @property
    def notices(self) -> tuple[str, ...]:
        """What decoding met; nothing before the image is first read."""
        return tuple(self._notices)

    def read_segment(self, row: int, column: int) -> NDArray[np.uint8]:
        """Cut one segment out of the decoded image; see `Level.read_segment`."""
        top, left, height, width = self.segment_bounds(row, column)
        try:
            pixels = self._pixels()
        except (OSError, MemoryError) as error:
            raise SegmentError(_reason(error)) from error
        if isinstance(pixels, str):
            raise SegmentError(pixels)
        return pixels[top : top + height, left : left + width]

    def _decoded(self) -> NDArray[np.uint8] | str:
        """The pixels, or why there are none."""
        try:
            return self._decode()
        except (OSError, MemoryError):  # the next attempt may succeed
            raise
        except Exception as error:  # every decoder has its own kind of error
            return _reason(error)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


def open_jpeg(path: SlidePath) -> SlideContents:
    """Open a JPEG image.

    Raises
    ------
    NotReadable
        It is not a JPEG, or one of four colors.
    InputError
        It is cut off.
    """
    with path.open("rb") as file:
        if file.read(2) != jpeg.START:
            raise NotThisFormat("is not a JPEG")
        size = path.stat().st_size
        file.seek(0)
        try:
            opened = jpeg.read_header(file)
        except SegmentError:
            opened = None
        if opened is None or 0 in (opened.height, opened.width):
            raise InputError(
                f"{path}: the JPEG is cut off or damaged: no image is found in its {size:,} bytes."
            )
        shape = (opened.height, opened.width)
        if opened.components not in (1, 3):
            raise NotReadable(f"is a JPEG with {opened.components} color channels; save it as RGB")
        if not _has_jpeg_end(file, opened.scan, size):
            raise InputError(
                f"{path}: the JPEG is cut off: it ends after {size:,} bytes without its end "
                "marker. Copy or download it again."
            )

    _check_size(path, shape, opened.components)
    notices: list[str] = []

    def decode() -> NDArray[np.uint8]:
        data = path.read_bytes()
        header = jpeg.read_header(data)
        if (header.height, header.width) != shape:
            raise SegmentError("the file has changed since it was opened")
        jpeg.check_scans(data, header)
        pixels: NDArray[np.uint8] | None = None
        try:
            pixels = jpeg.decode_strictly(data, header)
        except jpeg.LeftOver:
            # Some writers leave bytes there, and there are no other pieces to compare it with.
            notices[:] = [_LEFT_OVER]
        if pixels is None:
            pixels = imagecodecs.jpeg_decode(data)
        convert = StoredColors("rgb" if opened.components == 3 else "grey")
        return convert(pixels.reshape(*shape, opened.components))

    return SlideContents(
        vendor="jpeg",
        levels=(WholeImageLevel(shape, decode, notices),),
        resolution=None,
        brightfield=True,
        brightfield_reason="8-bit colors",
        fingerprint_files=(path,),
        notices=orientation_notice(exif_orientation(opened.exif)),
    )


def open_png(path: SlidePath) -> SlideContents:
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
    width, height, bits, kind = struct.unpack(">IIBB", head[16:26])
    if 0 in (width, height):
        raise InputError(f"{path}: the PNG is damaged: it has no size. Copy or download it again.")
    samples = {0: 1, 4: 2, 6: 4}.get(kind, 3)
    _check_size(path, (height, width), samples * (2 if bits == 16 else 1))

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
        brightfield_reason="8-bit colors" if bits <= 8 else "16-bit values",
        fingerprint_files=(path,),
    )


def _check_size(path: SlidePath, shape: tuple[int, int], bytes_per_pixel: int) -> None:
    what = f"an image of {shape[0]:,} × {shape[1]:,} px that is decoded whole"
    check_decoded_size(path, what, shape[0] * shape[1] * bytes_per_pixel)


def _has_jpeg_end(file: BinaryIO, scan: int, size: int) -> bool:
    """Whether an end marker follows the first scan: near the end, else anywhere."""
    file.seek(max(scan, size - _TAIL))
    if jpeg.END in file.read():
        return True
    file.seek(scan)
    last = b""
    while block := file.read(_BLOCK):
        if jpeg.END in last + block:
            return True
        last = block[-1:]
    return False
