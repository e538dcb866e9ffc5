"""Public pathology encoders: what their files do not say of themselves."""

from dataclasses import dataclass, field
from typing import Any

from napari_nh2st.model.encoders.key import EncoderKind, Features

Channels = tuple[float, float, float]

_HALF: Channels = (0.5, 0.5, 0.5)
_OPTIMUS_MEAN: Channels = (0.707223, 0.578729, 0.703617)
_OPTIMUS_STD: Channels = (0.211883, 0.230117, 0.177517)

_SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "SiLU"}
_UNI2 = _SWIGLU | {
    "img_size": 224,
    "patch_size": 14,
    "depth": 24,
    "num_heads": 24,
    "init_values": 1e-5,
    "embed_dim": 1536,
    "mlp_ratio": 5.33334,
    "no_embed_class": True,
    "reg_tokens": 8,
    "dynamic_img_size": True,
}


@dataclass(frozen=True)
class KnownEncoder:
    """A public encoder.

    Parameters
    ----------
    kind, repository
        Library that reads it, and its id on the Hugging Face Hub.
    n_features
        Length of the features of a tile.
    licence
        Licence as its authors state it, if the Hub's tag says less.
    about
        Size and access, in a few words.
    features
        Part of its output that its authors use.
    mpp, tile_px
        µm/px and side in pixels of the tiles that its authors use; 0.5 µm/px is 20×.
    mean, std
        Normalization, if its files have none.
    arguments
        What timm needs to build it besides its config: layers by their names.
    """

    kind: EncoderKind
    repository: str
    n_features: int
    licence: str
    about: str
    features: Features = "cls"
    mpp: float = 0.5
    tile_px: int = 224
    mean: Channels | None = None
    std: Channels | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


KNOWN = (
    KnownEncoder(
        "transformers",
        "kaiko-ai/midnight",
        3072,
        "mit",
        "1.14 B parameters, 3072 features",
        "cls+mean",
        mean=_HALF,
        std=_HALF,
    ),
    KnownEncoder(
        "transformers", "owkin/phikon", 768, "owkin-non-commercial", "86 M parameters, 768 features"
    ),
    KnownEncoder(
        "transformers",
        "owkin/phikon-v2",
        1024,
        "owkin-non-commercial",
        "304 M parameters, 1024 features",
    ),
    KnownEncoder(
        "timm",
        "bioptimus/H-optimus-0",
        1536,
        "apache-2.0",
        "1.13 B parameters, 1536 features",
        mean=_OPTIMUS_MEAN,
        std=_OPTIMUS_STD,
        arguments={"init_values": 1e-5, "dynamic_img_size": False},
    ),
    KnownEncoder(
        "timm",
        "bioptimus/H-optimus-1",
        1536,
        "cc-by-nc-nd-4.0",
        "1.13 B parameters, 1536 features; gated",
        mean=_OPTIMUS_MEAN,
        std=_OPTIMUS_STD,
        arguments={"init_values": 1e-5, "dynamic_img_size": False},
    ),
    KnownEncoder(
        "timm",
        "bioptimus/H0-mini",
        1536,
        "cc-by-nc-nd-4.0",
        "86 M parameters, 1536 features; gated",
        "cls+mean",
        mean=_OPTIMUS_MEAN,
        std=_OPTIMUS_STD,
        arguments=_SWIGLU,
    ),
    KnownEncoder(
        "timm",
        "paige-ai/Virchow",
        2560,
        "apache-2.0",
        "631 M parameters, 2560 features; gated",
        "cls+mean",
        arguments=_SWIGLU,
    ),
    KnownEncoder(
        "timm",
        "paige-ai/Virchow2",
        2560,
        "cc-by-nc-nd-4.0",
        "631 M parameters, 2560 features; gated",
        "cls+mean",
        arguments=_SWIGLU,
    ),
    KnownEncoder(
        "timm",
        "MahmoodLab/UNI",
        1024,
        "cc-by-nc-nd-4.0",
        "303 M parameters, 1024 features; gated",
        arguments={"init_values": 1e-5, "dynamic_img_size": True},
    ),
    KnownEncoder(
        "timm",
        "MahmoodLab/UNI2-h",
        1536,
        "cc-by-nc-nd-4.0",
        "681 M parameters, 1536 features; gated",
        arguments=_UNI2,
    ),
    KnownEncoder(
        "timm",
        "prov-gigapath/prov-gigapath",
        1536,
        "apache-2.0 with conditions",
        "1.13 B parameters, 1536 features; gated",
    ),
)
"""Facts that the authors of each state; licences as of 2026, which the card on the Hub may have
changed since."""


def known_encoder(repository: str | None) -> KnownEncoder | None:
    """What is known of an id of the Hub, whose letters count in neither case."""
    wanted = (repository or "").lower()
    return next((one for one in KNOWN if one.repository.lower() == wanted), None)
