"""Image layer with one value per tile: its values and limits change, nothing else does."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_nh2st.layers.keys import OWN_LIMITS_KEY
from napari_nh2st.prediction.raster import HeatmapRaster, robust_limits

LimitsRule = Callable[[NDArray[np.floating]], tuple[float, float]]
"""(n,) values of the tiles → contrast limits, low below high."""

_SMALL_CHANGE = 0.1
"""Share of the range of contrast limits that nobody sees while a heatmap fills."""


class TileImage:
    """Puts values of tiles into a layer; the limits follow them until the user sets them.

    That they were set by hand is known from the layer: another of these goes on with it.

    Parameters
    ----------
    layer
        Image of the raster's shape.
    raster
        Where the tiles lie.
    limits
        Contrast limits of values.

    Attributes
    ----------
    values
        (n,) shown last; empty before the first.
    """

    def __init__(
        self, layer: Image, raster: HeatmapRaster, limits: LimitsRule = robust_limits
    ) -> None:
        self.layer = layer
        self.raster = raster
        self.limits = limits
        self.values: NDArray[np.floating] = np.empty(0)
        self._image: NDArray[np.float32] | None = None
        layer.events.interpolation2d.connect(self._draw)

    @property
    def _own_limits(self) -> list[float] | None:
        own: list[float] | None = self.layer.metadata.get(OWN_LIMITS_KEY)
        return own

    @property
    def follows(self) -> bool:
        """Whether the limits follow the values: the user has not set any."""
        return self._own_limits is None or self.layer.contrast_limits == self._own_limits

    def show(self, values: NDArray[np.floating], *, filling: bool = False) -> None:
        """Show (n,) values of the tiles; NaN is transparent where no coarser value stands in.

        Parameters
        ----------
        values
            Values of all tiles.
        filling
            More will come soon: limits that hardly change stay as they are, since napari makes
            the colorbar anew for every change.
        """
        follows = self.follows
        self.values = values
        self._draw()
        if follows:
            limits = self.limits(values)
            if not (filling and self._are_near(limits)):
                self.set_limits(*limits)
        else:
            self.set_limits(*self.layer.contrast_limits, follow=False)

    def _draw(self, _event: object = None) -> None:
        if len(self.values):
            smooth = str(self.layer.interpolation2d) != "nearest"
            self._put(self.raster.sharpened(self.values, smooth))

    def _put(self, image: NDArray[np.float32]) -> None:
        """Put an image into the layer: over the former one, if that is ours and as large.

        Where its data are replaced, napari looks anew at the axes and extents of all layers.
        """
        layer, ours = self.layer, self._image
        is_ours = ours is not None and layer.data is ours and not layer.auto_contrast
        if ours is not None and is_ours and ours.shape == image.shape:
            ours[...] = image
            layer.refresh(highlight=False, extent=False)
        else:
            layer.data = self._image = image

    def _are_near(self, limits: tuple[float, float]) -> bool:
        """Whether limits are those of the layer, give or take a small part of their range."""
        if self._own_limits is None:
            return False
        span = limits[1] - limits[0]
        return bool(np.abs(np.subtract(limits, self._own_limits)).max() < _SMALL_CHANGE * span)

    def follow_values(self) -> None:
        """Let the limits follow the values again, from the next that are shown on."""
        self.layer.metadata.pop(OWN_LIMITS_KEY, None)

    def renew_limits(self) -> None:
        """Take the limits from the values that are there."""
        self.set_limits(*self.limits(self.values))

    def set_limits(self, low: float, high: float, *, follow: bool = True) -> None:
        """Set the contrast limits, and the slider's range as wide as the values need.

        Parameters
        ----------
        low, high
            Limits.
        follow
            Those of the values: the next values bring others.
        """
        layer = self.layer
        # NaN is skipped, also where nothing else is there.
        least = float(np.fmin.reduce(self.values, initial=low))
        most = float(np.fmax.reduce(self.values, initial=high))
        changes = layer.contrast_limits != [low, high]
        # napari refuses limits outside the range of its slider: move that first. It then clips
        # the former limits; drawing a colorbar with those, too, would take twice the time.
        with layer.events.contrast_limits.blocker() if changes else nullcontext():
            layer.contrast_limits_range = (least, most)
        if changes or layer.contrast_limits != [low, high]:
            layer.contrast_limits = (low, high)
        if follow:
            layer.metadata[OWN_LIMITS_KEY] = layer.contrast_limits


def place(layer: Layer, placement: dict[str, Any]) -> None:
    """Move a layer to where another lies, see :func:`placement_of`.

    What is so already is left alone: napari looks at the extents of all layers after each change.
    """
    for name, value in placement.items():
        if not _are_same(getattr(layer, name), value):
            setattr(layer, name, value)


def placement_of(layer: Layer) -> dict[str, Any]:
    """What puts another layer with the same data coordinates onto this one, as its arguments."""
    return {
        name: getattr(layer, name)
        for name in ("scale", "translate", "rotate", "shear", "affine", "units")
    }


def _are_same(one: Any, other: Any) -> bool:
    """Whether two values of an attribute in a placement are equal; if in doubt, they are not."""
    one, other = (np.asarray(getattr(each, "affine_matrix", each)) for each in (one, other))
    if one.shape == (2, 2) and not other.any() and not other.ndim:
        other = np.eye(2)  # an angle of 0
    return bool(one.shape == other.shape and (one == other).all())
