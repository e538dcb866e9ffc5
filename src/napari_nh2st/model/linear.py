"""Linear architecture: ridge regression on the encoder's pooled features."""

from dataclasses import dataclass

from napari_nh2st.model.architecture import trainable
from napari_nh2st.model.catalogue import Reach
from napari_nh2st.model.encoders.resnet import MAP_CHANNELS
from napari_nh2st.model.hyperparameters import Hyperparameters
from napari_nh2st.model.pooled import PooledNetwork
from napari_nh2st.model.prepared import prepare_pooled


@dataclass(frozen=True)
class LinearHyperparameters(Hyperparameters):
    """A linear model has none besides its panel and its tiles."""


class LinearNetwork(PooledNetwork):
    """The tile head alone.

    On frozen features of a good encoder it is the baseline that every other has to beat, as in
    the benchmark of Jaume et al. (2024, arXiv 2406.16192).
    """

    sees_means_alone = True

    @property
    def reach(self) -> Reach:
        return "tile"


ARCHITECTURE = trainable(
    LinearHyperparameters,
    LinearNetwork,
    prepare_pooled,
    lambda config: ("tile_head.",),
    MAP_CHANNELS,
)
