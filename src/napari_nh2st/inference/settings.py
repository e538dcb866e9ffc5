"""What a prediction can be told."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike

from napari_nh2st.errors import InputError
from napari_nh2st.tiles.grid import Layout

Precision = Literal["auto", "float32", "bfloat16", "float16"]
Order = Literal["raster", "coarse-to-fine"]

_RANGES = {"pitch_um": (1, 100_000), "batch_size": (1, 16_384), "reader_threads": (1, 256)}


@dataclass(frozen=True)
class PredictSettings:
    """Everything that shapes a prediction, for Python, the command line and the widget alike.

    Parameters
    ----------
    genes
        Genes of the panel to predict, in the order wanted; None for the whole panel.
    region
        Polygons, each n corners (y, x) in full-resolution pixels, given as arrays or sequences and
        kept as tuples; only tiles whose center lies in one of them are predicted. Empty: all
        tissue.
    pitch_um
        Distance between tile centers in µm; None for the model's own.
    layout
        ``"square"`` or ``"hexagonal"``; None for the model's own.
    min_tissue
        Share of a tile that has to be tissue.
    tissue_only
        False predicts glass as well.
    device
        ``"auto"`` takes CUDA, else MPS, else the CPU; ``"cuda:1"`` names one of several.
    precision
        ``"auto"`` takes what is fastest on the device without harm: bfloat16 where the hardware
        has it, else float32.
    batch_size
        Tiles per step; None for a size that suits the device.
    reader_threads
        Threads that decode the slide; None for a number that suits the machine.
    order
        ``"raster"`` is the fastest; ``"coarse-to-fine"`` gives every eighth tile first, then the
        ones between.
    any_stain
        True predicts slides that are not brightfield (16-bit, fluorescence) as well.
    """

    genes: tuple[str, ...] | None = None
    region: Sequence[ArrayLike] = ()
    pitch_um: float | None = None
    layout: Layout | None = None
    min_tissue: float = 0.25
    tissue_only: bool = True
    device: str = "auto"
    precision: Precision = "auto"
    batch_size: int | None = None
    reader_threads: int | None = None
    order: Order = "raster"
    any_stain: bool = False

    def __post_init__(self) -> None:
        for name, (least, most) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise InputError(f"{name} is {value}; it must be from {least:,} to {most:,}")
        for name, known in (("layout", get_args(Layout)), ("order", get_args(Order))):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise InputError(f"{name} is {value!r}; it must be one of {', '.join(known)}")
        if not 0 <= self.min_tissue <= 1:
            raise InputError(f"min_tissue is {self.min_tissue}; it is a share from 0 to 1")
        if isinstance(self.genes, str):
            raise InputError(f"genes is the text {self.genes!r}; it must be a tuple of names")
        if self.genes is not None and not self.genes:
            raise InputError("the list of genes is empty; leave it out to predict the whole panel")
        polygons = [np.asarray(polygon, float) for polygon in self.region]
        for number, corners in enumerate(polygons, 1):
            if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
                raise InputError(
                    f"polygon {number} of the region has shape {corners.shape}; it needs at least "
                    "three (y, x) corners"
                )
            if not np.isfinite(corners).all():
                raise InputError(f"polygon {number} of the region has a corner that is not finite")
        # As tuples, settings can be compared and hashed.
        region = tuple(tuple((float(y), float(x)) for y, x in corners) for corners in polygons)
        object.__setattr__(self, "region", region)

    @property
    def polygons(self) -> tuple[tuple[tuple[float, float], ...], ...]:
        """The region as it is kept: tuples of corners (y, x)."""
        return cast(tuple[tuple[tuple[float, float], ...], ...], self.region)

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, those left at None left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["region"] = [list(map(list, polygon)) for polygon in self.polygons]
        if self.genes is not None:
            values["genes"] = list(self.genes)
        return {name: value for name, value in values.items() if value is not None}
