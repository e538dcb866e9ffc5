"""Check of one section's files: whether its slide and spots can be read and fit each other."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.slide.images import ImageChoice
from napari_nh2st.spots.assembly import INFO
from napari_nh2st.spots.checks import check_counts, check_enough_spots, check_section
from napari_nh2st.spots.choice import NO_CHOICE, ChoiceNeeded, Parts, SpotChoice
from napari_nh2st.spots.orientation import AS_THEY_ARE, Fix, apply_fix
from napari_nh2st.spots.placement import Proposal, propose_fix
from napari_nh2st.spots.read import read_spots
from napari_nh2st.spots.sections import Section

_NAME = "This section"
"""What checks call the section."""


@dataclass(frozen=True)
class Measured:
    """What is checked: the files of a section, whatever it is called.

    Parameters
    ----------
    slide, expression, positions, mpp, fix, image, choice
        As in :class:`~napari_nh2st.spots.Section`.
    trust_positions
        As in :func:`~napari_nh2st.spots.check_section`.
    """

    slide: Path
    expression: Path
    positions: Path | None = None
    mpp: float | None = None
    fix: Fix | None = None
    trust_positions: bool = False
    image: ImageChoice = None
    choice: SpotChoice = NO_CHOICE

    @classmethod
    def of(cls, section: Section, trust_positions: bool) -> "Measured":
        """Of a section."""
        return cls(
            section.slide,
            section.expression,
            section.positions,
            section.mpp,
            section.fix,
            trust_positions,
            section.image,
            section.choice,
        )


@dataclass(frozen=True)
class Found:
    """What a check found.

    Parameters
    ----------
    sentences
        The spots and the µm/px, or what is wrong.
    is_good
        Whether the section can be trained on.
    short
        The same in two words.
    warnings
        Sentences to be read nevertheless.
    proposal
        What seems wrong with the places of the spots, and what would put it right.
    genes
        What was measured; empty where it could not be read.
    parts
        What the ST's file holds several of.
    """

    sentences: tuple[str, ...]
    is_good: bool
    short: str = "ok"
    warnings: tuple[str, ...] = ()
    proposal: Proposal | None = None
    genes: frozenset[str] = field(default=frozenset(), repr=False)
    parts: Parts = field(default_factory=Parts)


def check(measured: Measured) -> Found:
    """Read a section's spots and slide, and see whether they fit; takes seconds."""
    unreadable: list[str] = []
    with ExitStack() as opened:
        spots, slide = None, None
        try:
            slide = opened.enter_context(
                open_slide(measured.slide, mpp=measured.mpp, image=measured.image)
            )
        except InputError as error:
            unreadable.append(_sentence(error))
        except Exception as error:  # a reader that met what nobody foresaw: the row says so
            unreadable.append(_unforeseen("The slide", error))
        try:
            part = asdict(measured.choice)
            spots = read_spots(measured.expression, measured.positions, **part)
        except ChoiceNeeded as error:
            what = f"The ST holds {len(error.names)} sections: choose one."
            return Found((*unreadable, what), False, "which section?", parts=error.parts)
        except InputError as error:
            unreadable.append(_sentence(error))
        except Exception as error:
            unreadable.append(_unforeseen("The ST", error))
        if spots is None or slide is None:
            return Found(tuple(unreadable), False, "unreadable")
        parts = Parts.of(spots.uns.get(INFO, {}))
        try:
            return replace(_fit(spots, slide, measured), parts=parts)
        except Exception as error:
            return Found((_unforeseen("The section", error),), False, "not usable", parts=parts)


def _fit(spots: AnnData, slide: Slide, measured: Measured) -> Found:
    """Whether spots and slide that can be read belong together."""
    genes = frozenset(spots.var_names)
    try:
        check_counts(spots, _NAME)
        check_enough_spots(spots, _NAME)
    except InputError as error:
        return Found((_sentence(error),), False, "not usable", genes=genes)
    fixed = spots if measured.fix is None else apply_fix(spots, measured.fix, slide.shape)
    trust = measured.trust_positions
    try:
        result = check_section(fixed, slide, name=_NAME, trust_positions=trust)
    except InputError as error:
        proposal = _proposal(spots, slide, measured)
        if proposal is None:
            return Found((_sentence(error),), False, "not usable", genes=genes)
        return Found(_advice(proposal), False, "wrong places", (), proposal, genes)
    warnings = tuple(_sentence(warning) for warning in result.warnings)
    return Found(
        (f"{spots.n_obs:,} spots, {result.mpp[0]:.3g} µm/px.",),
        True,
        "ok, but read" if warnings else "ok",
        warnings,
        _proposal(spots, slide, measured) if warnings else None,
        genes,
    )


def _proposal(spots: AnnData, slide: Slide, measured: Measured) -> Proposal | None:
    """What would put the spots of the file right, unless that is done."""
    proposal = propose_fix(spots, slide)
    if proposal is None or proposal.fix == measured.fix:
        return None
    if measured.trust_positions and proposal.fix.orientation != AS_THEY_ARE:
        return None
    return proposal


def _advice(proposal: Proposal) -> tuple[str, ...]:
    """What was noticed, and what can be done about it here."""
    what = "Take them as proposed"
    if proposal.fix.factor == 1:
        what += "; or, if they are right as they are, trust the positions (Train dock: under More)"
    return (*proposal.reasons, f"{what}.")


def _sentence(message: object) -> str:
    """A message about the section, where the row itself says which one."""
    text = str(message).removeprefix(f"{_NAME}: ")
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"


def _unforeseen(what: str, error: Exception) -> str:
    return f"{what} cannot be read: {type(error).__name__}: {error}."
