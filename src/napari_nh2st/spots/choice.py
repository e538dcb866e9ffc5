"""Choice of the part of a file of spots that is read: section, bins and coordinate system."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

from napari_nh2st.errors import InputError

SpotOption = Literal["library", "bin_um", "coordinate_system"]
"""An argument of :func:`~napari_nh2st.spots.read_spots` that chooses between parts of a file."""

OPTIONS: tuple[SpotOption, ...] = get_args(SpotOption)

OFFERED = "offered"
"""Key in ``uns["nh2st_spots"]`` of the parts there are: option → names."""

CHOSEN = "chosen"
"""Key beside it of those that were read: option → name."""


@dataclass(frozen=True)
class SpotChoice:
    """The part to read of a file that holds several.

    Parameters
    ----------
    library
        Name of the section, the sample of a folder, or the table of a SpatialData.
    bin_um
        Side of Visium HD's bins in µm.
    coordinate_system
        The coordinate system of a SpatialData.
    """

    library: str | None = None
    bin_um: int | None = None
    coordinate_system: str | None = None

    def with_part(self, option: SpotOption, name: str) -> "SpotChoice":
        """The choice with another part, by its offered name; another section resets the rest.

        Raises
        ------
        InputError
            ``bin_um`` is not a whole number of µm.
        """
        match option:
            case "library":
                return SpotChoice(library=name)
            case "bin_um":
                return SpotChoice(self.library, bin_side(name))
            case "coordinate_system":
                return SpotChoice(self.library, self.bin_um, name)

    def spelled(self) -> str:
        """The choice as text for a label; empty if nothing is chosen."""
        bins = None if self.bin_um is None else f"{self.bin_um} µm"
        return ", ".join(part for part in (self.library, bins, self.coordinate_system) if part)


NO_CHOICE = SpotChoice()
"""What there is one of is taken, and the default of the rest."""


@dataclass(frozen=True)
class Parts:
    """What a file holds several of.

    Parameters
    ----------
    offered
        Names to choose from, by option.
    chosen
        Those that were read.
    """

    offered: Mapping[SpotOption, tuple[str, ...]] = field(default_factory=dict)
    chosen: Mapping[SpotOption, str] = field(default_factory=dict)

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Self:
        """The parts that a reader noted in ``uns["nh2st_spots"]``."""
        offered = info.get(OFFERED, {})
        names = {option: tuple(map(str, offered[option])) for option in offered}
        return cls(names, dict(info.get(CHOSEN, {})))


class ChoiceNeeded(InputError):
    """A file holds several parts, and none was chosen.

    Parameters
    ----------
    message
        The sentence to be shown.
    option
        The argument by which to choose.
    names
        Its possible values.
    """

    # Defaults, since an exception that comes from another process is made of its message first.
    def __init__(
        self, message: str, option: SpotOption = "library", names: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.option: SpotOption = option
        self.names = tuple(names)

    @property
    def parts(self) -> Parts:
        """The parts to choose from."""
        return Parts({self.option: self.names})


def choice_needed(path: Path, what: str, option: SpotOption, names: Sequence[str]) -> ChoiceNeeded:
    """The error that asks which one is meant.

    Parameters
    ----------
    path
        The file or folder.
    what
        Is found several times, in the plural: "sections".
    option, names
        As in :class:`ChoiceNeeded`.
    """
    listed = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    return ChoiceNeeded(
        f"{path} holds {len(names)} {what} ({listed}); choose one: in the list in napari, in the "
        f"column {option} of the table given with --sections, or by {option}= in Python",
        option,
        names,
    )


def bin_side(text: str) -> int:
    """Side of bins in µm, from text.

    Raises
    ------
    InputError
        It is no whole number above 0.
    """
    try:
        side = int(float(text))
        if side > 0 and side == float(text):
            return side
    except (ValueError, OverflowError):
        pass
    raise InputError(f"{text!r} is not a bin size; give whole µm such as 8")
