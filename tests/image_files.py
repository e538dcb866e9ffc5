"""OME-TIFF files of several images."""

from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from flat_slides import picture

SMALL, LARGE = picture(300, 400, seed=1), picture(512, 640, seed=2)


def write_ome(path: Path, *images: tuple[NDArray[Any], dict[str, Any]]) -> Path:
    with tifffile.TiffWriter(path, ome=True) as writer:
        for pixels, metadata in images:
            colors = {"photometric": "rgb" if pixels.shape[-1] == 3 else "minisblack"}
            writer.write(pixels, tile=(128, 128), metadata=metadata, **colors)
    return path


def described(name: str, mpp: float, axes: str = "YXS", **more: Any) -> dict[str, Any]:
    unit = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    size = {"PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    return {"axes": axes, "Name": name, **size, **unit, **more}
