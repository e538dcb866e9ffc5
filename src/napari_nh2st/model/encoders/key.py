"""Keys of image encoders: ``kind:place?option=value&…``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from napari_nh2st.errors import InputError
from napari_nh2st.names import nearest_names

DEFAULT_ENCODER = "resnet18"
"""The encoder that NH2ST was published with; its weights lie in the model's own file."""

EncoderKind = Literal["transformers", "timm", "onnx", "features"]
"""What reads an encoder that is not ours; ``features`` are those that another tool computed."""

FEATURES: EncoderKind = "features"

Features = Literal["cls", "pooled", "cls+mean"]
"""What of a transformer's output are the features of a tile.

``cls`` is the class token of the last hidden state, ``pooled`` what the model itself makes of its
tokens, ``cls+mean`` the class token and the mean of the patch tokens, one after the other.
"""

_OPTIONS = ("features", "licence", "mean", "mpp", "std", "tile_px")
_FEATURES_OPTIONS = ("licence", "mpp", "name", "table", "tile_px")
_HUB_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+?)(@(?P<revision>[\w./-]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class EncoderKey:
    """A key, taken apart.

    Parameters
    ----------
    kind
        Library or kind of file that it is read by; None for an encoder of this package, whose name
        is the place.
    place
        A folder, a file, an id of the Hugging Face Hub with or without its revision, or a name;
        "" for features whose files a sections table names.
    options
        Options given by the user; see :data:`Features` for ``features``. ``mpp`` is in µm/px,
        ``mean`` and ``std`` are three numbers separated by commas. For features, ``name`` is that
        of the encoder, and ``table`` the one of a SpatialData store.
    """

    kind: EncoderKind | None
    place: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.kind is None:
            return self.place
        said = "&".join(f"{name}={value}" for name, value in sorted(self.options.items()))
        colon = ":" if self.place else ""
        return f"{self.kind}{colon}{self.place}{'?' if said else ''}{said}"

    @property
    def path(self) -> Path:
        """The place as a path."""
        return Path(self.place).expanduser()

    @property
    def repository(self) -> str | None:
        """The Hub's ``owner/name`` where the place is such an id and nothing that lies here."""
        return None if (match := self._hub_id()) is None else match["repository"]

    @property
    def revision(self) -> str | None:
        """The commit of the Hub's id; None where it has none."""
        return None if (match := self._hub_id()) is None else match["revision"]

    @property
    def with_owner(self) -> "EncoderKey":
        """A plain name of timm's, such as ``timm:vit_small_patch16_224.dino``, as timm's own
        repository of the Hub; other keys as they are.
        """
        if self.kind != "timm" or "/" in self.place or self.path.exists():
            return self
        return EncoderKey(self.kind, f"timm/{self.place}", self.options)

    def _hub_id(self) -> re.Match[str] | None:
        if self.kind not in ("transformers", "timm") or self.path.exists():
            return None
        return _HUB_ID.fullmatch(self.place)

    @property
    def features(self) -> Features | None:
        """The features asked for; None where that is left open."""
        asked = self.options.get("features")
        for known in get_args(Features):
            if asked == known:
                return known
        if asked is None:
            return None
        raise InputError(
            f"encoder {self}: features is {asked!r}; it is one of {', '.join(get_args(Features))}"
        )

    @property
    def takes_imagenet_colors(self) -> bool:
        """Whether tiles are normalized as for ImageNet since neither file nor key says how."""
        return self.kind == "onnx" and not {"mean", "std"} <= set(self.options)

    def number(self, name: Literal["mpp", "tile_px"]) -> float | None:
        """An option that is a number above 0; None where it was not given."""
        text = self.options.get(name)
        if text is None:
            return None
        numbers = _numbers(text)
        if len(numbers) != 1 or numbers[0] <= 0:
            raise InputError(f"encoder {self}: {name} is {text!r}; it must be a number above 0")
        return numbers[0]

    def channels(self, name: Literal["mean", "std"]) -> tuple[float, float, float] | None:
        """An option that is a number for red, green and blue; None where it was not given."""
        text = self.options.get(name)
        if text is None:
            return None
        numbers = _numbers(text)
        if len(numbers) != 3 or (name == "std" and min(numbers) <= 0):
            raise InputError(
                f"encoder {self}: {name} is {text!r}; it must be three numbers"
                f"{' above 0' if name == 'std' else ''} such as 0.5,0.5,0.5"
            )
        return numbers[0], numbers[1], numbers[2]


def parse_key(text: str) -> EncoderKey:
    """Take a key apart.

    Raises
    ------
    InputError
        The kind is unknown, nothing follows it, or an option is unknown.
    """
    kind, colon, rest = text.partition(":")
    if text.partition("?")[0] == FEATURES:  # their files are named elsewhere
        kind, colon, rest = FEATURES, ":", text.removeprefix(FEATURES)
    if not colon:
        return EncoderKey(None, text)
    if kind not in get_args(EncoderKind):
        near = nearest_names(kind, get_args(EncoderKind))
        raise InputError(
            f"encoder {text!r} begins with {kind!r}; it can begin with "
            f"{', '.join(f'{known}:' for known in get_args(EncoderKind))}"
            + (f"; did you mean {near[0]}:?" if near else "")
        )
    place, _, said = rest.partition("?")
    known_options = _FEATURES_OPTIONS if kind == FEATURES else _OPTIONS
    options = {}
    for part in filter(None, said.split("&")):
        name, equals, value = part.partition("=")
        if name not in known_options or not equals or not value:
            raise InputError(
                f"encoder {text!r}: {part!r} is not an option; there are "
                f"{', '.join(known_options)}, each as name=value"
            )
        options[name] = value
    if not place and kind != FEATURES:
        raise InputError(f"encoder {text!r}: a folder, file or id must follow {kind}:")
    return EncoderKey(
        next(known for known in get_args(EncoderKind) if known == kind), place, options
    )


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a full commit hash, which always names the same files."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        return ()
