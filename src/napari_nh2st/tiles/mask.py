"""Tissue mask of a slide."""

import hashlib
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2hsv
from skimage.filters import gaussian, threshold_otsu
from skimage.morphology import remove_small_holes, remove_small_objects

from napari_nh2st.slide import Slide
from napari_nh2st.slide.overview import slide_overview, unreadable_parts

Polygon = NDArray[np.floating]
"""(n, 2) corners as (y, x) in full-resolution pixels."""

MASK_UM_PER_PX = 8.0
"""Resolution at which tissue is looked for: a lymphocyte is one pixel, a tile some twenty."""

LARGEST_MASK_SIDE = 2048
"""A mask is never larger than this, whatever the slide: its memory is bounded."""

_BAND_ROWS = 128
_HALO_ROWS = 16
"""Tissue is looked for in bands of rows, each seen with so many rows around it as its filters
reach."""

_MOST_THREADS = 8
"""Bands at a time: each takes some 30 MB."""

_TEXTURE_WINDOW = 9
"""Side in mask pixels of the squares whose spread is looked at."""

_SMOOTH = 0.008
_FAINT = 0.2
"""Spread and mean in units of optical density: see :func:`_texture`."""

_ABOVE_NOISE = 4.0
"""Times the spread of the glass that what is no smoother than smears must have to be tissue."""

_LEAST_GLASS = 0.05
_COLORED_GLASS, _COLORED_STAIN = (0.7, 0.84, 0.7), 0.9
"""Share of an image that has to be as smooth as glass for its color to be taken from there; what
its channels are of the brightest, at least (stains absorb green most); and what they are where
nothing is smooth."""

_WIDEST_GAP = 13
_REACH = 96
"""Mask pixels between walls of texture, and mask pixels that pale tissue may lie away from tissue
that is stained. Films of debris on glass
have as much texture, and may touch tissue."""

_LEAST_CHROMA = 0.38
"""Range of the three optical densities by their mean, of a piece: what has less is grey. On legacy
ST sections of two studies tissue has 0.54 to 1, shadows of marks 0.35, bubbles 0.10 to 0.16."""


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

    @property
    def sha256(self) -> str:
        """Digest of the mask and its resolution; equal masks have the same digest.

        The resolution enters with six digits: masks drawn in a turned layer differ in the last.
        """
        down, right = self.downsample
        digest = hashlib.sha256(f"{self.tissue.shape} {down:.6g} {right:.6g}".encode())
        digest.update(np.packbits(self.tissue).tobytes())
        return digest.hexdigest()

    def fraction(
        self, top_left: NDArray[np.floating], size: tuple[float, float]
    ) -> NDArray[np.float64]:
        """Share of each box that is tissue; nothing beyond the slide is tissue.

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

    A pixel is tissue if it is stained (its saturation is above Otsu's threshold (Otsu 1979), or
    its optical density clearly above that of the glass), and near stained pixels also if it has
    the texture of tissue. Left out are pen ink (by its hues, or black), smooth faint smears, grey
    areas, padding of one color, specks, and what lies beyond the slide's bounds, which was not
    scanned. Small holes are filled.

    Parameters
    ----------
    slide
        One of its coarse levels is read whole; never a large one.
    min_area_um2
        Specks are removed and holes filled if they are smaller than this, in µm².
    mpp
        µm/px, if the slide does not know its own; without either, areas are taken at 0.5 µm/px.

    Returns
    -------
    TissueMask
        At about 8 µm/px.

    Examples
    --------
    .. code-block:: python

        with open_slide("slide.svs") as slide:
            mask = find_tissue(slide)
        mask.tissue.mean()  # share of the slide
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
    tissue |= unreadable_parts(slide, image)
    return TissueMask(tissue, downsample)


def scanned_area(slide: Slide) -> TissueMask | None:
    """A mask of all that was scanned; None where that is the whole slide."""
    if slide.bounds is None:
        return None
    shape, exact = mask_shape(slide)
    scanned = np.zeros(shape, bool)
    scanned[_scanned_part(slide, shape)] = True
    return TissueMask(scanned, exact)


def _scanned_part(slide: Slide, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns, in a picture of the slide of this shape, that were scanned."""
    if slide.bounds is None:
        return slice(None), slice(None)
    sides = zip(slide.bounds[:2], slide.bounds[2:], slide.shape, shape, strict=True)
    rows, columns = (
        slice(int(first * size / full), math.ceil((first + side) * size / full))
        for first, side, full, size in sides
    )
    return rows, columns


