"""OME-Zarr images, versions 0.4 (zarr 2) and 0.5 (zarr 3)."""

import io
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import zarr
from numpy.typing import NDArray

from napari_nh2st.errors import InputError, RemoteError
from napari_nh2st.regular_files import check_regular
from napari_nh2st.remote import RemotePath, SlidePath
from napari_nh2st.zarr_codecs import refuse_pickles

from . import resolution as mpp
from .colors import (
    CHANNEL_COLORS,
    Channels,
    FluorescenceColors,
    StoredColors,
    ToRGB,
    channels_meaning,
    contrast_limits,
    full_scale,
    is_opacity,
)
from .contents import SlideContents
from .images import ImageChoice, SlideImage, associated_name, chosen_image
from .level import is_downsample
from .limits import check_decoded_size
from .remote_zarr import RemoteStore
from .zarr_chunks import ChunkFiles
from .zarr_level import Axes, ZarrLevel

_METADATA = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
_FINGERPRINT_CHUNKS = 16


def is_zarr(folder: SlidePath) -> bool:
    """Whether a folder is a zarr group or array."""
    return any((folder / name).is_file() for name in _METADATA)


def open_ome_zarr(folder: SlidePath, image: ImageChoice = None) -> SlideContents:
    """Open an OME-Zarr image: the first time point and focal plane of its first multiscale.

    Parameters
    ----------
    folder
        Folder of an image, or of numbered images as bioformats2raw lays them out.
    image
        Which of them; see :func:`~napari_nh2st.slide.open_slide`.

    Raises
    ------
    InputError
        It is a plate, labels or no image, its metadata do not fit its arrays, or there is no such
        image.
    """
    group, ome = _metadata(folder)
    if "bioformats2raw.layout" in ome and "multiscales" not in ome and "plate" not in ome:
        series = _series(folder)
        if series:
            return _one_of(folder, series, image)
    return _open_image(folder, group, ome)


def _metadata(folder: SlidePath) -> tuple[Any, dict[str, Any]]:
    """A group and its OME metadata."""
    if isinstance(folder, Path):
        check_regular(folder)
    try:
        store = RemoteStore(folder) if isinstance(folder, RemotePath) else folder
        group = zarr.open_group(store, mode="r")
        attributes = dict(group.attrs)
    except RemoteError:
        raise
    except Exception as error:  # zarr's errors have no common kind
        raise InputError(
            f"{folder}: this zarr folder is not a readable group ({error})."
        ) from error
    ome = attributes.get("ome", attributes)
    if not isinstance(ome, dict):
        raise InputError(f"{folder}: its OME metadata are damaged.")
    return group, ome


def _series(folder: SlidePath) -> list[str]:
    """Names of the numbered images of bioformats2raw, in their order.

    Writers that follow the standard list them in the group OME.
    """
    listed = []
    if is_zarr(folder / "OME"):
        _, ome = _metadata(folder / "OME")
        listed = [str(name) for name in ome.get("series", ())]
    if isinstance(folder, RemotePath):  # which cannot be listed
        numbered = list(itertools.takewhile(lambda n: is_zarr(folder / n), map(str, range(1000))))
    else:
        numbered = sorted((p.name for p in folder.iterdir() if p.name.isdecimal()), key=int)
    return [name for name in listed or numbered if is_zarr(folder / name)]


def _one_of(folder: SlidePath, series: Sequence[str], wanted: ImageChoice) -> SlideContents:
    """The image that is asked for among several, else the largest brightfield one.

    Label and macro are images too for bioformats2raw: they go to the associated images.
    """
    names = _names_in_xml(folder / "OME" / "METADATA.ome.xml")
    found: list[tuple[SlideImage, SlideContents]] = []
    associated: dict[str, Callable[[], NDArray[np.uint8]]] = {}
    for position, name in enumerate(series):
        group, ome = _metadata(folder / name)
        contents = _open_image(folder / name, group, ome)
        number = int(name) if name.isdecimal() else position
        called = names[number] if number < len(names) else ""
        called = called or str(ome["multiscales"][0].get("name") or "")
        if (kind := associated_name(called)) is not None and len(series) > 1:
            level = contents.levels[0]
            associated[kind] = partial(level.read, 0, 0, *level.shape)
            continue
        image = SlideImage(called, contents.levels[0].shape, contents.brightfield)
        found.append((image, contents))
    images = tuple(image for image, _ in found)
    if not images:
        raise InputError(f"{folder}: has labels and overviews, but no image of a slide.")
    chosen = chosen_image(images, wanted, folder)
    return replace(found[chosen][1], images=images, image=chosen, associated=associated)


