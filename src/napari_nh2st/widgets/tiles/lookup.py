"""Everything there is to show of one tile, gathered in a thread."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.analysis.tile_profile import neighborhood_of, top_genes
from napari_nh2st.prediction.schema import slide_mpp
from napari_nh2st.slide import Slide
from napari_nh2st.widgets.tiles.pictures import TilePicture, cells_around, read_tiles

N_GENES = 10


@dataclass(frozen=True, eq=False)
class TileFacts:
    """The values of a tile and its neighborhood.

    Parameters
    ----------
    request
        The number it was asked for with.
    genes
        As :func:`~napari_nh2st.analysis.tile_profile.top_genes` gives them.
    neighborhood
        (m,) rows of the prediction, the tile itself first.
    """

    request: int
    genes: pd.DataFrame
    neighborhood: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TileView:
    """The pictures of a tile and its neighborhood, or why there are none.

    Parameters
    ----------
    request
        The number it was asked for with.
    pictures
        The tile's own first; empty if there are none.
    notice
        Why there are none; empty if there are.
    """

    request: int
    pictures: list[TilePicture]
    notice: str


def look_up(
    request: int,
    prediction: AnnData,
    tile: int,
    side_px: NDArray[np.float64],
    slides: Sequence[Slide],
) -> Iterator[TileFacts | TileView]:
    """Gather the values of a tile, then its pictures.

    Parameters
    ----------
    request
        Comes back with what is found.
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
    yield TileFacts(request, top_genes(prediction, tile, N_GENES), neighborhood)
    yield _view(request, prediction, neighborhood, side_px, slides)


def tile_name(prediction: AnnData, tile: int) -> str:
    """A tile by its place in the array."""
    row, column = (prediction.obs[name].iat[tile] for name in ("array_row", "array_col"))
    return f"{row} × {column}"


def _view(
    request: int,
    prediction: AnnData,
    neighborhood: NDArray[np.int64],
    side_px: NDArray[np.float64],
    slides: Sequence[Slide],
) -> TileView:
    notes = prediction.uns["nh2st"].get("slide", {})
    name = str(notes.get("name", "of the prediction"))
    try:
        slide = _slide_of(notes, slides)
        if slide is None:
            notice = f"Open the slide {name} to see the pictures of the tile."
            return TileView(request, [], notice)
        centers = np.asarray(prediction.obsm["spatial"], np.float64)[neighborhood][:, ::-1]
        pixels = read_tiles(slide, centers, side_px)
    except Exception as error:  # a file that was moved or closed meanwhile: in many ways
        notice = f"The slide {name} cannot be read ({type(error).__name__}: {error})."
        return TileView(request, [], notice)
    offsets = (centers - centers[0]) * slide_mpp(prediction)
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
    return TileView(request, pictures, "")


def _slide_of(notes: Mapping[str, Any], slides: Sequence[Slide]) -> Slide | None:
    if (fingerprint := notes.get("fingerprint")) is not None:
        return next((s for s in slides if s.fingerprint == str(fingerprint)), None)
    named = {slide.path: slide for slide in slides if slide.path.name == notes.get("name")}
    return next(iter(named.values())) if len(named) == 1 else None