def stained(image: NDArray[np.uint8], min_pixels: int) -> NDArray[np.bool_]:
    """Tissue in an RGB image of a stained section, cleaned.

    First what is stained, without pen ink and smears; then what is too pale to be told by its
    stain, such as loose stroma and fat, but has texture, is not grey and is joined to it.

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
    glass = _glass_color(image)
    height = len(image)
    saturation = np.empty(image.shape[:2], np.float32)
    density, spread = np.empty_like(saturation), np.empty_like(saturation)
    foreign, smear, flat = np.empty((3, *image.shape[:2]), bool)

    def look_at(top: int) -> None:
        bottom = min(top + _BAND_ROWS, height)
        first = max(top - _HALO_ROWS, 0)
        band = image[first : bottom + _HALO_ROWS]
        rows = slice(top - first, bottom - first)
        flat[top:bottom] = _flat(band)[rows]
        transmitted = band.astype(np.float32) / 255
        seen = np.clip(_smooth(transmitted) / glass, 0.01, 1)
        hue, color, value = np.moveaxis(rgb2hsv(seen), -1, 0)
        saturation[top:bottom] = color[rows]
        density[top:bottom] = -_mean(np.log10(seen[rows]))
        mean, deviation = _texture(transmitted / glass)
        spread[top:bottom] = deviation[rows]
        smear[top:bottom] = ((deviation < _SMOOTH) & (mean < _FAINT))[rows]
        foreign[top:bottom] = _pen_ink(hue, color, value)[rows]

    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        list(pool.map(look_at, range(0, height, _BAND_ROWS)))
    foreign |= flat
    scanned = ~flat if not flat.all() else np.ones_like(flat)
    # Otsu halves whatever it is given: the limits keep it from halving bare glass or full tissue.
    saturated = saturation > np.clip(_otsu(saturation[scanned]), 0.04, 0.12)
    dense = density > np.clip(_otsu(density[scanned]), 0.03, 0.15)
    tissue = (saturated & (density > 0.015)) | (dense & (saturation > 0.04))
    tissue = _without_grey(_cleaned(tissue & ~(foreign | smear), min_pixels), image, glass)
    if not tissue.any() or tissue.all():
        return tissue
    bare = spread[scanned & ~tissue]
    noise = float(np.percentile(bare, 25)) if len(bare) else 0.0
    textured = spread > max(_SMOOTH, _ABOVE_NOISE * noise)
    # A square that reaches over an edge has its spread, so that what is textured is smaller by half
    # of it. First, what lies between the walls of fat cells is made up, where it is small.
    gap = int(np.clip(math.isqrt(min_pixels), _TEXTURE_WINDOW, _WIDEST_GAP))
    # Beyond the image is no tissue to which what lies between could belong.
    closing = gap - _TEXTURE_WINDOW + 1
    textured = ndimage.maximum_filter(np.pad(textured | tissue, closing), closing)
    textured = ndimage.minimum_filter(textured, closing)[closing:-closing, closing:-closing]
    textured = ndimage.minimum_filter(textured, _TEXTURE_WINDOW)
    near = ndimage.maximum_filter(tissue, 2 * _REACH + 1)
    pale = ndimage.binary_opening(textured & near & ~foreign & ~tissue, iterations=2)
    pale = _without_grey(pale, image, glass)
    labels, n_pieces = ndimage.label(pale | tissue)
    joined = np.zeros(n_pieces + 1, bool)
    joined[labels[tissue]] = True
    return _cleaned(joined[labels], min_pixels)


def _cleaned(tissue: NDArray[np.bool_], min_pixels: int) -> NDArray[np.bool_]:
    """Without lines, specks and small holes."""
    tissue = ndimage.binary_opening(tissue)
    tissue = ndimage.binary_closing(np.pad(tissue, 2), iterations=2)[2:-2, 2:-2]
    tissue = remove_small_objects(tissue, max_size=min_pixels - 1)
    return np.asarray(remove_small_holes(tissue, max_size=min_pixels - 1))


def _without_grey(
    tissue: NDArray[np.bool_], image: NDArray[np.uint8], glass: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Without the pieces that are grey as a whole: bubbles, dirt, rims and shadows."""
    labels, _ = ndimage.label(tissue)
    for number, place in enumerate(ndimage.find_objects(labels), start=1):
        piece = labels[place] == number
        density = -np.log10(np.clip(image[place][piece] / 255 / glass, 0.01, 1)).mean(0)
        if np.ptp(density) < _LEAST_CHROMA * density.mean():
            tissue[place][piece] = False
    return tissue


