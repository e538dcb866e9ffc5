"""The images of a TIFF: which pages are their levels, which are label, macro and thumbnail."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tifffile

from . import resolution as mpp
from .contents import NotReadable
from .images import associated_name
from .level import is_downsample

Series = tifffile.TiffPageSeries
_SVS_LABEL, _SVS_MACRO = 1, 9
_REDUCED = 1
_SAME_FACTOR = 0.02


@dataclass(frozen=True)
class TiffImage:
    """An image and its pyramid.

    Parameters
    ----------
    name
        As its writer called it; may be empty.
    levels
        Finest first.
    occurrence
        How many images of its size come before it in the file, by which metadata are found.
    """

    name: str
    levels: tuple[Series, ...]
    occurrence: int = 0

    @property
    def page(self) -> Any:
        """The page that describes the finest level."""
        return self.levels[0].keyframe

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in px."""
        return _shape(self.levels[0])


def tiff_images(
    tiff: tifffile.TiffFile, damaged: Collection[int] = ()
) -> tuple[list[TiffImage], dict[str, Series], list[Any]]:
    """The images of a TIFF.

    Parameters
    ----------
    tiff
        The file.
    damaged
        Offsets of the directories of pages to pass over.

    Returns
    -------
    list of TiffImage
        Images of tissue, in the order of the file.
    dict
        The associated images by name.
    list of TiffPage
        That are neither, although they look like levels.

    Raises
    ------
    NotReadable
        There is none.
    """
    if tiff.is_svs and tiff.pages.first.is_tiled:
        return _svs(tiff, damaged)
    series = [
        one
        for one in tiff.series
        if len(one.shape) >= 2 and one.pages[0] is not None and one.pages[0].offset not in damaged
    ]
    if not series:
        raise NotReadable("is a TIFF without an image")
    overviews = mpp.leica_overviews(tiff.pages.first.description) if tiff.is_scn else ()
    names = [associated_name(_name(one)) for one in series]
    for index in overviews:
        if index < len(names):
            names[index] = "macro"
    candidates = [one for one, name in zip(series, names, strict=True) if name is None] or series
    by_size = sorted(candidates, key=lambda one: -_area(one))  # of one size, the first stays first
    if _has_one_image(tiff):
        by_size = by_size[:1]
    images: dict[int, TiffImage] = {}
    taken: set[int] = set()
    for main in by_size:
        if id(main) in taken or (images and _is_small_copy(main, by_size[0])):
            continue
        levels = [*main.levels, *_unlisted_levels(tiff, main, candidates)]
        taken.update(map(id, levels))
        same = [_shape(one) for one in series[: _position(main, series)]]
        images[_position(main, series)] = TiffImage(
            _name(main), tuple(levels), same.count(_shape(main))
        )
    associated = {
        name: one
        for one, name in sorted(zip(series, names, strict=True), key=lambda pair: -_area(pair[0]))
        if name is not None and one is not by_size[0]
    }
    return [images[position] for position in sorted(images)], associated, []


def _svs(
    tiff: tifffile.TiffFile, damaged: Collection[int]
) -> tuple[list[TiffImage], dict[str, Series], list[Any]]:
    """Aperio: tiled pages are levels. Their order is that of no other program than Aperio's.

    Programs that convert an SVS keep its description, and leave the thumbnail out or put levels
    below the first page; so neither position nor description marks a level.
    """
    tiff.pages.cache = True  # tifffile goes over them too
    tiff.pages.useframes = False
    pages = [
        page for page in _all_pages(tiff) if page.dtype is not None and page.offset not in damaged
    ]
    first = pages[0]
    levels: list[Any] = []
    others: list[Any] = []
    for page in sorted(pages, key=lambda page: -page.imagelength * page.imagewidth):
        if page is first or (
            levels
            and page.is_tiled
            and _svs_name(page) is None
            and _is_alike(page, first)
            and is_downsample(_shape_of(first), _shape_of(levels[-1]), _shape_of(page))
        ):
            levels.append(page)
        else:
            others.append(page)
    associated: dict[str, Series] = {}
    left_out = []
    for page in others:
        name = _svs_name(page)
        if name is None and page.index == 1 and not page.is_tiled:
            name = "thumbnail"
        if name is not None:
            associated.setdefault(name, tifffile.TiffPageSeries([page]))
        elif page.is_tiled and _shape_of(page) != _shape_of(first):  # no other focal plane
            left_out.append(page)
    pyramid = tuple(tifffile.TiffPageSeries([page]) for page in levels)
    return [TiffImage("", pyramid)], associated, left_out


