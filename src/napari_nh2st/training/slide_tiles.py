"""Tiles of a section's spots, read from its slide."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from napari_nh2st.analysis.stain_normalization import (
    StainColors,
    normalization,
    slide_stain_colors,
)
from napari_nh2st.errors import InputError
from napari_nh2st.inference.resample import Resampler
from napari_nh2st.inference.source import tile_source
from napari_nh2st.remote import SlidePath
from napari_nh2st.slide import open_slide
from napari_nh2st.slide.bulk import BulkReader
from napari_nh2st.slide.images import ImageChoice
from napari_nh2st.training.feature_store import digest, feature_store

if TYPE_CHECKING:
    from napari_nh2st.training.study import MeasuredSection

_TILES_A_READ = 32
_FORMAT = 1
"""Raised when the same slide gives other tiles than before."""

_STAIN_FORMAT = 2
"""Raised when the same slide's stains are found otherwise than before."""


def section_normalization(
    measured: "MeasuredSection", reference: StainColors
) -> NDArray[np.float32]:
    """What brings a section's stains to a reference, kept for later trainings and folds."""
    content = {"format": _STAIN_FORMAT, "spots": measured.key, "stain": reference.to_json()}
    key = digest(content)
    if (kept := feature_store().get(key)) is not None:
        return np.asarray(kept["stain"].numpy(), np.float32)
    section = measured.section
    with open_slide(section.slide, mpp=measured.mpp, image=section.image) as slide:
        matrix = normalization(slide_stain_colors(slide), reference)
    feature_store().put(key, {"stain": torch.from_numpy(matrix)})
    return matrix


class SlideTiles:
    """Tiles of a section's spots that can be read, and which these are.

    Where all of them can be, that is remembered. A part that cannot be read may be read another
    time, from a share or a server, so that of such a section nothing is kept.
    """

    def __init__(
        self, measured: "MeasuredSection", tile_px: int, mpp: float, stain: StainColors | None
    ) -> None:
        self._measured = measured
        self._tile_px, self._mpp = tile_px, mpp
        self._stain = None if stain is None else section_normalization(measured, stain)
        self._tiles: NDArray[np.uint8] | None = None
        self.readable = np.ones(measured.spots.n_obs, bool)
        content = {"format": _FORMAT, "spots": measured.key, "tile": [tile_px, mpp]}
        if self._stain is not None:
            content["stain"] = self._stain.tolist()
        key = digest(content)
        self.key: str | None = key
        store = feature_store()
        if store.get(key) is not None:
            return
        self._tiles, self.readable = self._read()
        if self.readable.all():
            store.put(key, {"readable": torch.from_numpy(self.readable)})
        else:
            self.key = None

    def read(self) -> NDArray[np.uint8]:
        """The tiles that can be read, (n, tile, tile, 3)."""
        tiles, self._tiles = self._tiles, None  # whoever asks for them keeps them
        if tiles is None:
            tiles, readable = self._read()
            if lost := int((self.readable & ~readable).sum()):
                raise InputError(
                    f"{self._measured.name}: {lost} tiles that could be read before cannot be "
                    "read any more. Start again to continue without them"
                )
        return tiles if self.readable.all() else tiles[self.readable]

    def _read(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        measured = self._measured
        return read_tiles(
            measured.section.slide,
            measured.mpp,
            measured.centers,
            tile_px=self._tile_px,
            mpp=self._mpp,
            image=measured.section.image,
            stain=self._stain,
        )


def read_tiles(
    slide_path: SlidePath,
    slide_mpp: tuple[float, float],
    centers: NDArray[np.float64],
    *,
    tile_px: int,
    mpp: float,
    threads: int = 2,
    image: ImageChoice = None,
    stain: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Tiles of a slide around given centers.

    Parameters
    ----------
    slide_path, slide_mpp
        The slide and its µm/px at full resolution, (y, x).
    centers
        (n, 2) positions (y, x) in full-resolution pixels.
    tile_px, mpp
        Side of a tile and its µm/px.
    threads
        Number of threads that decode the slide.
    image
        Which image of the slide's file.
    stain
        As of :class:`~napari_nh2st.inference.resample.Resampler`.

    Returns
    -------
    tiles
        (n, tile_px, tile_px, 3) uint8; white beyond the slide.
    readable
        (n,) bool, False where a tile lies on a damaged part.
    """
    tiles = np.empty((len(centers), tile_px, tile_px, 3), np.uint8)
    readable = np.ones(len(centers), bool)
    # From top to bottom, so that pieces of the slide are decoded once.
    order = np.lexsort((centers[:, 1], np.round(centers[:, 0] * slide_mpp[0] / (tile_px * mpp))))
    with (
        open_slide(slide_path, mpp=slide_mpp, image=image) as slide,
        ThreadPoolExecutor(threads) as pool,
    ):
        source = tile_source(slide, slide_mpp, centers, tile_px, mpp)
        reader = BulkReader(slide.levels[source.level], source.top_left, source.size)
        resample = Resampler(source.extent, tile_px, torch.device("cpu"), stain)
        chunks = [order[at : at + _TILES_A_READ] for at in range(0, len(order), _TILES_A_READ)]
        for batch in pool.map(reader.read, chunks):
            resampled = resample(torch.from_numpy(batch.pixels))
            if resampled.is_floating_point():
                resampled = resampled.round().clamp(0, 255).to(torch.uint8)
            tiles[batch.index] = resampled.numpy()
            readable[batch.index[list(batch.failures)]] = False
    return tiles, readable
