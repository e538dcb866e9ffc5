"""One row of peers.py, run as ``python peer_rows.py ROW SLIDE TILES`` in that row's environment.

Prints tiles per second of 224 px through a ResNet-18 with random weights in bfloat16, channels
last, from the first batch on (LazySlide's from its call on). Needs torch and the row's own package;
only ours needs napari-nh2st.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

_TILE_PX = 224
_BATCH = 16
_WORKERS = 2


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.shortcut(x)).relu()


def _resnet18() -> nn.Module:
    """As torchvision's, which does not install beside every torch, with 250 outputs."""
    sizes = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
    blocks = [_Block(*size) for first in sizes for size in (first, (first[1], first[1], 1))]
    network = nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        *blocks,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, 250),
    )
    return network.eval().to(torch.bfloat16).to(memory_format=torch.channels_last)


def _normalized(tile: Any) -> Tensor:
    """(224, 224, 3) uint8 → (3, 224, 224), as torchvision's transforms give it."""
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = torch.from_numpy(tile.copy()).float().div_(255)
    return ((pixels - mean) / std).permute(2, 0, 1)


class _Tiles(torch.utils.data.Dataset):
    """Tiles of a slide, which each worker opens for itself."""

    def __init__(self, opener: Callable[[], Callable[[int, int], Any]], places: list[Any]) -> None:
        self._opener, self._places = opener, places
        self._read: Callable[[int, int], Any] | None = None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int) -> Tensor:
        if self._read is None:
            self._read = self._opener()
        return _normalized(self._read(*self._places[number]))


def _places(side: int, tiles: int) -> list[tuple[int, int]]:
    across = side // _TILE_PX
    return [(n % across * _TILE_PX, n // across * _TILE_PX) for n in range(min(tiles, across**2))]


def _loaded(opener: Callable[[], Callable[[int, int], Any]], side: int, tiles: int) -> float:
    """Tiles per second with a DataLoader, from the first batch on."""
    dataset = _Tiles(opener, _places(side, tiles))
    batches = torch.utils.data.DataLoader(dataset, _BATCH, num_workers=_WORKERS)
    return _timed(iter(batches))


@torch.inference_mode()
def _timed(batches: Iterator[Tensor]) -> float:
    network, done, started = _resnet18(), 0, 0.0
    for number, batch in enumerate(batches):
        network(batch.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)).float()
        if number == 0:
            started = time.perf_counter()
        else:
            done += len(batch)
    return done / (time.perf_counter() - started)


def bare(path: str, tiles: int) -> float:
    """The network alone, on one batch again and again."""
    batch = torch.randn(_BATCH, 3, _TILE_PX, _TILE_PX)
    return _timed(batch for _ in range(tiles // _BATCH))


def openslide(path: str, tiles: int) -> float:
    """OpenSlide with torch's DataLoader."""
    import numpy as np
    from openslide import OpenSlide

    def opener() -> Callable[[int, int], Any]:
        slide = OpenSlide(path)
        size = (_TILE_PX, _TILE_PX)
        return lambda x, y: np.asarray(slide.read_region((x, y), 0, size).convert("RGB"))

    return _loaded(opener, OpenSlide(path).dimensions[0], tiles)


def tiffslide(path: str, tiles: int) -> float:
    """tiffslide with torch's DataLoader."""
    from tiffslide import TiffSlide

    def opener() -> Callable[[int, int], Any]:
        slide = TiffSlide(path)
        size = (_TILE_PX, _TILE_PX)
        return lambda x, y: slide.read_region((x, y), 0, size, as_array=True)

    return _loaded(opener, TiffSlide(path).dimensions[0], tiles)


def fastslide(path: str, tiles: int) -> float:
    """fastslide with torch's DataLoader."""
    from fastslide import FastSlide

    def opener() -> Callable[[int, int], Any]:
        slide = FastSlide.from_file_path(path)
        size = (_TILE_PX, _TILE_PX)
        return lambda x, y: slide.read_region((x, y), 0, size).numpy()[..., :3]

    return _loaded(opener, FastSlide.from_file_path(path).dimensions[0], tiles)


def lazyslide(path: str, tiles: int) -> float:
    """LazySlide's own tiles and its own loop over them."""
    operators = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        # torchvision's wheel is linked to CUDA and brings no operators to the CPU build of torch.
        # It imports once these two have a name; features are extracted without them.
        operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import lazyslide as zs
    from wsidata import open_wsi

    wsi = open_wsi(path, store=None)
    zs.pp.tile_tissues(wsi, _TILE_PX, tissue_key=None)
    frame = wsi.shapes["tiles"]
    wsi.shapes["tiles"] = frame.iloc[:tiles]
    network, started = _resnet18(), time.perf_counter()

    def model(images: Tensor) -> Tensor:
        return network(images.to(torch.bfloat16)).float()

    zs.tl.feature_extraction(
        wsi,
        model=model,
        model_name="resnet18",
        batch_size=_BATCH,
        num_workers=_WORKERS,
        transform=_normalized,
    )
    return min(tiles, len(frame)) / (time.perf_counter() - started)


def ours(path: str, tiles: int) -> float:
    """``predict()`` in bfloat16, from its first batch on."""
    return _predicted(path, tiles, "bfloat16")


def ours_float32(path: str, tiles: int) -> float:
    """The same in float32."""
    return _predicted(path, tiles, "float32")


def ours_int8(path: str, tiles: int) -> float:
    """The same in int8, whose calibration lies before the first batch.

    Random weights are not what int8 is near to float32 for, and cost as much as others.
    """
    from napari_nh2st.inference import int8

    int8.LOWEST_PCC = -1.0
    return _predicted(path, tiles, "int8")


def _predicted(path: str, tiles: int, precision: Any) -> float:
    import numpy as np

    from napari_nh2st.inference import Event, PredictSettings, Started, TilesDone, predict
    from napari_nh2st.model.config import untrained_config
    from napari_nh2st.model.folder import new_model
    from napari_nh2st.slide import open_slide

    marks: list[tuple[int, float]] = []

    def note(event: Event) -> None:
        if isinstance(event, TilesDone):
            marks.append((event.done, time.perf_counter()))
        if isinstance(event, Started) and event.precision != precision:
            raise SystemExit(event.notices[-1])

    panel = tuple(f"GENE{number}" for number in range(250))
    model = new_model(untrained_config("benchmark", panel), seed=0)
    with open_slide(path) as slide:
        across = slide.shape[1] // _TILE_PX
        down = -(-tiles // across) * _TILE_PX
        box = np.array([(0, 0), (0, across * _TILE_PX), (down, across * _TILE_PX), (down, 0)])
        settings = PredictSettings(
            region=(box,),
            step_um=112.0,
            tissue_only=False,
            device="cpu",
            precision=precision,
            batch_size=_BATCH,
        )
        predict(slide, model, settings, on_event=note)
    (first, began), (last, ended) = marks[0], marks[-1]
    return (last - first) / (ended - began)


_PEERS = (bare, openslide, tiffslide, fastslide, lazyslide)
_ROWS = {f.__name__: f for f in (*_PEERS, ours, ours_float32, ours_int8)}

if __name__ == "__main__":
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    name, slide_path, count = sys.argv[1:]
    print(_ROWS[name](slide_path, int(count)))