def _svs_name(page: Any) -> str | None:
    said = re.search(r"^(label|macro)\b", page.description, re.MULTILINE)
    if said:
        return said.group(1)
    if page.is_tiled:
        return None
    return {_SVS_LABEL: "label", _SVS_MACRO: "macro"}.get(int(page.subfiletype))


def _all_pages(tiff: tifffile.TiffFile) -> Iterator[Any]:
    for page in tiff.pages:
        yield page
        yield from page.pages or ()


def _has_one_image(tiff: tifffile.TiffFile) -> bool:
    """Whether the format stores one slide, so that any other pages are something else."""
    return bool(tiff.is_ndpi or tiff.is_philips or tiff.is_qpi or tiff.is_bif or tiff.is_svs)


def _unlisted_levels(
    tiff: tifffile.TiffFile, main: Series, series: Sequence[Series]
) -> list[Series]:
    """Tiled images behind a lone main one, which are levels if their sizes say so.

    Tifffile groups levels that follow each other by one factor of 2, 3 or 4; writers use others,
    and older ones make each level an image of OME-XML.
    """
    if len(main.levels) > 1 or main.kind == "scn" or not main.keyframe.is_tiled:
        return []
    levels = [main]
    for one in series:
        if (
            one is not main
            and one.keyframe.is_tiled
            and _is_alike(one.keyframe, main.keyframe)
            and is_downsample(_shape(main), _shape(levels[-1]), _shape(one))
            and (main.kind != "ome" or _is_level_in_ome(tiff, main, one))
        ):
            levels.append(one)
    return levels[1:]


def _is_level_in_ome(tiff: tifffile.TiffFile, main: Series, one: Series) -> bool:
    """Whether an image of OME-XML is another one made smaller by a whole factor.

    Two pieces of tissue may be so by chance: then their µm/px are the same.
    """
    factor = round(_shape(main)[1] / _shape(one)[1])
    sides = zip(_shape(main), _shape(one), strict=True)
    if factor < 2 or any(abs(whole / factor - part) > 1 for whole, part in sides):
        return False
    xml = tiff.ome_metadata or ""
    sizes = [mpp.from_ome(xml, *_shape(each)[::-1]) for each in (main, one)]
    if sizes[0] is None or sizes[1] is None:
        return True
    return abs(sizes[1].mpp[1] / sizes[0].mpp[1] / factor - 1) < _SAME_FACTOR


def _is_alike(page: Any, other: Any) -> bool:
    return bool(
        page.dtype == other.dtype
        and page.samplesperpixel == other.samplesperpixel
        and page.photometric == other.photometric
    )


def _is_small_copy(one: Series, main: Series) -> bool:
    """Whether a page outside OME and Leica's collections is the main one made smaller."""
    if one.kind in ("ome", "scn"):
        return False
    is_reduced = bool(int(one.keyframe.subfiletype) & _REDUCED)
    return is_reduced or is_downsample(_shape(main), _shape(main), _shape(one))


def _name(one: Series) -> str:
    return "" if one.name is None else str(one.name)


def _shape(one: Series) -> tuple[int, int]:
    return _shape_of(one.keyframe)


def _shape_of(page: Any) -> tuple[int, int]:
    return int(page.imagelength), int(page.imagewidth)


def _area(one: Series) -> int:
    return _shape(one)[0] * _shape(one)[1]


def _position(one: Series, series: Sequence[Series]) -> int:
    return next(index for index, other in enumerate(series) if other is one)
