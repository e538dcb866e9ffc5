"""Image features of tiles: how they look to a model's encoder, in a few numbers beside its rows."""

import torch
from torch import Tensor, nn

from napari_nh2st.errors import InputError
from napari_nh2st.model.architectures import Predictor
from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.prepared import Prepared
from napari_nh2st.prediction.rows import N_IMAGE_FEATURES


class WithImageFeatures:
    """A predictor whose rows end with the tiles' image features.

    The mean of each channel of the encoder's map, in 32 directions at right angles that are drawn
    once for all: distances between tiles stay about what they were (Johnson and Lindenstrauss),
    whatever tiles there are and in which order they come. No direction has to be learned from
    the first tiles, so a run that goes on, a region and another slide have the same ones.

    Parameters
    ----------
    predictor
        Encodes tiles in a module of its own.

    Raises
    ------
    InputError
        It has no such encoder.
    """

    def __init__(self, predictor: Predictor) -> None:
        if not isinstance(predictor, Prepared):
            raise InputError(
                "image features are asked for, but this model has no image encoder of its own; "
                "leave them out"
            )
        self._predictor: Prepared = predictor
        self.reach: Reach = predictor.reach
        self._axes: Tensor | None = None

    @torch.inference_mode()
    def encode(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """See :class:`~napari_nh2st.model.architectures.Predictor`."""
        means: list[Tensor] = []

        def keep(_encoder: nn.Module, _inputs: object, maps: Tensor) -> None:
            means.append(maps.float().mean((2, 3)))

        # For this batch alone: an encoder in int8 is another predictor's as well.
        hook = self._predictor.encoder.register_forward_hook(keep)
        try:
            rows = self._predictor.encode(tiles)
        finally:
            hook.remove()
        (seen,) = means
        if self._axes is None:
            self._axes = image_axes(seen.shape[1]).to(seen.device)
        features = seen @ self._axes
        if self.reach == "tile":
            return (torch.cat([rows[0], features], dim=1),)
        if self.reach == "slide":  # what is kept, and the preview where there is one
            return tuple(torch.cat([each, features], dim=1) for each in rows)
        return (*rows, features)

    @torch.inference_mode()
    def combine(self, gathered: tuple[Tensor, ...], mask: Tensor, *offsets: Tensor) -> Tensor:
        """See :class:`~napari_nh2st.model.architectures.Predictor`."""
        *rows, features = gathered
        predicted = self._predictor.combine(tuple(rows), mask, *offsets)
        return torch.cat([predicted, features[:, 0]], dim=1)

    @torch.inference_mode()
    def combine_slide(self, rows: Tensor, centers: Tensor) -> Tensor:
        """See :class:`~napari_nh2st.model.architectures.Predictor`."""
        kept, features = rows.tensor_split([-N_IMAGE_FEATURES], dim=1)
        predicted = self._predictor.combine_slide(kept, centers)
        return torch.cat([predicted, features.float()], dim=1)


def image_axes(n_channels: int) -> Tensor:
    """(channels, 32) float32 directions at right angles, the same in every run.

    Of fewer channels than directions the last columns are 0.
    """
    drawn = torch.randn(
        n_channels,
        N_IMAGE_FEATURES,
        generator=torch.Generator().manual_seed(0),
        dtype=torch.float64,
    )
    axes, upper = torch.linalg.qr(drawn)
    axes = axes * upper.diagonal().sign()  # which a library is free to choose
    result = torch.zeros(n_channels, N_IMAGE_FEATURES)
    result[:, : axes.shape[1]] = axes
    return result
