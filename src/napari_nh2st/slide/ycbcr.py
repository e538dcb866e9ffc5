"""YCbCr as TIFF stores it without JPEG: in blocks with smaller chroma, and by the page's own tags.

TIFF 6.0, section 21.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .colors import ycbcr_to_rgb

_TAGS = _COEFFICIENTS, _SUBSAMPLING, _REFERENCE = 529, 530, 532
_BT601 = (0.299, 0.587, 0.114)
_FULL_RANGE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)
_PHOTOMETRIC = 6


@dataclass(frozen=True)
class YCbCr:
    """How a page stores luma and chroma.

    Parameters
    ----------
    subsampling
        Columns and rows of luma for one sample of chroma.
    coefficients
        Shares of red, green and blue in the luma.
    reference
        Values for black and white of Y, Cb and Cr.
    """

    subsampling: tuple[int, int] = (2, 2)
    coefficients: tuple[float, ...] = _BT601
    reference: tuple[float, ...] = _FULL_RANGE

    @classmethod
    def of(cls, page: Any) -> "YCbCr | None":
        """What the tags of a tifffile page say; None where it does not store YCbCr."""
        if int(page.photometric) != _PHOTOMETRIC:
            return None
        given = {code: page.tags[code].value for code in _TAGS if page.tags.get(code) is not None}
        coefficients = _numbers(given.get(_COEFFICIENTS), 3)
        return cls(
            tuple(given.get(_SUBSAMPLING, (2, 2))),
            coefficients if coefficients and all(coefficients) else _BT601,
            _numbers(given.get(_REFERENCE), 6) or _FULL_RANGE,
        )

    @property
    def is_subsampled(self) -> bool:
        """Whether there is less chroma than luma."""
        return self.subsampling != (1, 1)

    def n_bytes(self, rows: int, columns: int) -> int:
        """Bytes of a piece of 8-bit samples."""
        across, down = self.subsampling
        return -(-rows // down) * -(-columns // across) * (across * down + 2)

    def unpack(self, data: bytes, rows: int, columns: int) -> NDArray[np.uint8]:
        """Luma and enlarged chroma, (rows, columns, 3), of a piece.

        Its blocks, in reading order, have the luma of their pixels, then Cb and Cr.

        Raises
        ------
        ValueError
            There are fewer bytes than pixels.
        """
        across, down = self.subsampling
        shape = (-(-rows // down), -(-columns // across), across * down + 2)
        needed = self.n_bytes(rows, columns)
        if len(data) < needed:
            raise ValueError(f"it has {len(data):,} bytes of YCbCr, not {needed:,}")
        blocks = np.frombuffer(data, np.uint8, needed).reshape(shape)
        luma = blocks[..., :-2].reshape(*shape[:2], down, across).swapaxes(1, 2)
        out = np.empty((shape[0] * down, shape[1] * across, 3), np.uint8)
        out[..., 0] = luma.reshape(out.shape[:2])
        for channel in (1, 2):
            chroma = blocks[..., channel - 3]
            out[..., channel] = chroma.repeat(down, axis=0).repeat(across, axis=1)
        return out[:rows, :columns]

    def to_rgb(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """RGB of YCbCr, both uint8, (rows, columns, 3)."""
        if (self.coefficients, self.reference) == (_BT601, _FULL_RANGE):
            return ycbcr_to_rgb(pixels)
        red_share, green_share, blue_share = self.coefficients
        y, cb, cr = (
            (pixels[..., i].astype(np.float32) - black) * (span / ((white - black) or 1))
            for i, (black, white, span) in enumerate(
                zip(self.reference[::2], self.reference[1::2], (255, 127, 127), strict=True)
            )
        )
        red = y + cr * (2 - 2 * red_share)
        blue = y + cb * (2 - 2 * blue_share)
        green = (y - blue_share * blue - red_share * red) / green_share
        rgb = np.stack([red, green, blue], axis=-1)
        return np.clip(rgb + 0.5, 0, 255).astype(np.uint8)


def _numbers(value: Any, n: int) -> tuple[float, ...] | None:
    """`n` numbers of a tag, which may be rational: pairs of numerator and denominator."""
    if value is None:
        return None
    flat = np.asarray(value, float).ravel()
    if len(flat) == 2 * n:
        flat = flat[::2] / np.where(flat[1::2] == 0, 1, flat[1::2])
    return tuple(flat.tolist()) if len(flat) == n else None
