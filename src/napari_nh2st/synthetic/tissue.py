"""A synthetic H&E section, drawn by seed: `SyntheticTissue`."""

import operator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .fields import Floats, Positions, TissueFields, make_fields
from .nuclei import NUCLEUS_DTYPE, Nuclei, NucleusClass, place_nuclei
from .stain import light_through
from .stamps import CELL_REACH_UM, stamp_cell_borders, stamp_nuclei
from .textures import N_DIRECTIONS, Textures, cut, make_textures

BLOCK_PX: Final = 512
"""Pixels are drawn in whole blocks of this side, which makes them the same for any region."""

_MARGIN_PX = 4  # drawn around a block and cut off again, for the blur


@dataclass(frozen=True)
class SyntheticTissue:
    """An H&E section that exists only as a seed until it is drawn.

    It has glass, stroma with collagen fibres, tumour nests, lumens lined by epithelium, and
    aggregates of lymphocytes. Every pixel is a function of `seed`, `shape`, `mpp` and its position,
    so a large slide can be drawn region by region in bounded memory.

    Parameters
    ----------
    seed
        Each seed gives another section.
    shape
        (height, width) in pixels.
    mpp
        µm per pixel.

    Examples
    --------
    >>> tissue = SyntheticTissue(seed=1, shape=(2048, 2048))
    >>> tissue.render(512, 512, 224, 224).shape
    (224, 224, 3)
    """

    seed: int = 0
    shape: tuple[int, int] = (4096, 4096)
    mpp: float = 0.5

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or not 0.05 <= self.mpp <= 20:
            raise ValueError(
                f"A synthetic tissue needs a shape of at least 1 × 1 px and 0.05 to 20 µm/px, "
                f"not {self.shape} and {self.mpp}."
            )

    @cached_property
    def fields(self) -> TissueFields:
        """Fields that say on a coarse grid what lies where: the truth behind the picture."""
        return make_fields(self._rng(0), self.shape[0] * self.mpp, self.shape[1] * self.mpp)

    @cached_property
    def nuclei(self) -> Nuclei:
        """Table of all nuclei, one row each; columns as in `nuclei.NUCLEUS_DTYPE`."""
        return place_nuclei(self._rng(1), self.fields, self.mpp)

    def render(self, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        """Draw a region.

        Parameters
        ----------
        y, x
            Upper left corner in pixels; may lie beyond the slide's edges, where there is glass.
        height, width
            Size in pixels.

        Returns
        -------
        ndarray
            uint8 RGB, (height, width, 3). A pixel is the same whichever region it is drawn in.
        """
        y, x, height, width = (operator.index(v) for v in (y, x, height, width))
        region = np.empty((max(height, 0), max(width, 0), 3), np.uint8)
        for top in range(y // BLOCK_PX * BLOCK_PX, y + height, BLOCK_PX):
            for left in range(x // BLOCK_PX * BLOCK_PX, x + width, BLOCK_PX):
                y0, y1 = max(top, y), min(top + BLOCK_PX, y + height)
                x0, x1 = max(left, x), min(left + BLOCK_PX, x + width)
                block = self._render_block(top, left)
                region[y0 - y : y1 - y, x0 - x : x1 - x] = block[
                    y0 - top : y1 - top, x0 - left : x1 - left
                ]
        return region

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([abs(self.seed), int(self.seed < 0), *stream])

    @cached_property
    def _textures(self) -> Textures:
        return make_textures(self.mpp)

    @cached_property
    def _texture_start(self) -> tuple[int, int]:
        y, x = self._rng(2).integers(0, 2**20, 2)
        return int(y), int(x)

    @cached_property
    def _nuclei_by_block(self) -> dict[tuple[int, int], Nuclei]:
        rows, columns = (
            np.floor_divide(self.nuclei[axis], BLOCK_PX).astype(np.int64) for axis in "yx"
        )
        order = np.lexsort((columns, rows))
        rows, columns = rows[order], columns[order]
        new = np.flatnonzero(np.diff(rows, prepend=-1) | np.diff(columns, prepend=-1))
        groups = np.split(self.nuclei[order], new[1:]) if len(new) else []
        return {(int(rows[i]), int(columns[i])): g for i, g in zip(new, groups, strict=True)}

    def _nuclei_near(self, top: int, left: int) -> Nuclei:
        """Nuclei that can reach into a block with its margin."""
        reach = CELL_REACH_UM / self.mpp + _MARGIN_PX
        blocks = int(np.ceil(reach / BLOCK_PX))
        row, column = top // BLOCK_PX, left // BLOCK_PX
        groups = [
            self._nuclei_by_block[i, j]
            for i in range(row - blocks, row + blocks + 1)
            for j in range(column - blocks, column + blocks + 1)
            if (i, j) in self._nuclei_by_block
        ]
        nuclei = np.concatenate([np.empty(0, NUCLEUS_DTYPE), *groups])
        near = np.ones(len(nuclei), bool)
        for axis, start in (("y", top), ("x", left)):
            near &= nuclei[axis] > start - reach
            near &= nuclei[axis] < start + BLOCK_PX + reach
        return nuclei[near]

    def _render_block(self, top: int, left: int) -> NDArray[np.uint8]:
        y, x, side = top - _MARGIN_PX, left - _MARGIN_PX, BLOCK_PX + 2 * _MARGIN_PX
        noise = self._rng(3, *(n // BLOCK_PX + 2**20 for n in (top, left))).standard_normal(
            (BLOCK_PX, BLOCK_PX, 3), dtype=np.float32
        )
        pixels = np.arange(side) + 0.5
        y_um: Positions = (pixels + y) * self.mpp
        x_um: Positions = (pixels + x) * self.mpp
        stains = self._paint(y, x, y_um, x_um)
        inner = slice(_MARGIN_PX, -_MARGIN_PX)
        return light_through(stains, y_um, x_um, inner, noise)

    def _paint(self, y: int, x: int, y_um: Positions, x_um: Positions) -> Floats | None:
        """Optical densities (hematoxylin, eosin, residual) over a block; None for bare glass."""
        fields, side = self.fields, len(y_um)
        tissue_level = fields.over(fields.tissue_level, y_um, x_um)
        if tissue_level.max() < -5:
            return None
        textures = self._textures
        # The textures are the same for all seeds, so each seed starts elsewhere in them.
        start = y + self._texture_start[0], x + self._texture_start[1]
        grain = cut(textures.grain, *start, side, side)
        patches = cut(textures.patches, *start, side, side)
        chromatin = cut(textures.chromatin, *start, side, side)
        nest_level = fields.over(fields.nest_level, y_um, x_um) + 1.5 * grain
        lumen_level = fields.over(fields.lumen_level, y_um, x_um) + 0.8 * grain
        fibres = self._fibres(*start, y_um, x_um)
        nuclei = self._nuclei_near(y + _MARGIN_PX, x + _MARGIN_PX)

        # Stroma: bundles of collagen with slits between them, looser in places.
        loose = np.clip(0.5 + 0.5 * patches, 0, 1)
        crowd = fields.over(fields.lymphoid, y_um, x_um)
        slits = _ramp(-fibres - 1.75 + 0.6 * loose - crowd, 0.8)
        body = (1 - 0.8 * slits) * (1 + 0.25 * fibres - 0.3 * loose)
        eosin = 0.235 * body * (1 - 0.4 * crowd)
        haematoxylin = (0.04 + 0.09 * crowd) * (1 - slits) * (1 + 0.3 * grain + 0.5 * loose)

        # Tumour nests: amphophilic, granular cytoplasm, faint borders between the cells.
        nest = _ramp(nest_level, 2.0)
        epithelium = nuclei[np.isin(nuclei["class"], (NucleusClass.TUMOUR, NucleusClass.LINING))]
        borders = stamp_cell_borders(epithelium, y, x, side, self.mpp)
        cytoplasm = 1 + 0.10 * chromatin + 0.12 * grain + 0.12 * patches
        eosin += nest * (0.145 * cytoplasm * (1 + 0.45 * borders) - eosin)
        haematoxylin += nest * (0.13 * cytoplasm * (1 + 0.4 * borders) - haematoxylin)

        # Shrinkage leaves clefts around some nests; lumens are empty or hold thin secretion.
        cleft = np.exp(-(((nest_level + 2.5) / 1.8) ** 2)) * _ramp(patches - 0.5, 0.8)
        lumen = _ramp(lumen_level, 1.5)
        kept = (1 - 0.9 * cleft) * (1 - lumen) * _ramp(tissue_level + 1.2 * grain, 1.5)
        eosin *= kept
        haematoxylin *= kept
        eosin += 0.012 * lumen * np.clip(patches + 0.5, 0, 2)

        covered, chromatin_od = stamp_nuclei(nuclei, y, x, side, self.mpp, textures.chromatin)
        eosin *= 1 - 0.45 * covered
        haematoxylin = haematoxylin * (1 - covered) + chromatin_od
        thickness = np.clip(1 + 0.06 * patches, 0.7, 1.3)
        eosin *= thickness
        haematoxylin *= thickness
        residual = 0.45 * eosin + 0.06 * haematoxylin
        return np.maximum(np.stack([haematoxylin, eosin, residual]), 0)

    def _fibres(self, y: int, x: int, y_um: Positions, x_um: Positions) -> Floats:
        """Collagen texture whose fibres run along the fields' direction."""
        fields, side = self.fields, len(y_um)
        angle = 0.5 * np.arctan2(
            fields.over(fields.fibre_sine, y_um, x_um), fields.over(fields.fibre_cosine, y_um, x_um)
        )
        turn = angle * np.float32(N_DIRECTIONS / np.pi)  # in steps between the textures' directions
        lower = np.floor(turn)
        mixed = np.clip((turn - lower - 0.5) * 2 + 0.5, 0, 1) * np.float32(np.pi / 2)
        which = lower.astype(np.int64) % N_DIRECTIONS
        # Squares of the weights sum to 1: the contrast is the same everywhere.
        fibres: Floats = np.cos(mixed) * cut(self._textures.fibres, y, x, side, side, which)
        following = (which + 1) % N_DIRECTIONS
        fibres += np.sin(mixed) * cut(self._textures.fibres, y, x, side, side, following)
        return fibres


def _ramp(level: Floats, width: float) -> Floats:
    """0 below, 1 above, over `width` around a level of 0."""
    return np.clip(level / np.float32(width) + np.float32(0.5), 0, 1)
