"""Defaults of settings that depend on the start model and the panel.

A head that has learned something is near where it ends. The published learning rate takes it far
from there, and with the published weights so does any other: the error of a good prediction is
some hundredths, the contrastive losses beside it are around 1 and move what they share with it.
Nothing here needs torch.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from napari_nh2st.errors import InputError
from napari_nh2st.model.catalogue import DEFAULT_ARCHITECTURE, entry_of
from napari_nh2st.model.config import ModelConfig, read_config
from napari_nh2st.model.encoders.key import DEFAULT_ENCODER
from napari_nh2st.model.sources import find_model
from napari_nh2st.training.record import FREE
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.settings_checks import check_adapters, check_slide_reach
from napari_nh2st.training.start_settings import TrainedEncoder

PUBLISHED_LEARNING_RATE = 5e-4
PUBLISHED_MSE_WEIGHT = 1.0

FINE_LEARNING_RATE = 2e-5
"""Learning rate for a head that starts from something learned."""

CONTEXT_LEARNING_RATE = 1e-4
"""Learning rate for a context that begins as no correction of a tile head."""

SLIDE_LEARNING_RATE = 1e-3
"""Learning rate for a context over the whole slide, as MERGE's: an epoch is a step a section."""

ADAPTER_LEARNING_RATE = 1e-4
"""Learning rate where an encoder's adapters are trained, half of which begin at zero."""

RIDGE_MSE_WEIGHT = 200.0
"""MSE weight for a head that starts from ridge: the contrastive losses hardly move it."""

_MOST = 0.5
"""Share of the panel's genes whose rows a start model fills, for its head to count as learned."""


@dataclass(frozen=True)
class ResolvedSettings(TrainSettings):
    """Settings that say all that steps need.

    None of ``architecture``, ``encoder``, ``adapter_rank``, ``learning_rate`` and ``mse_weight`` is
    None.

    ``head_start`` is ``"ridge"`` where it is left open and the head starts from one.
    """

    architecture: str = DEFAULT_ARCHITECTURE
    encoder: TrainedEncoder = "whole"
    adapter_rank: int = 0
    learning_rate: float = PUBLISHED_LEARNING_RATE
    mse_weight: float = PUBLISHED_MSE_WEIGHT


def start_config(settings: TrainSettings) -> ModelConfig | None:
    """Read the config of the start model; None without one.

    Raises
    ------
    InputError
        It is not there.
    """
    return None if settings.start is None else read_config(find_model(settings.start))


def resolved_settings(
    settings: TrainSettings, start: ModelConfig | None, panel: Sequence[str]
) -> ResolvedSettings:
    """Decide what the settings leave open; what they say stays.

    The rules are those of :class:`~napari_nh2st.training.TrainSettings`.

    Parameters
    ----------
    settings
        As given.
    start
        Config of the start model; None without one.
    panel
        Genes to learn.

    Raises
    ------
    InputError
        The start model was trained without the squared error, and the other losses have
        weight 0; or adapters, or a trained encoder, do not go with the architecture.
    """
    architecture = architecture_of(settings, start)
    entry = entry_of(architecture)
    adapter_rank = _adapter_rank(settings, start)
    foreign = settings.has_foreign_encoder or (start is not None and start.encoder is not None)
    encoder = settings.encoder or ("frozen" if entry.frozen_encoder or foreign else "whole")
    check_slide_reach(architecture, encoder, adapter_rank)
    filled = filled_by_start(settings, start, panel)
    head_start = settings.head_start
    closed_form = entry.closed_form and not settings.starts_from_ridge
    if closed_form or (head_start is None and encoder != "whole" and filled < 1):
        head_start = "ridge"
    learning_rate, mse_weight = PUBLISHED_LEARNING_RATE, PUBLISHED_MSE_WEIGHT
    if entry.reach is not None:
        learning_rate = SLIDE_LEARNING_RATE if entry.reach == "slide" else CONTEXT_LEARNING_RATE
    elif head_start in ("ridge", "ridge-within"):
        mse_weight = RIDGE_MSE_WEIGHT
        # On random maps a regression finds little, and the encoder has all to learn.
        if start is not None or settings.encoder_weights is not None or foreign:
            learning_rate = FINE_LEARNING_RATE
    elif start is not None and filled >= _MOST:
        learning_rate, mse_weight = FINE_LEARNING_RATE, _recorded_mse_weight(start)
    if adapter_rank:
        learning_rate = ADAPTER_LEARNING_RATE
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    values |= {"architecture": architecture, "encoder": encoder, "head_start": head_start}
    values["adapter_rank"] = adapter_rank
    if settings.stain is None:
        has_reference = start is not None and start.stain_reference is not None
        values["stain"] = "normalized" if has_reference else "as-is"
    for name, value in (("learning_rate", learning_rate), ("mse_weight", mse_weight)):
        if values[name] is None:
            values[name] = value
    return ResolvedSettings(**values)


