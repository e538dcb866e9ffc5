"""Ways to read all tiles of a slide."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dask.array as da
import numpy as np
import tifffile
import zarr

from measuring import Clock, Contestant
from napari_nh2st.inference.schedule import Schedule
from napari_nh2st.slide import open_slide
from napari_nh2st.slide.bulk import BulkReader
from napari_nh2st.tiles import tile_grid

RAW = "segments decoded, not assembled"
BULK = "bulk reader"
_TILE_PX = 224
_BATCH = 16


@contextmanager
def readers(path: Path, threads: int, subset: int) -> Iterator[dict[str, Contestant]]:
    """The contestants, in million pixels per second, each with `threads` threads.

    The first two read the whole level 0. The others read `subset` neighboring tiles: they are so
    slow, and their rate does not depend on how many tiles there are.
    """
    with ExitStack() as stack:
        slide = stack.enter_context(open_slide(path))
        tiff = stack.enter_context(tifffile.TiffFile(path))
        store = stack.enter_context(tiff.aszarr(level=0))
        pool = stack.enter_context(ThreadPoolExecutor(threads))
        lock = threading.Lock()
        array = zarr.open(store, mode="r")
        lazy = da.from_zarr(array)
        level, page = slide.levels[0], tiff.pages.first

        grid = tile_grid(slide, tile_um=112, pitch_um=112, mask=None)
        top_left = (grid.centers - _TILE_PX / 2).round().astype(np.int64)
        inside = (top_left + _TILE_PX <= level.shape).all(1)
        few = [(int(y), int(x)) for y, x in top_left[inside][:subset]]

        def decode_segment(index: int) -> int:
            with lock:
                tiff.filehandle.seek(page.dataoffsets[index])
                data = tiff.filehandle.read(page.databytecounts[index])
            pixels, _, _ = page.decode(data, index, jpegtables=page.jpegtables)
            return pixels.shape[1] * pixels.shape[2]

        def raw(_: Clock) -> float:
            return sum(pool.map(decode_segment, range(len(page.dataoffsets)))) / 1e6

        def bulk(_: Clock) -> float:
            reader = BulkReader(level, top_left, (_TILE_PX, _TILE_PX))
            batches = Schedule(grid, np.arange(len(grid)), _BATCH, "raster", False)
            for batch in pool.map(reader.read, batches):
                assert not batch.failures
            return level.shape[0] * level.shape[1] / 1e6

        def tile_by_tile(read: Callable[[int, int], np.ndarray]) -> Contestant:
            def contestant(_: Clock) -> float:
                shapes = pool.map(lambda corner: read(*corner).shape, few)
                return sum(height * width for height, width, _ in shapes) / 1e6

            return contestant

        def with_dask(y: int, x: int) -> np.ndarray:
            tile = lazy[y : y + _TILE_PX, x : x + _TILE_PX]
            return tile.compute(scheduler="synchronous")  # the pool has the threads

        contestants = {
            RAW: raw,
            BULK: bulk,
            "zarr store of tifffile, tile by tile": tile_by_tile(
                lambda y, x: array[y : y + _TILE_PX, x : x + _TILE_PX]
            ),
            "dask, one compute per tile": tile_by_tile(with_dask),
        }
        try:
            import openslide
        except ImportError:
            pass
        else:
            wsi = stack.enter_context(openslide.OpenSlide(path))
            contestants["openslide, tile by tile"] = tile_by_tile(
                lambda y, x: np.asarray(
                    wsi.read_region((x, y), 0, (_TILE_PX, _TILE_PX)).convert("RGB")
                )
            )
        yield contestants
