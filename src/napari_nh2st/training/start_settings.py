"""Settings of what a training starts from: model, architecture, image encoder and head."""

from dataclasses import dataclass
from typing import Annotated, Literal

from napari_nh2st.model.catalogue import CATALOGUE
from napari_nh2st.model.encoders.key import DEFAULT_ENCODER, parse_key
from napari_nh2st.options import Option

TrainedEncoder = Literal["frozen", "last-stages", "whole"]
"""Trained part of the image encoder: nothing, its last two stages, or all of it."""

HeadStart = Literal["random", "ridge", "ridge-within"]
"""Start of the prediction head, where it does not keep a start model's."""


@dataclass(frozen=True)
class StartSettings:
    """What a training starts from, and how much of the image encoder it trains.

    Parameters
    ----------
    encoder_weights
        Weights such as those from ImageNet, or from training without labels.
    image_encoder
        A key, see :class:`~napari_nh2st.model.encoders.key.EncoderKey`. The encoder brings its
        normalization, the side of its tiles and, if known, its µm/px; it is frozen, except for
        adapters.
    architecture
        Key of :data:`napari_nh2st.model.catalogue.CATALOGUE`. From a start model of another
        architecture, only the encoder is taken.
    encoder
        ``"frozen"``: nothing of it is trained, its feature maps are computed once and kept;
        ``"last-stages"``: its last two stages are, the maps before them are kept; ``"whole"``.
    adapter_rank
        Rank of low-rank adapters on the linear layers of a transformer's attention and MLP, see
        :mod:`napari_nh2st.model.encoders.adapters`. The encoder then runs in every step, and only
        its adapters are trained. 0: none are trained; those of a start model stay as they are.
    gradient_checkpointing
        Recompute the blocks that have adapters; this changes only time and memory.
    head_start
        ``"ridge"``: a ridge regression of the target on the encoder's maps, see
        :mod:`napari_nh2st.training.ridge`; ``"ridge-within"``: the same on the differences within
        sections, on all ``frozen_looks``; ``"random"``: random weights (published), except for
        genes that a start model knows. None: with an encoder that is not trained whole, ``"ridge"``
        unless a start model's head can predict every gene of the panel as it is, that is, knows
        them all and keeps its input from encoder and context; else ``"random"``.
    """

    start: Annotated[
        str | None,
        Option(
            "Start model",
            "Model to start from: bundled name, folder, or Hugging Face owner/name@REVISION",
            heading="Start",
            default="random weights",
        ),
    ] = None
    encoder_weights: Annotated[
        str | None,
        Option(
            "Encoder weights",
            "File with a state dict of ResNet-18 for the image encoder",
            default="the start model's, else random",
            special="none",
        ),
    ] = None
    architecture: Annotated[
        str | None,
        Option(
            "Architecture",
            "Network behind the encoder",
            default="the start model's, else nh2st",
            special="the start model's",
            words={key: f"{key}: {entry.description}" for key, entry in CATALOGUE.items()},
        ),
    ] = None
    image_encoder: Annotated[
        str | None,
        Option(
            "Image encoder",
            "Encoder of another library, which is not trained except for adapters "
            "(transformers:…, timm:… or onnx:…), or features that another tool computed "
            "(features:…); see `nh2st model list --encoders`",
            default="the start model's, else NH2ST's ResNet-18",
            special="the start model's",
        ),
    ] = None
    encoder: Annotated[
        TrainedEncoder | None,
        Option(
            "Encoder",
            "How much of the image encoder is trained; a frozen one is fast and needs few sections",
            default="whole, or frozen if the architecture is made for a frozen encoder",
            special="as it fits",
            words={
                "frozen": "frozen: fine-tune the rest",
                "last-stages": "last stages are trained",
                "whole": "whole encoder is trained",
            },
        ),
    ] = None
    adapter_rank: Annotated[
        int | None,
        Option(
            "Adapters",
            "Rank of the low-rank adapters trained in a transformer encoder of another library, "
            "usually 4 to 16; 0 for none",
            (0, 64),
            default="the start model's, else 0",
            special="the start model's",
        ),
    ] = None
    gradient_checkpointing: Annotated[
        bool,
        Option(
            "Save memory",
            "Compute the blocks of an adapted encoder twice per step instead of storing what "
            "their gradients need: less memory, slower, the same model",
        ),
    ] = False
    head_start: Annotated[
        HeadStart | None,
        Option(
            "Head",
            "What the prediction head starts from: ridge regression on the encoder's maps "
            "(ridge), the same on differences within sections in all kept looks (ridge-within), "
            "or random weights, except for genes that a start model knows (random)",
            default="random; ridge if the encoder is not trained whole and the start model does "
            "not know the whole panel",
            special="as it fits",
        ),
    ] = None

    @property
    def starts_from_ridge(self) -> bool:
        """Whether the prediction head is to start from a ridge regression of either kind."""
        return self.head_start in ("ridge", "ridge-within")

    @property
    def has_foreign_encoder(self) -> bool:
        """Whether an encoder of another library is asked for."""
        return parse_key(self.image_encoder or DEFAULT_ENCODER).kind is not None
