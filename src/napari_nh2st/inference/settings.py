"""What a prediction can be told."""

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np

from napari_nh2st.errors import InputError
from napari_nh2st.tiles.grid import Layout
from napari_nh2st.tiles.mask import Polygon

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Order = Literal["raster", "coarse-to-fine"]


@dataclass(frozen=True)
class PredictSettings:
    """Everything that shapes a prediction, for Python, the command line and the widget alike.

    Parameters
    ----------
    genes
        Genes of the panel to predict, in the order wanted; None for the whole panel.
    region
        Polygons, each (n, 2) as (y, x) in full-resolution pixels; only tiles whose center lies in
        one of them are predicted. Empty: all tissue.
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
    region: tuple[Polygon, ...] = ()
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
        for name, least in (("pitch_um", 1.0), ("batch_size", 1), ("reader_threads", 1)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise InputError(f"{name} is {value}; it must be at least {least:g}")
        if not 0 <= self.min_tissue <= 1:
            raise InputError(f"min_tissue is {self.min_tissue}; it is a share from 0 to 1")
        if self.genes is not None and not self.genes:
            raise InputError("the list of genes is empty; leave it out to predict the whole panel")
        for number, polygon in enumerate(self.region, 1):
            corners = np.asarray(polygon)
            if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3:
                raise InputError(
                    f"polygon {number} of the region has shape {corners.shape}; it needs at least "
                    "three (y, x) corners"
                )

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, those left at None left out."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["region"] = [np.asarray(p, float).tolist() for p in self.region]
        if self.genes is not None:
            values["genes"] = list(self.genes)
        return {name: value for name, value in values.items() if value is not None}
