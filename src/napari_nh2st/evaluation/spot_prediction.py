"""Predictions at measured spots."""

from collections.abc import Generator

import numpy as np
import torch
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.events import SpotsPredicted
from napari_nh2st.evaluation.kept_maps import KeptMaps, section_nuclei
from napari_nh2st.inference.device import Placement, place
from napari_nh2st.inference.gathering import NeighborhoodGatherer
from napari_nh2st.inference.nuclei_limit import why_no_nuclei
from napari_nh2st.inference.slide_rows import NOT_FINITE
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.folder import Model
from napari_nh2st.prediction.new import spot_prediction
from napari_nh2st.prediction.rows import RowLayout
from napari_nh2st.prediction.schema import NUCLEI
from napari_nh2st.slide import open_slide
from napari_nh2st.training.study import MeasuredSection, SectionTiles


def predict_spots(
    model: Model,
    measured: MeasuredSection,
    tiles: SectionTiles,
    *,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
) -> Generator[SpotsPredicted, None, AnnData]:
    """Predict a section at its spots, as a slide is predicted at its tiles.

    Parameters
    ----------
    model
        Model with any context.
    measured
        The section.
    tiles
        Its tiles at the model's µm/px, with the target of :func:`measured_genes`.
    device, precision, batch_size
        As in :class:`~napari_nh2st.inference.settings.PredictSettings`.

    Yields
    ------
    SpotsPredicted
        After each batch.

    Returns
    -------
    AnnData
        Spots whose tile could be read × the panel, as from
        :func:`~napari_nh2st.prediction.new.spot_prediction`, with ``obs["nuclei_per_mm2"]`` if
        the tiles are fine enough to count nuclei.

    Raises
    ------
    InputError
        The device does not exist or cannot run the precision.
    """
    config = model.config
    placement = place(device, precision, batch_size, None)
    rows = yield from predict_tiles(model, tiles, placement)
    target = np.full((len(rows), len(config.panel)), np.nan, np.float32)
    columns = [config.panel.index(gene) for gene in measured_genes(config, measured)]
    target[:, columns] = tiles.target

    with open_slide(
        measured.section.slide, mpp=measured.mpp, image=measured.section.image
    ) as slide:
        prediction = spot_prediction(
            rows,
            target,
            measured.spots[tiles.kept],
            slide,
            config,
            mpp=measured.mpp,
            pitch_um=measured.pitch_um,
            layout=measured.layout,
            section=measured.name,
            donor=measured.donor,
            run=placement.notes(),
        )
    if not why_no_nuclei(config):
        prediction.obs[NUCLEI] = section_nuclei(tiles, config.mpp)
    return prediction


def measured_genes(config: ModelConfig, measured: MeasuredSection) -> tuple[str, ...]:
    """The genes of a model's panel that a section has, in the panel's order.

    Raises
    ------
    InputError
        There is none.
    """
    genes = tuple(gene for gene in config.panel if gene in measured.spots.var_names)
    if not genes:
        raise InputError(
            f"{measured.name} shares no gene with the model {config.name}, whose panel begins with "
            f"{', '.join(config.panel[:3])}; its own genes begin with "
            f"{', '.join(measured.spots.var_names[:3])}. Are both symbols, of one species?"
        )
    return genes


def predict_tiles(
    model: Model,
    tiles: SectionTiles,
    placement: Placement,
) -> Generator[SpotsPredicted, None, NDArray[np.float32]]:
    """Predict tiles that were cut, each encoded once.

    Yields
    ------
    SpotsPredicted
        After each batch.

    Returns
    -------
    ndarray
        (n, columns) float32, see :mod:`napari_nh2st.prediction.rows`.

    Raises
    ------
    InputError
        The network predicts from the whole slide, and what it makes of a tile is not finite.
    """
    panel = range(len(model.config.panel))
    predictor = model.architecture.prepare(
        model.network, panel, placement.device, placement.dtype, model.heads
    )
    maps = KeptMaps(predictor, model.config, tiles, placement)
    predictor = maps.predictor
    count = len(tiles)
    layout = RowLayout(len(panel), has_spread=model.heads is not None)
    rows = np.full((count, layout.n_columns), np.nan, np.float32)
    everything = np.arange(count)
    gatherer, slide_rows = None, None
    if predictor.reach == "neighborhood":
        gatherer = NeighborhoodGatherer(
            predictor,
            tiles.neighborhoods,
            tiles.mask,
            everything,
            placement.batch_size,
            tiles.centers_um if model.config.needs_offsets else None,
        )
    # In rows over the tissue, neighborhoods complete soon and what they waited for is let go.
    order = np.lexsort(tiles.centers_um.T[::-1])
    for at in range(0, count, placement.batch_size):
        batch = order[at : at + placement.batch_size]
        if maps.needs_pixels:
            pixels = torch.from_numpy(tiles.tiles[batch])
        else:
            side = model.config.tile_px
            pixels = torch.zeros((len(batch), side, side, 3), dtype=torch.uint8)
        encoded = predictor.encode(pixels.to(placement.device))
        if predictor.reach == "slide":
            if slide_rows is None:
                slide_rows = torch.empty((count, encoded[0].shape[1]), dtype=torch.float16)
            slide_rows[batch] = encoded[0].cpu().half()
            if not slide_rows[batch].isfinite().all():
                raise InputError(
                    f"{tiles.name}: a tile cannot be predicted: {NOT_FINITE}. Are the weights of "
                    f"{model.config.name} damaged?"
                )
        elif gatherer is None:
            rows[batch] = encoded[0].float().cpu().numpy()
        else:
            ready, predicted = gatherer.add(batch, encoded, np.zeros(len(batch), bool))
            if predicted is not None:
                rows[ready] = predicted.float().cpu().numpy()
        yield SpotsPredicted(tiles.name, at + len(batch), count)
    maps.keep()
    if slide_rows is not None:
        centers = torch.from_numpy(tiles.places).to(placement.device)
        combined = predictor.combine_slide(slide_rows.to(placement.device), centers)
        rows[:] = combined.float().cpu().numpy()
    return rows
