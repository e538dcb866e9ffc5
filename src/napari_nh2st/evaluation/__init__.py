"""Evaluation and cross-validation of models on measured sections.

Names are loaded when first used: events need no torch.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_nh2st.evaluation.architecture_comparison import (
        compare_architectures,
        compare_architectures_events,
    )
    from napari_nh2st.evaluation.architecture_scores import ArchitectureComparison
    from napari_nh2st.evaluation.crossval import (
        CrossValidation,
        cross_validate,
        cross_validate_events,
    )
    from napari_nh2st.evaluation.evaluation import Evaluation, evaluate, evaluate_events
    from napari_nh2st.evaluation.evaluation_folder import write_evaluation
    from napari_nh2st.evaluation.events import (
        ArchitectureProgress,
        ArchitecturesCompared,
        CrossValidated,
        Evaluated,
        FoldProgress,
        SpotsPredicted,
    )
    from napari_nh2st.evaluation.plot import plot_scores
    from napari_nh2st.evaluation.training_run import training_run_events

__all__ = [
    "ArchitectureComparison",
    "ArchitectureProgress",
    "ArchitecturesCompared",
    "CrossValidated",
    "CrossValidation",
    "Evaluated",
    "Evaluation",
    "FoldProgress",
    "SpotsPredicted",
    "compare_architectures",
    "compare_architectures_events",
    "cross_validate",
    "cross_validate_events",
    "evaluate",
    "evaluate_events",
    "plot_scores",
    "training_run_events",
    "write_evaluation",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "architecture_comparison": ["compare_architectures", "compare_architectures_events"],
        "architecture_scores": ["ArchitectureComparison"],
        "crossval": ["CrossValidation", "cross_validate", "cross_validate_events"],
        "evaluation": ["Evaluation", "evaluate", "evaluate_events"],
        "evaluation_folder": ["write_evaluation"],
        "events": [
            "ArchitectureProgress",
            "ArchitecturesCompared",
            "CrossValidated",
            "Evaluated",
            "FoldProgress",
            "SpotsPredicted",
        ],
        "plot": ["plot_scores"],
        "training_run": ["training_run_events"],
    },
)
