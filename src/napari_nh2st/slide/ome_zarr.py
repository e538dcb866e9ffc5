"""OME-Zarr images, versions 0.4 (zarr 2) and 0.5 (zarr 3)."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.regular_files import check_regular
from napari_nh2st.zarr_codecs import refuse_pickles

from . import resolution as mpp
from .colors import (
    CHANNEL_COLORS,
    FluorescenceColors,
    StoredColors,
    ToRGB,
    contrast_limits,
    full_scale,
)
from .contents import SlideContents
from .level import is_downsample
from .limits import too_large
from .zarr_level import Axes, ZarrLevel

_METADATA = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
_FINGERPRINT_CHUNKS = 16


def is_zarr(folder: Path) -> bool:
    """Whether a folder is a zarr group or array."""
    return any((folder / name).is_file() for name in _METADATA)


def open_ome_zarr(folder: Path) -> SlideContents:
    """Open an OME-Zarr image: the first time point and focal plane of its first multiscale.

    Raises
    ------
    InputError
        It is a plate, labels or no image, or its metadata do not fit its arrays.
    """
    check_regular(folder)
    try:
        group = zarr.open_group(folder, mode="r")
        attributes = dict(group.attrs)
    except Exception as error:  # zarr's errors have no common kind
        raise InputError(f"{folder}: this zarr folder is no readable group ({error}).") from error
    ome = attributes.get("ome", attributes)
    if not isinstance(ome, dict):
        raise InputError(f"{folder}: its OME metadata are damaged.")
    if "bioformats2raw.layout" in ome and "multiscales" not in ome and is_zarr(folder / "0"):
        return open_ome_zarr(folder / "0")
    if "plate" in ome or "well" in ome:
        kind = "plate" if "plate" in ome else "well"
        raise InputError(
            f"{folder}: is a {kind} of many images. Give the folder of one of them, which for a "
            "plate lies at ROW/COLUMN/FIELD."
        )
    if "labels" in ome or "image-label" in ome:
        raise InputError(
            f"{folder}: holds labels, not an image. Give the folder of the image they belong to."
        )
    try:
        return _contents(folder, group, ome)
    except InputError:
        raise
    except Exception as error:  # metadata may be wrong in any way
        raise InputError(
            f"{folder}: its OME-Zarr metadata are incomplete or do not fit its arrays "
            f"({type(error).__name__}: {error})."
        ) from error


def _contents(folder: Path, group: Any, ome: Mapping[str, Any]) -> SlideContents:
    multiscales = ome.get("multiscales")
    if not multiscales:
        raise InputError(
            f"{folder}: is a zarr folder without an OME-Zarr image (no multiscales). "
            "Give the folder of the image itself."
        )
    multiscale = multiscales[0]
    names, units = _axis_names(multiscale)
    datasets = multiscale["datasets"]
    for dataset in datasets:
        check_regular(folder / dataset["path"])
    refuse_pickles(folder, [str(dataset["path"]) for dataset in datasets])
    arrays = [group[dataset["path"]] for dataset in datasets]
    first = arrays[0]
    if len(names) != first.ndim or not {"y", "x"} <= set(names):
        raise InputError(f"{folder}: its axes {names} do not fit an array of {first.ndim} axes.")
    channel = names.index("c") if "c" in names else None
    axes = Axes(names.index("y"), names.index("x"), channel, first.ndim)
    n_channels = 1 if channel is None else min(first.shape[channel], len(CHANNEL_COLORS))
    levels: list[ZarrLevel] = []
    to_rgb, brightfield, reason = _colors(
        np.dtype(first.dtype), n_channels, ome, lambda: levels[-1].sample()
    )
    for array in arrays:
        shape = (array.shape[axes.y], array.shape[axes.x])
        if not levels or is_downsample(levels[0].shape, levels[-1].shape, shape):
            name = f"level {len(levels)}"
            _check_size(folder, array)
            levels.append(ZarrLevel(array, axes, to_rgb, n_channels, name, folder))
    notices = _look_for_lost_chunks(levels) if brightfield else ()
    return SlideContents(
        vendor="ome-zarr",
        levels=tuple(levels),
        resolution=_resolution(multiscale, datasets[0], axes, units),
        brightfield=brightfield,
        brightfield_reason=reason,
        fingerprint_files=_fingerprint_files(folder, [dataset["path"] for dataset in datasets]),
        notices=notices,
    )


def _check_size(folder: Path, array: Any) -> None:
    """Raise where one chunk would fill the memory."""
    n_bytes = math.prod(array.chunks) * np.dtype(array.dtype).itemsize
    shape = " × ".join(f"{size:,}" for size in array.chunks)
    problem = too_large(f"a chunk of {shape} values", n_bytes, of_many=True)
    if problem:
        raise InputError(f"{folder / array.path}: {problem}.")


def _look_for_lost_chunks(levels: Sequence[ZarrLevel]) -> tuple[str, ...]:
    found = []
    for index, level in enumerate(levels):
        finer = levels[index - 1 : index] if index else ()
        found.append(level.look_for_lost_chunks((*levels[index + 1 : index + 2], *finer)))
    return tuple(notice for notice in found if notice)


def _axis_names(multiscale: Mapping[str, Any]) -> tuple[list[str], list[str | None]]:
    """Names and units of the axes; up to version 0.2 they were always the same five."""
    axes = multiscale.get("axes", list("tczyx"))
    names = [axis["name"] if isinstance(axis, dict) else str(axis) for axis in axes]
    units = [axis.get("unit") if isinstance(axis, dict) else None for axis in axes]
    return [name.lower() for name in names], units


def _resolution(
    multiscale: Mapping[str, Any],
    dataset: Mapping[str, Any],
    axes: Axes,
    units: Sequence[str | None],
) -> mpp.Resolution | None:
    """Scale of level 0 times that of the whole multiscale, in the units of its axes."""
    values = []
    for axis in (axes.y, axes.x):
        scale = micrometers = mpp.micrometers(units[axis] or "")
        if micrometers is None or scale is None:
            return None
        found = False
        for holder in (dataset, multiscale):
            for transformation in holder.get("coordinateTransformations", ()):
                if transformation.get("type") == "scale":
                    scale *= float(transformation["scale"][axis])
                    found = True
        if not found:
            return None
        values.append(scale)
    return mpp.resolution(values[0], values[1], "OME-Zarr scale")


def _colors(
    dtype: np.dtype[Any],
    n_channels: int,
    ome: Mapping[str, Any],
    sample: Callable[[], NDArray[Any]],
) -> tuple[ToRGB, bool, str]:
    """How samples become RGB, whether that is brightfield, and in words why."""
    described = [c for c in ome.get("omero", {}).get("channels", []) if isinstance(c, dict)]
    is_plain_rgb = n_channels == 3 and _is_plain_rgb(described)
    is_stained = any(c.get("color") or c.get("label") for c in described) and not is_plain_rgb
    if dtype.itemsize == 1 and n_channels in (1, 3) and not is_stained:
        return StoredColors("rgb" if n_channels == 3 else "grey"), True, "8-bit colours"
    if is_plain_rgb:
        return (
            StoredColors("rgb", full_scale=lambda: full_scale(sample())),
            False,
            f"{dtype.itemsize * 8}-bit values",
        )
    colors = ["FFFFFF"] if n_channels == 1 else list(CHANNEL_COLORS[:n_channels])
    for index, channel in enumerate(described[:n_channels]):
        color = str(channel.get("color", ""))
        if len(color) == 6 and all(digit in "0123456789abcdefABCDEF" for digit in color):
            colors[index] = color

    def limits() -> NDArray[np.float64]:
        values = contrast_limits(sample())
        for index, channel in enumerate(described[:n_channels]):
            window = channel.get("window") or {}
            if "start" in window and "end" in window and window["end"] > window["start"]:
                values[index] = window["start"], window["end"]
        return values

    reason = f"{dtype.itemsize * 8}-bit grey values" if n_channels == 1 else "fluorescence channels"
    return FluorescenceColors(colors, limits), False, reason


def _is_plain_rgb(channels: Sequence[Mapping[str, Any]]) -> bool:
    """Whether channels are coloured or named red, green and blue in this order."""
    colors = [str(channel.get("color", "")).upper() for channel in channels]
    labels = [str(channel.get("label", "")).lower() for channel in channels]
    return colors == ["FF0000", "00FF00", "0000FF"] or labels in (
        ["r", "g", "b"],
        ["red", "green", "blue"],
    )


def _fingerprint_files(folder: Path, paths: Sequence[str]) -> tuple[Path, ...]:
    """Metadata of the group and its arrays, and some chunks of the coarsest array.

    Metadata alone would not tell two slides of one size from the same writer apart.
    """
    holders = [folder, *(folder / path for path in paths)]
    files = [holder / name for holder in holders for name in _METADATA]
    chunks: list[Path] = []
    for parent, subfolders, names in os.walk(holders[-1]):
        subfolders.sort()
        chunks += [Path(parent) / name for name in sorted(names) if name not in _METADATA]
        if len(chunks) >= _FINGERPRINT_CHUNKS:
            break
    return tuple(f for f in (*files, *chunks[:_FINGERPRINT_CHUNKS]) if f.is_file())
