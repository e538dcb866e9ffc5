"""Writes small MIRAX slides: a preview, and beside it the folder that holds the pixels.

The layout is that of OpenSlide's documentation of the format: ``Slidedat.ini`` describes levels
and files, ``Index.dat`` has one record a tile (number, offset, length, file), ``Data0000.dat`` the
JPEGs.
"""

import struct
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

_ID = "F" * 32
TILE = 256


def write_mirax(
    path: Path,
    pixels: NDArray[np.uint8],
    at: tuple[int, int] = (1, 2),
    canvas: tuple[int, int] = (6, 8),
    mpp: float = 0.5,
) -> Path:
    """Write a slide of one level.

    Parameters
    ----------
    path
        ``.mrxs``, which becomes a JPEG of 40 × 50 px; the folder has its stem.
    pixels
        (height, width, 3), whole tiles: what was scanned.
    at, canvas
        Row and column of the first scanned tile, and rows and columns of tiles in all.
    """
    path.write_bytes(imagecodecs.jpeg_encode(np.full((40, 50, 3), 200, np.uint8)))
    folder = path.with_suffix("")
    folder.mkdir()
    data, records = bytearray(b"\0" * 16), []
    for top in range(0, pixels.shape[0], TILE):
        for left in range(0, pixels.shape[1], TILE):
            tile = np.ascontiguousarray(pixels[top : top + TILE, left : left + TILE])
            jpeg = imagecodecs.jpeg_encode(tile, level=100, subsampling="444")
            number = (at[0] + top // TILE) * canvas[1] + at[1] + left // TILE
            records.append(struct.pack("<4i", number, len(data), len(jpeg), 0))
            data += jpeg
    (folder / "Data0000.dat").write_bytes(data)
    head = b"01.02" + _ID.encode()
    levels_at = len(head) + 8
    page_at = levels_at + 4 + 8
    (folder / "Index.dat").write_bytes(
        head
        + struct.pack("<2i", levels_at, 0)
        + struct.pack("<i", levels_at + 4)
        + struct.pack("<2i", 0, page_at)
        + struct.pack("<2i", len(records), 0)
        + b"".join(records)
    )
    sections: dict[str, dict[str, object]] = {
        "GENERAL": {
            "SLIDE_ID": _ID,
            "IMAGENUMBER_X": canvas[1],
            "IMAGENUMBER_Y": canvas[0],
            "OBJECTIVE_MAGNIFICATION": 20,
            "CameraImageDivisionsPerSide": 1,
        },
        "HIERARCHICAL": {
            "HIER_COUNT": 1,
            "NONHIER_COUNT": 0,
            "INDEXFILE": "Index.dat",
            "HIER_0_NAME": "Slide zoom level",
            "HIER_0_COUNT": 1,
            "HIER_0_VAL_0_SECTION": "LEVEL_0",
        },
        "DATAFILE": {"FILE_COUNT": 1, "FILE_0": "Data0000.dat"},
        "LEVEL_0": {
            "OVERLAP_X": 0,
            "OVERLAP_Y": 0,
            "MICROMETER_PER_PIXEL_X": mpp,
            "MICROMETER_PER_PIXEL_Y": mpp,
            "IMAGE_FILL_COLOR_BGR": 16777215,
            "DIGITIZER_WIDTH": TILE,
            "DIGITIZER_HEIGHT": TILE,
            "IMAGE_FORMAT": "JPEG",
            "IMAGE_CONCAT_FACTOR": 0,
        },
    }
    lines = []
    for name, values in sections.items():
        lines += [f"[{name}]", *(f"{key}={value}" for key, value in values.items())]
    (folder / "Slidedat.ini").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
