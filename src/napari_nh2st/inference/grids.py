"""Grids of tiles that a prediction may lay over a slide, and what each costs; needs no torch."""

from dataclasses import dataclass

import numpy as np

from napari_nh2st.errors import InputError
from napari_nh2st.inference.settings import PredictSettings, Region
from napari_nh2st.inference.steps import Detail, divisions_of, offered_divisions
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.slide import Slide
from napari_nh2st.tiles.grid import MOST_POSITIONS, Layout, TileGrid, array_shape, tile_grid
from napari_nh2st.tiles.mask import TissueMask


@dataclass(frozen=True)
class Grids:
    """The grids of one pitch over a slide: one for each step.

    Parameters
    ----------
    slide
        Knows its µm/px.
    config
        Of the model.
    settings
        Of the prediction.
    mask
        Where tiles are laid; None for the whole slide.
    """

    slide: Slide
    config: ModelConfig
    settings: PredictSettings
    mask: TissueMask | None

    @property
    def pitch_um(self) -> float:
        """The model's pitch, unless another was given."""
        return self.settings.pitch_um or self.config.pitch_um

    @property
    def layout(self) -> Layout:
        """The model's layout, unless another was given."""
        layout: Layout = self.settings.layout or self.config.neighborhood["layout"]
        return layout

    @property
    def divisions(self) -> tuple[int, ...]:
        """Steps in a pitch, the finest first: one number where the settings leave no choice.

        Raises
        ------
        InputError
            The step of the settings is no part of the pitch.
        """
        if self.settings.step_um is not None:
            return (divisions_of(self.pitch_um, self.settings.step_um),)
        return (1,) if self.settings.pitch_um is not None else self.offered

    @property
    def offered(self) -> tuple[int, ...]:
        """Divisions of the pitch that are worth offering, the finest first.

        Left out are those whose array is absurdly large.
        """
        offered = offered_divisions(self.pitch_um)
        return tuple(n for n in offered if self._n_positions(n) <= MOST_POSITIONS) or offered[-1:]

    def grid(self, divisions: int) -> TileGrid:
        """The tiles to predict.

        Raises
        ------
        InputError
            There is none.
        """
        return self.tiles(divisions, self.settings.polygons)

    def tiles(self, divisions: int, polygons: Region = ()) -> TileGrid:
        """The tiles of the tissue, or those in some polygons."""
        return tile_grid(
            self.slide,
            tile_um=self.config.tile_um,
            pitch_um=self.pitch_um,
            mask=self.mask,
            layout=self.layout,
            min_tissue=self.settings.min_tissue,
            region=tuple(np.array(polygon) for polygon in polygons),
            divisions=divisions,
        )

    def detail(self, divisions: int, tiles_per_s: float | None) -> Detail:
        """What the grid of so many divisions costs at a speed, which may not be known.

        Raises
        ------
        InputError
            It has no tile.
        """
        n_tiles = len(self.grid(divisions))
        if self.config.reach == "slide" and self.settings.polygons:
            n_tiles = len(self.tiles(divisions))  # a region costs what the tissue does
        return Detail(self.pitch_um / divisions, n_tiles, None).at_speed(tiles_per_s)

    def details(self, tiles_per_s: float | None) -> dict[int, Detail]:
        """What each of :attr:`divisions` costs that has a tile, the finest first.

        A small region may lie between the tiles of a coarse grid.

        Raises
        ------
        InputError
            None has a tile; what is said is of the finest.
        """
        details: dict[int, Detail] = {}
        problems = []
        for divisions in self.divisions:
            try:
                details[divisions] = self.detail(divisions, tiles_per_s)
            except InputError as error:
                problems.append(error)
        if not details:
            raise problems[0]
        return details

    def _n_positions(self, divisions: int) -> int:
        rows, columns = array_shape(
            self.slide, pitch_um=self.pitch_um, layout=self.layout, divisions=divisions
        )
        return rows * columns
