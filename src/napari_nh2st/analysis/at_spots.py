"""A prediction at tiles, looked up where spots were measured: compared without the model."""

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.lattice import first_center, step_px
from napari_nh2st.prediction.schema import (
    MARK,
    MEASURED,
    check_prediction,
    is_on_grid,
    notes,
    slide_mpp,
)
from napari_nh2st.prediction.values import predicted_tiles
from napari_nh2st.spots import expression_target, spot_array
from napari_nh2st.spots.overlap import panel_overlap
from napari_nh2st.spots.positions import ARRAY, SPATIAL, positions, spatial_embeddings

_OF_THE_GRID = (
    "array_shape",
    "step_um",
    "step_px_fullres",
    "first_center_px_fullres",
    "domains",
)


def at_spots(prediction: AnnData, spots: AnnData) -> AnnData:
    """Look up a prediction at tiles at measured spots, beside the measured values.

    A spot gets the value of the tile in whose cell of the array it lies. That tile's center is up
    to 0.7 steps away, so correlations are those of this heatmap: at a step much coarser than the
    spots' distance, they are below what the model reaches when it predicts at the spots themselves.

    Parameters
    ----------
    prediction
        Tiles × genes, from :func:`~napari_nh2st.inference.predict`.
    spots
        Raw counts on the same slide, from :func:`~napari_nh2st.spots.read_spots`, in its
        full-resolution pixels.

    Returns
    -------
    AnnData
        Spots × the prediction's genes, as :func:`~napari_nh2st.analysis.comparison_table` and
        :func:`~napari_nh2st.analysis.residual` take it:

        - ``X`` float32, NaN for a spot on no predicted tile;
        - ``layers["measured"]`` float32: the target, see
          :func:`~napari_nh2st.spots.expression_target`, NaN for genes that were not measured;
        - ``obs["tile"]``: name of the tile, empty where there is none.

    Raises
    ------
    InputError
        The AnnData is not a prediction at tiles, the two share hardly any genes, or fewer than two
        spots lie on predicted tiles.

    Examples
    --------
    .. code-block:: python

        comparison_table(at_spots(prediction, spots))
    """
    check_prediction(prediction)
    if not is_on_grid(prediction):
        raise InputError("The prediction is already one at spots: compare it as it is")
    genes = [gene for gene in prediction.var_names if gene in spots.var_names]
    overlap = panel_overlap(list(prediction.var_names), spots.var_names)
    if overlap.is_refused:
        raise InputError(str(overlap.sentence))
    xy = positions(spots)
    tiles = _tiles_of(prediction, xy)
    tiles[tiles >= 0] = np.where(
        predicted_tiles(prediction)[tiles[tiles >= 0]], tiles[tiles >= 0], -1
    )
    found = tiles >= 0
    if found.sum() < 2:
        raise InputError(
            f"{found.sum()} of {len(found)} spots lie on predicted tiles, and a comparison needs "
            "two: are they in full-resolution pixels of the slide that was predicted?"
        )
    shape = len(found), prediction.n_vars
    values, measured = np.full((2, *shape), np.nan, np.float32)
    values[found] = np.asarray(prediction.X)[tiles[found]]
    measured[:, prediction.var_names.get_indexer(genes)] = expression_target(spots, genes)
    names = np.where(found, prediction.obs_names.to_numpy(str)[tiles], "")
    about = {k: v for k, v in prediction.uns[MARK].items() if k not in _OF_THE_GRID}
    pitch_px = spot_array(spots).pitch_px
    about["pitch_um"] = pitch_px * float(np.sqrt(np.prod(slide_mpp(prediction))))
    return AnnData(
        values,
        obs=pd.DataFrame({"tile": names}, index=spots.obs_names),
        var=prediction.var.copy(),
        obsm=spatial_embeddings(xy),
        layers={MEASURED: measured},
        uns={MARK: about} | {k: v for k, v in prediction.uns.items() if k == SPATIAL},
    )


def _tiles_of(prediction: AnnData, xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """(spots,) row of the tile whose cell holds each (x, y); -1 where there is none.

    A cell is what lies nearest to a position of the array, whether there is a tile or not.
    """
    about = notes(prediction)
    step = step_px(prediction)
    at = (xy[:, ::-1] - first_center(prediction)) / step  # (row, column), fractions of them
    if about["layout"] == "hexagonal":
        um = step * slide_mpp(prediction)
        candidates = []
        for row in (np.floor(at[:, 0]), np.ceil(at[:, 0])):
            # Even rows have even columns, odd rows odd ones.
            column = 2 * np.round((at[:, 1] - row % 2) / 2) + row % 2
            candidates.append(np.column_stack([row, column]))
        far = [np.sum(((cell - at) * um) ** 2, axis=1) for cell in candidates]
        cells = np.where((far[0] <= far[1])[:, None], *candidates)
    else:
        cells = np.round(at)
    known = pd.MultiIndex.from_frame(prediction.obs[list(ARRAY)])
    return np.asarray(known.get_indexer(pd.MultiIndex.from_arrays(cells.T.astype(np.int64))))
