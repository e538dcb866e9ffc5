"""Slides: `open_slide` opens a `Slide`, whose resolutions are each a `Level`."""

from .level import Level
from .open import open_slide
from .slide import Slide

__all__ = ["Level", "Slide", "open_slide"]
