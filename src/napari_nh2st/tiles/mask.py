"""Tissue mask of a slide."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2hsv
from skimage.draw import polygon2mask
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import remove_small_holes, remove_small_objects

from napari_nh2st.slide import Slide
from napari_nh2st.slide.level import DAMAGED_GREY
from napari_nh2st.slide.overview import slide_overview

Polygon = NDArray[np.floating]
"""(n, 2) corners as (y, x) in full-resolution pixels."""

MASK_UM_PER_PX = 8.0
"""Resolution at which tissue is looked for: a lymphocyte is one pixel, a tile some twenty."""

LARGEST_MASK_SIDE = 2048
"""A mask is never larger than this, whatever the slide: its memory is bounded."""

_BAND_ROWS = 256
_HALO_ROWS = 16
"""Tissue is looked for in bands of rows, each seen with so many rows around it as its filters
reach."""

_TEXTURE_WINDOW = 9
_SMOOTH = 0.008
_FAINT = 0.2
"""Side in mask pixels, spread and mean in units of optical density: see :func:`_smear`."""


@dataclass(frozen=True)
class TissueMask:
    """Tissue at low resolution.

    Parameters
    ----------
    tissue
        (height, width) bool.
    downsample
        Full-resolution pixels per mask pixel, (y, x).
    """

    tissue: NDArray[np.bool_]
    downsample: tuple[float, float]

    @cached_property
    def _integral(self) -> NDArray[np.int64]:
        """Sums of all pixels above and to the left: (height + 1, width + 1)."""
        padded = np.pad(self.tissue, ((1, 0), (1, 0)))
        return np.asarray(padded.cumsum(0, dtype=np.int64).cumsum(1))

    def fraction(
        self, top_left: NDArray[np.floating], size: tuple[float, float]
    ) -> NDArray[np.float64]:
        """Share of each box that is tissue; what lies beyond the slide counts as none.

        Parameters
        ----------
        top_left
            (n, 2) upper left corners (y, x) in full-resolution pixels.
        size
            (height, width) of the boxes in full-resolution pixels.

        Returns
        -------
        ndarray
            (n,) in 0–1.
        """
        integral = self._integral
        height, width = self.tissue.shape
        corners = []
        for axis, length in enumerate((height, width)):
            low = top_left[:, axis] / self.downsample[axis]
            high = low + size[axis] / self.downsample[axis]
            low_px = np.clip(np.rint(low), 0, length).astype(np.intp)
            # At least one mask pixel, so that boxes smaller than a pixel see something.
            high_px = np.clip(np.maximum(np.rint(high), np.rint(low) + 1), 0, length)
            corners.append((low_px, high_px.astype(np.intp)))
        (y0, y1), (x0, x1) = corners
        inside = integral[y1, x1] - integral[y0, x1] - integral[y1, x0] + integral[y0, x0]
        area = np.maximum(np.rint(size[0] / self.downsample[0]), 1) * np.maximum(
            np.rint(size[1] / self.downsample[1]), 1
        )
        return np.asarray(np.minimum(inside / area, 1.0))


def find_tissue(slide: Slide, min_area_um2: float = 20_000, mpp: float | None = None) -> TissueMask:
    """Tell tissue from glass on a coarse level of a slide.

    A pixel is tissue where it is stained: saturation above Otsu's threshold (Otsu 1979) or
    optical density clearly above the glass. Pen ink, by its hues and its black, and smooth faint
    smears are left out; specks and small holes go. Beyond the slide's bounds nothing was scanned,
    so nothing is looked for there.

    Parameters
    ----------
    slide
        One of its coarse levels is read whole; never a large one.
    min_area_um2
        Specks and holes smaller than this go.
    mpp
        µm/px, if the slide does not know its own; without either, 0.5 is taken for the sizes.

    Returns
    -------
    TissueMask
        At about 8 µm/px.
    """
    um = mpp or (float(np.mean(slide.mpp)) if slide.mpp else 0.5)
    image = slide_overview(slide, max(MASK_UM_PER_PX / um, max(slide.shape) / LARGEST_MASK_SIDE))
    downsample = (slide.shape[0] / image.shape[0], slide.shape[1] / image.shape[1])
    pixel_um2 = um**2 * downsample[0] * downsample[1]
    tissue = np.zeros(image.shape[:2], bool)
    scanned = _scanned_part(slide, image.shape[:2])
    seen = image[scanned]
    tissue[scanned] = stained(seen, max(1, round(min_area_um2 / pixel_um2)))
    # What cannot be read may be tissue: keep it, so that its tiles are reported and not dropped.
    tissue[scanned] |= (seen == DAMAGED_GREY).all(-1)
    return TissueMask(tissue, downsample)


def scanned_area(slide: Slide) -> TissueMask | None:
    """A mask of all that was scanned; None where that is the whole slide."""
    if slide.bounds is None:
        return None
    downsample = max(1.0, max(slide.shape) / LARGEST_MASK_SIDE)
    height, width = (max(1, round(side / downsample)) for side in slide.shape)
    scanned = np.zeros((height, width), bool)
    scanned[_scanned_part(slide, (height, width))] = True
    return TissueMask(scanned, (slide.shape[0] / height, slide.shape[1] / width))


def _scanned_part(slide: Slide, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns, in a picture of the slide of this shape, that were scanned."""
    if slide.bounds is None:
        return slice(None), slice(None)
    parts = []
    for first, side, full, size in zip(
        slide.bounds[:2], slide.bounds[2:], slide.shape, shape, strict=True
    ):
        low = min(int(first * size / full), size - 1)
        high = math.ceil((first + side) * size / full)
        parts.append(slice(low, max(low + 1, min(high, size))))
    return parts[0], parts[1]


