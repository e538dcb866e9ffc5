"""Reader of slides, exported predictions and measured spots, for napari."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari_nh2st.errors import InputError
from napari_nh2st.layers.keys import PREDICTION_KEY, SLIDE_KEY, slide_metadata
from napari_nh2st.layers.reading_thread import read_in_thread
from napari_nh2st.regular_files import check_regular
from napari_nh2st.remote import is_url, slide_path
from napari_nh2st.shown_text import errors_for_qt, for_qt

if TYPE_CHECKING:
    from napari.types import LayerData

    from napari_nh2st.remote import RemotePath
    from napari_nh2st.slide import Slide
    from napari_nh2st.slide.images import ImageChoice

# napari asks in the thread that draws: what reads is imported in the thread that reads.


def get_reader(
    path: str | os.PathLike[str] | Sequence[str],
) -> Callable[[str | Sequence[str]], list["LayerData"]] | None:
    """napari's reader hook: takes single files, and folders of OME-Zarr and AnnData."""
    if isinstance(path, list | tuple):
        if len(path) != 1:
            return None
        path = path[0]
    if is_url(str(path)):
        return _read_slide
    location = Path(str(path))
    try:
        check_regular(location)
    except InputError:
        return _read_slide  # which says so; to look inside would block
    if location.is_dir() and not any(
        (location / name).is_file() for name in (".zattrs", ".zgroup", "zarr.json")
    ):
        return None
    if location.is_dir():
        from napari_nh2st.export.ome_zarr import is_heatmap_image
        from napari_nh2st.layers.expression import holds_expression

        if holds_expression(location):
            return _read_expression
        if is_heatmap_image(location):  # floating-point channels, no slide
            return None
    return _read_expression if _is_h5ad(location) else _read_slide


def _is_h5ad(path: Path) -> bool:
    return path.suffix.lower() == ".h5ad" and not path.is_dir()


@errors_for_qt()
def _read_slide(paths: str | Sequence[str]) -> list["LayerData"]:
    path = paths if isinstance(paths, str) else paths[0]
    layers = read_in_thread(lambda: read_slide(path), slide_path(path).name)
    slide: Slide = layers[0][1]["metadata"][SLIDE_KEY]
    if slide.notices:
        from napari.utils.notifications import show_warning

        for problem in slide.notices:
            show_warning(for_qt(problem))
    from napari_nh2st.slide.images import others_notice

    if (notice := others_notice(slide.images, slide.image)) is not None:
        from napari.utils.notifications import show_info

        show_info(for_qt(f"{notice} The Predict dock opens them."))
    return layers


@errors_for_qt()
def _read_expression(paths: str | Sequence[str]) -> list["LayerData"]:
    path = paths if isinstance(paths, str) else paths[0]
    return read_in_thread(lambda: _expression_layers(path), Path(path).name)


def _expression_layers(path: str) -> list["LayerData"]:
    from napari_nh2st.layers.expression import read_expression
    from napari_nh2st.layers.labels_compilation import compile_labels_drawing

    layers = with_annotations(read_expression(path))
    if any(kind == "labels" for _, _, kind in layers):
        compile_labels_drawing()
    return layers


def with_annotations(layers: list["LayerData"]) -> list["LayerData"]:
    """Layers of an opened prediction and, above its heatmap, its signatures and spatial domains.

    Above them lies the column that was seen last in the place of a gene. The heatmap is hidden
    where that or its domains were seen last; signatures are hidden.
    """
    from napari_nh2st.layers.domains import opened_domains, shows_domains
    from napari_nh2st.layers.signatures import opened_signatures
    from napari_nh2st.layers.tile_columns import opened_column

    annotations: list[LayerData] = []
    for _, attributes, kind in layers:
        prediction = attributes.get("metadata", {}).get(PREDICTION_KEY)
        if kind == "image" and prediction is not None:
            drawn = opened_domains(prediction)
            column = opened_column(prediction)
            attributes["visible"] = not (column or (drawn and shows_domains(prediction)))
            annotations += opened_signatures(prediction) + drawn + column
    return layers + annotations


def read_slide(
    path: "str | os.PathLike[str] | RemotePath",
    mpp: float | None = None,
    image: "ImageChoice" = None,
) -> list["LayerData"]:
    """Open a slide as one napari image layer.

    Parameters
    ----------
    path
        File or folder of any format that :func:`~napari_nh2st.slide.open_slide` knows.
    mpp
        µm/px, where the slide's own is missing or wrong.
    image
        Which image of a file that has several; see :func:`~napari_nh2st.slide.open_slide`.

    Returns
    -------
    list of LayerData
        One multiscale RGB image of lazy dask arrays, in µm where µm/px is known. The slide itself
        is in its metadata under :data:`~napari_nh2st.layers.keys.SLIDE_KEY`.

    Raises
    ------
    InputError
        The file is no slide.
    """
    from napari_nh2st.slide import open_slide

    return [slide_layer(open_slide(path, mpp=mpp, image=image))]


def slide_layer(slide: "Slide") -> "LayerData":
    """One image layer of an open slide, as :func:`read_slide` gives it."""
    from napari_nh2st.layers.coarse_levels import viewer_levels

    levels = viewer_levels(slide)
    attributes = {
        "name": for_qt(layer_name(slide)),
        "rgb": True,
        "multiscale": len(levels) > 1,
        "scale": slide.mpp or (1.0, 1.0),
        "units": ("um", "um") if slide.mpp else ("pixel", "pixel"),
        "metadata": slide_metadata(slide),
    }
    return levels if len(levels) > 1 else levels[0], attributes, "image"


def layer_name(slide: "Slide") -> str:
    """The file's name and, where it has several images, that of the image."""
    if len(slide.images) < 2:
        return slide.path.stem
    return f"{slide.path.stem} [{slide.images[slide.image].name or slide.image}]"
