"""Predict gene expression from H&E whole-slide images with NH2ST.

Names are loaded when first used: importing the package imports neither torch nor napari.
"""

import lazy_loader

# Not from typing, which takes most of the time until the command can look after signals.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from napari_nh2st import analysis
    from napari_nh2st.cohort import predict_cohort, predict_cohort_events
    from napari_nh2st.errors import InputError
    from napari_nh2st.evaluation import cross_validate, evaluate, plot_scores
    from napari_nh2st.export import export, plot_genes
    from napari_nh2st.inference import PredictSettings, predict, predict_events
    from napari_nh2st.model import load_model
    from napari_nh2st.slide import open_slide
    from napari_nh2st.spots import read_sections, read_spots
    from napari_nh2st.training import TrainSettings, load_study, train
    from napari_nh2st.version import __version__

__all__ = [
    "InputError",
    "PredictSettings",
    "TrainSettings",
    "__version__",
    "analysis",
    "cross_validate",
    "evaluate",
    "export",
    "load_model",
    "load_study",
    "open_slide",
    "plot_genes",
    "plot_scores",
    "predict",
    "predict_cohort",
    "predict_cohort_events",
    "predict_events",
    "read_sections",
    "read_spots",
    "train",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submodules={"analysis", "export"},  # `export` is called like its function
    submod_attrs={
        "cohort": ["predict_cohort", "predict_cohort_events"],
        "errors": ["InputError"],
        "export": ["plot_genes"],
        "inference": ["PredictSettings", "predict", "predict_events"],
        "model": ["load_model"],
        "slide": ["open_slide"],
        "spots": ["read_sections", "read_spots"],
        "evaluation": ["cross_validate", "evaluate", "plot_scores"],
        "training": ["TrainSettings", "load_study", "train"],
        "version": ["__version__"],
    },
)
