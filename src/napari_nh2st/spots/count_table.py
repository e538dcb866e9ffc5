"""Counts as they stand in a file, before they have places."""

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

_ENSEMBL = re.compile(r"(ENS[A-Z]*G\d{11})(?:\.\d+)?(?:_PAR_Y)?")
"""An Ensembl gene id, with or without version. Clone names such as AP000769.1 are none."""


@dataclass(frozen=True)
class CountTable:
    """Spots × genes, each with a name.

    Parameters
    ----------
    counts
        (spots, genes) float32, sparse.
    spots
        (spots,) barcodes, or array positions as ``{x}x{y}``.
    genes
        (genes,) names, as far as possible symbols.
    gene_ids
        (genes,) accession of each gene, None where the file has none.
    notes
        What was done on the way, for the report.
    """

    counts: csr_matrix
    spots: NDArray[np.str_]
    genes: NDArray[np.str_]
    gene_ids: NDArray[np.str_] | None = None
    notes: tuple[str, ...] = ()

    def with_distinct_genes(self) -> "CountTable":
        """Drop versions of Ensembl ids and add up columns of one name.

        Two accessions of one symbol are counts of the same name: their sum does not depend on
        their order in the file, as names made unique by a number would, so sections stay
        comparable.
        """
        notes = list(self.notes)
        genes, versions = without_versions(self.genes)
        ids = None if self.gene_ids is None else without_versions(self.gene_ids)[0]
        if versions:
            notes.append(f"versions of {versions} Ensembl ids dropped")
        names, first, number = np.unique(genes, return_index=True, return_inverse=True)
        counts = self.counts
        if len(names) < len(genes):
            repeated = np.flatnonzero(np.bincount(number) > 1)
            notes.append(
                f"{_number(len(repeated), 'gene name')} that {_occur(len(repeated))} more than "
                f"once added up ({_some(names[repeated])})"
            )
            order = np.argsort(first)  # names keep the order of their first column
            place = np.argsort(order)[number]
            added = csr_matrix(
                (np.ones(len(genes), np.float32), (np.arange(len(genes)), place)),
                shape=(len(genes), len(names)),
            )
            counts = csr_matrix(counts @ added)
            genes = names[order]
            ids = None if ids is None else ids[first[order]]
        return replace(self, counts=counts, genes=genes, gene_ids=ids, notes=tuple(notes))


def are_counts(matrix: Any) -> bool:
    """Whether all values are whole numbers from 0 on, and not all are 0."""
    values = matrix.data if issparse(matrix) else np.asarray(matrix)
    return bool(
        values.size
        and np.issubdtype(values.dtype, np.number)
        and np.isfinite(values).all()
        and (values >= 0).all()
        and (values == np.rint(values)).all()
        and values.any()
    )


def without_versions(names: NDArray[np.str_]) -> tuple[NDArray[np.str_], int]:
    """Ensembl ids without their versions, other names as they are; and how many changed."""
    bare = np.array(
        [match[1] if (match := _ENSEMBL.fullmatch(name)) else name for name in names.tolist()],
        str,
    )
    return bare, int(np.count_nonzero(bare != names))


def are_ensembl_ids(names: NDArray[np.str_]) -> bool:
    """Whether most names are Ensembl gene ids."""
    return sum(bool(_ENSEMBL.fullmatch(name)) for name in names.tolist()) > len(names) / 2


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _occur(count: int) -> str:
    return "occurs" if count == 1 else "occur"


def _some(names: NDArray[np.str_], most: int = 3) -> str:
    """The first few of many names."""
    shown = ", ".join(names[:most].tolist())
    return shown + (", ..." if len(names) > most else "")
