"""µm/px of level 0 from what each vendor records."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from xml.etree import ElementTree

PLAUSIBLE = (0.05, 20.0)
"""µm/px a generic TIFF's resolution tags may give; 72 or 96 dpi and the like fall outside."""

POSSIBLE = (0.02, 20.0)
"""µm/px of any light microscope or slide scanner, with room to spare."""

_MICROMETERS = {
    "m": 1e6,
    "meter": 1e6,
    "cm": 1e4,
    "centimeter": 1e4,
    "mm": 1e3,
    "millimeter": 1e3,
    "um": 1.0,
    "µm": 1.0,  # micro sign
    "μm": 1.0,  # Greek mu
    "\\u00b5m": 1.0,  # as ImageJ writes it
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "pm": 1e-6,
    "picometer": 1e-6,
    "angstrom": 1e-4,
    "å": 1e-4,
    "inch": 25400.0,
    "in": 25400.0,
}


@dataclass(frozen=True)
class Resolution:
    """µm/px of a slide's level 0 as (y, x), and in words where it was found."""

    mpp: tuple[float, float]
    source: str


def micrometers(unit: str) -> float | None:
    """How many micrometers one `unit` is; None for a unit of no length, such as pixels."""
    return _MICROMETERS.get(unit.strip().lower())


def resolution(y: Any, x: Any, source: str) -> Resolution | None:
    """A resolution from two values in µm/px; None unless both are positive numbers."""
    try:
        mpp = (float(y), float(x))
    except (TypeError, ValueError):
        return None
    if not all(math.isfinite(value) and value > 0 for value in mpp):
        return None
    return Resolution(mpp, source)


def plausible(found: Resolution | None) -> Resolution | None:
    """The resolution if both axes are within `PLAUSIBLE`, else None."""
    if found is None or not all(PLAUSIBLE[0] <= value <= PLAUSIBLE[1] for value in found.mpp):
        return None
    return found


def is_possible(mpp: tuple[float, float]) -> bool:
    """Whether both axes, in µm/px, are within `POSSIBLE`."""
    return all(POSSIBLE[0] <= value <= POSSIBLE[1] for value in mpp)


def from_aperio(description: str) -> Resolution | None:
    """``MPP = 0.4990`` in the description of an Aperio page."""
    match = re.search(r"\|\s*MPP\s*=\s*([0-9.,eE+-]+)", description)
    value = match.group(1).replace(",", ".") if match else None
    return resolution(value, value, "Aperio MPP")


def from_tags(x: float, y: float, unit: int, source: str) -> Resolution | None:
    """Resolution tags of a TIFF page: pixels per inch (`unit` 2) or centimeter (3)."""
    micrometers_per_unit = {2: 25400.0, 3: 10000.0}.get(unit)
    if micrometers_per_unit is None or not (x > 0 and y > 0):
        return None
    return resolution(micrometers_per_unit / y, micrometers_per_unit / x, source)


def from_imagej(metadata: Mapping[str, Any], x: float, y: float) -> Resolution | None:
    """ImageJ: pixels per unit in the resolution tags, the unit in its own metadata."""
    scale = micrometers(str(metadata.get("unit", "")))
    if scale is None or not (x > 0 and y > 0):
        return None
    return resolution(scale / y, scale / x, "ImageJ unit")


def from_leica(xml: str, width: int, height: int, occurrence: int = 0) -> Resolution | None:
    """Leica SCN: the view of an image whose finest pixels are `height` × `width`, in nm.

    Parameters
    ----------
    xml
        Description of the collection.
    width, height
        Size of the image.
    occurrence
        How many images of that size come before it.
    """
    for view, pixels in _leica_images(xml):
        if (pixels.get("sizeX"), pixels.get("sizeY")) != (str(width), str(height)):
            continue
        if occurrence:
            occurrence -= 1
            continue
        return resolution(
            _number(view.get("sizeY")) / height / 1000,
            _number(view.get("sizeX")) / width / 1000,
            "Leica view size",
        )
    return None


def leica_overviews(xml: str) -> frozenset[int]:
    """Which images of a Leica collection show all of it: those of the whole glass."""
    root = _parsed(xml)
    collections = [] if root is None else [e for e in root if _local(e.tag) == "collection"]
    if not collections:
        return frozenset()
    collection = collections[0]
    whole = (collection.get("sizeX"), collection.get("sizeY"))
    return frozenset(
        index
        for index, (view, _) in enumerate(_leica_images(xml))
        if (view.get("sizeX"), view.get("sizeY")) == whole
        and _number(view.get("offsetX", "0")) == _number(view.get("offsetY", "0")) == 0
    )


def _leica_images(xml: str) -> Iterator[tuple[ElementTree.Element, ElementTree.Element]]:
    """View and pixels of each image of a Leica collection."""
    root = _parsed(xml)
    for image in () if root is None else root.iter():
        if _local(image.tag) == "image":
            parts = {_local(part.tag): part for part in image}
            if "view" in parts and "pixels" in parts:
                yield parts["view"], parts["pixels"]


def from_ome(xml: str, width: int, height: int, occurrence: int = 0) -> Resolution | None:
    """OME-XML: physical size and unit of an image; see `ome_pixels`."""
    pixels = ome_pixels(xml, width, height, occurrence)
    if pixels is None:
        return None
    values = []
    for axis in "YX":
        scale = micrometers(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if scale is None:
            return None
        values.append(_number(pixels.get(f"PhysicalSize{axis}")) * scale)
    return resolution(values[0], values[1], "OME physical size")


def ome_pixels(
    xml: str, width: int, height: int, occurrence: int = 0
) -> ElementTree.Element | None:
    """The ``Pixels`` element of an image of this size in OME-XML.

    Parameters
    ----------
    xml
        OME-XML.
    width, height
        Size of the image.
    occurrence
        How many images of that size come before it.
    """
    root = _parsed(xml)
    if root is None:
        return None
    size = (str(width), str(height))
    found = [
        pixels
        for pixels in root.iter()
        if _local(pixels.tag) == "Pixels" and (pixels.get("SizeX"), pixels.get("SizeY")) == size
    ]
    return found[occurrence] if occurrence < len(found) else None


def from_philips(xml: str) -> Resolution | None:
    """Philips TIFF: DICOM pixel spacing in mm (y, x) of the first, finest representation."""
    root = _parsed(xml)
    if root is None:
        return None
    for data in root.iter("DataObject"):
        if data.get("ObjectType") != "PixelDataRepresentation":
            continue
        for attribute in data.iter("Attribute"):
            if attribute.get("Name") == "DICOM_PIXEL_SPACING" and attribute.text:
                spacing = [_number(part) for part in attribute.text.replace('"', "").split()]
                if len(spacing) == 2:
                    return resolution(spacing[0] * 1000, spacing[1] * 1000, "Philips pixel spacing")
    return None


def from_openslide(properties: Mapping[str, str]) -> Resolution | None:
    """OpenSlide's own µm/px; for a generic TIFF these are its tags, so only if plausible."""
    found = resolution(
        properties.get("openslide.mpp-y"), properties.get("openslide.mpp-x"), "OpenSlide mpp"
    )
    if properties.get("openslide.vendor") == "generic-tiff":
        return plausible(found)
    return found


@lru_cache(maxsize=2)  # asked again for each image of a file
def _parsed(xml: str) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None


def _local(tag: str) -> str:
    """The name of an XML element without its namespace."""
    return tag.rpartition("}")[2]


def _number(text: str | None) -> float:
    """The number in `text`, NaN where there is none."""
    try:
        return float(text) if text is not None else math.nan
    except ValueError:
        return math.nan
