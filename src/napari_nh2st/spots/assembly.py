"""Counts and places put together into one AnnData."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.spots.choice import CHOSEN, OFFERED, SpotOption
from napari_nh2st.spots.count_table import CountTable
from napari_nh2st.spots.positions import SPATIAL, position_columns

INFO = "nh2st_spots"
"""Key in ``uns`` of what a reader knows about its source."""


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
            f"spots like {table.spots[0]!r}, positions like {positions.spots[0]!r}"
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
            (int(np.count_nonzero(inside & ~finite)), "whose position is empty left out"),
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
    table = table.with_distinct_genes()
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
    if array is not None and (shared := len(array) - len(np.unique(array, axis=0))):
        parts.append(f"{shared} on an array place that another spot has; neighbors by distance")
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
