"""Tissue that somebody drew: polygons, labels, or a file of either."""

import os
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from skimage.draw import polygon2mask

from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide
from napari_nh2st.tiles.geojson import read_regions
from napari_nh2st.tiles.mask import LARGEST_MASK_SIDE, Polygon, TissueMask, mask_shape

_POLYGONS = (".geojson", ".json")
_TIFF = (".tif", ".tiff")
_MOST_PIXELS = 100_000_000
_SAME_SHAPE = 0.02
"""Share by which height to width of a picture may differ from the slide's."""


def read_tissue(path: str | os.PathLike[str], slide: Slide) -> TissueMask:
    """Read a tissue mask.

    Parameters
    ----------
    path
        - ``.geojson`` or ``.json``: polygons in full-resolution pixels, see
          :func:`~napari_nh2st.tiles.geojson.read_regions`;
        - ``.png``, ``.tif`` and the like: a picture of the whole slide, of any size, 0 (black)
          for no tissue and anything else for tissue.
    slide
        The slide that the mask was made for.

    Raises
    ------
    InputError
        The file is missing or cannot be read, does not have the slide's proportions, or has no
        tissue.
    """
    path = Path(path)
    if path.suffix.lower() in _POLYGONS:
        mask = tissue_from_polygons(slide, list(read_regions(path, slide)))
        if not mask.tissue.any():
            raise InputError(f"{path}: none of its polygons lies on the slide")
        return mask
    labels = _picture(path)
    if not labels.any():
        raise InputError(f"{path} is 0 (no tissue) everywhere")
    factors = slide.shape[0] / labels.shape[0], slide.shape[1] / labels.shape[1]
    if abs(factors[0] / factors[1] - 1) > _SAME_SHAPE:
        raise InputError(
            f"{path} is {labels.shape[1]} × {labels.shape[0]} px, which is not the shape of the "
            f"slide ({slide.shape[1]} × {slide.shape[0]}): a mask must be of the whole slide"
        )
    return tissue_from_labels(slide, labels, factors)


def tissue_from_polygons(slide: Slide, polygons: list[Polygon]) -> TissueMask:
    """Make a tissue mask from polygons: tissue is inside any of them.

    Parameters
    ----------
    slide
        Gives the extent of the mask.
    polygons
        Each (n, 2) corners (y, x) in full-resolution pixels.
    """
    shape, exact = mask_shape(slide)
    tissue = np.zeros(shape, bool)
    for polygon in polygons:
        tissue |= polygon2mask(shape, np.asarray(polygon) / exact - 0.5)
    return TissueMask(tissue, exact)


def tissue_from_labels(
    slide: Slide,
    labels: NDArray[np.generic],
    downsample: tuple[float, float],
    corner: tuple[float, float] = (0.0, 0.0),
) -> TissueMask:
    """Make a tissue mask from labels: tissue is where they are not 0.

    Parameters
    ----------
    slide
        Gives the extent of the mask; beyond the labels there is no tissue.
    labels
        (height, width) of numbers or bool.
    downsample
        Full-resolution pixels per pixel of the labels, (y, x).
    corner
        Upper left corner of the labels, (y, x) in full-resolution pixels.
    """
    whole = np.multiply(labels.shape, downsample)
    if max(labels.shape) <= LARGEST_MASK_SIDE and np.allclose(
        (*whole, *corner), (*slide.shape, 0, 0)
    ):
        return TissueMask(labels != 0, (whole[0] / labels.shape[0], whole[1] / labels.shape[1]))
    shape, exact = mask_shape(slide)
    tissue = np.zeros(shape, bool)
    inside, source = [], []
    for axis in (0, 1):
        centers = (np.arange(shape[axis]) + 0.5) * exact[axis]
        index = np.floor((centers - corner[axis]) / downsample[axis]).astype(np.intp)
        within = (index >= 0) & (index < labels.shape[axis])
        inside.append(np.flatnonzero(within))
        source.append(index[within])
    tissue[np.ix_(*inside)] = labels[np.ix_(*source)] != 0
    return TissueMask(tissue, exact)


def _picture(path: Path) -> NDArray[np.bool_]:
    """Where a picture is not black, (height, width)."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        if path.suffix.lower() in _TIFF:
            with tifffile.TiffFile(path) as tiff:
                page = tiff.pages.first
                _check_size(path, page.imagelength, page.imagewidth)
                values = page.asarray()
                alpha = page.samplesperpixel in (2, 4)
        else:
            with Image.open(path) as image:
                _check_size(path, image.height, image.width)
                alpha = image.mode in ("LA", "RGBA")
                values = np.asarray(image)
    except InputError:
        raise
    except Exception as error:  # a damaged picture raises whatever it leads to
        raise InputError(
            f"{path} cannot be read as a mask: {error}. Give polygons (.geojson) or a picture "
            "(.png, .tif)"
        ) from None
    if values.ndim == 3:
        values = np.asarray((values[..., :-1] if alpha else values).any(-1))
    if values.ndim != 2:
        raise InputError(f"{path} has {values.ndim} dimensions; a mask has two")
    return np.asarray(values != 0)


def _check_size(path: Path, height: int, width: int) -> None:
    if height * width > _MOST_PIXELS:
        raise InputError(
            f"{path} is {width} × {height} px; a mask needs no more than some thousand a side: "
            "save it smaller"
        )