def _names_in_xml(path: SlidePath) -> list[str]:
    """Names of the images in OME-XML; none where there is no such file, or a damaged one."""
    try:
        root = ElementTree.parse(io.BytesIO(path.read_bytes())).getroot()
    except (OSError, ElementTree.ParseError):
        return []
    return [e.get("Name", "") for e in root if e.tag.rpartition("}")[2] == "Image"]


def _open_image(folder: SlidePath, group: Any, ome: Mapping[str, Any]) -> SlideContents:
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


def _contents(folder: SlidePath, group: Any, ome: Mapping[str, Any]) -> SlideContents:
    multiscales = ome.get("multiscales")
    if not multiscales:
        raise InputError(
            f"{folder}: is a zarr folder without an OME-Zarr image (no multiscales). "
            "Give the folder of the image itself."
        )
    multiscale = multiscales[0]
    names, units = _axis_names(multiscale)
    datasets = multiscale["datasets"]
    if isinstance(folder, Path):
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
    for array in arrays:
        _check_size(folder, array)
    levels: list[ZarrLevel] = []
    to_rgb, brightfield, reason = _colors(
        np.dtype(first.dtype),
        n_channels,
        ome,
        # Their samples serve as well as those of the finest level, and are fewer to read.
        lambda: ZarrLevel(arrays[-1], axes, StoredColors("rgb"), n_channels, "level").sample(),
    )
    for array in arrays:
        shape = (array.shape[axes.y], array.shape[axes.x])
        if not levels or is_downsample(levels[0].shape, levels[-1].shape, shape):
            name = f"level {len(levels)}"
            levels.append(ZarrLevel(array, axes, to_rgb, n_channels, name, folder))
    notices = _look_for_lost_chunks(levels) if brightfield else ()
    return SlideContents(
        vendor="ome-zarr",
        levels=tuple(levels),
        resolution=_resolution(multiscale, datasets[0], axes, units),
        brightfield=brightfield,
        brightfield_reason=reason,
        fingerprint_files=_fingerprint_files(folder, arrays),
        notices=notices,
    )


def _check_size(folder: SlidePath, array: Any) -> None:
    """Raise where one chunk would fill the memory."""
    n_bytes = math.prod(array.chunks) * np.dtype(array.dtype).itemsize
    shape = " × ".join(f"{size:,}" for size in array.chunks)
    check_decoded_size(folder / array.path, f"a chunk of {shape} values", n_bytes, of_many=True)


def _look_for_lost_chunks(levels: Sequence[ZarrLevel]) -> tuple[str, ...]:
    found = []
    for index, level in enumerate(levels):
        finer = levels[index - 1 : index] if index else ()
        compared = next((one for one in levels if one is not level and one.is_small), None)
        neighbors = (*levels[index + 1 : index + 2], *finer)
        found.append(level.look_for_lost_chunks(neighbors, compared))
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
    labels = [c.get("label") for c in described]
    meaning = channels_meaning(n_channels, labels, [str(c.get("color") or "") for c in described])
    is_deep = dtype.itemsize > 1
    if meaning is Channels.UNKNOWN and n_channels == 4 and not is_deep and is_opacity(sample()):
        meaning = Channels.RGBA
    if not is_deep and n_channels == 1 and meaning is Channels.UNKNOWN:
        return StoredColors("grey"), True, "8-bit colors"
    if meaning in (Channels.RGB, Channels.RGBA) and (described or not is_deep):
        return (
            StoredColors(
                "rgb",
                alpha="straight" if meaning is Channels.RGBA else None,
                full_scale=(lambda: full_scale(sample())) if is_deep else None,
            ),
            not is_deep,
            f"{dtype.itemsize * 8}-bit values" if is_deep else "8-bit colors",
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


def _fingerprint_files(folder: SlidePath, arrays: Sequence[Any]) -> tuple[SlidePath, ...]:
    """Metadata of the group and its arrays, and some chunks of the coarsest array.

    Metadata alone would not tell two slides of one size from the same writer apart.
    """
    holders = [folder, *(folder / array.path for array in arrays)]
    files = (holder / name for holder in holders for name in _METADATA)
    chunks = (chunk for chunk in _chunks(folder, arrays[-1]) if chunk.is_file())
    return (*(f for f in files if f.is_file()), *itertools.islice(chunks, _FINGERPRINT_CHUNKS))


def _chunks(folder: SlidePath, array: Any) -> Iterator[SlidePath]:
    """Chunks of an array, some of which may not be stored, in the order of a folder's listing."""
    if isinstance(folder, RemotePath):
        yield from (folder / array.path / key for key in ChunkFiles(array, folder).all_keys())
        return
    for parent, subfolders, names in os.walk(folder / array.path):
        subfolders.sort()
        yield from (Path(parent) / name for name in sorted(names) if name not in _METADATA)
