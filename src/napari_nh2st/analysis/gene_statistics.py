"""Mean and spatial autocorrelation of each gene's map."""

import numpy as np
import pandas as pd
from anndata import AnnData

from napari_nh2st.analysis.autocorrelation import moran
from napari_nh2st.prediction.values import predicted_tiles


def gene_statistics(prediction: AnnData) -> pd.DataFrame:
    """Mean and Moran's I of each gene's map.

    Parameters
    ----------
    prediction
        Tiles × genes; tiles without values are left out.

    Returns
    -------
    DataFrame
        ``mean`` and ``morans_i`` by gene; NaN where nothing is predicted yet.
    """
    table = pd.DataFrame({"mean": np.nan, "morans_i": np.nan}, index=prediction.var_names)
    predicted = predicted_tiles(prediction)
    if predicted.any():
        table["mean"] = np.mean(prediction.X, 0, dtype=np.float64, where=predicted[:, None])
        table["morans_i"] = moran(prediction)
    return table
