"""Slides: `open_slide` opens one, `Slide` is it, `Level` is one resolution of it."""

from .level import Level
from .open import open_slide
from .slide import Slide

__all__ = ["Level", "Slide", "open_slide"]