def _adapter_rank(settings: TrainSettings, start: ModelConfig | None) -> int:
    """Rank of the adapters that are trained; 0 for none.

    Raises
    ------
    InputError
        The encoder of the start model can have none, or has others.
    """
    rank, architecture = settings.adapter_rank, architecture_of(settings, start)
    encoder = None if start is None or settings.has_foreign_encoder else start.encoder
    own = int(encoder["adapter"]["rank"]) if encoder and "adapter" in encoder else 0
    if rank is None:
        entry = entry_of(architecture)
        return 0 if entry.closed_form or entry.reach == "slide" else own
    if rank == 0:
        return 0
    key = settings.image_encoder or (encoder["key"] if encoder else DEFAULT_ENCODER)
    check_adapters(rank, str(key))
    if own not in (0, rank):
        raise InputError(
            f"adapter_rank is {rank}, but the start model has adapters of rank {own}; leave it "
            "out to continue from them"
        )
    return rank


def architecture_of(settings: TrainSettings, start: ModelConfig | None) -> str:
    """The architecture that is asked for, else the start model's, else the default."""
    return settings.architecture or (start.architecture if start else DEFAULT_ARCHITECTURE)


def filled_by_start(
    settings: TrainSettings, start: ModelConfig | None, panel: Sequence[str]
) -> float:
    """Share of the panel, from 0 to 1, that the start model's head can predict as it is.

    None of it where the head has lost what it reads: with another encoder, or with a context that
    leaves out the neighbor branch it learned with.
    """
    if start is None or not start.trained or settings.encoder_weights is not None:
        return 0.0
    if architecture_of(settings, start) != start.architecture or settings.has_foreign_encoder:
        return 0.0
    if start.context == "neighborhood" != (settings.context or start.context):
        return 0.0
    known = set(start.panel)
    return sum(gene in known for gene in panel) / len(panel)


def start_notice(
    settings: ResolvedSettings, start: ModelConfig | None, panel: Sequence[str]
) -> list[str]:
    """Say what the prediction head starts from, and how far it may go, and what of the encoder is
    trained; nothing of what is at random or stays.
    """
    rank = settings.adapter_rank
    runs = f"Adapters of rank {rank} are trained in the image encoder, which runs in every step."
    adapters = [runs] if rank else []
    if entry_of(settings.architecture).closed_form:
        return ["The model is a ridge regression on the encoder's features: there are no epochs."]
    if settings.starts_from_ridge:
        head = "a ridge regression"
    elif start is not None and (filled := filled_by_start(settings, start, panel)):
        head = f"{start.name}, for {round(filled * len(panel))} of {len(panel)} genes"
    else:
        return adapters
    return [
        *adapters,
        f"The prediction head starts from {head}: learning rate {settings.learning_rate:g}, "
        f"weight of the squared error {settings.mse_weight:g}.",
    ]


def same_settings(
    recorded: Mapping[str, Any], settings: TrainSettings, panel: Sequence[str]
) -> bool:
    """Whether a model was trained with these settings, but for those of
    :data:`~napari_nh2st.training.record.FREE`.

    Where the start model is not there any more, what the settings leave open counts as the same.

    Parameters
    ----------
    recorded
        The model's ``training["settings"]``.
    settings
        As given.
    panel
        Panel of the model.
    """
    is_gone = False
    try:
        asked = resolved_settings(settings, start_config(settings), panel).to_json()
    except InputError:
        is_gone = True
        asked = {n: value for n, value in settings.to_json().items() if value is not None}
    # Earlier versions had no choice of these.
    before = {
        "architecture": DEFAULT_ARCHITECTURE,
        "smoothing": "array-neighbors",
        "soft_weight": 0.0,
        "group_weight": 0.0,
        "distillation": settings.distillation,
        "adapter_rank": 0,
        "stain": "as-is",
    }
    recorded = before | dict(recorded)
    if is_gone:
        recorded = {name: value for name, value in recorded.items() if name in asked}
    if isinstance(augmentation := recorded.get("augmentation"), Mapping):
        recorded["augmentation"] = {"stain_colors": 0.0} | dict(augmentation)
    first, second = (
        # As it is read back from a file: tuples are lists there.
        json.loads(json.dumps({name: values[name] for name in values if name not in FREE}))
        for values in (asked, recorded)
    )
    return bool(first == second)


def _recorded_mse_weight(start: ModelConfig) -> float:
    settings = start.training.get("settings")
    weight = settings.get("mse_weight") if isinstance(settings, Mapping) else None
    # A config is a file that anybody may have edited. Trained without it, its head knows nothing.
    if isinstance(weight, int | float) and math.isfinite(weight) and weight > 0:
        return float(weight)
    return PUBLISHED_MSE_WEIGHT
