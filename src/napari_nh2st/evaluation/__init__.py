"""Evaluation and cross-validation of models on measured sections.

Names are loaded when first used, since they need torch.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_nh2st.evaluation.crossval import CrossValidation, cross_validate
    from napari_nh2st.evaluation.evaluation import Evaluation, evaluate, write_evaluation

__all__ = ["CrossValidation", "Evaluation", "cross_validate", "evaluate", "write_evaluation"]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "crossval": ["CrossValidation", "cross_validate"],
        "evaluation": ["Evaluation", "evaluate", "write_evaluation"],
    },
)
