"""Writer of predictions, for napari."""

from collections.abc import Sequence
from typing import Any

from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.export import export
from napari_nh2st.layers.heatmap import note_limits
from napari_nh2st.layers.keys import PREDICTION_KEY, SPOTS_KEY
from napari_nh2st.prediction.preview import without_preview
from napari_nh2st.prediction.schema import PENDING, STATUS


def write_prediction(path: str, layers: Sequence[tuple[Any, dict[str, Any], str]]) -> list[str]:
    """napari's writer hook: save the prediction that a layer shows, all of its genes.

    The manifest gives it a second layer that may be missing. Of writers for a single layer, napari
    takes any for a name without an ending, so other people's images would come here.

    Parameters
    ----------
    path
        Its name's end tells the format; see :func:`~napari_nh2st.export.export`. A file that is
        there is replaced: napari has asked. Of folders, only those that this program wrote.
    layers
        Data, attributes and type of one layer. What is saved is not this one image or these
        points, but the AnnData in the layer's metadata.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    InputError
        There are two layers, the layer shows no prediction, or it cannot be written.
    """
    from napari.utils.notifications import show_warning

    if len(layers) > 1:
        raise InputError(
            f"{path} holds one prediction, and {len(layers)} layers are selected: save one at a "
            "time."
        )
    ((_, meta, _),) = layers
    metadata = meta.get("metadata", {})
    values = metadata.get(PREDICTION_KEY, metadata.get(SPOTS_KEY))
    if not isinstance(values, AnnData):
        raise InputError(
            f"Layer {meta.get('name', '')!r} shows no prediction of NH2ST: select the heatmap, or "
            "choose another type of file to save this layer as it is."
        )
    if "contrast_limits" in meta:
        note_limits(values, metadata, meta["contrast_limits"])
    values = without_preview(values)
    missing = int((values.obs[STATUS] == PENDING).sum()) if STATUS in values.obs else 0
    if missing:
        show_warning(
            f"{missing:,} of {values.n_obs:,} tiles are not predicted yet: they are saved empty."
        )
    export(values, path, overwrite=True)
    return [path]
