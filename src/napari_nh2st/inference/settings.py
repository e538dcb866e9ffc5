"""Settings of a prediction."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike

from napari_nh2st.errors import InputError
from napari_nh2st.html_card import settings_card
from napari_nh2st.options import Option, check_options
from napari_nh2st.prediction.rows import RowLayout
from napari_nh2st.tiles.grid import Layout

Precision = Literal["auto", "float32", "bfloat16", "float16"]
PredictPrecision = Literal["auto", "float32", "bfloat16", "float16", "int8"]
Order = Literal["raster", "coarse-to-fine"]
Region = tuple[tuple[tuple[float, float], ...], ...]
"""Polygons, each of corners (y, x) in full-resolution pixels."""

DEVICE = Option(
    "Device", "auto uses a GPU if there is one; cpu, cuda, cuda:N and mps name a device"
)
PRECISION = Option(
    "Precision", "Precision of the computation; auto: the fastest on the device that does no harm"
)


@dataclass(frozen=True)
class PredictSettings:
    """Everything that shapes a prediction, for Python, the command line and the widget alike.

    Each field's :class:`~napari_nh2st.options.Option` says what it does, its range, and what None
    means.

    Parameters
    ----------
    genes
        Genes of the panel to predict, in this order.
    region
        Polygons, each an array or sequence of n corners (y, x) in full-resolution pixels, kept as
        tuples. Only tiles whose center lies in one of them are predicted. Empty for all tissue.
    step_um
        Distance between the tiles' centers in µm: the pitch divided by a whole number. None takes
        a quarter of the model's pitch if that is at least 20 µm and takes no longer than
        `detail_seconds`, else half of it, else the pitch; if `pitch_um` is given, that pitch.
    pitch_um
        Distance in µm between the neighbors that the model looks at.
    layout
        ``"square"`` or ``"hexagonal"``.
    device
        ``"auto"`` takes CUDA, else MPS, else the CPU; ``"cuda:1"`` names one of several.
    features
        File of tile features, see :mod:`napari_nh2st.tiles.given_features`. Tiles and step are then
        those of the file. Options may follow its name, as in ``slide.h5?tile_px=256&mpp=0.5``.
    precision
        ``"auto"`` takes bfloat16 if the hardware has it, else float32; on a CPU also float32 if
        that is faster, see :mod:`~napari_nh2st.inference.precision`. ``"int8"`` is calibrated on
        some of the slide's tiles and tested on others: if a gene's Pearson correlation with float32
        is below 0.999 there, ``"auto"`` is used instead, and a notice says so.
    spread
        Whether the model's further heads, if it has any, are computed too. Values do not change.
    head_values
        Whether to keep the values of each head, in ``layers["head_1"]`` and so on. Has no effect
        if the model has no heads or `spread` is False.
    image_features
        Whether to keep the tiles' image features, in ``obsm["image_features"]``.
    nuclei
        Whether to count nuclei, into ``obs["nuclei_per_mm2"]``, see
        :mod:`napari_nh2st.inference.nuclei`.
    order
        ``"raster"`` is the fastest; ``"coarse-to-fine"`` predicts every eighth tile first, then
        those in between.
    """

    genes: Annotated[
        tuple[str, ...] | None,
        Option("Genes", "Genes of the panel to predict", default="the whole panel"),
    ] = None
    region: Annotated[
        Sequence[ArrayLike],
        Option("Where", "Polygons to predict in, in full-resolution pixels; none for all tissue"),
    ] = ()
    step_um: Annotated[
        float | None,
        Option(
            "Step",
            "Distance between values; smaller is a finer heatmap and takes longer",
            (0.1, 100_000),
            unit="µm",
            step=1,
            default="a quarter of the pitch, or coarser if that takes long; the pitch if one is "
            "given",
        ),
    ] = None
    detail_seconds: Annotated[
        float,
        Option(
            "Time for detail",
            "Seconds that a prediction may take; if it would take longer, the default step is "
            "coarser",
            (0, 1e6),
            unit="s",
            step=10,
        ),
    ] = 120.0
    pitch_um: Annotated[
        float | None,
        Option(
            "Pitch",
            "Distance between the neighbors that the model looks at",
            (1, 100_000),
            unit="µm",
            step=1,
            default="as in training",
        ),
    ] = None
    layout: Annotated[
        Layout | None, Option("Layout", "Layout of the tiles", default="as in training")
    ] = None
    min_tissue: Annotated[
        float,
        Option("Tissue", "Share of a tile that has to be tissue", (0, 1), step=0.05, special="any"),
    ] = 0.25
    tissue_only: Annotated[
        bool,
        Option(
            "All tiles, glass too",
            "Predict all tiles, whether or not they are tissue",
            negative="all_tiles",
        ),
    ] = True
    features: Annotated[
        str | None,
        Option(
            "Features",
            "Tile features computed by TRIDENT, CLAM or LazySlide, for a model that was trained "
            "on such features: a file, or a folder with a file for each slide",
            default="where the training features are",
        ),
    ] = None
    device: Annotated[str, DEVICE] = "auto"
    precision: Annotated[
        PredictPrecision,
        Option(
            "Precision",
            f"{PRECISION.help}. int8, on a CPU, is faster still: values change slightly, within "
            "the limits of a test on the slide's own tiles",
        ),
    ] = "auto"
    batch_size: Annotated[
        int | None, Option("Batch", "Tiles per step", (1, 16_384), default="chosen for the device")
    ] = None
    reader_threads: Annotated[
        int | None,
        Option(
            "Readers", "Threads that decode the slide", (1, 256), default="chosen for the machine"
        ),
    ] = None
    spread: Annotated[
        bool,
        Option(
            "Values alone",
            "Do not compute how far the model's heads differ, nor how unfamiliar a tile is",
            negative="no_spread",
        ),
    ] = True
    head_values: Annotated[
        bool,
        Option(
            "Keep each head's values",
            "Keep the values of each of the model's heads, so that domains can tell in how many "
            "of them a tile stays in its domain; each head takes as much space as the values",
        ),
    ] = False
    image_features: Annotated[
        bool,
        Option(
            "Keep image features",
            "Keep 32 numbers that describe how each tile looks, so that domains can use the "
            "image as well",
        ),
    ] = False
    nuclei: Annotated[
        bool,
        Option(
            "Keep the density of nuclei",
            "Keep an estimate of the nuclei per mm² of each tile, from its hematoxylin",
        ),
    ] = False
    order: Annotated[Order, Option("Order", "Order in which tiles are predicted")] = "raster"
    any_stain: Annotated[
        bool,
        Option(
            "Allow slides that are not H&E",
            "Predict slides that the model was not made for, such as fluorescence or 16-bit slides",
        ),
    ] = False

    _repr_html_ = settings_card

    def __post_init__(self) -> None:
        check_options(self)
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
    def polygons(self) -> Region:
        """The region as it is kept: tuples of corners (y, x)."""
        return cast(Region, self.region)

    def to_json(self) -> dict[str, Any]:
        """The settings as plain values, without those that are None."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["region"] = [list(map(list, polygon)) for polygon in self.polygons]
        if self.genes is not None:
            values["genes"] = list(self.genes)
        # What was predicted by an earlier version without these is still the same prediction.
        left_out = {
            name for name in ("head_values", "image_features", "nuclei") if not values[name]
        }
        return {n: value for n, value in values.items() if value is not None and n not in left_out}


def row_layout(n_genes: int, n_heads: int, settings: PredictSettings) -> RowLayout:
    """What is computed of a tile with these settings, by a model with so many heads, or 0."""
    count = n_heads if settings.spread else 0
    return RowLayout(
        n_genes,
        has_spread=count > 0,
        n_heads=count if settings.head_values else 0,
        has_image=settings.image_features,
        has_nuclei=settings.nuclei,
    )
