"""Slides in TIFF."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_nh2st.errors import InputError, RemoteError
from napari_nh2st.remote import RemotePath, SlidePath

from . import resolution as mpp
from .colors import StoredColors
from .contents import NotReadable, NotThisFormat, SlideContents
from .images import ImageChoice, SlideImage, chosen_image
from .level import Level, is_downsample
from .tiff_colors import MOST_CHANNELS, TiffColors, tiff_colors
from .tiff_directories import check_directories
from .tiff_files import TiffFiles, check_other_files, open_tiff_file
from .tiff_images import Series, TiffImage, tiff_images
from .tiff_level import TiffLevel
from .tiff_page import StoredPage
from .whole_image import WholeImageLevel

# What is wrong with a file is said in our errors; tifffile would also log it to stderr where a
# program has set up no logging.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_WHOLE_PIECE_AREA = 4096 * 4096
_OVERLAPPING = {"ventana": "a Ventana BIF", "trestle": "a Trestle slide"}


def open_tiff(path: SlidePath, image: ImageChoice = None) -> SlideContents:
    """Open a slide stored as TIFF or BigTIFF.

    Parameters
    ----------
    path
        A file.
    image
        Which of its images; see :func:`~napari_nh2st.slide.open_slide`.

    Raises
    ------
    NotReadable
        It is not a TIFF, or one that another reader may know better.
    InputError
        It is cut off, or there is no such image.
    """
    with path.open("rb") as file:
        if file.read(4) not in _MAGIC:
            raise NotThisFormat("is not a TIFF")
    directories = check_directories(path)
    try:
        tiff = open_tiff_file(path)
    except RemoteError:
        raise
    except Exception as error:  # a damaged TIFF raises whatever it leads to
        raise NotReadable(f"is a damaged TIFF ({error})") from error
    files = TiffFiles(path, directories)
    try:
        with tiff:
            if not directories.starts.size:
                raise NotReadable("is a TIFF without an image: its writer may not have finished")
            check_other_files(path, tiff)
            contents = replace(_contents(path, tiff, files, image), notices=files.notices(tiff))
        if isinstance(path, RemotePath):
            path.file().check()  # tifffile makes do with what it can read
        return contents
    except (NotReadable, InputError):
        files.close()
        raise
    except Exception as error:
        files.close()
        reason = str(error)
        if "CCITT" in reason:  # tifffile asks for imagecodecs, which is there
            reason = "black and white of fax machines, CCITT, needs imagecodecs 2026.3.6 or newer"
        raise NotReadable(f"is a TIFF that cannot be read ({reason})") from error


def _contents(
    path: SlidePath, tiff: tifffile.TiffFile, files: TiffFiles, wanted: ImageChoice
) -> SlideContents:
    vendor = _vendor(tiff)
    if vendor in _OVERLAPPING:
        raise NotReadable(
            f"is {_OVERLAPPING[vendor]}, whose overlapping tiles only OpenSlide stitches; "
            "install napari-nh2st[openslide]"
        )
    images, associated, left_out = tiff_images(tiff, files.damaged)
    for page in left_out:
        files.leave_out(page)
    known = [_colors(tiff, files, image) for image in images]
    described = tuple(
        # One that is damaged is not passed over for another: it is chosen, and said to be damaged.
        SlideImage(image.name, image.shape, colors is None or colors.brightfield)
        for image, colors in zip(images, known, strict=True)
    )
    number = chosen_image(described, wanted, path)
    image = images[number]
    colors = known[number] or _colors_of(tiff, files, image)
    levels: list[list[StoredPage]] = []
    for level in image.levels:
        channels = _channels(files, level)
        if not levels or is_downsample(levels[0][0].shape, levels[-1][0].shape, channels[0].shape):
            levels.append(channels)
        else:
            files.leave_out(level.keyframe)
    for one in tiff.series:
        if _should_be_level(one.keyframe, image.page) and not files.uses(one.keyframe):
            files.leave_out(one.keyframe)
    files.mark_misplaced()
    return SlideContents(
        vendor=vendor,
        levels=tuple(
            _kept_if_whole(TiffLevel(channels, colors.to_rgb, f"level {index}", colors.background))
            for index, channels in enumerate(levels)
        ),
        resolution=_resolution(tiff, image),
        brightfield=colors.brightfield,
        brightfield_reason=colors.reason,
        fingerprint_files=files.paths,
        associated=dict(_associated(associated, files)),
        close=files.close,
        images=described,
        image=number,
    )


def _should_be_level(page: tifffile.TiffPage, main: tifffile.TiffPage) -> bool:
    """Whether a page is tiled as a slide's first one is, and of the shape of a coarser level."""
    full = (main.imagelength, main.imagewidth)
    return (
        page is not main
        and page.is_tiled
        and page.dtype is not None
        and (page.tilelength, page.tilewidth) == (main.tilelength, main.tilewidth)
        and is_downsample(full, full, (page.imagelength, page.imagewidth))
    )


def _channels(files: TiffFiles, level: Series) -> list[StoredPage]:
    return [files.stored(page, shift) for page, shift in _channel_pages(level)]


def _colors(tiff: tifffile.TiffFile, files: TiffFiles, image: TiffImage) -> TiffColors | None:
    """An image's colors; None where it cannot be read, which matters only if it is opened."""
    try:
        return _colors_of(tiff, files, image)
    except RemoteError:
        raise
    except Exception:  # a damaged page raises whatever it leads to
        return None


