"""Snapshot of a prediction, to be written while the prediction itself is annotated."""

from collections.abc import Mapping
from typing import Any

from anndata import AnnData

from napari_nh2st.prediction.schema import named_layers


def snapshot(prediction: AnnData) -> AnnData:
    """A prediction as it is now: what is annotated, named or chosen in it later is not in this.

    The values are shared, not copied: no run may fill the prediction meanwhile.
    """
    return AnnData(
        X=prediction.X,
        obs=prediction.obs.copy(),
        var=prediction.var.copy(),
        uns=_copied(prediction.uns),
        obsm=dict(prediction.obsm),
        varm=dict(prediction.varm),
        layers=named_layers(prediction),
        obsp=dict(prediction.obsp),
        varp=dict(prediction.varp),
    )


def _copied(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Dictionaries anew; what is in them is replaced in a prediction, never changed in place."""
    return {
        key: _copied(value) if isinstance(value, Mapping) else value for key, value in notes.items()
    }