def stained(image: NDArray[np.uint8], min_pixels: int) -> NDArray[np.bool_]:
    """Stained tissue in an RGB image, cleaned.

    Parameters
    ----------
    image
        (height, width, 3), H&E or alike on light glass.
    min_pixels
        Specks and holes of fewer pixels go.

    Returns
    -------
    ndarray
        (height, width) bool.
    """
    glass = _glass_colour(image)
    height = len(image)
    saturation = np.empty(image.shape[:2], np.float32)
    density = np.empty_like(saturation)
    foreign = np.empty(image.shape[:2], bool)
    for top in range(0, height, _BAND_ROWS):
        bottom = min(top + _BAND_ROWS, height)
        first = max(top - _HALO_ROWS, 0)
        band = image[first : bottom + _HALO_ROWS].astype(np.float32) / 255
        rows = slice(top - first, bottom - first)
        seen = np.clip(_smooth(band) / glass, 0.01, 1)
        hue, colour, value = np.moveaxis(rgb2hsv(seen), -1, 0)
        saturation[top:bottom] = colour[rows]
        density[top:bottom] = -np.log10(seen[rows]).mean(-1)
        foreign[top:bottom] = (_pen_ink(hue, colour, value) | _smear(band / glass))[rows]
    # Otsu halves whatever it is given: the limits keep it from halving bare glass or full tissue.
    saturated = saturation > np.clip(_otsu(saturation), 0.04, 0.12)
    dense = density > np.clip(_otsu(density), 0.03, 0.15)
    tissue = (saturated & (density > 0.015)) | (dense & (saturation > 0.04))
    tissue &= ~foreign
    tissue = ndimage.binary_opening(tissue)
    tissue = ndimage.binary_closing(np.pad(tissue, 2), iterations=2)[2:-2, 2:-2]
    tissue = remove_small_objects(tissue, max_size=min_pixels - 1)
    return np.asarray(remove_small_holes(tissue, max_size=min_pixels - 1))


def tissue_from_polygons(slide: Slide, polygons: list[Polygon]) -> TissueMask:
    """A mask that is tissue inside any of some polygons.

    Parameters
    ----------
    slide
        Gives the extent.
    polygons
        Each (n, 2) as (y, x) in full-resolution pixels.
    """
    downsample = max(1.0, max(slide.shape) / LARGEST_MASK_SIDE)
    shape = tuple(max(1, round(side / downsample)) for side in slide.shape)
    exact = (slide.shape[0] / shape[0], slide.shape[1] / shape[1])
    tissue = np.zeros(shape, bool)
    for polygon in polygons:
        tissue |= polygon2mask(shape, np.asarray(polygon) / exact - 0.5)
    return TissueMask(tissue, exact)


def _smooth(band: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(gaussian(band, sigma=1, channel_axis=-1))


def _glass_colour(image: NDArray[np.uint8]) -> NDArray[np.floating]:
    """The brightest colour that much of the image has; glass is not always white.

    It is never strongly coloured: where tissue fills the image, that colour is a stain.
    """
    # A fifth of the pixels serves as well as all of them.
    bands = [
        _smooth(image[top : top + 32].astype(np.float32) / 255) for top in range(0, len(image), 160)
    ]
    pixels = np.concatenate([band.reshape(-1, 3) for band in bands])
    brightest = np.percentile(pixels, 95, axis=0)
    return np.asarray(np.maximum(brightest, max(0.5, 0.9 * brightest.max())), np.float32)


def _otsu(values: NDArray[np.floating]) -> float:
    return float(threshold_otsu(values)) if np.ptp(values) > 0 else float(values.flat[0])


def _smear(transmitted: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Faint and smooth: spilled eosin and shadows of marks below the glass. Tissue has texture.

    On legacy ST sections of two studies both have a local spread below 0.006, and 99 % of the
    tissue one above 0.011.
    """
    density = -np.log10(np.clip(transmitted, 0.01, 1)).mean(-1)
    mean = ndimage.uniform_filter(density, _TEXTURE_WINDOW)
    square = ndimage.uniform_filter(density**2, _TEXTURE_WINDOW)
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    return np.asarray((spread < _SMOOTH) & (mean < _FAINT))


def _pen_ink(
    hue: NDArray[np.floating], saturation: NDArray[np.floating], value: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Marker strokes: hues that haematoxylin and eosin do not reach, and black."""
    # H&E lies between blue (0.62) and red-pink (0.02, across 1); at its two ends only the purity
    # of the colour gives a marker away. Dense nuclei in frozen sections reach a saturation of 0.65.
    foreign_hue = (hue > 0.1) & (hue < 0.61) & (saturation > 0.25)
    blue_marker = (hue >= 0.61) & (hue < 0.7) & (saturation > 0.7)
    red_marker = ((hue < 0.03) | (hue > 0.97)) & (saturation > 0.75) & (value > 0.5)
    black = (saturation < 0.25) & (value < 0.35)
    core = ndimage.binary_opening(foreign_hue | blue_marker | red_marker | black)
    return np.asarray(ndimage.binary_dilation(core, iterations=3))
