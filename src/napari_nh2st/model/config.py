"""Description of a model: `config.json`, without its weights and without torch."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from napari_nh2st.errors import InputError
from napari_nh2st.json_text import parse_json
from napari_nh2st.model.catalogue import Reach, entry_of
from napari_nh2st.model.encoders.key import FEATURES, parse_key

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
HEADS_FILE = "heads.safetensors"
CARD_FILE = "README.md"

ENCODER_FILE = "encoder.onnx"
"""An encoder that is a file, where the model holds it."""

Context = Literal["query", "average", "neighborhood"]
"""What a prediction sees: see :class:`~napari_nh2st.model.nh2st.NH2STHyperparameters`."""

CONTEXTS: tuple[Context, ...] = get_args(Context)

PUBLISHED_TARGET: dict[str, Any] = {
    "description": (
        "log10(1 + counts per 10,000 of the panel), mean of the spot and its array neighbors"
    ),
    "scale_to": 10_000,
    "transform": "log10(1+v)",
    "smoothing": "array-neighbors",
}
"""The target NH2ST was published with. It is not log1p-CPM: counts are restricted to the panel
before they are scaled, and the logarithm is to base 10."""

_LARGEST_CONFIG = 16 * 1024**2
"""Bytes of a file; that of a panel of 100,000 genes has some 6 MB."""

_ADDED = ("reliability_of", "interval_90", "usual_spread", "heads", "encoder", "stain_reference")
"""Fields that are written only where they have a value: earlier versions do not know them."""

_RESNET_STRIDE = 32
"""Tile pixels for each position of the maps of NH2ST's own encoder."""

_MOST_PROBLEMS = 100
"""Problems of a config that are looked at for the first one to name."""

_LONGEST_SHOWN = 60
"""Characters of a wrong value that a message shows."""


@dataclass(frozen=True)
class ModelConfig:
    """A model's `config.json`.

    Parameters
    ----------
    name
        Name under which the model is listed.
    architecture
        Key into :data:`napari_nh2st.model.architectures.ARCHITECTURES`.
    hyperparameters
        What the architecture is built from besides panel size and ``tile_px``.
    panel
        The genes it predicts, in order.
    target
        What a predicted value is, in words (``description``) and in fields.
    tile_px, mpp
        Side of a tile in pixels, and its µm/px, as the network expects it.
    pitch_um
        Distance between spots in training, in µm: the default pitch of a prediction.
    neighborhood
        ``size`` (9 with the tile itself) and ``layout`` of the spots.
    training
        ``trained``, ``summary`` and what else is known of the weights' origin, such as the
        ``date`` on which training ended (ISO 8601, UTC), which older models do not record.
    weights
        ``file`` and ``sha256``.
    reliability
        Held-out Pearson correlation by gene; None where it was not measured.
    reliability_of
        What that was measured on, in words, such as "other sections of the same tumour".
    interval_90
        Half width of the 90 % interval by gene, in the unit of the target, from errors at held-out
        spots; None if unknown.
    usual_spread
        Spread over the heads, by gene, at which the half width is ``interval_90``. It grows and
        shrinks with the spread of a tile, see
        :func:`~napari_nh2st.prediction.half_widths.scaled_half_width`. None if it is the same
        everywhere.
    heads
        ``file``, ``sha256`` and ``count`` of further heads, see
        :class:`~napari_nh2st.model.heads.Heads`; None if there are none.
    encoder
        An image encoder that another library builds: the fields of its
        :class:`~napari_nh2st.model.encoders.EncoderSpec`; the ``recipe`` it is built from; where
        its ``weights`` are, with the ``"model"`` or ``"elsewhere"``; and its ``adapter``, if any,
        see :class:`~napari_nh2st.model.encoders.adapters.Adapter`. None for NH2ST's ResNet-18.
    stain_reference
        ``vectors`` (2, 3) and ``amounts`` (2,) of the stains to which slides are normalized before
        prediction, see :class:`~napari_nh2st.analysis.stain_normalization.StainColors`; None to
        leave slides as they are.
    """

    name: str
    architecture: str
    hyperparameters: Mapping[str, Any]
    panel: tuple[str, ...]
    target: Mapping[str, Any]
    tile_px: int
    mpp: float
    pitch_um: float
    neighborhood: Mapping[str, Any]
    training: Mapping[str, Any]
    weights: Mapping[str, Any] = field(default_factory=dict)
    reliability: Mapping[str, float | None] | None = None
    reliability_of: str | None = None
    interval_90: Mapping[str, float | None] | None = None
    usual_spread: Mapping[str, float | None] | None = None
    heads: Mapping[str, Any] | None = None
    encoder: Mapping[str, Any] | None = None
    stain_reference: Mapping[str, Any] | None = None

    @property
    def trained(self) -> bool:
        """False for weights that are random."""
        return bool(self.training["trained"])

    @property
    def trained_at(self) -> datetime | None:
        """When the training ended; None if that is not recorded."""
        try:
            when = datetime.fromisoformat(str(self.training.get("date")))
        except ValueError:
            return None
        return when if when.tzinfo is not None else when.replace(tzinfo=UTC)

    @property
    def context(self) -> str:
        """What a prediction sees: ``"query"``, ``"average"`` or ``"neighborhood"``.

        The architecture's name if it has no contexts.
        """
        if entry_of(self.architecture).reach is not None:
            return self.architecture
        return str(self.hyperparameters.get("context", "query"))

    @property
    def context_in_words(self) -> str:
        """Such as ``"context query"``, or ``"architecture linear"`` for one without contexts."""
        has_contexts = entry_of(self.architecture).reach is None
        return f"{'context' if has_contexts else 'architecture'} {self.context}"

    @property
    def reach(self) -> Reach:
        """What the prediction of a tile depends on: tile, neighborhood or slide."""
        reach = entry_of(self.architecture).reach
        return reach or ("tile" if self.context == "query" else "neighborhood")

    @property
    def needs_offsets(self) -> bool:
        """Whether a prediction needs the positions of the neighbors."""
        return entry_of(self.architecture).offsets

    @property
    def takes_features(self) -> bool:
        """Whether it predicts from features computed by another tool instead of from pixels."""
        return self.encoder is not None and parse_key(str(self.encoder["key"])).kind == FEATURES

    @property
    def tile_um(self) -> float:
        """Side of a tile in µm."""
        return self.tile_px * self.mpp

    def to_json(self) -> dict[str, Any]:
        """The content of `config.json`."""
        return {"format": 1} | {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
            if value is not None or name not in _ADDED
        }

    @classmethod
    def from_json(cls, content: Any, where: str) -> "ModelConfig":
        """Check the content of a `config.json`, and make a config of it.

        Parameters
        ----------
        content
            The parsed JSON.
        where
            Name of the file, for messages.

        Raises
        ------
        InputError
            A field is wrong; the message names it.
        """
        problems = islice(_schema().iter_errors(content), _MOST_PROBLEMS)
        problem = min(problems, key=lambda e: e.path, default=None)
        if problem is not None:
            place = problem.json_path.removeprefix("$.") if problem.path else "the top level"
            raise InputError(f"{where} is not a model's config: {place}: {_in_words(problem)}")
        fields = {name: value for name, value in content.items() if name != "format"}
        # To JSON, 224.0 is an integer too.
        exact = {"panel": tuple(fields["panel"]), "tile_px": int(fields["tile_px"])}
        config = cls(**(fields | exact))
        if config.encoder is None and config.tile_px % _RESNET_STRIDE:
            raise InputError(
                f"{where} is not a model's config: tile_px: {config.tile_px} is not a multiple of "
                f"{_RESNET_STRIDE}"
            )
        if config.encoder is not None and config.encoder["tile_px"] != config.tile_px:
            raise InputError(
                f"{where}: tile_px is {config.tile_px}, but the encoder takes tiles of "
                f"{config.encoder['tile_px']} px"
            )
        if (twice := first_repeated(config.panel)) is not None:
            raise InputError(
                f"{where} is not a model's config: panel: {twice!r} occurs more than once"
            )
        for name in ("reliability", "interval_90", "usual_spread"):
            unknown = set(getattr(config, name) or ()) - set(config.panel)
            if unknown:
                raise InputError(
                    f"{where}: {name} names genes that are not in the panel: "
                    f"{', '.join(sorted(unknown)[:3])}"
                )
        return config


