"""What a prediction says of its own trust, drawn instead of computed."""

import numpy as np
from anndata import AnnData

from napari_nh2st.prediction.schema import INTERVAL, SPREAD, UNFAMILIAR, notes

RELIABILITY_OF = "other sections of the same tumour"
NOTICE = "The slide's stain is far from what the model saw."


def add_trust(prediction: AnnData, far: float = 0.1) -> AnnData:
    """Give a prediction a spread, intervals, unfamiliarity and a notice.

    The interval of the last gene is not known, and a share ``far`` of the tiles, the first ones, is
    unfamiliar. Tiles without a value have neither spread nor unfamiliarity.
    """
    tiles, genes = prediction.shape
    rng = np.random.default_rng(3)
    missing = np.isnan(np.asarray(prediction.X)).all(1)
    spread = rng.gamma(4, 0.02, (tiles, genes)).astype(np.float32)
    spread[missing] = np.nan
    prediction.layers[SPREAD] = spread
    half_width = np.linspace(0.1, 0.5, genes)
    half_width[-1] = np.nan
    prediction.var[INTERVAL] = half_width
    unfamiliar = rng.uniform(0.2, 0.9, tiles).astype(np.float32)
    unfamiliar[: round(far * tiles)] += 1
    unfamiliar[missing] = np.nan
    prediction.obs[UNFAMILIAR] = unfamiliar
    notes(prediction)["reliability_of"] = RELIABILITY_OF
    notes(prediction)["notices"] = np.array([NOTICE], object)
    return prediction
