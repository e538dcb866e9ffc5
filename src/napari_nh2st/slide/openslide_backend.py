"""Slides read with OpenSlide, among them those that only it reads right.

Some formats are more than the file that is opened: a ``.mrxs`` is a small JPEG of the slide, whose
pixels lie in the folder beside it. In others tiles overlap. Our own readers would show half the
truth, so they are not asked.
"""

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import SegmentError
from napari_nh2st.extras import NOT_INSTALLED, import_problem
from napari_nh2st.remote import RemotePath, SlidePath

from .colors import over_white
from .contents import NotReadable, NotThisFormat, SlideContents
from .level import Level
from .resolution import from_openslide

_SEGMENT = 1024
_ENDINGS = {".bif", ".vms", ".vmu", ".dcm", ".czi"}
_MIRAX = ".mrxs"

_OURS = {"aperio", "generic-tiff", "hamamatsu", "leica", "philips"}
"""OpenSlide's names of formats that our own readers read, to the same pixels and faster.

``hamamatsu`` is NDPI here; VMS and VMU are told apart by their first line.
"""

_SUFFIXES = {".mrxs": "a MIRAX slide", ".svslide": "a Sakura slide"}
_HEADS = {
    b"ZISRAWFILE": "a Zeiss CZI",
    b"[Virtual Microscope Specimen]": "a Hamamatsu VMS slide",
    b"[Uncompressed Virtual Microscope Specimen]": "a Hamamatsu VMU slide",
}
_HEAD = 256


def open_with_openslide(path: Path, vendor: str | None = None) -> SlideContents:
    """Open a slide with OpenSlide.

    Parameters
    ----------
    path
        A file.
    vendor
        In words, the format that it was recognized to have, for errors.

    Raises
    ------
    NotReadable
        OpenSlide is not installed, or cannot read it either.
    """
    openslide = import_openslide()
    if openslide is None:
        if vendor is not None or path.suffix.lower() in _ENDINGS:
            what = "" if vendor is None else f"{vendor}, which is "
            problem = import_problem("openslide") or NOT_INSTALLED
            raise NotReadable(
                f"is {what}read with OpenSlide, which {problem}; install napari-nh2st[openslide]"
            )
        raise NotThisFormat("is not read without OpenSlide")
    link = _LowerCase(path)
    try:
        if openslide.OpenSlide.detect_format(str(link.path)) is None:
            _refuse(path, vendor, openslide.__library_version__)
        handle = _Handle(lambda: openslide.OpenSlide(str(link.path)), link.remove)
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
        link.remove()
        what = "" if vendor is None else f"is {vendor} that "
        raise NotReadable(f"{what}cannot be read with OpenSlide ({error})") from error
    except NotReadable:
        link.remove()
        raise

    def decoder(name: str) -> Callable[[], NDArray[np.uint8]]:
        return lambda: _rgb(handle.slide.associated_images[name])

    return SlideContents(
        vendor=properties.get("openslide.vendor", "openslide"),
        levels=levels,
        resolution=from_openslide(properties),
        brightfield=True,
        brightfield_reason="8-bit colors",
        fingerprint_files=tuple(_files(path)),
        associated={name: decoder(name) for name in names},
        close=handle.close,
        bounds=_bounds(properties, levels[0].shape),
    )


def _refuse(path: Path, vendor: str | None, version: str) -> None:
    """Say why OpenSlide does not know a file."""
    if path.suffix.lower() == _MIRAX and not (path.with_suffix("") / "Slidedat.ini").is_file():
        raise NotReadable(
            f"is only the preview of a MIRAX slide, whose pixels are in the folder "
            f"{path.stem} with Slidedat.ini, which is not beside it; copy that folder too"
        )
    if vendor is not None:
        raise NotReadable(f"is {vendor} that cannot be read with OpenSlide {version}")
    raise NotThisFormat("is not a format of OpenSlide")


def _bounds(
    properties: Mapping[str, str], shape: tuple[int, int]
) -> tuple[int, int, int, int] | None:
    """The scanned part, (y, x, height, width), cut to the slide; None where it is all of it."""
    try:
        y, x, height, width = (
            int(properties[f"openslide.bounds-{name}"]) for name in ("y", "x", "height", "width")
        )
    except (KeyError, ValueError):
        return None
    bottom, right = min(y + height, shape[0]), min(x + width, shape[1])
    y, x = max(y, 0), max(x, 0)
    if bottom <= y or right <= x or (y, x, bottom, right) == (0, 0, *shape):
        return None
    return y, x, bottom - y, right - x


class _LowerCase:
    """A path that OpenSlide takes for MIRAX: it knows the suffix in small letters alone.

    Where file names are told apart by capitals, that is a link to the file and its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if path.suffix == _MIRAX or path.suffix.lower() != _MIRAX:
            return
        small = path.with_suffix(_MIRAX)
        if small.exists() and small.samefile(path):
            self.path = small
            return
        self._folder = tempfile.TemporaryDirectory(prefix="nh2st-", ignore_cleanup_errors=True)
        self.path = Path(self._folder.name) / "slide.mrxs"
        self.path.symlink_to(path.absolute())
        self.path.with_suffix("").symlink_to(path.absolute().with_suffix(""), True)

    def remove(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()


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

    def __init__(self, opened: Callable[[], Any], closed: Callable[[], None]) -> None:
        self._open = opened
        self._on_close = closed
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
            self._on_close()


def _rgb(image: Any) -> NDArray[np.uint8]:
    """A PIL image as RGB over white."""
    pixels = np.asarray(image.convert("RGBA"))
    if (pixels[..., 3] == 255).all():
        return np.ascontiguousarray(pixels[..., :3])
    return over_white(pixels[..., :3], pixels[..., 3])


def _files(path: Path) -> Iterator[Path]:
    """The file and, where it is only a key to others, those that tell slides apart.

    Of MIRAX these are the description and the index of the tiles, with the size of each.
    """
    yield path
    if path.suffix.lower() == _MIRAX:
        names: list[str] = ["Slidedat.ini", "Index.dat"]
        yield from (file for name in names if (file := path.with_suffix("") / name).is_file())
    elif path.suffix.lower() in (".vms", ".vmu"):
        lines = path.read_text(encoding="latin-1").splitlines()
        named = [line.partition("=") for line in lines if line.startswith("ImageFile")]
        yield from (file for *_, name in named if (file := path.parent / name).is_file())


def import_openslide() -> Any:
    """The module ``openslide``, or None where it is not installed or lacks its library."""
    try:
        import openslide
    except (ImportError, OSError):
        return None
    return openslide


def format_for_openslide(path: SlidePath) -> str | None:
    """In words, the format of a slide that is to be read with OpenSlide alone.

    Parameters
    ----------
    path
        A file. OpenSlide need not be installed.

    Returns
    -------
    str or None
        None where our own readers may try.
    """
    if (known := _SUFFIXES.get(path.suffix.lower())) is not None:
        return known
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for magic, name in _HEADS.items():
        if head.lstrip(b"\xef\xbb\xbf \r\n").startswith(magic):
            return name
    if head[128:132] == b"DICM":
        return "a DICOM file"
    if isinstance(path, RemotePath):
        return None
    openslide = import_openslide()
    vendor = openslide and openslide.OpenSlide.detect_format(str(path))
    return None if vendor is None or vendor in _OURS else f"a slide of the format {vendor}"