def _colors_of(tiff: tifffile.TiffFile, files: TiffFiles, image: TiffImage) -> TiffColors:
    channels = _channels(files, image.levels[0])
    coarsest = channels if len(image.levels) == 1 else _channels(files, image.levels[-1])
    return tiff_colors(
        image.page,
        channels,
        _ome_channels(tiff, image),
        TiffLevel(coarsest, StoredColors("rgb"), "").sample,
    )


def _vendor(tiff: tifffile.TiffFile) -> str:
    for flag, name in (
        (tiff.is_svs, "aperio"),
        (tiff.is_ndpi, "hamamatsu"),
        (tiff.is_scn, "leica"),
        (tiff.is_bif, "ventana"),
        (tiff.is_philips, "philips"),
        (tiff.is_qpi, "perkinelmer"),
        (tiff.is_ome, "ome-tiff"),
        (tiff.is_imagej, "imagej"),
    ):
        if flag:
            return name
    # Trestle's program; its tiles overlap by what the description says.
    return "trestle" if str(tiff.pages.first.software).startswith("MedScan") else "generic-tiff"


def _channel_pages(
    level: Series,
) -> Iterator[tuple[tifffile.TiffPage | tifffile.TiffFrame, int]]:
    """Pages of the first focal plane and time, one a channel, each with a shift in bytes.

    Where the writer describes a whole stack of contiguous planes by one page, all channels are
    that page with different shifts.
    """
    key = level.keyframe
    axes, shape = level.axes, level.shape
    n_outer = max(axes.find("Y"), 0)  # the axes before are those over pages
    axes, shape = axes[:n_outer], shape[:n_outer]
    n_channels, stride = 1, 1
    if key.shaped[0] * key.shaped[4] == 1:
        if axes == "Q" and shape == (3,):  # three planes written without a word on their axis
            axes = "C"
        if "C" in axes:
            position = axes.index("C")
            n_channels = min(shape[position], MOST_CHANNELS)
            stride = int(np.prod(shape[position + 1 :], dtype=int))
    one_page = len(level.pages) == 1 and level.dataoffset is not None
    for channel in range(n_channels):
        index = 0 if one_page else channel * stride
        page = level.pages[index] if index < len(level.pages) else None
        if page is None:
            raise NotReadable("is a TIFF of which a channel is missing")
        yield page, channel * stride * key.nbytes if one_page else 0


def _ome_channels(tiff: tifffile.TiffFile, image: TiffImage) -> list[dict[str, str]]:
    if not tiff.is_ome or tiff.ome_metadata is None:
        return []
    pixels = mpp.ome_pixels(tiff.ome_metadata, *image.shape[::-1], image.occurrence)
    if pixels is None:
        return []
    return [dict(part.attrib) for part in pixels if part.tag.endswith("}Channel")]


def _kept_if_whole(level: TiffLevel) -> Level:
    """A level of one big compressed piece is decoded once and kept, not for every read."""
    if level.n_segments == (1, 1) and level.shape[0] * level.shape[1] > _WHOLE_PIECE_AREA:
        return WholeImageLevel(level.shape, lambda: level.read_segment(0, 0))
    return level


def _associated(
    series: Mapping[str, Series], files: TiffFiles
) -> Iterator[tuple[str, Callable[[], NDArray[np.uint8]]]]:
    """Label, macro and thumbnail, each with what decodes it."""
    for name, one in series.items():
        try:
            yield name, _associated_decoder(one.keyframe, files.stored(one.keyframe), name)
        except RemoteError:
            raise
        except InputError as error:
            files.leave_out_associated(name, error)
        except (NotReadable, NotImplementedError, ValueError):
            continue


def _associated_decoder(
    page: tifffile.TiffPage, stored: StoredPage, name: str
) -> Callable[[], NDArray[np.uint8]]:
    colors = tiff_colors(page, [stored], [], lambda: level.sample())
    level = TiffLevel([stored], colors.to_rgb, f"{name} image", colors.background)
    return lambda: level.read(0, 0, *level.shape)


def _resolution(tiff: tifffile.TiffFile, image: TiffImage) -> mpp.Resolution | None:
    page, (height, width) = image.page, image.shape
    description = page.description
    first = tiff.pages.first.description
    found: mpp.Resolution | None = None
    x, y = page.resolution
    unit = int(page.resolutionunit)
    if tiff.is_svs:
        found = mpp.from_aperio(description)
    elif tiff.is_ndpi:
        found = mpp.from_tags(x, y, unit, "Hamamatsu resolution tags")
    elif tiff.is_scn:
        found = mpp.from_leica(first, width, height, image.occurrence)
    elif tiff.is_philips:
        found = mpp.from_philips(tiff.philips_metadata or first)
    elif tiff.is_qpi:
        found = mpp.from_tags(x, y, unit, "PerkinElmer resolution tags")
    elif tiff.is_ome:
        found = mpp.from_ome(tiff.ome_metadata or first, width, height, image.occurrence)
    elif tiff.is_imagej:
        found = mpp.from_imagej(tiff.imagej_metadata or {}, x, y)
    return found or mpp.plausible(mpp.from_tags(x, y, unit, "TIFF resolution tags"))
