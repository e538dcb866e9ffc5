"""Genes of the sections of a training, and how well given names match them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from napari_nh2st.analysis import match_genes

MOST_NAMED = 8
"""Names that a sentence lists."""

_MOST_COMPARED = 5000
"""Genes that a name is compared with at once, some 15 ms."""


@dataclass(frozen=True)
class SectionGenes:
    """Genes of sections.

    Parameters
    ----------
    sections
        Genes of each section that trains or validates, by its name.
    """

    sections: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, sections: Mapping[str, Collection[str]]) -> "SectionGenes":
        """Genes in any collections."""
        return cls({name: frozenset(genes) for name, genes in sections.items()})

    @cached_property
    def shared(self) -> frozenset[str]:
        """Genes that every section has; none where there is no section."""
        return frozenset.intersection(*self.sections.values()) if self.sections else frozenset()

    @cached_property
    def _spelled(self) -> dict[str, str]:
        return {gene.casefold(): gene for gene in sorted(self.shared)}

    def as_measured(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names, each once, spelled as the sections spell them where they have them."""
        spelled = (
            name if name in self.shared else self._spelled.get(name.casefold(), name)
            for name in names
        )
        return tuple(dict.fromkeys(spelled))

    def unknown(self, names: Iterable[str]) -> tuple[str, ...]:
        """Names that are not in every section; none where there is no section."""
        return tuple(name for name in names if self.sections and name not in self.shared)

    def sections_without(self, name: str) -> tuple[str, ...]:
        """Sections without a gene that others have; empty where none has it."""
        without = [section for section, genes in self.sections.items() if name not in genes]
        return tuple(without) if len(without) < len(self.sections) else ()

    def nearest(self, name: str) -> tuple[str, ...]:
        """Genes spelled most alike, among those that begin or end like it."""
        folded = name.casefold()
        alike = [
            gene
            for key, gene in self._spelled.items()
            if key[:1] == folded[:1] or key[-2:] == folded[-2:]
        ]
        if len(alike) > _MOST_COMPARED:  # such as Ensembl ids, whose nearest say nothing
            return ()
        return match_genes([name], alike).unknown.get(name, ())

    def problem(self, names: Iterable[str]) -> str | None:
        """A sentence on names that not every section has; None where all do."""
        unknown = self.unknown(names)
        if not unknown:
            return None
        named = ", ".join(map(self._in_words, unknown[:MOST_NAMED]))
        more = f" and {len(unknown) - MOST_NAMED} more" if len(unknown) > MOST_NAMED else ""
        return f"Not every section has these genes of the panel: {named}{more}."

    def _in_words(self, name: str) -> str:
        if without := self.sections_without(name):
            return f"{name} (not in {', '.join(without)})"
        near = self.nearest(name)
        return f"{name} (nearest {', '.join(near)})" if near else name
