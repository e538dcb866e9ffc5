"""Contents of a slide's file, as a format's reader hands them to `Slide`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.remote import SlidePath

from .images import SlideImage
from .level import Level
from .resolution import Resolution


class NotReadable(Exception):
    """A reader cannot read this file; another may. The message continues "FILE: ..."."""


class NotThisFormat(NotReadable):
    """The file is not in this reader's format at all, so its message says little."""


@dataclass(frozen=True)
class SlideContents:
    """A slide as its format stores it, before coarse levels are derived.

    Attributes
    ----------
    vendor
        Who or what wrote it, for example ``"aperio"``.
    levels
        Native levels, finest first.
    resolution
        µm/px of the finest level, where the format records one.
    associated
        For each associated image by name what decodes it to uint8, (height, width, 3).
    brightfield
        Whether its colors are those of a stained section under white light.
    brightfield_reason
        In words, what that rests on.
    fingerprint_files
        Files whose bytes identify this slide.
    close
        Releases what the reader holds open.
    notices
        What looks damaged or was left out, each a sentence for the user.
    images
        All images of the file that can be opened, in its order; empty where there is but one.
    image
        Which of them this is.
    bounds
        The part of level 0 that was scanned, (y, x, height, width) in px, where the format says.
    """

    vendor: str
    levels: tuple[Level, ...]
    resolution: Resolution | None
    brightfield: bool
    brightfield_reason: str
    fingerprint_files: tuple[SlidePath, ...]
    associated: Mapping[str, Callable[[], NDArray[np.uint8]]] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None
    notices: tuple[str, ...] = ()
    images: tuple[SlideImage, ...] = ()
    image: int = 0
    bounds: tuple[int, int, int, int] | None = None
