"""Slides from arrays: in memory, with every decoding counted, or as exact TIFF files."""

import hashlib
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from napari_nh2st.errors import SegmentError
from napari_nh2st.slide import Level, Slide
from napari_nh2st.slide.contents import SlideContents

Pixels = NDArray[np.uint8]


class ArrayLevel(Level):
    """A level that counts how often each segment is decoded; some segments may be damaged."""

    def __init__(
        self,
        pixels: Pixels,
        segment_shape: tuple[int, int] = (64, 64),
        damaged: Iterable[tuple[int, int]] = (),
    ) -> None:
        super().__init__(pixels.shape[:2], segment_shape)
        self.pixels = pixels
        self.damaged = set(damaged)
        self.decoded: Counter[tuple[int, int]] = Counter()
        self._lock = threading.Lock()

    def read_segment(self, row: int, column: int) -> Pixels:
        with self._lock:
            self.decoded[row, column] += 1
        if (row, column) in self.damaged:
            raise SegmentError(f"segment ({row}, {column}) is damaged")
        top, left, height, width = self.segment_bounds(row, column)
        return self.pixels[top : top + height, left : left + width].copy()


def array_slide(
    *levels: ArrayLevel,
    mpp: float | tuple[float, float] | None = 0.5,
    brightfield: bool = True,
    path: str = "drawn.tif",
) -> Slide:
    contents = SlideContents("drawn", levels, None, brightfield, "it is 16-bit", ())
    slide = Slide(Path(path), contents, (mpp, mpp) if isinstance(mpp, float) else mpp)
    slide.fingerprint = hashlib.sha256(levels[0].pixels.tobytes()).hexdigest()
    return slide


def write_tiff(path: Path, *levels: Pixels, segment: int = 64) -> Path:
    """A tiled TIFF whose levels hold exactly these pixels."""
    with tifffile.TiffWriter(path) as writer:
        for number, pixels in enumerate(levels):
            writer.write(
                pixels,
                photometric="rgb",
                tile=(segment, segment),
                compression="zlib",
                subfiletype=int(number > 0),
                metadata=None,
            )
    return path


def textured(height: int, width: int, seed: int = 0) -> Pixels:
    """Stained everywhere, every place unlike every other."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [
        40 * np.sin(y / rng.uniform(20, 60) + i) * np.cos(x / rng.uniform(20, 60)) for i in range(3)
    ]
    noise = rng.normal(0, 25, (height, width, 3))
    return np.clip(np.stack(waves, -1) + noise + (170, 110, 160), 0, 255).astype(np.uint8)


def tissue(height: int = 700, width: int = 900, samples: int = 3) -> NDArray[np.uint8]:
    """A smooth picture in which every place has its own color."""
    y, x = np.mgrid[:height, :width]
    planes = [
        127 + 120 * np.sin(y / (31 + 7 * i) + i) * np.cos(x / (43 + 5 * i)) for i in range(samples)
    ]
    return np.stack(planes, axis=-1).astype(np.uint8)
