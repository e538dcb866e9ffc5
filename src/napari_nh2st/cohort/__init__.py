"""Prediction over many slides.

Names are loaded when first used: settings and events need no torch.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from napari_nh2st.cohort.cohort_slide import CohortSlide
    from napari_nh2st.cohort.events import (
        CohortFinished,
        CohortStarted,
        Progress,
        SlideEnded,
        SlideProgress,
        WaitingForWorkers,
    )
    from napari_nh2st.cohort.results import SlideResult
    from napari_nh2st.cohort.run import predict_cohort, predict_cohort_events
    from napari_nh2st.cohort.settings import CohortSettings
    from napari_nh2st.cohort.slides import find_slides
    from napari_nh2st.cohort.table import cohort_table

__all__ = [
    "CohortFinished",
    "CohortSettings",
    "CohortSlide",
    "CohortStarted",
    "Progress",
    "SlideEnded",
    "SlideProgress",
    "SlideResult",
    "WaitingForWorkers",
    "cohort_table",
    "find_slides",
    "predict_cohort",
    "predict_cohort_events",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cohort_slide": ["CohortSlide"],
        "events": [
            "CohortFinished",
            "CohortStarted",
            "Progress",
            "SlideEnded",
            "SlideProgress",
            "WaitingForWorkers",
        ],
        "results": ["SlideResult"],
        "run": ["predict_cohort", "predict_cohort_events"],
        "settings": ["CohortSettings"],
        "slides": ["find_slides"],
        "table": ["cohort_table"],
    },
)
