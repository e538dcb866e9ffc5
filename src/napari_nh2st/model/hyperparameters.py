"""Hyperparameters of an architecture: a frozen dataclass, checked by its annotations."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from inspect import get_annotations
from typing import Annotated, Any, Literal, get_args, get_origin

from napari_nh2st.errors import InputError
from napari_nh2st.model.config import ModelConfig

_ELSEWHERE = ("panel_size", "tile_px")
"""Fields that a config holds beside its hyperparameters."""


@dataclass(frozen=True)
class AtMost:
    """Largest value of a whole number, many times what is usual: more is a mistake, or meant to
    use up a machine."""

    value: int


@dataclass(frozen=True)
class Below:
    """What a number must be less than."""

    value: int


@dataclass(frozen=True)
class Hyperparameters:
    """What fixes the shapes and the wiring of a network.

    An architecture adds its fields: whole numbers from 1 on (``Annotated[int, AtMost(...)]``),
    numbers from 0 on (``float``, ``Annotated[float, Below(...)]``) or choices (``Literal``), all
    with defaults.

    Parameters
    ----------
    panel_size
        Number of genes.
    tile_px
        Side of a tile in pixels.
    """

    panel_size: int
    tile_px: int = 224

    def check(self) -> None:
        """Check what has to fit together, and raise :class:`InputError` otherwise."""


def names_of(kind: type) -> tuple[str, ...]:
    """Names of the hyperparameters of an architecture, without panel size and ``tile_px``."""
    return tuple(f.name for f in fields(kind) if f.name not in _ELSEWHERE)


def checked_hyperparameters(config: ModelConfig, kind: type) -> Any:
    """The hyperparameters of a config as an instance of the architecture's dataclass.

    Raises
    ------
    InputError
        Naming the hyperparameter that is unknown or out of range.
    """
    given: Mapping[str, Any] = config.hyperparameters
    names = names_of(kind)
    kinds = get_annotations(kind, eval_str=True)
    for name, value in given.items():
        if name not in names:
            raise InputError(
                f"hyperparameters.{name} is not one of architecture {config.architecture!r}"
            )
        if wrong := _wrong(value, kinds[name]):
            raise InputError(f"hyperparameters.{name} is {value!r}; {wrong}")
    p = kind(panel_size=len(config.panel), tile_px=config.tile_px, **given)
    try:
        p.check()
    except InputError as error:
        raise InputError(f"hyperparameters.{error}") from None
    size = config.neighborhood["size"]
    if "neighbors" in names and size != p.neighbors + 1:
        raise InputError(
            f"neighborhood.size is {size}, but hyperparameters.neighbors "
            f"{p.neighbors} and the tile itself make {p.neighbors + 1}"
        )
    return p


def _wrong(value: object, kind: Any) -> str:
    """What is wrong with a value of a kind; empty if nothing is."""
    bound = None
    if get_origin(kind) is Annotated:
        kind, bound = get_args(kind)
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        return "" if value in choices else f"it must be one of {', '.join(choices)}"
    if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
        return "it must be a number of 0 or more"
    if kind is int and (not isinstance(value, int) or value < 1):
        return "it must be a whole number above 0"
    if isinstance(bound, AtMost) and value > bound.value:
        return f"it can be {bound.value:,} at most"
    if isinstance(bound, Below) and value >= bound.value:
        return f"it must be below {bound.value}"
    return ""
