"""The images of a file that has several, and the choice of one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from napari_nh2st.errors import InputError
from napari_nh2st.remote import SlidePath

_ASSOCIATED = re.compile(r"\b(label|macro|thumbnail)\b", re.IGNORECASE)

ImageChoice = int | str | None
"""Number, counted from 0, or name of an image; None for the largest brightfield one."""


@dataclass(frozen=True)
class SlideImage:
    """An image that can be opened as a slide.

    Parameters
    ----------
    name
        Name given by its writer; may be empty.
    shape
        Height and width in px.
    brightfield
        Whether its colors are those of a stained section under white light.
    """

    name: str
    shape: tuple[int, int]
    brightfield: bool

    def __str__(self) -> str:
        height, width = self.shape
        name = f"{self.name!r}, " if self.name else ""
        kind = "" if self.brightfield else ", not brightfield"
        return f"{name}{width} × {height} px{kind}"


def chosen_image(images: Sequence[SlideImage], wanted: ImageChoice, path: SlidePath) -> int:
    """Which of a file's images to open.

    Parameters
    ----------
    images
        All, in the file's order; at least one.
    wanted
        Number or name; a text that is no name may be a number. Without it, the largest
        brightfield image, else the largest.
    path
        The file or folder, for messages.

    Raises
    ------
    InputError
        There is no such image, or several of that name.
    """
    if wanted is None:
        order = [(image.brightfield, image.shape[0] * image.shape[1]) for image in images]
        return order.index(max(order))
    named = [i for i, image in enumerate(images) if image.name == wanted]
    if len(named) > 1:
        raise InputError(
            f"{path} has {len(named)} images named {wanted!r}: choose one by its number, "
            f"{' or '.join(map(str, named))}."
        )
    if named:
        return named[0]
    number = int(wanted) if str(wanted).isascii() and str(wanted).isdigit() else -1
    if 0 <= number < len(images):
        return number
    raise InputError(f"{path} has no image {wanted!r}, but {listed(images)}.")


def associated_name(name: str) -> str | None:
    """``"label"``, ``"macro"`` or ``"thumbnail"`` where an image is called so, else None."""
    found = _ASSOCIATED.search(name)
    return found.group(1).lower() if found else None


def listed(images: Sequence[SlideImage], leave_out: int | None = None) -> str:
    """Images with their numbers, in words."""
    return "; ".join(f"{i}: {image}" for i, image in enumerate(images) if i != leave_out)


def others_notice(images: Sequence[SlideImage], opened: int) -> str | None:
    """What else a file has beside the image that is opened, in a sentence; None for nothing."""
    if len(images) < 2:
        return None
    return (
        f"The file has {len(images)} images. This is {opened} ({images[opened]}); "
        f"others can be chosen ({listed(images, opened)})."
    )
