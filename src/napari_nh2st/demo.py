"""The main job on a sample slide, for somebody who has just installed the package."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_nh2st.errors import InputError
from napari_nh2st.inference.events import Event
from napari_nh2st.model.config import untrained_config
from napari_nh2st.model.sources import bundled_models

if TYPE_CHECKING:
    from napari_nh2st.model.folder import Model

_GENES_SHOWN = 3
_PANEL = tuple(f"UNTRAINED-{number}" for number in range(1, 9))
"""No real gene's name is put on random numbers."""


@dataclass(frozen=True)
class DemoResult:
    """What a demo used and wrote."""

    slide: Path
    slide_origin: str
    model: str
    prediction: Path
    picture: Path


def run_demo(
    folder: Path, say: Callable[[str], None], on_event: Callable[[Event], None]
) -> DemoResult:
    """Predict the sample slide and draw heatmaps.

    Parameters
    ----------
    folder
        Made if it is not there. Files of an earlier demo are replaced.
    say
        Takes the sentences to show.
    on_event
        Takes the prediction's events.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    from napari_nh2st.export.figure import save_heatmap_figure
    from napari_nh2st.inference import predict
    from napari_nh2st.prediction.values import genes_by_reliability
    from napari_nh2st.sample_data import sample_slide
    from napari_nh2st.slide import open_slide

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from None
    path, origin = sample_slide()
    say(origin)
    model = demo_model()
    say(f"Model: {model.config.name}")
    output = folder / f"{path.stem}.h5ad"
    picture = folder / f"{path.stem}.png"
    with open_slide(path) as slide:
        prediction = predict(slide, model, output=output, overwrite=True, on_event=on_event)
    save_heatmap_figure(prediction, genes_by_reliability(prediction)[:_GENES_SHOWN], picture)
    return DemoResult(path, origin, model.config.name, output, picture)


def demo_model() -> "Model":
    """The first bundled model; an untrained one, which says so, while none is bundled."""
    from napari_nh2st.model import load_model
    from napari_nh2st.model.folder import new_model

    for name in bundled_models():
        return load_model(name)
    return new_model(untrained_config("untrained-demo", _PANEL), seed=0)
