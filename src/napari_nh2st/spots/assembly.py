"""Counts as they stand in a file, and put together with their places into one AnnData."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from napari_nh2st.errors import InputError
from napari_nh2st.spots.choice import CHOSEN, OFFERED, SpotOption
from napari_nh2st.spots.positions import SPATIAL, position_columns

INFO = "nh2st_spots"
"""Key in ``uns``: what the reader of measured spots knows about their source."""

_ENSEMBL = re.compile(r"(ENS[A-Z]*G\d{11})(?:\.\d+)?(?:_PAR_Y)?")
"""An Ensembl gene id, with or without version. Clone names such as AP000769.1 are none."""

_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)"
_DATE = re.compile(rf"\d{{1,2}}-{_MONTH}|{_MONTH}-\d{{1,2}}|\d{{4}}-\d\d-\d\d(?: [\d:]+)?", re.I)
"""What Excel makes of MARCH1, SEPT2 and DEC1."""

_TELLING_SPOTS = 20
"""On fewer, a gene may be the sum of all others by chance."""


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

    def without_totals(self) -> "CountTable":
        """Leave out a column that is the sum of all others: no gene, and it would count twice."""
        total = np.asarray(self.counts.sum(1, dtype=np.float64)).ravel()
        if len(total) < _TELLING_SPOTS or len(self.genes) < 3 or not total.any():
            return self
        sums = np.asarray(self.counts.sum(0, dtype=np.float64)).ravel()
        is_total = np.zeros(len(sums), bool)
        for column in np.flatnonzero(2 * sums == total.sum()):
            is_total[column] = (2 * self.counts[:, [column]].toarray()[:, 0] == total).all()
        if not is_total.any():
            return self
        names = _some(self.genes[is_total])
        return replace(
            self,
            counts=self.counts[:, ~is_total],
            genes=self.genes[~is_total],
            gene_ids=None if self.gene_ids is None else self.gene_ids[~is_total],
            notes=(*self.notes, f"the column {names} left out, which is the sum of all others"),
        )

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


@dataclass(frozen=True)
class SpotPositions:
    """Where spots lie.

    Parameters
    ----------
    spots
        (n,) names as in the counts.
    pixels
        (n, 2) (x, y) in full-resolution pixels.
    array
        (n, 2) (row, column) on the array; None where that is not known.
    in_tissue
        (n,) bool: under tissue, by the table.
    """

    spots: NDArray[np.str_]
    pixels: NDArray[np.float64]
    array: NDArray[np.int64] | None
    in_tissue: NDArray[np.bool_]


@dataclass(frozen=True)
class Source:
    """What a reader knows about where spots come from.

    Parameters
    ----------
    path
        The file or folder.
    format
        In words, for the report.
    pitch_um
        Distance between spots by the kind of array; None where that is not known.
    offered, chosen
        The parts that the file holds, where these are several, and those that were read, by option.
    """

    path: Path
    format: str
    pitch_um: float | None = None
    offered: Mapping[SpotOption, tuple[str, ...]] = field(default_factory=dict)
    chosen: Mapping[SpotOption, str] = field(default_factory=dict)


def join(table: CountTable, positions: SpotPositions, source: Source) -> AnnData:
    """Spots that have both counts and a place under tissue.

    Returns
    -------
    AnnData
        As :func:`~napari_nh2st.spots.read_spots` describes it, in the counts' order.

    Raises
    ------
    InputError
        A spot's name occurs twice, or no spot has both.
    """
    _check_distinct(table.spots, f"{source.path}: the counts")
    _check_distinct(positions.spots, f"{source.path}: the positions")
    row_of = pd.Index(positions.spots).get_indexer(table.spots)
    placed = row_of >= 0
    inside = placed & positions.in_tissue[row_of]
    finite = inside & np.isfinite(positions.pixels[row_of]).all(1)
    if not finite.any():
        raise InputError(
            f"{source.path}: no spot has both counts and a position under tissue; counts name "
            f"spots like {str(table.spots[0])!r}, positions like {str(positions.spots[0])!r}"
            if len(table.spots) and len(positions.spots)
            else f"{source.path}: there are no spots in it"
        )
    without_counts = np.count_nonzero(positions.in_tissue & ~np.isin(positions.spots, table.spots))
    notes = [
        f"{count} {what}"
        for count, what in (
            (int(without_counts), "with a position but no counts left out"),
            (int(np.count_nonzero(~placed)), "with counts but no position left out"),
            (int(np.count_nonzero(placed & ~inside)), "not under tissue left out"),
            (int(np.count_nonzero(inside & ~finite)), "with an empty position left out"),
        )
        if count
    ]
    kept = np.flatnonzero(finite)
    chosen = CountTable(
        table.counts[kept], table.spots[kept], table.genes, table.gene_ids, table.notes
    )
    rows = row_of[kept]
    array = None if positions.array is None else positions.array[rows]
    return assemble(chosen, positions.pixels[rows], array, source, tuple(notes))


def assemble(
    table: CountTable,
    pixels: NDArray[np.float64],
    array: NDArray[np.int64] | None,
    source: Source,
    notes: tuple[str, ...] = (),
) -> AnnData:
    """Build the AnnData and its one-line report.

    Parameters
    ----------
    table
        n spots.
    pixels
        (n, 2) (x, y) in full-resolution pixels.
    array
        (n, 2) (row, column), or None.
    notes
        What was left out so far, each "N ... left out".
    """
    table = table.without_totals().with_distinct_genes()
    pixels = np.asarray(pixels, np.float64)
    obs = position_columns(table.spots.astype(object), pixels, array)
    var = pd.DataFrame(index=table.genes.astype(object))
    if table.gene_ids is not None:
        var["gene_ids"] = table.gene_ids.astype(object)
    empty = int(np.count_nonzero(table.counts.sum(1) == 0))
    kind = ", ".join([source.format, *source.chosen.values()])
    parts = [f"{len(obs)} spots × {len(var)} genes ({kind})", *notes, *table.notes]
    if empty:
        parts.append(f"{empty} without a single count kept")
    if empty < len(obs) and not are_counts(table.counts):
        parts.append("its values are not raw counts, which training and comparing need")
    dates = np.array([name for name in table.genes.tolist() if _DATE.fullmatch(name)], str)
    if len(dates):
        parts.append(
            f"{_number(len(dates), 'gene name')} that Excel turned into dates ({_some(dates)}), "
            "such as MARCH1 and SEPT2: restore them in the file, or they are not found"
        )
    if array is not None and (shared := len(array) - len(np.unique(array, axis=0))):
        parts.append(f"{shared} on the same array place as another spot; neighbors by distance")
    info: dict[str, Any] = {
        "source": source.path.name,
        "format": source.format,
        "report": f"{source.path.name}: " + "; ".join(parts),
    }
    if source.pitch_um is not None:
        info["pitch_um"] = float(source.pitch_um)
    if source.offered:
        info[OFFERED] = {option: list(names) for option, names in source.offered.items()}
        info[CHOSEN] = dict(source.chosen)
    return AnnData(
        table.counts,
        obs=obs,
        var=var,
        obsm={SPATIAL: pixels},
        uns={INFO: info},
    )


def _check_distinct(names: NDArray[np.str_], where: str) -> None:
    values, count = np.unique(names, return_counts=True)
    if (count > 1).any():
        name = values[count > 1][0]
        raise InputError(f"{where} name the spot {name} {count.max()} times; keep one row of it")
