"""Slides read with OpenSlide, from the extra ``napari-nh2st[openslide]``."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import SegmentError

from .colors import over_white
from .contents import NotReadable, NotThisFormat, SlideContents
from .level import Level
from .resolution import from_openslide

_SEGMENT = 1024
_ENDINGS = {".mrxs", ".bif", ".vms", ".vmu", ".dcm", ".svslide", ".czi"}


def open_with_openslide(path: Path) -> SlideContents:
    """Open a slide with OpenSlide.

    Raises
    ------
    NotReadable
        OpenSlide is not installed, or cannot read it either.
    """
    try:
        import openslide
    except ImportError:
        if path.suffix.lower() in _ENDINGS:
            raise NotReadable(
                "is read with OpenSlide, which is not installed; install napari-nh2st[openslide]"
            ) from None
        raise NotThisFormat("is not read without OpenSlide") from None
    if openslide.OpenSlide.detect_format(str(path)) is None:
        raise NotThisFormat("is not a format of OpenSlide")
    try:
        handle = _Handle(lambda: openslide.OpenSlide(str(path)))
        slide = handle.slide
        properties = dict(slide.properties)
        levels = tuple(
            OpenSlideLevel(handle, index, (height, width), downsample)
            for index, ((width, height), downsample) in enumerate(
                zip(slide.level_dimensions, slide.level_downsamples, strict=True)
            )
        )
        names = list(slide.associated_images)
    except openslide.OpenSlideError as error:
        raise NotReadable(f"cannot be read with OpenSlide ({error})") from error

    def decoder(name: str) -> Callable[[], NDArray[np.uint8]]:
        return lambda: _rgb(handle.slide.associated_images[name])

    return SlideContents(
        vendor=properties.get("openslide.vendor", "openslide"),
        levels=levels,
        resolution=from_openslide(properties),
        brightfield=True,
        brightfield_reason="8-bit colours",
        fingerprint_files=_files(path),
        associated={name: decoder(name) for name in names},
        close=handle.close,
    )


class OpenSlideLevel(Level):
    """A level read with OpenSlide, in segments of 1024 × 1024 px of our own choice."""

    def __init__(
        self, handle: "_Handle", index: int, shape: tuple[int, int], downsample: float
    ) -> None:
        super().__init__(shape, (_SEGMENT, _SEGMENT))
        self._handle = handle
        self._index = index
        self._downsample = downsample

    def read_segment(self, row: int, column: int) -> NDArray[np.uint8]:
        """Read one segment; see `Level.read_segment`."""
        top, left, height, width = self.segment_bounds(row, column)
        # OpenSlide takes the corner in pixels of level 0.
        corner = (round(left * self._downsample), round(top * self._downsample))
        slide = self._handle.slide
        try:
            return _rgb(slide.read_region(corner, self._index, (width, height)))
        except Exception as error:
            self._handle.renew(slide)
            raise SegmentError(
                f"level {self._index}, row {row}, column {column}: {error}"
            ) from error


class _Handle:
    """An open OpenSlide object; one that met an error is of no use and is replaced."""

    def __init__(self, opened: Callable[[], Any]) -> None:
        self._open = opened
        self._lock = threading.Lock()
        self._closed = False
        self.slide = opened()

    def renew(self, failed: Any) -> None:
        with self._lock:
            if self.slide is failed and not self._closed:
                self.slide = self._open()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self.slide.close()


def _rgb(image: Any) -> NDArray[np.uint8]:
    """A PIL image as RGB over white."""
    pixels = np.asarray(image.convert("RGBA"))
    if (pixels[..., 3] == 255).all():
        return np.ascontiguousarray(pixels[..., :3])
    return over_white(pixels[..., :3], pixels[..., 3])


def _files(path: Path) -> tuple[Path, ...]:
    """The file, and for MRXS, which is only a key to a folder, the index in that folder."""
    index = path.with_suffix("") / "Slidedat.ini"
    return (path, index) if index.is_file() else (path,)
