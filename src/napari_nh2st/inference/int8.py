"""Predictions in int8, where they are as in float32: found out on the slide's own tiles."""

import copy
import hashlib
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_nh2st.analysis.scores import pearson
from napari_nh2st.inference.device import Placement, place
from napari_nh2st.inference.plan import Survey
from napari_nh2st.inference.resample import Resampler
from napari_nh2st.inference.source import tile_source
from napari_nh2st.model.architectures import Predictor
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.int8 import int8_encoder
from napari_nh2st.model.prepared import Prepared
from napari_nh2st.prediction.schema import RunNotes
from napari_nh2st.slide.bulk import BulkReader
from napari_nh2st.tiles.neighborhoods import array_spacing, neighborhoods

LOWEST_PCC = 0.999
"""Pearson correlation with float32 that each gene has to have."""

_FORM = b"2"
"""Another one when the same tiles give an encoder of other values than before."""

_TILES = 64
"""So many give the ranges of activations."""

_COMPARED = 64, 256
"""So many others are predicted to compare, more where tiles are small and cost little: the more,
the less a single one decides."""

_USUAL_PX = 224

_FEWEST_TILES = 8
"""To compare."""


@dataclass(frozen=True)
class Calibration:
    """An encoder in int8, as some tiles of a slide made it.

    Parameters
    ----------
    encoder
        See :func:`~napari_nh2st.model.int8.int8_encoder`.
    tiles_sha256
        Tells the tiles from others.
    n_compared
        Other tiles, on which it was compared with float32.
    pcc, gene
        Lowest Pearson correlation of a gene there, and that gene.
    difference
        Largest one of a value.
    """

    encoder: nn.Module
    tiles_sha256: str
    n_compared: int
    pcc: float
    gene: str
    difference: float

    @property
    def notice(self) -> str:
        """A sentence on what it changes."""
        return (
            f"Predicted in int8: on {self.n_compared} tiles of this slide the lowest Pearson "
            f"correlation of a gene with itself in float32 is {self.pcc:.4f} ({self.gene}), and "
            f"values differ by {self.difference:.2g} at most."
        )

    def notes(self) -> RunNotes:
        """The same numbers, as a prediction records them beside device and precision."""
        return cast(RunNotes, {"int8_pcc": self.pcc, "int8_difference": self.difference})

    def apply(self, predictor: Predictor) -> Predictor:
        """A predictor of the same network with this encoder."""
        return with_encoder(predictor, self.encoder)


def with_encoder(predictor: Predictor, encoder: nn.Module) -> Predictor:
    """A predictor of the same network with another encoder; what follows it stays as it is."""
    assert isinstance(predictor, Prepared)
    result = copy.copy(predictor)
    result.encoder = encoder
    return result


def calibrated(found: Survey, placement: Placement) -> tuple[Survey, Placement]:
    """Settle whether int8 will do, where it is asked for; else change nothing.

    The tiles that this is found out on lie evenly in the whole tissue, whatever the region and
    the step: a tile has the same value in all of them.

    Returns
    -------
    Survey, Placement
        With the calibration and a notice on what it changes; where int8 will not do, with a notice
        that says why, and what ``"auto"`` usually stands for.

    Raises
    ------
    InputError
        There is no tissue.
    """
    if not placement.is_int8:
        return found, placement
    calibration, reason = _calibration(found, placement)
    if calibration is not None:
        notices = (*found.notices, calibration.notice)
        return replace(found, calibration=calibration, notices=notices), placement
    other = place("cpu", "auto", placement.batch_size, placement.reader_threads)
    notice = f"Predicted in {other.precision}, not in int8: {reason}."
    return replace(found, notices=(*found.notices, notice)), other