def mask_shape(slide: Slide) -> tuple[tuple[int, int], tuple[float, float]]:
    """Shape of a mask over a whole slide that was given by hand, and its downsample."""
    downsample = max(1.0, max(slide.shape) / LARGEST_MASK_SIDE)
    height, width = (max(1, round(side / downsample)) for side in slide.shape)
    return (height, width), (slide.shape[0] / height, slide.shape[1] / width)


def _smooth(band: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(gaussian(band, sigma=1, channel_axis=-1))


def _glass_color(image: NDArray[np.uint8]) -> NDArray[np.floating]:
    """The brightest color that much of the image has; glass is not always white.

    Glass is smooth, but no camera sees it all of one value: what is, is padding, and left out
    unless there is nothing else. Where nothing is smooth, tissue fills the image, and its
    brightest color, being a stain, must not be taken for strongly colored glass.
    """
    # A fifth of the pixels serves as well as all of them.
    pixels, smooth, padding = [], [], []
    for top in range(0, len(image), 160):
        strip = image[top : top + 32]
        transmitted = strip.astype(np.float32) / 255
        pixels.append(_smooth(transmitted).reshape(-1, 3))
        smooth.append((_texture(transmitted)[1] < _SMOOTH).ravel())
        padding.append(_flat(strip).ravel())
    colors, seen = np.concatenate(pixels), ~np.concatenate(padding)
    glass = np.concatenate(smooth) & seen
    if glass.sum() > _LEAST_GLASS * seen.sum():
        brightest = np.percentile(colors[glass], 95, axis=0)
        if (brightest >= brightest.max() * np.array(_COLORED_GLASS)).all():  # else blurred tissue
            return np.asarray(np.maximum(brightest, 0.5), np.float32)
    brightest = np.percentile(colors, 95, axis=0)
    return np.asarray(np.maximum(brightest, max(0.5, _COLORED_STAIN * brightest.max())), np.float32)


def _otsu(values: NDArray[np.floating]) -> float:
    return float(threshold_otsu(values)) if np.ptp(values) > 0 else float(values.flat[0])


def _texture(
    transmitted: NDArray[np.floating],
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Mean and standard deviation of the optical density in the square around each pixel.

    What is faint and smooth is spilled eosin or the shadow of marks below the glass. On legacy ST
    sections of two studies both have a deviation below 0.006, and 99 % of the tissue one above
    0.011.
    """
    density = -_mean(np.log10(np.clip(transmitted, 0.01, 1)))
    mean = ndimage.uniform_filter(density, _TEXTURE_WINDOW)
    square = ndimage.uniform_filter(density**2, _TEXTURE_WINDOW)
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _mean(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """Mean of three channels, many times quicker than numpy's over so short an axis."""
    return np.asarray((image[..., 0] + image[..., 1] + image[..., 2]) / 3)


def _flat(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """What lies in a square of exactly one color: padding, whatever its color."""
    differs = np.zeros(image.shape[:2], bool)
    for channel in np.moveaxis(image, -1, 0):
        down, right = channel[1:] != channel[:-1], channel[:, 1:] != channel[:, :-1]
        differs[:-1] |= down
        differs[1:] |= down
        differs[:, :-1] |= right
        differs[:, 1:] |= right
    # Squares of pixels that are like their neighbors; with these, each of them is of one color.
    inside = ndimage.maximum_filter(differs, _TEXTURE_WINDOW - 2)
    return np.asarray(~ndimage.minimum_filter(inside, _TEXTURE_WINDOW))


def _pen_ink(
    hue: NDArray[np.floating], saturation: NDArray[np.floating], value: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """Marker strokes: hues that hematoxylin and eosin do not reach, and black."""
    # H&E lies between blue (0.62) and red-pink (0.02, across 1); at its two ends only the purity
    # of the color gives a marker away. Dense nuclei in frozen sections reach a saturation of 0.65.
    foreign_hue = (hue > 0.1) & (hue < 0.61) & (saturation > 0.25)
    blue_marker = (hue >= 0.61) & (hue < 0.7) & (saturation > 0.7)
    red_marker = ((hue < 0.03) | (hue > 0.97)) & (saturation > 0.75) & (value > 0.5)
    black = (saturation < 0.25) & (value < 0.35)
    core = ndimage.binary_opening(foreign_hue | blue_marker | red_marker | black)
    return np.asarray(ndimage.binary_dilation(core, iterations=3))
