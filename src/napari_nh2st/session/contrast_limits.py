"""Contrast limits of several layers: each its own, or the same for all."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_nh2st.layers.tile_image import TileImage
from napari_nh2st.prediction.raster import robust_limits

PERCENTILES = (1.0, 99.0)


class ContrastLimits:
    """Gives layers of tile values their contrast limits.

    Attributes
    ----------
    percentiles
        Percentiles of a layer's values that are its limits.
    shared
        Whether all have the same limits: from the lowest to the highest of those each would have.
    """

    def __init__(self) -> None:
        self.percentiles = PERCENTILES
        self.shared = False
        self._own: dict[TileImage, tuple[float, float]] = {}

    def join(self, image: TileImage) -> None:
        """Rule a layer's limits from now on."""
        image.limits = partial(self._limits_of, image)
        if image.follows:
            image.renew_limits()
        else:
            self._own[image] = self._robust(image.values)

    def leave(self, image: TileImage) -> None:
        """Let a layer go: it keeps its limits for the values it has."""
        self._own.pop(image, None)
        image.limits = partial(robust_limits, percentiles=self.percentiles)

    def set(self, percentiles: tuple[float, float], shared: bool) -> None:
        """Change the rule, and the limits of all layers with it, also those set by hand."""
        self.percentiles, self.shared = percentiles, shared
        self._own = {image: self._robust(image.values) for image in self._own}
        for image in self._own:
            image.set_limits(*self._ruled(image))

    def _limits_of(self, image: TileImage, values: NDArray[np.floating]) -> tuple[float, float]:
        self._own[image] = self._robust(values)
        limits = self._ruled(image)
        if self.shared:
            for other in self._own:
                if other is not image and other.follows:
                    other.set_limits(*limits)
        return limits

    def _ruled(self, image: TileImage) -> tuple[float, float]:
        if not self.shared:
            return self._own[image]
        lows, highs = zip(*self._own.values(), strict=True)
        return min(lows), max(highs)

    def _robust(self, values: NDArray[np.floating]) -> tuple[float, float]:
        return robust_limits(values, self.percentiles)
