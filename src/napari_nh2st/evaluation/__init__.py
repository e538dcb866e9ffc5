"""Evaluation and cross-validation of models on measured sections.

Names are loaded when first used: events need no torch.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_nh2st.evaluation.crossval import (
        CrossValidation,
        cross_validate,
        cross_validate_events,
    )
    from napari_nh2st.evaluation.evaluation import (
        Evaluation,
        evaluate,
        evaluate_events,
        write_evaluation,
    )
    from napari_nh2st.evaluation.events import (
        CrossValidated,
        Evaluated,
        FoldProgress,
        SpotsPredicted,
    )
    from napari_nh2st.evaluation.training_run import training_run_events

__all__ = [
    "CrossValidated",
    "CrossValidation",
    "Evaluated",
    "Evaluation",
    "FoldProgress",
    "SpotsPredicted",
    "cross_validate",
    "cross_validate_events",
    "evaluate",
    "evaluate_events",
    "training_run_events",
    "write_evaluation",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "crossval": ["CrossValidation", "cross_validate", "cross_validate_events"],
        "evaluation": ["Evaluation", "evaluate", "evaluate_events", "write_evaluation"],
        "events": ["CrossValidated", "Evaluated", "FoldProgress", "SpotsPredicted"],
        "training_run": ["training_run_events"],
    },
)
