"""Domains that go over to another prediction of the same slide."""

import numpy as np
from anndata import AnnData

from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.layers.heatmap import of_same_model


def carry_domains(former: AnnData, prediction: AnnData) -> None:
    """Give a prediction the domains of a former one, tile by tile.

    Nothing is given where the tiles lie elsewhere, or the values are of another model.
    """
    domains = NamedDomains.of(former)
    one, other = (each.uns["nh2st"] for each in (former, prediction))
    if domains is None or not (
        "step_px_fullres" in one
        and "step_px_fullres" in other
        and np.allclose(one["step_px_fullres"], other["step_px_fullres"])
        and one["layout"] == other["layout"]
        and of_same_model(former, prediction)
    ):
        return
    domains.carried_to(prediction, former).write(prediction)
