"""Whether two predictions are of the same slide."""

from napari_nh2st.layers.heatmap import Heatmap


def of_same_slide(one: Heatmap, other: Heatmap) -> bool:
    """Whether two heatmaps are of one slide, by its fingerprint.

    Names are compared where a fingerprint was not recorded: files of different folders may have
    the same.
    """
    first, second = (
        heatmap.prediction.uns["nh2st"].get("slide", {}).get("fingerprint")
        for heatmap in (one, other)
    )
    if first is None or second is None:
        return one.slide_name == other.slide_name
    return str(first) == str(second)
