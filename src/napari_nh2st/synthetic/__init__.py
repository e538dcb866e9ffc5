"""Synthetic H&E slides with their expression, drawn offline from a seed, with known truth.

Expression is loaded when first used: a slide is drawn without anndata.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .fields import TissueFields
from .nuclei import NUCLEUS_DTYPE, NucleusClass
from .tissue import SyntheticTissue
from .writing import Mark, write_synthetic_slide

if TYPE_CHECKING:
    from .expression import ProgrammeSettings, synthetic_spots, true_target
    from .space_ranger import write_synthetic_visium
    from .study import write_synthetic_section, write_synthetic_study

DRAWING_VERSION = 1
"""Goes up whenever the same seed gives other pixels."""

__all__ = [
    "DRAWING_VERSION",
    "NUCLEUS_DTYPE",
    "Mark",
    "NucleusClass",
    "ProgrammeSettings",
    "SyntheticTissue",
    "TissueFields",
    "synthetic_spots",
    "true_target",
    "write_synthetic_section",
    "write_synthetic_slide",
    "write_synthetic_study",
    "write_synthetic_visium",
]

_HOMES = {
    "ProgrammeSettings": "expression",
    "synthetic_spots": "expression",
    "true_target": "expression",
    "write_synthetic_section": "study",
    "write_synthetic_study": "study",
    "write_synthetic_visium": "space_ranger",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