def read_config(folder: str | os.PathLike[str]) -> ModelConfig:
    """Read and check the config of a model folder.

    Raises
    ------
    InputError
        The folder or its config is missing, or the config is not JSON or has a wrong field, which
        the message names.
    """
    folder = Path(folder)
    path = folder / CONFIG_FILE
    if not path.exists():
        raise InputError(f"{folder} is not a model folder: it has no {CONFIG_FILE}")
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    try:
        size = path.stat().st_size
        if size > _LARGEST_CONFIG:
            raise InputError(
                f"{path} has {size / 1024**2:.0f} MB; a model's config has at most "
                f"{_LARGEST_CONFIG // 1024**2}"
            )
        content = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:  # not JSON, not UTF-8, or NaN
        raise InputError(f"{path} is not JSON: {error}") from None
    return ModelConfig.from_json(content, str(path))


def untrained_config(
    name: str,
    panel: tuple[str, ...],
    *,
    context: str = "query",
    mpp: float = 0.5,
    pitch_um: float = 112.0,
) -> ModelConfig:
    """The config of a new model with the published hyperparameters.

    Parameters
    ----------
    name, panel
        Name and genes of the model.
    context
        ``"query"``, ``"average"`` or ``"neighborhood"``.
    mpp
        µm/px at which it takes tiles of 224 px.
    pitch_um
        Distance between tiles; a tile's side at 0.5 µm/px by default.
    """
    return ModelConfig(
        name=name,
        architecture="nh2st",
        hyperparameters={"context": context},
        panel=panel,
        target=PUBLISHED_TARGET,
        tile_px=224,
        mpp=mpp,
        pitch_um=pitch_um,
        neighborhood={"size": 9, "layout": "square"},
        training={"trained": False, "summary": "UNTRAINED"},
    )


def first_repeated(names: Iterable[str]) -> str | None:
    """The first name that was there before."""
    seen = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _in_words(problem: Any) -> str:
    """What is wrong with a field, without repeating a whole panel."""
    shown = repr(problem.instance)
    if len(shown) > _LONGEST_SHOWN:
        return str(problem.message).replace(shown, f"{shown[:_LONGEST_SHOWN]}…")
    return str(problem.message)


@cache
def _schema() -> Any:
    # Not above: it takes longer to load than the rest of `nh2st --help`.
    import jsonschema

    text = resources.files(__package__).joinpath("config.schema.json").read_text("utf-8")
    return jsonschema.Draft202012Validator(json.loads(text))
