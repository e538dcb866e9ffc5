"""Options: the fields of settings dataclasses with their texts and ranges, each written once.

A field is annotated with its :class:`Option`; the check of its value, the command line, the forms,
what napari remembers, and the tables in the documentation read it.

>>> from typing import Annotated
>>> @dataclass(frozen=True)
... class Blur:
...     sigma: Annotated[float, Option("Sigma", "Width of the kernel", (0, 9), unit="µm")] = 1.0
...     def __post_init__(self) -> None:
...         check_options(self)
>>> Blur(10)
Traceback (most recent call last):
    ...
napari_nh2st.errors.InputError: sigma is 10; it must be from 0 to 9
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from inspect import get_annotations
from math import inf, isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from napari_nh2st.errors import InputError
from napari_nh2st.shown_text import plain_number

Pair = tuple[float, float]
"""Kind of a field that holds two numbers, the lower one first."""


@dataclass(frozen=True, eq=False)
class Option:
    """Texts and range of a field, as its annotation ``Annotated[kind, Option(...)]`` holds them.

    Parameters
    ----------
    label
        Name of the control in a form.
    help
        A sentence with a capital and without its full stop.
    range
        Least and largest value of a number, or of both of a pair.
    below
        Whether a number has to be below the largest value.
    heading
        Title of the group of options that begins with this one.
    multiple_of
        What a whole number has to be a multiple of.
    unit
        Unit of a number.
    step
        Step of a number's arrows in a form; 0 for a line to type it into.
    default
        What a value of None means.
    special
        What a form shows for None, or for the least value where None is not allowed; if left out,
        ``default``.
    words
        Text of a form for each value of a choice; if left out, the values.
    negative
        Name of the switch which turns off what is on by default; label and help are about it.
    """

    label: str
    help: str
    range: tuple[float, float] = (-inf, inf)
    _: KW_ONLY
    below: bool = False
    heading: str = ""
    multiple_of: int = 1
    unit: str = ""
    step: float = 0
    default: str = ""
    special: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    negative: str = ""

    @property
    def range_text(self) -> str:
        """The range in words."""
        least, most = self.range
        if (least, most) == (-inf, inf):
            return "any number"
        if most == inf:
            return f"at least {plain_number(least)}"
        ends = plain_number(least), plain_number(most)
        return f"from {ends[0]} to {'below ' if self.below else ''}{ends[1]}"

    @property
    def tooltip(self) -> str:
        """The help, and what is done where nothing is chosen."""
        return f"{self.help}. Default: {self.default}" if self.default else self.help


@dataclass(frozen=True, eq=False)
class Setting:
    """A field of a settings dataclass, or something like it that a dock remembers.

    Parameters
    ----------
    name
        Name of the field.
    kind
        Its type: int, float, bool, str, a tuple, a dataclass, or that of the choices. The first
        where there are several, without None.
    default
        Its default.
    option
        Its texts and range.
    optional
        Whether it may be None.
    choices
        The values it can have; empty for any.
    """

    name: str
    kind: Any
    default: Any
    option: Option
    optional: bool = False
    choices: tuple[str, ...] = ()

    @property
    def is_group(self) -> bool:
        """Whether it is a dataclass, with fields of its own."""
        return is_dataclass(self.kind)

    @property
    def range_text(self) -> str:
        """What a number or a pair can be, in words and with the unit; empty for other kinds."""
        option = self.option
        text = " ".join(filter(None, (option.range_text, option.unit)))
        if self.kind == Pair:
            return "two numbers" if option.range == (-inf, inf) else f"two numbers {text}"
        return text if self.kind in (int, float) else ""

    def check(self, value: Any) -> None:
        """Refuse a value that the field cannot have.

        Raises
        ------
        InputError
            It is not one of the choices, not a number of its kind, or out of its range.
        """
        if value is None and self.optional:
            return
        wrong = ""
        if self.choices and value not in self.choices:
            value, wrong = repr(value), f"one of {', '.join(self.choices)}"
        elif self.kind in (int, float):
            wrong = self._wrong_number(value)
        elif self.kind == Pair and not isinstance(value, Mapping):  # pairs by name: of their class
            value, wrong = shown_value(value), self._wrong_pair(value)
        if wrong:
            raise InputError(f"{self.name} is {value}; it must be {wrong}")

    def _wrong_number(self, value: Any) -> str:
        """What a number has to be that this one is not; empty where it is all."""
        option, is_number = self.option, isinstance(value, Real)
        if not is_number:
            return "a number"
        least, most = option.range
        if not (isfinite(value) and least <= value <= most) or (option.below and value == most):
            return option.range_text
        if self.kind is int and not isinstance(value, Integral):
            return "a whole number"
        if self.kind is int and value % option.multiple_of:
            return f"a multiple of {option.multiple_of}"
        return ""

    def _wrong_pair(self, value: Any) -> str:
        """What a pair has to be that this one is not; empty where it is all."""
        try:
            low, high = value
            is_pair = not (self._wrong_number(low) or self._wrong_number(high)) and low < high
        except (TypeError, ValueError):
            is_pair = False
        return "" if is_pair else f"{self.range_text}, the lower one first"


def shown_value(value: Any) -> str:
    """A value as one types it on the command line."""
    if isinstance(value, tuple | list):
        between = " " if all(isinstance(each, Real) for each in value) else ","
        return between.join(map(shown_value, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)


@cache
def settings_of(kind: Any) -> Mapping[str, Setting]:
    """The fields of a settings dataclass that have an option, by name, in their order.

    A subclass that changes the default of a field need not repeat its option.
    """
    found = {}
    for declared in fields(kind):
        for base in kind.__mro__:
            hint = get_annotations(base).get(declared.name)
            if get_origin(hint) is Annotated:
                found[declared.name] = _setting(declared, *get_args(hint)[:2])
                break
    return found


def nested_values(kind: Any, flat: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a settings dataclass from values by name, in it and in those that it has.

    Names that it does not have are left out.

    Raises
    ------
    InputError
        A value of a dataclass in it is out of its range.
    """
    found: dict[str, Any] = {}
    for name, setting in settings_of(kind).items():
        if setting.is_group:
            if inner := nested_values(setting.kind, flat):
                found[name] = setting.kind(**inner)
        elif name in flat:
            found[name] = flat[name]
    return found


def check_options(settings: Any) -> None:
    """Refuse settings of which a value is out of its range, or none of its choices.

    Parameters
    ----------
    settings
        A dataclass; to be called at the beginning of its ``__post_init__``.

    Raises
    ------
    InputError
        The message names the field, its value, and what it can be.
    """
    kind: Any = type(settings)
    for setting in settings_of(kind).values():
        setting.check(getattr(settings, setting.name))


def _setting(declared: Any, hint: Any, option: Option) -> Setting:
    parts = get_args(hint)
    optional = NoneType in parts
    kind = hint
    if get_origin(hint) in (Union, UnionType):
        kind = next(part for part in parts if part is not NoneType)
    default = declared.default
    if default is MISSING and declared.default_factory is not MISSING:
        default = declared.default_factory()
    # Of a text, its words are the choices: what there is to choose from may be a table.
    choices = tuple(option.words) if kind is str else ()
    if get_origin(kind) is Literal:
        choices = get_args(kind)
    return Setting(declared.name, kind, default, option, optional, choices)
