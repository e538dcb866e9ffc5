"""What a prediction records of its slide."""

from typing import Any

import numpy as np

from .slide import Slide


def slide_record(slide: Slide) -> dict[str, Any]:
    """Path, fingerprint, size and µm/px of a slide, for ``uns["nh2st"]["slide"]``.

    Of a file with several images also ``image``, the number of the one that was read, and
    ``image_name``; of a slide that was scanned in part ``bounds``, (y, x, height, width) in px.
    """
    record: dict[str, Any] = {
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
