"""What settings of a training have to fit together."""

from typing import TYPE_CHECKING

from napari_nh2st.errors import InputError
from napari_nh2st.model.catalogue import CATALOGUE, DEFAULT_ARCHITECTURE, entry_of
from napari_nh2st.model.encoders.key import DEFAULT_ENCODER, FEATURES, parse_key

if TYPE_CHECKING:
    from napari_nh2st.training.settings import TrainSettings


def check_together(settings: "TrainSettings") -> None:
    """Refuse settings that contradict each other or the architecture.

    Raises
    ------
    InputError
        Naming the settings.
    """
    weights = (
        settings.query_weight,
        settings.neighbor_weight,
        settings.soft_weight,
        settings.group_weight,
    )
    if settings.mse_weight == 0 and not any(weights):
        raise InputError("all losses have weight 0; there is nothing to train")
    if settings.validation_sections and settings.validation == "none":
        raise InputError("validation is none, but validation_sections names sections")
    entry = CATALOGUE[settings.architecture or DEFAULT_ARCHITECTURE]
    if entry.reach is not None and settings.context not in (None, "query"):
        raise InputError(
            f"context is {settings.context}, which architecture {settings.architecture} does "
            "not have"
        )
    if settings.architecture is not None:
        check_slide_reach(settings.architecture, settings.encoder, settings.adapter_rank)
    if entry.closed_form and settings.encoder not in (None, "frozen"):
        raise InputError(
            f"encoder is {settings.encoder}, but architecture {settings.architecture} is solved in "
            "closed form on a frozen one"
        )
    if entry.closed_form and settings.head_start == "random":
        raise InputError(
            f"head_start is random, but architecture {settings.architecture} is a ridge regression"
        )
    if not settings.has_foreign_encoder and settings.image_encoder not in (None, DEFAULT_ENCODER):
        raise InputError(
            f"image_encoder is {settings.image_encoder!r}; it is {DEFAULT_ENCODER}, or begins with "
            "transformers:, timm:, onnx: or features"
        )
    if settings.adapter_rank and (settings.image_encoder or settings.start is None):
        check_adapters(settings.adapter_rank, settings.image_encoder or DEFAULT_ENCODER)
    has_adapters = settings.adapter_rank or (
        settings.adapter_rank is None and settings.start and not settings.image_encoder
    )
    if settings.gradient_checkpointing and not has_adapters:
        raise InputError(
            "gradient_checkpointing saves memory where an encoder has adapters: give adapter_rank, "
            "or leave it out"
        )
    if settings.adapter_rank and entry.closed_form:
        raise InputError(
            f"adapter_rank is {settings.adapter_rank}, but architecture {settings.architecture} is "
            "solved in closed form on features of an encoder that stays as it is: leave it out"
        )
    if settings.has_foreign_encoder:
        features = parse_key(str(settings.image_encoder)).kind == FEATURES
        if features and settings.stain == "normalized":
            raise InputError(
                "stain is normalized, but features are computed already, from slides as they "
                "were: leave it out"
            )
        if settings.encoder not in (None, "frozen"):
            raise InputError(
                f"encoder is {settings.encoder}, but {settings.image_encoder} stays as it is: "
                "leave encoder out, or give frozen"
            )
        if settings.encoder_weights is not None:
            raise InputError(
                f"{settings.image_encoder} comes with its own weights; leave encoder_weights out"
            )
        return
    encoder = settings.encoder or ("frozen" if entry.frozen_encoder else "whole")
    if encoder != "whole" and not (settings.start or settings.encoder_weights):
        raise InputError(
            f"encoder is {encoder}, but its weights would be random: give a start model "
            "or encoder_weights, or train the whole encoder"
        )


def check_slide_reach(architecture: str, encoder: str | None, adapter_rank: int | None) -> None:
    """Refuse to train an encoder where a step takes a whole section.

    Raises
    ------
    InputError
        It, or its adapters, would be trained.
    """
    if entry_of(architecture).reach == "slide" and (
        encoder not in (None, "frozen") or adapter_rank
    ):
        raise InputError(
            f"architecture {architecture} learns from whole sections, of which it takes the "
            "features of an encoder that stays as it is: leave encoder and adapter_rank out"
        )


def check_adapters(rank: int, image_encoder: str) -> None:
    """Refuse adapters where an encoder, by its key, can have none.

    Raises
    ------
    InputError
        It is none of transformers or timm.
    """
    kind = parse_key(image_encoder).kind
    if kind in ("transformers", "timm"):
        return
    has = {
        "onnx": "an ONNX file has no gradients",
        "features": "features are computed already",
    }.get(kind or "", f"{image_encoder} is not a transformer")
    raise InputError(
        f"adapter_rank is {rank}, but {has}: leave it out, or give an image_encoder that begins "
        "with transformers: or timm:"
    )
