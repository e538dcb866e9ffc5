"""Genes, neighborhood and pictures of one tile."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.analysis.tile_profile import neighborhood_of, top_genes
from napari_nh2st.prediction.schema import slide_fingerprint, slide_mpp, slide_name
from napari_nh2st.slide import Slide
from napari_nh2st.slide.level import DAMAGED_GREY
from napari_nh2st.spots.positions import ARRAY, centers

N_GENES = 10

PICTURE_SIDE = 72
"""Pixels of a picture on the screen."""

AROUND = [(row, column) for row in (0, 1, 2) for column in (0, 1, 2) if (row, column) != (1, 1)]
"""Cells (row, column) of three by three around that in the middle."""


@dataclass(frozen=True)
class TilePicture:
    """What the slide shows at a tile.

    Parameters
    ----------
    cell
        (row, column) in the three by three; (1, 1) for the tile itself.
    words
        Which tile it is.
    pixels
        (height, width, 3) uint8.
    """

    cell: tuple[int, int]
    words: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class TileFacts:
    """The values of a tile and its neighborhood.

    Parameters
    ----------
    genes
        As :func:`~napari_nh2st.analysis.tile_profile.top_genes` gives them.
    neighborhood
        (m,) rows of the prediction, the tile itself first.
    """

    genes: pd.DataFrame
    neighborhood: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TileView:
    """The pictures of a tile and its neighborhood, or why there are none.

    Parameters
    ----------
    pictures
        The tile's own first; empty if there are none.
    notice
        Why there are none; empty if there are.
    """

    pictures: list[TilePicture]
    notice: str


def look_up(
    prediction: AnnData,
    tile: int,
    side_px: NDArray[np.float64],
    slides: Sequence[Slide],
) -> Iterator[TileFacts | TileView]:
    """Gather the values of a tile, then its pictures.

    Parameters
    ----------
    prediction
        Tiles × genes.
    tile
        Its row.
    side_px
        (2,) (y, x) of a tile in full-resolution pixels.
    slides
        That are open; that of the prediction is known by its fingerprint, or by its name where
        none was recorded and only one has it.

    Yields
    ------
    TileFacts, then TileView
    """
    neighborhood = neighborhood_of(prediction, tile)
    yield TileFacts(top_genes(prediction, tile, N_GENES), neighborhood)
    yield _view(prediction, neighborhood, side_px, slides)


def tile_name(prediction: AnnData, tile: int) -> str:
    """A tile by its place in the array."""
    row, column = (prediction.obs[name].iat[tile] for name in ARRAY)
    return f"{row} × {column}"


def _view(
    prediction: AnnData,
    neighborhood: NDArray[np.int64],
    side_px: NDArray[np.float64],
    slides: Sequence[Slide],
) -> TileView:
    name = slide_name(prediction)
    try:
        slide = _slide_of(prediction, slides)
        if slide is None:
            notice = f"Open the slide {name} to see the pictures of the tile."
            return TileView([], notice)
        at = centers(prediction)[neighborhood]
        pixels = read_tiles(slide, at, side_px)
    except Exception as error:  # a file that was moved or closed meanwhile: in many ways
        notice = f"The slide {name} cannot be read ({type(error).__name__}: {error})."
        return TileView([], notice)
    offsets = (at - at[0]) * slide_mpp(prediction)
    distances = np.linalg.norm(offsets, axis=1)
    cells = [(1, 1), *cells_around(offsets[1:])]
    pictures = [
        TilePicture(
            cell,
            f"Tile {tile_name(prediction, tile)}" + (f", {away:.0f} µm away" if away else ""),
            picture,
        )
        for cell, tile, away, picture in zip(
            cells, neighborhood.tolist(), distances, pixels, strict=True
        )
    ]
    return TileView(pictures, "")


def _slide_of(prediction: AnnData, slides: Sequence[Slide]) -> Slide | None:
    if (fingerprint := slide_fingerprint(prediction)) is not None:
        return next((s for s in slides if s.fingerprint == fingerprint), None)
    named = {slide.path: slide for slide in slides if slide.path.name == slide_name(prediction)}
    return next(iter(named.values())) if len(named) == 1 else None


def read_tiles(
    slide: Slide, centers: NDArray[np.float64], side_px: NDArray[np.float64]
) -> list[NDArray[np.uint8]]:
    """Read tiles from the level that is just fine enough for the screen.

    Parameters
    ----------
    slide
        Open.
    centers
        (n, 2) (y, x) in full-resolution pixels.
    side_px
        (2,) height and width of a tile in full-resolution pixels.

    Returns
    -------
    list of ndarray
        (height, width, 3) uint8 each, all of one size; white beyond the slide's edge, grey where
        it is damaged.
    """
    number = slide.best_level(
        float(side_px.min()) / PICTURE_SIDE, native_only=not slide.coarse_ready
    )
    down = np.asarray(slide.downsamples[number])
    height, width = (max(1, round(float(side))) for side in side_px / down)
    top_left = np.rint((centers - side_px / 2) / down).astype(int).tolist()
    level = slide.levels[number]
    return [level.read(y, x, height, width, damaged=DAMAGED_GREY) for y, x in top_left]


def cells_around(offsets: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Places in the three by three for the tiles around one, by where they lie.

    Parameters
    ----------
    offsets
        (n, 2) (y, x) from the tile in the middle, n at most 8.

    Returns
    -------
    list
        (row, column) of each. Inside the tissue of a square array it is the array itself; else
        the directions are kept as well as can be (the least sum of squared differences).
    """
    from scipy.optimize import linear_sum_assignment  # takes a moment to load

    if not len(offsets):
        return []
    directions = np.array(AROUND, float) - 1
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    length = np.linalg.norm(offsets, axis=1, keepdims=True)
    own = np.divide(offsets, length, out=np.zeros_like(offsets), where=length > 0)
    cost = ((own[:, None] - directions) ** 2).sum(-1)
    _, chosen = linear_sum_assignment(cost)
    return [AROUND[place] for place in chosen]
