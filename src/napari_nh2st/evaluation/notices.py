"""Notices on the scores of a model: sentences that a reader of the numbers should know."""

from collections.abc import Sequence

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.model.config import ModelConfig
from napari_nh2st.prediction.reliability import unfamiliar_notices
from napari_nh2st.training.checks import sections_seen
from napari_nh2st.training.notices import overlaps
from napari_nh2st.training.study import MeasuredSection

_OTHER_PITCH = 1.25
"""Spots that much farther or nearer than in training make a target of another area."""


def model_notices(
    config: ModelConfig, names: Sequence[str], baseline: NDArray[np.float64] | None
) -> list[str]:
    """Notices about a model that is scored on sections of these names."""
    notices = []
    if not config.trained:
        notices.append(f"The model {config.name} is UNTRAINED: its predictions mean nothing.")
    if seen := sections_seen(config, names):
        notices.append(
            f"The model {config.name} was trained on {', '.join(seen)} (sections with that name): "
            "these scores do not tell how well it does on others."
        )
    if baseline is None:
        notices.append(
            f"The config of {config.name} has no training.target_mean: there is no baseline to "
            "compare the errors with."
        )
    return notices


def section_notices(
    config: ModelConfig, measured: MeasuredSection, genes: Sequence[str], prediction: AnnData
) -> list[str]:
    """Notices about a section that is scored, of which these genes of the panel were measured."""
    name = measured.name
    notices: list[str] = []
    (overlap,) = overlaps(config.panel, {name: measured.spots.var_names})
    if overlap.sentence is not None:
        notices.append(overlap.sentence)
    missing = len(config.panel) - len(genes)
    if missing:
        notices.append(
            f"{name} lacks {missing} of the panel's {len(config.panel)} genes. Its values are "
            f"scaled over the other {len(genes)} and therefore in another unit: it counts for "
            "PCC, not for MSE and MAE."
        )
    unread = measured.spots.n_obs - prediction.n_obs
    if unread:
        notices.append(
            f"{name}: {unread} of {measured.spots.n_obs} spots are left out, since their "
            "tiles cannot be read from the slide."
        )
    ratio = measured.pitch_um / config.pitch_um
    if config.trained and max(ratio, 1 / ratio) > _OTHER_PITCH:
        notices.append(
            f"{name}: spots are {measured.pitch_um:.0f} µm apart, in training "
            f"{config.pitch_um:.0f} µm: neighborhoods and the smoothed target differ in size from "
            "what the model learned."
        )
    notices += [f"{name}: {notice}" for notice in unfamiliar_notices(prediction)]
    return [*notices, *measured.warnings]
