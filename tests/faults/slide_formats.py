"""Small slides in every format that is read, written by other libraries."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from array_slides import textured

Pixels = NDArray[np.uint8]

_APERIO = (
    "Aperio Image Library v12.0.15\r\n{width}x{height} [0,0 {width}x{height}] (256x256) "
    "|AppMag = 20|MPP = 0.4990"
)
_TILE = 128


def _levels() -> tuple[Pixels, Pixels]:
    whole = textured(384, 520)
    # Tissue with glass around it, so that it is found.
    whole[:70], whole[:, :60] = 243, 243
    return whole, np.ascontiguousarray(whole[::2, ::2])


def _tiff(
    path: Path,
    compression: Any = None,
    *,
    strips: bool = False,
    aperio: bool = False,
    big: bool = False,
    **options: Any,
) -> None:
    shape: dict[str, Any] = {"rowsperstrip": 64} if strips else {"tile": (_TILE, _TILE)}
    with tifffile.TiffWriter(path, bigtiff=big) as writer:
        for number, pixels in enumerate(_levels()):
            height, width = pixels.shape[:2]
            text = _APERIO.format(height=height, width=width) if aperio else None
            writer.write(
                pixels,
                photometric="rgb",
                compression=compression,
                subfiletype=int(number > 0 and not aperio),
                description=text,
                resolution=(20_000, 20_000),
                resolutionunit="CENTIMETER",
                metadata=None,
                **shape,
                **options,
            )
            if aperio and number == 0:
                writer.write(pixels[::4, ::4], photometric="rgb", metadata=None)  # thumbnail


def _ome_tiff(path: Path) -> None:
    whole, half = _levels()
    with tifffile.TiffWriter(path, ome=True) as writer:
        options: dict[str, Any] = {"photometric": "rgb", "tile": (_TILE, _TILE)}
        options["compression"] = "zlib"
        size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "axes": "YXS"}
        writer.write(whole, subifds=1, metadata=size, **options)
        writer.write(half, subfiletype=1, metadata=None, **options)


def _ome_zarr(path: Path, version: str, *, shards: bool = False, **codecs: Any) -> None:
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    datasets = []
    for number, pixels in enumerate(_levels()):
        planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
        sharded = {"shards": (3, 2 * _TILE, 2 * _TILE)} if shards else {}
        array = group.create_array(
            str(number),
            shape=planes.shape,
            chunks=(3, _TILE, _TILE),
            dtype="uint8",
            **sharded,
            **codecs,
        )
        array[...] = planes
        scale = [1.0, 0.5 * 2**number, 0.5 * 2**number]
        transformations = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(number), "coordinateTransformations": transformations})
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    channels = {"Red": "FF0000", "Green": "00FF00", "Blue": "0000FF"}
    colors = [{"color": color, "label": label} for label, color in channels.items()]
    ome = {"multiscales": [{"axes": axes, "datasets": datasets}], "omero": {"channels": colors}}
    group.attrs.update({"ome": {"version": version, **ome}} if version == "0.5" else ome)


def _jpeg(path: Path) -> None:
    path.write_bytes(imagecodecs.jpeg_encode(_levels()[0], level=90))


def _png(path: Path) -> None:
    path.write_bytes(imagecodecs.png_encode(_levels()[0]))


_WRITERS: dict[str, Callable[[Path], None]] = {
    "svs-jpeg.svs": partial(_tiff, compression="jpeg", aperio=True),
    "svs-jpeg2000.svs": partial(_tiff, compression=33005, aperio=True),
    "jpeg-strips.tif": partial(_tiff, compression="jpeg", strips=True),
    "jpeg-big.tif": partial(_tiff, compression="jpeg", big=True),
    "raw.tif": _tiff,
    "raw-strips.tif": partial(_tiff, strips=True),
    "lzw.tif": partial(_tiff, compression="lzw", predictor=True),
    "zlib.tif": partial(_tiff, compression="zlib", predictor=True),
    "zlib-strips.tif": partial(_tiff, compression="zlib", strips=True),
    "zstd.tif": partial(_tiff, compression="zstd"),
    "webp.tif": partial(_tiff, compression="webp"),
    "packbits.tif": partial(_tiff, compression="packbits"),
    "jpegxl.tif": partial(_tiff, compression="jpegxl"),
    "ome.ome.tif": _ome_tiff,
    "v2-blosc.ome.zarr": partial(_ome_zarr, version="0.4", compressors=numcodecs.Blosc()),
    "v2-zlib.ome.zarr": partial(_ome_zarr, version="0.4", compressors=numcodecs.Zlib()),
    "v3-zstd.ome.zarr": partial(_ome_zarr, version="0.5", compressors=ZstdCodec()),
    "v3-blosc.ome.zarr": partial(_ome_zarr, version="0.5", compressors=BloscCodec()),
    "v3-crc32c.ome.zarr": partial(
        _ome_zarr, version="0.5", compressors=(ZstdCodec(), Crc32cCodec())
    ),
    "v3-shards.ome.zarr": partial(_ome_zarr, version="0.5", compressors=ZstdCodec(), shards=True),
    "jpeg.jpg": _jpeg,
    "png.png": _png,
}

FORMATS = tuple(_WRITERS)
"""Names of the files; what is before the first point is the format."""


def write_slide(name: str, folder: Path) -> Path:
    """Write the slide of one format."""
    path = folder / name
    _WRITERS[name](path)
    return path
