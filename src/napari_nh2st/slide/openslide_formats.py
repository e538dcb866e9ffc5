"""Slides that only OpenSlide reads right, recognized by their content.

Some formats are more than the file that is opened: a ``.mrxs`` is a small JPEG of the slide, whose
pixels lie in the folder beside it. In others tiles overlap. Our own readers would show half the
truth, so they are not asked.
"""

from pathlib import Path
from typing import Any

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


def import_openslide() -> Any:
    """The module ``openslide``, or None where it is not installed or lacks its library."""
    try:
        import openslide
    except (ImportError, OSError):
        return None
    return openslide


def format_for_openslide(path: Path) -> str | None:
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
    openslide = import_openslide()
    vendor = openslide and openslide.OpenSlide.detect_format(str(path))
    return None if vendor is None or vendor in _OURS else f"a slide of the format {vendor}"
