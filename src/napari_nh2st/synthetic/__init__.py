"""A synthetic H&E slide, drawn by seed: works offline, and what lies where on it is known."""

from .fields import TissueFields
from .nuclei import NUCLEUS_DTYPE, NucleusClass
from .tissue import SyntheticTissue
from .writing import Mark, write_synthetic_slide

DRAWING_VERSION = 1
"""Goes up whenever the same seed gives other pixels."""

__all__ = [
    "DRAWING_VERSION",
    "NUCLEUS_DTYPE",
    "Mark",
    "NucleusClass",
    "SyntheticTissue",
    "TissueFields",
    "write_synthetic_slide",
]
