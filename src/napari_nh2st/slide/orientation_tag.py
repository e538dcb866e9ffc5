"""What a file says of how its image is to be turned, which whole-slide images never are."""

from PIL import Image

ORIENTATION = 274
"""Of Exif, and of TIFF."""


def orientation_notice(stored: object) -> tuple[str, ...]:
    """A sentence where an image is to be turned or mirrored for viewing, which is not done here.

    Parameters
    ----------
    stored
        Value of the tag: 1 for an image that is upright, 2 to 8 for others.
    """
    if stored not in range(2, 9):
        return ()
    return (
        f"The file says that its image is to be turned or mirrored (Exif orientation {stored}). "
        "It is read as it is stored, so other programs may show it in another orientation.",
    )


def exif_orientation(exif: bytes) -> object:
    """The orientation in Exif data that begin with ``Exif``; None where there is none."""
    tags = Image.Exif()
    try:
        tags.load(exif)
    except Exception:  # damaged, in one of many ways
        return None
    return tags.get(ORIENTATION)
