"""Small fields of a slide's tissue, at one µm/px for all slides."""

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.analysis.stain import FIELD_MPP, tile_descriptors
from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide
from napari_nh2st.slide.bulk import BulkReader
from napari_nh2st.slide.optical_density import WHITE, optical_density
from napari_nh2st.tiles import TissueMask, find_tissue, resampling_weights

FIELD_PX = 64
MOST_FIELDS = 200
"""Medians of so many fields differ between draws by a tenth of the spread between fields."""

_MPP_WHERE_UNKNOWN = 0.5


def slide_stain(
    slide: Slide,
    tissue: TissueMask | None = None,
    *,
    centers: NDArray[np.floating] | None = None,
    mpp: float = FIELD_MPP,
    seed: int = 0,
    matrix: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Describe the stain of a slide by a sample of its tissue.

    Parameters
    ----------
    slide
        Read on its coarsest own level that is fine enough. One that does not know its µm/px is
        taken as 0.5: means hardly depend on it, spreads a little.
    tissue
        Where to look; found by default. Up to 200 fields are drawn from it, which overlap where
        there is little of it.
    centers
        (n, 2) centers (y, x) in full-resolution pixels to look at instead, such as spots.
    mpp
        µm/px of the fields, which are 64 px wide: that of the profile to be compared with.
    seed
        Seed of the draw.
    matrix
        (3, 3) of :func:`~napari_nh2st.analysis.stain_normalization.normalization`, to describe the
        slide as a model sees it that brings it to its own stain.

    Returns
    -------
    ndarray
        (m, 6), see :func:`~napari_nh2st.analysis.tile_descriptors`. Fields of glass, and those on
        a damaged part of the slide, are left out.

    Raises
    ------
    InputError
        There is no tissue, or none that can be read.
    """
    if centers is None:
        centers = _drawn_centers(slide, tissue or find_tissue(slide), seed)
    fields = _fields(slide, np.asarray(centers, np.float64), mpp)
    if matrix is not None:
        light = WHITE * np.exp(-optical_density(fields) @ matrix) - 1
        fields = np.clip(light.round(), 0, 255).astype(np.uint8)
    described = tile_descriptors(fields)
    described = described[~np.isnan(described).any(1)]
    if not len(described):
        raise InputError(f"{slide.path}: no stained tissue was found, so its stain is not known")
    return described


def tissue_fields(slide: Slide, tissue: TissueMask, seed: int = 0) -> NDArray[np.uint8]:
    """A sample of a slide's tissue in fields of 64 px at 2.5 µm/px, (n, 64, 64, 3).

    Parameters
    ----------
    slide, tissue, seed
        As for :func:`slide_stain`.

    Raises
    ------
    InputError
        There is no tissue.
    """
    return _fields(slide, _drawn_centers(slide, tissue, seed), FIELD_MPP)


def _drawn_centers(slide: Slide, tissue: TissueMask, seed: int) -> NDArray[np.float64]:
    pixels = np.flatnonzero(tissue.tissue)
    if not len(pixels):
        raise InputError(f"{slide.path}: no stained tissue was found, so its stain is not known")
    drawn = np.random.default_rng(seed).choice(pixels, min(len(pixels), MOST_FIELDS), replace=False)
    # From top to bottom, so that pieces of the slide are decoded once.
    rows_and_columns = np.column_stack(np.unravel_index(np.sort(drawn), tissue.tissue.shape))
    return np.asarray((rows_and_columns + 0.5) * tissue.downsample)


def _fields(slide: Slide, centers: NDArray[np.float64], mpp: float) -> NDArray[np.uint8]:
    """(n, 64, 64, 3); those that cannot be read are left out."""
    slide_mpp = np.asarray(slide.mpp or (_MPP_WHERE_UNKNOWN, _MPP_WHERE_UNKNOWN))
    level = slide.best_level(mpp / float(slide_mpp.max()), native_only=True)
    extent = FIELD_PX * mpp / (slide_mpp * slide.downsamples[level])
    top_left = np.rint(centers / slide.downsamples[level] - extent / 2).astype(np.int64)
    height, width = (int(np.ceil(along - 1e-9)) for along in extent)
    reader = BulkReader(slide.levels[level], top_left, (height, width))
    vertical, horizontal = (resampling_weights(float(along), FIELD_PX) for along in extent)
    fields = []
    for number in range(len(centers)):
        # One at a time: at full resolution a field is large.
        batch = reader.read(np.array([number]))
        if batch.failures:
            continue
        pixels = batch.pixels[0].astype(np.float32)
        rows = np.tensordot(vertical, pixels, (1, 0))
        field = np.tensordot(rows, horizontal, (1, 1)).transpose(0, 2, 1)
        fields.append(np.clip(field + 0.5, 0, 255).astype(np.uint8))
    return np.stack(fields) if fields else np.empty((0, FIELD_PX, FIELD_PX, 3), np.uint8)
