"""Notices before a training begins, the same in the viewer and on the command line.

Nothing here needs torch.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from napari_nh2st.errors import InputError
from napari_nh2st.spots.overlap import PanelOverlap, panel_overlap


def held_out_notice(n_held_out: int) -> str:
    """Notice that the new model's genes will have no reliability; empty where they will."""
    if n_held_out:
        return ""
    return "No section is held out: the new model's genes will have no reliability."


def overlaps(
    panel: Sequence[str], sections: Mapping[str, Collection[str]]
) -> tuple[PanelOverlap, ...]:
    """Overlap of a panel with the genes of each section.

    Parameters
    ----------
    panel
        Panel of the start model.
    sections
        Genes of each section that trains or validates, by its name.
    """
    return tuple(_overlap(tuple(panel), frozenset(genes), name) for name, genes in sections.items())


def check_overlaps(
    panel: Sequence[str],
    sections: Mapping[str, Collection[str]],
    advice: str = "Choose another start model or another panel.",
) -> None:
    """Refuse the panel of another species.

    Raises
    ------
    InputError
        A section has next to none of the panel's genes.
    """
    for overlap in overlaps(panel, sections):
        if overlap.is_refused:
            raise InputError(f"{overlap.sentence} {advice}")


# A look at how 30,000 names are spelled takes longer than a frame, and nothing changes them.
@lru_cache(maxsize=64)
def _overlap(panel: tuple[str, ...], genes: frozenset[str], name: str) -> PanelOverlap:
    return panel_overlap(panel, genes, name=name)
