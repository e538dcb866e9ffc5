"""A slide: its levels, resolution and associated images."""

import copy
import hashlib
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError, SegmentError
from napari_nh2st.html_card import PICTURE_PX, html_card
from napari_nh2st.remote import RemotePath, SlidePath

from .coarse import CoarseLevel, build, derive_levels
from .contents import SlideContents
from .images import SlideImage
from .level import Level
from .resolution import is_possible

_MEGABYTE = 1 << 20
_SAMPLED_BLOCKS = 16
_BLOCK = 1 << 16
_THUMBNAIL_PIXELS = 1 << 23
"""Of a level that is read for a thumbnail, at most."""


class Slide:
    """An open whole-slide image; made by `open_slide`. A context manager.

    Attributes
    ----------
    path
        The file or folder; for a URL, its text without secrets.
    vendor
        ``"aperio"``, ``"hamamatsu"``, ``"leica"``, ``"philips"``, ``"ome-tiff"``,
        ``"generic-tiff"``, ``"ome-zarr"``, ``"jpeg"``, ``"png"`` or the name OpenSlide gives it.
    levels
        All levels, finest first: those of the file, then the coarser ones derived from them.
    n_native_levels
        How many of `levels` are in the file.
    mpp
        µm/px of level 0 as (y, x); None if unknown.
    mpp_source
        Where `mpp` was found, in words: ``"given"``, ``"Aperio MPP"``, ..., or ``"unknown"``,
        followed by what the file says if that cannot be the resolution of a microscope.
    brightfield
        Whether its colors are those of a stained section under white light; False for 16-bit
        and fluorescence slides, which can only be viewed.
    brightfield_reason
        What `brightfield` is based on, in words.
    associated
        Images by name (``"label"``, ``"macro"``, ``"thumbnail"``), each uint8,
        (height, width, 3), decoded on access.
    images
        The images of the file that `open_slide` can open, in the file's order.
    image
        Which of `images` this is, counted from 0.
    bounds
        The part of level 0 that was scanned, (y, x, height, width) in px, if the scanner records
        it; None for the whole level. QuPath shows this part alone.
    """

    def __init__(
        self, path: SlidePath, contents: SlideContents, mpp: tuple[float, float] | None = None
    ) -> None:
        self.path = path
        self.vendor = contents.vendor
        self.n_native_levels = len(contents.levels)
        self.brightfield = contents.brightfield
        self.brightfield_reason = contents.brightfield_reason
        self.bounds = contents.bounds
        self.image = contents.image
        self.images = contents.images or (
            SlideImage("", contents.levels[0].shape, contents.brightfield),
        )
        self.associated: Mapping[str, NDArray[np.uint8]] = AssociatedImages(contents.associated)
        self.mpp: tuple[float, float] | None
        if mpp is not None:
            self.mpp, self.mpp_source = mpp, "given"
        elif contents.resolution is None:
            self.mpp, self.mpp_source = None, "unknown"
        elif not is_possible(contents.resolution.mpp):
            y, x = contents.resolution.mpp
            said = f"{contents.resolution.source} of {y:.4g} × {x:.4g} µm/px"
            self.mpp, self.mpp_source = None, f"unknown ({said} is not believed)"
        else:
            self.mpp, self.mpp_source = contents.resolution.mpp, contents.resolution.source
        self._contents = contents
        self._coarse = derive_levels(contents.levels, self._cache_key)
        self.levels: tuple[Level, ...] = (*contents.levels, *self._coarse)
        self.downsamples = _downsamples(contents.levels, self._coarse)

    def __repr__(self) -> str:
        height, width = self.shape
        mpp = "µm/px unknown"
        if self.mpp is not None:
            mpp = f"{self.mpp[0]:.4g} × {self.mpp[1]:.4g} µm/px"
        return (
            f"<Slide {self.path.name}: {self.vendor}, {height} × {width} px, "
            f"{len(self.levels)} levels, {mpp}>"
        )

    def _repr_html_(self) -> str:
        height, width = self.shape
        mpp = "not known" if self.mpp is None else f"{self.mpp[1]:.4g} × {self.mpp[0]:.4g}"
        sizes = [f"{level.shape[1]:,} × {level.shape[0]:,}" for level in self.levels]
        rows = (
            ("format", self.vendor),
            ("size", f"{width:,} × {height:,} px"),
            ("µm/px", f"{mpp} ({self.mpp_source})"),
            ("levels", f"{len(sizes)}, {self.n_native_levels} in the file: {', '.join(sizes)} px"),
            ("brightfield", f"{'yes' if self.brightfield else 'no'}: {self.brightfield_reason}"),
            ("notices", " ".join(self.notices)),
        )
        return html_card(f"Slide {self.path.name}", rows, self._thumbnail())

    def _thumbnail(self) -> NDArray[np.uint8] | None:
        """The coarsest level, if it is small, at hand, and can be read."""
        if isinstance(self.path, RemotePath):
            return None
        ready = [each for each in self.levels if not isinstance(each, CoarseLevel) or each.complete]
        small = [each for each in ready if math.prod(each.shape) <= _THUMBNAIL_PIXELS]
        if not small:
            return None
        # The coarsest that is not smaller than the picture.
        fine = [each for each in small if max(each.shape) >= PICTURE_PX]
        level = fine[-1] if fine else small[0]
        try:
            return level.read(0, 0, *level.shape)
        except (SegmentError, InputError, OSError, ValueError):  # damaged, or closed
            return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file; its levels cannot be read any more."""
        self._contents.close()

    def with_mpp(self, mpp: tuple[float, float]) -> Self:
        """The same open file with another µm/px, (y, x); closing one also closes the other."""
        other = copy.copy(self)
        other.mpp, other.mpp_source = mpp, "given"
        return other

    @property
    def notices(self) -> tuple[str, ...]:
        """What looks damaged in the file or was left out, as far as is known so far.

        A JPEG is checked when it is first read.
        """
        of_levels = (notice for level in self._contents.levels for notice in level.notices)
        return (*self._contents.notices, *of_levels)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of level 0 in px."""
        return self.levels[0].shape

    def level_mpp(self, level: int) -> tuple[float, float] | None:
        """µm/px of one level as (y, x); None if the slide's is unknown."""
        if self.mpp is None:
            return None
        y, x = self.downsamples[level]
        return self.mpp[0] * y, self.mpp[1] * x

    def best_level(self, downsample: float, *, native_only: bool = False) -> int:
        """Index of the coarsest level that is not coarser than `downsample` times level 0.

        Parameters
        ----------
        downsample
            Pixels of level 0 per wanted pixel.
        native_only
            Leave out derived levels, which cost a pass over the slide if they are not cached yet.
        """
        best = 0
        levels = self.n_native_levels if native_only else len(self.levels)
        for index, pair in enumerate(self.downsamples[:levels]):
            # A pyramid's sizes are rounded to whole pixels: 4.0003 serves where 4 is asked for.
            if max(pair) <= downsample * 1.001:
                best = index
        return best

    def dask_levels(self) -> list[Any]:
        """All levels as lazy dask arrays, uint8, (height, width, 3), finest first."""
        return [level.to_dask() for level in self.levels]

    def read_region(
        self, y: int, x: int, height: int, width: int, level: int = 0
    ) -> NDArray[np.uint8]:
        """Read a rectangle of one level.

        Parameters
        ----------
        y, x
            Upper left corner in pixels of level 0.
        height, width
            Size in pixels of the level that is read.
        level
            Index of the level.

        Returns
        -------
        numpy.ndarray
            uint8, (height, width, 3), RGB; white outside the slide.

        Raises
        ------
        SegmentError
            A segment of the slide cannot be read.
        """
        scale_y, scale_x = self.downsamples[level]
        return self.levels[level].read(
            math.floor(y / scale_y + 0.5), math.floor(x / scale_x + 0.5), height, width
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the file's size, its first and last MB and 16 blocks in between.

        For an OME-Zarr folder, of its metadata files and its coarsest level's first chunks. It
        tells slides apart without reading them whole, and is the same for a copy. In a file with
        several images, each image has its own.
        """
        digest = hashlib.sha256()
        if len(self.images) > 1:
            digest.update(f"image {self.image}:".encode())
        is_folder = self.path.is_dir()
        for path in self._contents.fingerprint_files:
            size = path.stat().st_size
            digest.update(f"{path.name if is_folder else ''}:{size}:".encode())
            if isinstance(path, RemotePath):
                path.file().prefetch(_hashed_parts(size))
            with path.open("rb") as file:
                for offset, length in _hashed_parts(size):
                    file.seek(offset)
                    digest.update(file.read(length))
        return digest.hexdigest()

    def file_state(self) -> str:
        """A text that stands for the files as they are now and changes once one is written to.

        The fingerprint does not see every byte, so a damaged file and its repaired copy may share
        it. Sizes and modification times tell them apart, so a copy has another state too. Looks
        at every file of a folder, some 50,000 per second.
        """
        if isinstance(self.path, RemotePath):
            return self._remote_state()
        around = str(self.path.parent)
        files = {str(file) for file in self._contents.fingerprint_files}
        # Of OME-Zarr its own, of MIRAX the one beside it.
        folder = str(self.path if self.path.is_dir() else self.path.with_suffix(""))
        if any(os.path.dirname(file) == folder for file in files):  # noqa: PTH120  100,000 paths
            for parent, _, names in os.walk(folder):
                files.update(f"{parent}{os.sep}{name}" for name in names)
        digest = hashlib.sha256()
        for file in sorted(files):
            state: tuple[int | None, ...]
            try:
                found = os.stat(file)  # noqa: PTH116
            except OSError as error:  # it went away meanwhile
                state = (error.errno,)
            else:
                # A copy may be given the time of its original; that of its own making it cannot.
                state = (found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            digest.update(f"{file.removeprefix(around)}:{state}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def _remote_state(self) -> str:
        """Names the versions that were opened; what is changed later raises when it is read."""
        digest = hashlib.sha256()
        for file in self._contents.fingerprint_files:
            if isinstance(file, RemotePath):
                digest.update(f"{file.name}:{file.file().version}\n".encode())
        return digest.hexdigest()

    def _cache_key(self) -> str:
        """Names what is cached of this very file in this state."""
        content = f"{self.fingerprint}\n{self.path.resolve()}\n{self.file_state()}"
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def coarse_ready(self) -> bool:
        """Whether every derived level is cached, so that reading it is quick."""
        return all(level.complete for level in self._coarse)

    def build_coarse_levels(
        self,
        progress: Callable[[int, int], None] | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Compute all derived levels in one pass over the coarsest native level.

        Meant for a background thread. Holds a few bands of rows of that level in memory, however
        tall it is. The levels are cached for the next time the slide is opened.

        Parameters
        ----------
        progress
            Called with the number of bands done and the number of all bands.
        stop
            Ends the work early when it is set; `coarse_ready` then stays False.
        """
        if not self.coarse_ready:
            build(self._coarse, progress, stop or threading.Event())


class AssociatedImages(Mapping[str, NDArray[np.uint8]]):
    """A slide's associated images by name, each decoded when it is asked for."""

    def __init__(self, decoders: Mapping[str, Callable[[], NDArray[np.uint8]]]) -> None:
        self._decoders = dict(decoders)

    def __getitem__(self, name: str) -> NDArray[np.uint8]:
        return self._decoders[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._decoders)

    def __len__(self) -> int:
        return len(self._decoders)

    def __repr__(self) -> str:
        return f"<associated images: {', '.join(self) or 'none'}>"


def _hashed_parts(size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of the parts of a file of `size` bytes that its fingerprint covers."""
    middle = size - 2 * _MEGABYTE
    if middle <= _SAMPLED_BLOCKS * _BLOCK:
        yield 0, size
        return
    yield 0, _MEGABYTE
    for index in range(_SAMPLED_BLOCKS):
        yield _MEGABYTE + index * (middle - _BLOCK) // (_SAMPLED_BLOCKS - 1), _BLOCK
    yield size - _MEGABYTE, _MEGABYTE


def _downsamples(
    native: tuple[Level, ...], coarse: tuple[CoarseLevel, ...]
) -> tuple[tuple[float, float], ...]:
    """Downsample of every level per axis (y, x).

    Writers round a level's size to whole pixels. Where the sizes agree with a whole number
    on both axes, that number is the downsample; else it is the ratio of the sizes.
    """
    pairs: list[tuple[float, float]] = []
    for level in native:
        ratios = [full / size for full, size in zip(native[0].shape, level.shape, strict=True)]
        whole = round(max(ratios))
        fits = all(
            abs(full / whole - size) < 1
            for full, size in zip(native[0].shape, level.shape, strict=True)
        )
        pairs.append((float(whole), float(whole)) if fits else (ratios[0], ratios[1]))
    for _ in coarse:
        pairs.append((pairs[-1][0] * 2, pairs[-1][1] * 2))
    return tuple(pairs)
