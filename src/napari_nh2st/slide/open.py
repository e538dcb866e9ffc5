"""Opens a slide with the reader that knows its format."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.regular_files import check_regular
from napari_nh2st.remote import RemotePath, SlidePath, slide_path

from .contents import NotReadable, NotThisFormat, SlideContents
from .images import ImageChoice, SlideImage, chosen_image
from .limits import impossible_size
from .ome_zarr import is_zarr, open_ome_zarr
from .openslide_backend import format_for_openslide, open_with_openslide
from .resolution import POSSIBLE, is_possible
from .slide import Slide
from .tiff import open_tiff
from .whole_image import open_jpeg, open_png

_log = logging.getLogger(__name__)


def open_slide(
    path: str | os.PathLike[str] | RemotePath,
    mpp: float | Sequence[float] | NDArray[np.number[Any]] | None = None,
    image: ImageChoice = None,
) -> Slide:
    """Open a whole-slide image.

    Reads SVS, NDPI, SCN, Philips and other tiled or striped TIFF and BigTIFF, OME-TIFF, OME-Zarr
    0.4 and 0.5, JPEG and PNG; with the extra ``napari-nh2st[openslide]`` also MRXS, BIF, VMS,
    DICOM and all else that OpenSlide reads. No pixels are decoded yet.

    Parameters
    ----------
    path
        A file, the folder of an OME-Zarr image, or the URL of either (``https://``, ``s3://`` or
        any other scheme of fsspec), of which only the parts needed are read.
    mpp
        µm/px of level 0, one number or (y, x), from 0.02 to 20. It overrides what the file says.
    image
        Which image of a file that has several: its number, counted from 0, or its name. None for
        the largest brightfield one. ``Slide.images`` lists them all.

    Returns
    -------
    Slide
        Close it after use, or use it as a context manager.

    Raises
    ------
    InputError
        The file is missing, empty, truncated or in an unknown format, `mpp` is not a valid
        resolution, or there is no such image.
    RemoteError
        A server does not deliver the file, or not in parts.

    Examples
    --------
    .. code-block:: python

        with open_slide("section.svs") as slide:
            tissue = slide.read_region(y=0, x=0, height=512, width=512)
    """
    given = _checked_mpp(mpp)
    path = slide_path(path)
    try:
        if isinstance(path, RemotePath):
            path = path.again()
        else:
            path = path.expanduser().absolute()
            check_regular(path)
        if path.is_dir():
            return _opened(Slide(path, _of_possible_size(path, _open_folder(path, image)), given))
        if not path.exists():
            raise InputError(f"{path}: there is no such file.")
        if path.stat().st_size == 0:
            raise InputError(f"{path}: the file is empty. Copy or download it again.")
        return _opened(Slide(path, _of_possible_size(path, _open_file(path, image)), given))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _opened(slide: Slide) -> Slide:
    height, width = slide.shape
    _log.info("%s: %s, %d × %d px, µm/px %s", slide.path, slide.vendor, width, height, slide.mpp)
    return slide


def _of_possible_size(path: SlidePath, contents: SlideContents) -> SlideContents:
    for level in contents.levels:
        problem = impossible_size(level.shape, level.n_segments)
        if problem:
            contents.close()
            raise InputError(f"{path}: {problem}.")
    return contents


def _open_folder(path: SlidePath, image: ImageChoice) -> SlideContents:
    if not is_zarr(path):
        raise InputError(
            f"{path}: is a folder without an OME-Zarr image in it. "
            "Give the slide's file, or the folder of one image."
        )
    try:
        return open_ome_zarr(path, image)
    except NotReadable as error:
        raise InputError(f"{path}: {error}.") from error


def _open_file(path: SlidePath, image: ImageChoice) -> SlideContents:
    vendor = format_for_openslide(path)
    if vendor is not None and isinstance(path, RemotePath):
        raise InputError(
            f"{path}: is {vendor}, which OpenSlide reads, and only from local files. Download it "
            "and open the copy."
        )
    readers: tuple[Callable[[Any], SlideContents], ...] = (
        partial(open_tiff, image=image),
        open_jpeg,
        open_png,
        open_with_openslide,
    )
    if vendor is not None:
        readers = (partial(open_with_openslide, vendor=vendor),)
    elif isinstance(path, RemotePath):
        readers = readers[:-1]
    reason = ""
    for reader in readers:
        try:
            return _with_image(path, reader(path), image)
        except NotThisFormat:
            continue
        except NotReadable as error:
            reason = reason or str(error)  # the first that knows the format says most
    if reason:
        raise InputError(f"{path}: {reason}.")
    raise InputError(
        f"{path}: this is not a slide or image of a known format, whatever its name says. Is it "
        "the right file?"
    )


def _with_image(path: SlidePath, contents: SlideContents, image: ImageChoice) -> SlideContents:
    """The contents, if they have the image that is asked for; a reader of one image has no say."""
    if not contents.images:
        only = SlideImage("", contents.levels[0].shape, contents.brightfield)
        try:
            chosen_image([only], image, path)
        except InputError:
            contents.close()
            raise
    return contents


def _checked_mpp(
    mpp: float | Sequence[float] | NDArray[np.number[Any]] | None,
) -> tuple[float, float] | None:
    if mpp is None:
        return None
    try:
        values = np.asarray(mpp)
        if values.dtype.kind not in "iuf" or values.shape not in ((), (2,)):
            raise ValueError
    except ValueError:  # numpy's own too, for nested sequences of unequal length
        raise InputError(f"µm/px must be one number or (y, x), not {mpp!r}.") from None
    y, x = np.broadcast_to(values, 2).astype(float).tolist()
    if not is_possible((y, x)):
        raise InputError(
            f"µm/px must be from {POSSIBLE[0]:g} to {POSSIBLE[1]:g}, not {values.tolist()}."
        )
    return y, x