def _sample(found: Survey) -> tuple[Tensor, Tensor, NDArray[np.float64]]:
    """Tiles that can be read: to see, and others to compare; centers of the latter in µm."""
    slide, config = found.slide, found.model.config
    assert slide.mpp is not None
    every = found.grids.tiles(1).centers
    compared = int(np.clip(_TILES * (_USUAL_PX / config.tile_px) ** 2, *_COMPARED))
    count = min(len(every), _TILES + compared)
    chosen = np.linspace(0, len(every) - 1, count).astype(int)
    source = tile_source(slide, slide.mpp, every[chosen], config.tile_px, config.mpp)
    reader = BulkReader(slide.levels[source.level], source.top_left, source.size)
    batch = reader.read(np.arange(len(chosen)))
    good = np.setdiff1d(batch.index, [batch.index[i] for i in batch.failures])
    resample = Resampler(source.extent, config.tile_px, torch.device("cpu"), found.stain)
    centers = every[chosen[good]] * np.asarray(slide.mpp)
    is_seen = np.zeros(len(good), bool)
    n_seen = min(_TILES, -(-len(good) // 2))
    is_seen[np.linspace(0, len(good) - 1, n_seen).astype(int)] = True
    tiles = [resample(torch.from_numpy(batch.pixels[good[each]])) for each in (is_seen, ~is_seen)]
    return tiles[0], tiles[1], centers[~is_seen]


def can_have_int8(config: ModelConfig) -> bool:
    """Whether a model's encoder has a form in int8, as far as its config says.

    Others than the published one may be too large to be prepared for no purpose.
    """
    return config.encoder is None


def _calibration(found: Survey, placement: Placement) -> tuple[Calibration | None, str]:
    """The encoder, or None and why int8 will not do."""
    model = found.model
    without = "this network has no such form"
    if not can_have_int8(model.config):
        return None, without
    columns = [model.config.panel.index(gene) for gene in found.genes]
    exact = model.architecture.prepare(
        model.network, columns, placement.device, placement.dtype, None
    )
    if not isinstance(exact, Prepared):
        return None, without
    seen, tiles, centers = _sample(found)
    if len(tiles) < _FEWEST_TILES:
        return None, "the slide has too few tiles to see whether values stay the same"
    sha256 = hashlib.sha256(_FORM + np.ascontiguousarray(seen.numpy()).tobytes()).hexdigest()
    encoder = int8_encoder(exact.encoder, seen)
    values = [
        _values(each, tiles, centers, model.config)
        for each in (exact, with_encoder(exact, encoder))
    ]
    # A gene that is the same everywhere has no correlation.
    pcc = np.where(np.ptp(values[0], 0) == 0, 1.0, np.nan_to_num(pearson(*values)))
    worst = int(pcc.argmin())
    if pcc[worst] >= LOWEST_PCC:
        difference = float(np.abs(values[0] - values[1]).max())
        about = len(tiles), float(pcc[worst]), found.genes[worst], difference
        return Calibration(encoder, sha256, *about), ""
    return None, (
        f"on tiles of this slide, {found.genes[worst]} then has a Pearson correlation of "
        f"{pcc[worst]:.4f} with itself in float32, and at least {LOWEST_PCC} is required"
    )


def _values(
    predictor: Predictor, tiles: Tensor, centers: NDArray[np.float64], config: ModelConfig
) -> NDArray[np.float32]:
    """(n, genes) of tiles that have each other as neighbors."""
    parts = [predictor.encode(part) for part in tiles.split(16)]
    rows = tuple(torch.cat(each) for each in zip(*parts, strict=True))
    if predictor.reach == "neighborhood":
        index, mask = neighborhoods(centers, int(config.neighborhood["size"]))
        gathered = tuple(each[torch.from_numpy(index)] for each in rows)
        around = torch.from_numpy(centers[index] - centers[:, None]).float()
        offsets = (around,) if config.needs_offsets else ()
        return predictor.combine(gathered, torch.from_numpy(mask), *offsets).numpy()
    if predictor.reach == "slide":
        places = torch.from_numpy(centers / array_spacing(centers)).float()
        return predictor.combine_slide(rows[0].half(), places).numpy()
    return rows[0].numpy()
