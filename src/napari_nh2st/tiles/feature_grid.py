"""Grid of the tiles that another tool laid over a slide."""

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide
from napari_nh2st.tiles.given_features import GivenFeatures
from napari_nh2st.tiles.grid import MOST_POSITIONS, TileGrid


def feature_grid(given: GivenFeatures, slide: Slide, pitch_um: float) -> TileGrid:
    """The tiles that have features, as an array.

    Tools lay tiles over the whole slide (TRIDENT) or over each piece of tissue from its own corner
    (CLAM, LazySlide). Array positions are those of the lattice that most tiles are on; a tile that
    is off it counts for the nearest position, and keeps its center. Of several at one position, the
    one nearest to it is kept.

    Parameters
    ----------
    given
        Features of the slide's tiles.
    slide
        Knows its µm/px.
    pitch_um
        Distance between the neighbors that the model looks at: it is as many steps as come nearest.

    Raises
    ------
    InputError
        The array would be absurdly large.
    """
    assert slide.mpp is not None
    first = np.array([_usual_phase(each, given.step_px) for each in given.centers.T])
    exact = (given.centers - first) / given.step_px
    array = np.rint(exact).astype(np.int64)
    before = np.minimum(array.min(0), 0)  # of a tile further up or left than the lattice begins
    array, exact, first = array - before, exact - before, first + before * given.step_px
    shape = np.maximum(
        np.floor((np.array(slide.shape) - first) / given.step_px).astype(np.int64) + 1,
        array.max(0) + 1,
    )
    if (positions := int(shape.prod())) > MOST_POSITIONS:
        raise InputError(
            f"{given.path}: tiles {given.step_px:g} px apart make {positions:,} places on the "
            f"slide, more than {MOST_POSITIONS:,}"
        )
    kept = _nearest_of_each(array[:, 0] * shape[1] + array[:, 1], np.abs(exact - array).max(1))
    step_um = given.step_px * float(np.sqrt(slide.mpp[0] * slide.mpp[1]))
    divisions = max(1, round(pitch_um / step_um))
    return TileGrid(
        array[kept],
        given.centers[kept],
        (given.side_px, given.side_px),
        divisions * step_um,
        (given.step_px, given.step_px),
        "square",
        (int(shape[0]), int(shape[1])),
        divisions,
        (float(first[0]), float(first[1])),
    )


def _usual_phase(positions: NDArray[np.float64], step: float) -> float:
    """How far from the edge the lattice begins that most positions are on."""
    phases, counts = np.unique(np.round(positions % step), return_counts=True)
    return float(phases[counts.argmax()])


def _nearest_of_each(place: NDArray[np.int64], distance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Of the tiles of each place the nearest, in the order of the places."""
    order = np.lexsort((distance, place))
    is_first = np.ones(len(order), bool)
    is_first[1:] = place[order][1:] != place[order][:-1]
    return order[is_first]
