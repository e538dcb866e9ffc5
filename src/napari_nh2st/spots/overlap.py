"""Overlap of a panel with the genes of a section: are they of the same genome?"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

LEAST_SHARE = 0.05
"""Share of a panel below which shared genes are so by chance (C3 is mouse and human)."""

FEW = 0.5
"""Share of a panel below which there is a notice."""

_ENSEMBL = re.compile(r"(ENS[A-Z]*G)\d{6,}")
_MOUSE, _HUMAN = "mouse symbols", "human symbols"


@dataclass(frozen=True)
class PanelOverlap:
    """How much of a panel a section has.

    Parameters
    ----------
    n_shared, n_panel
        Number of the panel's genes that the section has, and of all its genes.
    sentence
        What to tell the user; None if the section has at least half of the panel.
    is_refused
        Whether too few genes are shared (below 5 % of the panel) to use the section.
    """

    n_shared: int
    n_panel: int
    sentence: str | None
    is_refused: bool

    @property
    def share(self) -> float:
        """Share (0–1) of the panel that the section has; 1 for an empty panel."""
        return self.n_shared / self.n_panel if self.n_panel else 1.0


def panel_overlap(
    panel: Sequence[str], genes: Collection[str], *, name: str = "The section"
) -> PanelOverlap:
    """Count the genes of a panel that a section has, and say what seems wrong if they are few.

    A panel of another species shares a few names by chance, so one shared gene proves nothing.
    The spelling shows the species: symbols are ``ERBB2`` in human and ``Erbb2`` in mouse,
    Ensembl ids begin with ``ENSG`` and ``ENSMUSG``.

    Parameters
    ----------
    panel
        Genes of the model. An empty panel gives no sentence.
    genes
        Genes of the section.
    name
        What the sentence calls the section.

    Examples
    --------
    >>> panel_overlap(["Erbb2", "Epcam"], ["ERBB2", "EPCAM"]).is_refused
    True
    """
    known = set(genes)
    shared, total = sum(gene in known for gene in panel), len(panel)
    if shared >= FEW * total:
        return PanelOverlap(shared, total, None, False)
    number = f"only {shared} of the {total} genes of" if shared else "no gene with"
    count = f"{name} shares {number} the model's panel"
    is_refused = shared < LEAST_SHARE * total
    of_panel, of_section = _spelling(panel), _spelling(genes)
    if of_panel and of_section and of_panel != of_section:
        sentence = f"{count}: the panel has {of_panel}, the section {of_section}."
        for one, other in ((_MOUSE, _HUMAN), (_HUMAN, _MOUSE)):
            if of_panel.startswith(one) and of_section.startswith(other):
                species = one.split()[0], other.split()[0]
                sentence += f" It looks like a {species[0]} model on a {species[1]} section."
    elif is_refused:
        sentence = (
            f"{count}: the panel begins with {_first(panel)}, the section's genes with "
            f"{_first(genes)}. Are both of one species?"
        )
    else:
        sentence = f"{count}; the other {total - shared} were not measured there."
    return PanelOverlap(shared, total, sentence, is_refused)


def _spelling(names: Iterable[str]) -> str | None:
    """How most of them are written, with an example; None where no way is that of most."""
    names = list(names)
    ways: dict[str, list[str]] = {}
    for name in names:
        ensembl = _ENSEMBL.match(name)
        if ensembl is not None:
            ways.setdefault(f"Ensembl ids ({ensembl[1]}…)", []).append(name)
        elif name.isupper():
            ways.setdefault(_HUMAN, []).append(name)
        elif name[:1].isupper() and name[1:].islower():
            ways.setdefault(_MOUSE, []).append(name)
    for way, written in ways.items():
        if 2 * len(written) > len(names):
            return way if way.endswith(")") else f"{way} ({written[0]}, …)"
    return None


def _first(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:3])
