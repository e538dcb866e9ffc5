"""Small fields of a slide's tissue, at one µm/px for all slides."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

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
        It is read at its coarsest native level that is fine enough. If its µm/px is unknown, 0.5
        is assumed: means hardly depend on it, standard deviations a little.
    tissue
        Where to look; None to find the tissue. Up to 200 fields are drawn from it, which overlap
        if there is little tissue.
    centers
        (n, 2) centers (y, x) of fields in full-resolution pixels to use instead, such as spots.
    mpp
        µm/px of the fields, which are 64 px wide: that of the profile to be compared with.
    seed
        Seed of the random draw.
    matrix
        (3, 3) from :func:`~napari_nh2st.analysis.stain_normalization.normalization`, to describe
        the slide as it is after normalization to a model's stain.

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
    fields = tissue_fields(slide, tissue, centers=centers, mpp=mpp, seed=seed)
    return fields_stain(slide, fields, matrix)


def fields_stain(
    slide: Slide, fields: NDArray[np.uint8], matrix: NDArray[np.floating] | None = None
) -> NDArray[np.float64]:
    """Describe the stain of a slide's fields.

    Parameters
    ----------
    slide, fields
        As of :func:`tissue_fields`.
    matrix
        As for :func:`slide_stain`, which says what is returned and raised.
    """
    if matrix is not None:
        light = WHITE * np.exp(-optical_density(fields) @ matrix) - 1
        fields = np.clip(light.round(), 0, 255).astype(np.uint8)
    described = tile_descriptors(fields)
    described = described[~np.isnan(described).any(1)]
    if not len(described):
        raise InputError(f"{slide.path}: no stained tissue was found, so its stain is not known")
    return described


def tissue_fields(
    slide: Slide,
    tissue: TissueMask | None = None,
    *,
    centers: NDArray[np.floating] | None = None,
    mpp: float = FIELD_MPP,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """A sample of a slide's tissue in fields of 64 px, (n, 64, 64, 3).

    Parameters
    ----------
    slide, tissue, centers, mpp, seed
        As for :func:`slide_stain`.

    Raises
    ------
    InputError
        There is no tissue.
    """
    if centers is None:
        centers = _drawn_centers(slide, tissue or find_tissue(slide), seed)
    return _fields(slide, np.asarray(centers, np.float64), mpp)


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
    # Sparse, as each new pixel is made of a few.
    vertical, horizontal = (csr_array(resampling_weights(float(a), FIELD_PX)) for a in extent)
    fields = []
    for number in range(len(centers)):
        # One at a time: at full resolution a field is large.
        batch = reader.read(np.array([number]))
        if batch.failures:
            continue
        rows = (vertical @ batch.pixels[0].reshape(height, -1)).reshape(FIELD_PX, width, 3)
        columns = horizontal @ rows.swapaxes(0, 1).reshape(width, -1)
        field = columns.reshape(FIELD_PX, FIELD_PX, 3).swapaxes(0, 1)
        fields.append(np.clip(field + 0.5, 0, 255).astype(np.uint8))
    return np.stack(fields) if fields else np.empty((0, FIELD_PX, FIELD_PX, 3), np.uint8)
