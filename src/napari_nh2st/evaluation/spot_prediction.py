"""Predictions at measured spots."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.analysis.scores import MEASURED
from napari_nh2st.errors import InputError
from napari_nh2st.inference.device import Placement, place
from napari_nh2st.inference.gathering import NeighborhoodGatherer
from napari_nh2st.model.config import ModelConfig
from napari_nh2st.model.folder import Model
from napari_nh2st.prediction.new import PREDICTED, library_versions, places
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.slide.overview import slide_overview
from napari_nh2st.slide.record import slide_record, storable_name
from napari_nh2st.training.study import MeasuredSection, SectionTiles

_PICTURE_SIDE = 1200
"""Longest side in pixels of the picture of the tissue in a prediction."""


def predict_spots(
    model: Model,
    measured: MeasuredSection,
    tiles: SectionTiles,
    *,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | None = None,
    on_event: Callable[[str, int, int], None] | None = None,
) -> AnnData:
    """Predict a section at its spots, as a slide is predicted at its tiles.

    Parameters
    ----------
    model
        With whichever context.
    measured
        The section.
    tiles
        Its tiles at the model's µm/px, with the target of :func:`measured_genes`.
    device, precision, batch_size
        As in :class:`~napari_nh2st.inference.settings.PredictSettings`.
    on_event
        As in :func:`evaluate`.

    Returns
    -------
    AnnData
        Spots whose tile could be read × the panel, as
        :func:`~napari_nh2st.prediction.new.new_prediction` has it, and

        - ``layers["measured"]`` float32: the target, NaN for genes that were not measured;
        - ``uns["nh2st"]``: model, target, section and donor.

    Raises
    ------
    InputError
        The device is not there, or cannot run the precision.
    """
    config = model.config
    placement = place(device, precision, batch_size, None)
    values = _predict_tiles(model, tiles, placement, on_event)
    target = np.full(values.shape, np.nan, np.float32)
    columns = [config.panel.index(gene) for gene in measured_genes(config, measured)]
    target[:, columns] = tiles.target

    spots = measured.spots[tiles.kept]
    xy = np.asarray(spots.obsm["spatial"], np.float64)
    array = [name for name in ("array_row", "array_col") if name in spots.obs]
    obs = spots.obs[array].copy()
    obs.insert(0, "in_tissue", 1)
    obs["pxl_row_in_fullres"], obs["pxl_col_in_fullres"] = xy[:, 1], xy[:, 0]
    obs["status"] = np.full(len(obs), PREDICTED, object)
    reliability = config.reliability or {}
    known = [reliability.get(gene) for gene in config.panel]
    var = pd.DataFrame(
        {"reliability": np.array([np.nan if v is None else v for v in known], np.float64)},
        index=list(config.panel),
    )
    prediction = AnnData(values, obs=obs, var=var, obsm=places(xy), layers={MEASURED: target})
    library = storable_name(measured.section.slide.stem)
    with open_slide(
        measured.section.slide, mpp=measured.mpp, image=measured.section.image
    ) as slide:
        prediction.uns["spatial"] = {library: _spatial(slide, measured, config.tile_um)}
        prediction.uns["nh2st"] = _provenance(slide, model, measured, placement)
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


def _predict_tiles(
    model: Model,
    tiles: SectionTiles,
    placement: Placement,
    on_event: Callable[[str, int, int], None] | None,
) -> NDArray[np.float32]:
    """(n, panel), each tile encoded once."""
    panel = range(len(model.config.panel))
    predictor = model.architecture.prepare(model.network, panel, placement.device, placement.dtype)
    count = len(tiles)
    values = np.full((count, len(panel)), np.nan, np.float32)
    everything = np.arange(count)
    gatherer = None
    if predictor.uses_neighborhood:
        gatherer = NeighborhoodGatherer(
            predictor, tiles.neighborhoods, tiles.mask, everything, placement.batch_size
        )
    # In rows over the tissue, neighborhoods complete soon and what they waited for is let go.
    order = np.lexsort(tiles.centers_um.T[::-1])
    for at in range(0, count, placement.batch_size):
        batch = order[at : at + placement.batch_size]
        encoded = predictor.encode(torch.from_numpy(tiles.tiles[batch]).to(placement.device))
        if gatherer is None:
            values[batch] = encoded[0].float().cpu().numpy()
        else:
            ready, predicted = gatherer.add(batch, encoded, np.zeros(len(batch), bool))
            if predicted is not None:
                values[ready] = predicted.float().cpu().numpy()
        if on_event is not None:
            on_event(tiles.name, min(at + len(batch), count), count)
    return values


def _spatial(slide: Slide, measured: MeasuredSection, tile_um: float) -> dict[str, Any]:
    """A picture of the tissue and scale factors in Space Ranger's form."""
    picture = slide_overview(slide, np.ceil(max(slide.shape) / _PICTURE_SIDE))
    scale = picture.shape[0] / slide.shape[0]
    diameter_um = min(tile_um, measured.pitch_um)
    return {
        "images": {"hires": picture},
        "scalefactors": {
            "tissue_hires_scalef": scale,
            "spot_diameter_fullres": diameter_um / float(np.sqrt(np.prod(measured.mpp))),
        },
        "metadata": {"source_image_path": storable_name(measured.section.slide.name)},
    }


def _provenance(
    slide: Slide, model: Model, measured: MeasuredSection, placement: Placement
) -> dict[str, Any]:
    config = model.config
    return {
        "model": {
            "name": config.name,
            "sha256": str(config.weights.get("sha256", "not saved")),
            "architecture": config.architecture,
            "context": config.context,
            "trained": config.trained,
            "training": str(config.training["summary"]),
        },
        "target": {name: value for name, value in config.target.items() if value is not None},
        "tile_px": config.tile_px,
        "mpp": config.mpp,
        "section": measured.name,
        "donor": measured.donor,
        "pitch_um": measured.pitch_um,
        "layout": measured.layout,
        # Of the µm/px, what the spots' distance says counts.
        "slide": slide_record(slide) | {"mpp": np.array(measured.mpp)},
        "run": {"device": str(placement.device), "precision": placement.precision},
        "versions": library_versions(),
    }
