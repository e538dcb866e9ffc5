"""Files of features that TRIDENT, CLAM or LazySlide wrote; needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.regular_files import check_regular


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Features as a file has them.

    Parameters
    ----------
    features
        (n, d), of whatever type it holds.
    corners
        (n, 2) upper left corners (x, y) in full-resolution pixels.
    encoder
        Name of the encoder that computed them; "" where the file does not say.
    side_px
        Side of a tile in full-resolution pixels; None where the file does not say.
    tile_px
        Side of a tile as the encoder got it, in pixels; None likewise.
    step_px
        Distance between tiles in full-resolution pixels; None likewise.
    slide_name
        Of the slide, without its suffix; "" where the file does not say.
    slide_shape
        (height, width) of the slide; None likewise.
    """

    features: NDArray[np.floating]
    corners: NDArray[np.float64]
    encoder: str = ""
    side_px: float | None = None
    tile_px: int | None = None
    step_px: float | None = None
    slide_name: str = ""
    slide_shape: tuple[int, int] | None = None


def is_features_file(path: Path) -> bool:
    """Whether an HDF5 file has features and coordinates of tiles, and no counts of genes."""
    if path.suffix.lower() not in (".h5", ".hdf5") or not path.is_file():
        return False
    import h5py

    try:
        with h5py.File(path) as file:
            return {"features", "coords"} <= set(file) and "matrix" not in file
    except OSError:  # whoever reads it says what is wrong with it
        return False


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr store."""
    return any((path / name).exists() for name in ("zarr.json", ".zgroup"))


def read_stored(path: Path, table: str | None = None, encoder: str | None = None) -> StoredFeatures:
    """Read a file of features.

    Parameters
    ----------
    path
        HDF5 or zarr with arrays ``features`` and ``coords``, or a SpatialData store.
    table, encoder
        Table of the store, or name of the encoder whose table it is; None for the one there is.

    Raises
    ------
    InputError
        It cannot be read, or has another layout.
    """
    check_regular(path)
    if path.is_dir():
        return _read_zarr(path, table, encoder)
    import h5py

    try:
        with h5py.File(path) as file:
            return _read_arrays(file, path)
    except OSError as error:
        reason = error.strerror or "it is not an HDF5 file, or it is damaged"
        raise InputError(f"{path} cannot be read as features: {reason}") from None


def _read_zarr(path: Path, table: str | None, encoder: str | None) -> StoredFeatures:
    import zarr

    from napari_nh2st.tiles.lazyslide_features import is_store, read_store
    from napari_nh2st.zarr_codecs import refuse_pickles

    refuse_pickles(path)
    try:
        group = zarr.open_group(path, mode="r")
        if is_store(group):
            return read_store(group, path, table, encoder)
        return _read_arrays(group, path)
    except InputError:
        raise
    except Exception as error:  # zarr raises whatever it meets in a damaged store
        raise InputError(f"{path} cannot be read as features ({error})") from error


def _read_arrays(group: Any, path: Path) -> StoredFeatures:
    """Of TRIDENT or CLAM: ``features`` and ``coords``, in HDF5 or zarr."""
    names = sorted(group.keys())
    for name in ("features", "coords"):
        if name not in names or not hasattr(group[name], "shape"):
            raise InputError(
                f"{path} has no array {name!r}, as files of TRIDENT and CLAM have (it has: "
                f"{', '.join(names) or 'nothing'})"
            )
    features, coords = group["features"], group["coords"]
    if len(features.shape) == 3 and features.shape[0] == 1:  # a batch of one
        values, corners = np.asarray(features[...])[0], np.asarray(coords[...])
        corners = corners[0] if corners.ndim == 3 else corners
    else:
        values, corners = np.asarray(features[...]), np.asarray(coords[...])
    said, about = dict(coords.attrs), dict(features.attrs)
    tile_px = _number(said, "patch_size")
    side = _number(said, "patch_size_level0")
    level0, target = _number(said, "level0_magnification"), _number(said, "target_magnification")
    scale = level0 / target if level0 and target else None
    if tile_px and scale:
        side = side or tile_px * scale
    elif tile_px and (downsample := _number(said, "downsample")):
        # CLAM's file of coordinates; that of features has none of these.
        side = tile_px * downsample * (_number(said, "custom_downsample") or 1)
    overlap = _number(said, "overlap")
    height, width = _number(said, "level0_height"), _number(said, "level0_width")
    return StoredFeatures(
        values,
        np.asarray(corners, np.float64),
        _trident_encoder(about, path),
        side,
        None if tile_px is None else round(tile_px),
        side - overlap * scale if side and overlap is not None and scale else None,
        _text(about, "name") or _text(said, "name"),
        (int(height), int(width)) if height and width else None,
    )


def _trident_encoder(about: Mapping[str, Any], path: Path) -> str:
    """The encoder's name: as the file says, or as its folder is called, ``features_NAME``."""
    said = _text(about, "encoder")
    if said and said != "None":
        return said
    for folder in (_text(about, "savetodir"), str(path.absolute().parent)):
        name = folder.replace("\\", "/").rstrip("/").rpartition("/")[2]
        if name.startswith("features_"):
            return name.removeprefix("features_")
    return ""


def _number(said: Mapping[str, Any], name: str) -> float | None:
    """A positive number among attributes, the first of several; None where there is none."""
    values = np.atleast_1d(np.asarray(said.get(name)))
    if values.size == 0 or values.dtype.kind not in "iuf":
        return None
    value = float(values.flat[0])
    return value if np.isfinite(value) and value >= 0 else None


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name, "")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
