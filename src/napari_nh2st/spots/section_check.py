"""Check of one section's files: whether its slide and spots can be read and fit each other."""

from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace

from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.model.encoders.key import EncoderKey
from napari_nh2st.slide import Slide, open_slide
from napari_nh2st.spots.assembly import INFO
from napari_nh2st.spots.checks import check_counts, check_enough_spots, check_section
from napari_nh2st.spots.choice import ChoiceNeeded, Parts
from napari_nh2st.spots.orientation import AS_THEY_ARE, apply_fix
from napari_nh2st.spots.placement import Proposal, propose_fix
from napari_nh2st.spots.positions import centers
from napari_nh2st.spots.read import read_spots
from napari_nh2st.spots.sections import Section
from napari_nh2st.tiles.given_features import key_of_file, read_given_features

_NAME = "This section"
"""What checks call the section."""


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


def check(
    section: Section, *, trust_positions: bool = False, features: EncoderKey | None = None
) -> Found:
    """Read a section's spots and slide, and see whether they fit; takes seconds.

    Parameters
    ----------
    section
        The section; what it is called does not matter.
    trust_positions
        As in :func:`~napari_nh2st.spots.check_section`.
    features
        Features that take the place of an image encoder, see
        :func:`~napari_nh2st.tiles.given_features.key_of_file`; None where tiles are encoded.
    """
    unreadable: list[str] = []
    with ExitStack() as opened:
        spots, slide = None, None
        try:
            slide = opened.enter_context(
                open_slide(section.slide, mpp=section.mpp, image=section.image)
            )
        except InputError as error:
            unreadable.append(_sentence(error))
        except Exception as error:  # a reader that met what nobody foresaw: the row says so
            unreadable.append(_unforeseen("The slide", error))
        try:
            part = asdict(section.choice)
            spots = read_spots(section.expression, section.positions, **part)
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
            return replace(_fit(spots, slide, section, trust_positions, features), parts=parts)
        except Exception as error:
            return Found((_unforeseen("The section", error),), False, "not usable", parts=parts)


def _fit(
    spots: AnnData, slide: Slide, section: Section, trust: bool, features: EncoderKey | None
) -> Found:
    """Whether spots, slide and features that can be read belong together."""
    genes = frozenset(spots.var_names)
    try:
        check_counts(spots, _NAME)
        check_enough_spots(spots, _NAME)
    except InputError as error:
        return Found((_sentence(error),), False, "not usable", genes=genes)
    fixed = spots if section.fix is None else apply_fix(spots, section.fix, slide.shape)
    try:
        result = check_section(fixed, slide, name=_NAME, trust_positions=trust)
    except InputError as error:
        proposal = _proposal(spots, slide, section, trust)
        if proposal is None:
            return Found((_sentence(error),), False, "not usable", genes=genes)
        return Found(_advice(proposal), False, "wrong places", (), proposal, genes)
    warnings = tuple(_sentence(warning) for warning in result.warnings)
    sentences: tuple[str, ...] = (f"{spots.n_obs:,} spots, {result.mpp[0]:.3g} µm/px.",)
    if features is not None:
        try:
            given = read_given_features(
                key_of_file(features, section.features), slide.with_mpp(result.mpp)
            )
        except InputError as error:
            return Found((_sentence(error),), False, "features?", genes=genes)
        inside = int((given.nearest(centers(fixed)) >= 0).sum())
        by = f" of {given.encoder}" if given.encoder else ""
        sentences += (
            f"{len(given.features):,} tiles with {given.n_features:,} features{by}; {inside:,} "
            "spots lie in one.",
        )
        if not inside:
            return Found(sentences[1:], False, "features?", genes=genes)
        warnings += tuple(map(_sentence, given.notices))
    return Found(
        sentences,
        True,
        "ok, but read" if warnings else "ok",
        warnings,
        _proposal(spots, slide, section, trust) if warnings else None,
        genes,
    )


def _proposal(spots: AnnData, slide: Slide, section: Section, trust: bool) -> Proposal | None:
    """What would put the spots of the file right, unless that is done."""
    proposal = propose_fix(spots, slide)
    if proposal is None or proposal.fix == section.fix:
        return None
    if trust and proposal.fix.orientation != AS_THEY_ARE:
        return None
    return proposal


def _advice(proposal: Proposal) -> tuple[str, ...]:
    """What was noticed, and what can be done about it here."""
    what = "Take them as proposed"
    if proposal.fix.factor == 1:
        what += "; or, if they are right as they are, trust the positions"
    return (*proposal.reasons, f"{what}.")


def _sentence(message: object) -> str:
    """A message about the section, where the row itself says which one."""
    text = str(message).removeprefix(f"{_NAME}: ")
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '?')) else '.'}"


def _unforeseen(what: str, error: Exception) -> str:
    return f"{what} cannot be read: {type(error).__name__}: {error}."
