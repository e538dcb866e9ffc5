"""Files of tile features as TRIDENT, CLAM and LazySlide lay them out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import zarr
from numpy.typing import NDArray

from napari_nh2st.slide import Slide

Values = NDArray[Any]


def corners_over(slide: Slide, side: int, overlap: int = 0, first: int = 0) -> Values:
    """(n, 2) upper left corners (x, y), column by column, over a whole slide.

    As TRIDENT lays them: all overlap but the first two.
    """
    height, width = slide.shape
    step = side - overlap
    x, y = (np.arange(first, extent - side + 1, step) for extent in (width, height))
    if overlap:
        x, y = (np.concatenate([[0], at[:-1] + side])[: len(at) - 1] for at in (x, y))
    return np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2).astype(np.int64)


def means_of(slide: Slide, corners: Values, side: int) -> NDArray[np.float32]:
    """(n, 6) features of tiles: mean and deviation of red, green and blue."""
    height, width = slide.shape
    pixels = slide.levels[0].read(0, 0, height, width).astype(np.float32) / 255
    tiles = [pixels[y : y + side, x : x + side].reshape(-1, 3) for x, y in corners]
    return np.stack([np.concatenate([tile.mean(0), tile.std(0)]) for tile in tiles])


def write_h5(
    path: Path, arrays: Mapping[str, Values], attributes: Mapping[str, Mapping[str, Any]]
) -> Path:
    """Arrays that grow along their first axis, in chunks of one row, with attributes of each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            stored = file.create_dataset(
                name,
                values.shape,
                values.dtype,
                maxshape=(None, *values.shape[1:]),
                chunks=(1, *values.shape[1:]),
            )
            stored[:] = values
            for key, value in attributes.get(name, {}).items():
                stored.attrs[key] = "None" if value is None else value
    return path


def write_trident(
    path: Path,
    slide: Slide,
    *,
    side: int = 32,
    tile_px: int = 16,
    encoder: str | None = "tiny",
    overlap: int = 0,
    **changed: Any,
) -> Path:
    """As TRIDENT writes it; `overlap` is in pixels of the tiles."""
    corners = changed.pop("coords", corners_over(slide, side, overlap * side // tile_px))
    features = changed.pop("features", None)
    height, width = slide.shape
    about = {
        "patch_size": tile_px,
        "patch_size_level0": side,
        "level0_magnification": 20 * side // tile_px,
        "target_magnification": 20,
        "overlap": overlap,
        "name": slide.path.stem,
        "savetodir": str(path.parent.parent),
        "level0_width": width,
        "level0_height": height,
    }
    arrays = {
        "features": means_of(slide, corners, side) if features is None else features,
        "coords": corners,
    }
    of_features = {"name": slide.path.stem, "savetodir": str(path.parent), "encoder": encoder}
    return write_h5(path, arrays, {"features": of_features, "coords": about | changed})


def write_clam(path: Path, slide: Slide, side: int = 32, first: int = 5) -> Path:
    """As CLAM writes it: int32, no attributes, tiles from the corner of a contour."""
    corners = corners_over(slide, side, first=first).astype(np.int32)
    arrays = {"features": means_of(slide, corners, side), "coords": corners}
    return write_h5(path, arrays, {})


def write_zarr(path: Path, slide: Slide, side: int = 32) -> Path:
    """The arrays and attributes of TRIDENT's files in zarr."""
    corners = corners_over(slide, side)
    group = zarr.open_group(path, mode="w")
    group["features"] = means_of(slide, corners, side)
    group["coords"] = corners
    group["coords"].attrs.update({"patch_size": side, "patch_size_level0": side})
    return path
