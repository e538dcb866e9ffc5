"""Record of a slide in its predictions."""

from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from .slide import Slide


class SlideRecord(TypedDict):
    """``uns["nh2st"]["slide"]``: file, fingerprint, size and µm/px of a slide.

    Of a file with several images also ``image``, the number of the one that was read, and
    ``image_name``; of a slide that was scanned in part ``bounds``, (y, x, height, width) in px.
    Files of older versions lack some of it.
    """

    name: str
    path: NotRequired[str]
    fingerprint: NotRequired[str]
    vendor: NotRequired[str]
    shape: NotRequired[NDArray[np.int64]]
    mpp: NotRequired[NDArray[np.float64]]
    mpp_source: NotRequired[str]
    image: NotRequired[int]
    image_name: NotRequired[str]
    bounds: NotRequired[NDArray[Any]]


def slide_record(slide: Slide) -> SlideRecord:
    """The record of an open slide."""
    record: SlideRecord = {
        "name": storable_name(slide.path.name),
        "path": storable_name(str(slide.path.absolute())),
        "fingerprint": slide.fingerprint,
        "vendor": slide.vendor,
        "shape": np.array(slide.shape),
    }
    if slide.mpp is not None:
        record["mpp"] = np.array(slide.mpp)
        record["mpp_source"] = slide.mpp_source
    if len(slide.images) > 1:
        record["image"] = slide.image
        record["image_name"] = slide.images[slide.image].name
    if slide.bounds is not None:
        record["bounds"] = np.array(slide.bounds)
    return record


def storable_name(name: str) -> str:
    """A file's name as text that files can hold: bytes that are no UTF-8 are shown as escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")
