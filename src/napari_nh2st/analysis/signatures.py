"""Lists of genes: read, matched with a panel, and scored."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from napari_nh2st.errors import InputError
from napari_nh2st.names import folded_names, nearest_names
from napari_nh2st.prediction.schema import notes
from napari_nh2st.prediction.stored_names import stored_name
from napari_nh2st.prediction.values import predicted_tiles, standardized

_MOST_NAMED = 8
"""Unknown names in a sentence."""

_MOST_HINTS = 20
"""Unknown names that nearest ones are looked for: a list for another panel has hundreds."""


@dataclass(frozen=True)
class Signature:
    """Genes that are scored together.

    Parameters
    ----------
    name
        Of the signature; its column in ``obs`` has ``_`` for ``/``.
    genes
        Those that the prediction has.
    listed
        How many there were before those it lacks were left out.
    """

    name: str
    genes: tuple[str, ...]
    listed: int

    @property
    def title(self) -> str:
        """Name, and how many genes were found."""
        return f"{self.name} ({len(self.genes)} of {self.listed})"

    def within(self, prediction: AnnData) -> "Signature | None":
        """The signature with the genes that a prediction has; None if it has none of them."""
        genes = tuple(gene for gene in self.genes if gene in prediction.var_names)
        return replace(self, genes=genes) if genes else None


@dataclass(frozen=True)
class GeneMatch:
    """Which names of a list are in a panel.

    Parameters
    ----------
    found
        Genes of the panel, in its spelling and the list's order, each once.
    unknown
        Every other name, with up to 3 genes of the panel that are spelled similarly (none for
        names after the 20th).
    """

    found: tuple[str, ...]
    unknown: dict[str, tuple[str, ...]]


def read_gmt(path: str | os.PathLike[str]) -> dict[str, tuple[str, ...]]:
    """Read the gene sets of a GMT file.

    Parameters
    ----------
    path
        GMT file with one set per line, separated by tabs: its name, a description, its genes.

    Returns
    -------
    dict
        Genes by name of the set, both in the file's order; each gene once.

    Raises
    ------
    InputError
        The file cannot be read or has no set; a line has no tabs or no gene; or two sets have the
        same name. The message gives the line's number.

    Examples
    --------
    .. code-block:: python

        score_signatures(prediction, read_gmt("sets.gmt"))
    """
    path = Path(path).expanduser()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InputError(f"{path} cannot be read: {reason}") from None
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *cells = (cell.strip() for cell in line.split("\t"))
        genes = tuple(dict.fromkeys(cell for cell in cells[1:] if cell))
        if not name or not genes:
            raise InputError(
                f"{path}, line {number}: a line of a GMT file is a name, a description and genes, "
                "separated by tabs"
            )
        if name in sets:
            raise InputError(f"{path}, line {number}: a set {name!r} is already above")
        sets[name] = genes
    if not sets:
        raise InputError(f"{path}: it has no gene set")
    return sets


def match_genes(names: Iterable[str], panel: Sequence[str]) -> GeneMatch:
    """Find the genes of a list in a panel.

    Parameters
    ----------
    names
        Names as a user wrote them. Case does not matter, unless genes of the panel differ in
        nothing else.
    panel
        The genes to look for them in.

    Examples
    --------
    >>> match_genes(["erbb2", "ESR", "erbb2"], ["ERBB2", "ESR1"])
    GeneMatch(found=('ERBB2',), unknown={'ESR': ('ESR1', 'ERBB2')})
    """
    exact = set(panel)
    folded = folded_names(panel)
    found: dict[str, None] = {}
    unknown: dict[str, tuple[str, ...]] = {}
    for name in names:
        if name in exact:
            found[name] = None
        elif name.casefold() in folded:
            found[folded[name.casefold()]] = None
        elif name not in unknown:
            hint = len(unknown) < _MOST_HINTS
            unknown[name] = nearest_names(name, folded) if hint else ()
    return GeneMatch(tuple(found), unknown)


def signature_score(prediction: AnnData, genes: Sequence[str]) -> NDArray[np.float64]:
    """Score a signature: the mean z-score of its genes.

    Each gene is standardized over the predicted tiles, so a score is relative to this prediction:
    0 is its mean, and scores of two slides cannot be compared.

    Parameters
    ----------
    prediction
        Tiles × genes.
    genes
        Genes of the prediction, as :func:`match_genes` finds them. A gene without variance
        counts as 0.

    Returns
    -------
    ndarray
        (tiles,) float64; NaN where nothing is predicted.

    Raises
    ------
    InputError
        No gene is given, or one is not in the prediction.
    """
    wanted = list(dict.fromkeys(genes))
    if not wanted:
        raise InputError("None of the signature's genes is predicted; give at least one that is")
    columns = prediction.var_names.get_indexer(wanted)
    if (columns < 0).any():
        missing = wanted[int(np.argmin(columns))]
        raise InputError(
            f"gene {missing!r} is not in the prediction; match_genes finds the nearest"
        )
    predicted = predicted_tiles(prediction)
    scores = np.full(prediction.n_obs, np.nan)
    values = np.asarray(prediction.X)[:, columns][predicted]
    scores[predicted] = standardized(values).mean(1, dtype=np.float64)
    return scores


def keep_signatures(
    prediction: AnnData, signatures: Mapping[str, Sequence[str]]
) -> dict[str, GeneMatch]:
    """Score signatures and store the scores in the prediction.

    Parameters
    ----------
    prediction
        Tiles × genes. ``obs`` gets a column for each signature of which it has a gene, by its name
        (``_`` for ``/``, which files cannot hold), and ``uns["nh2st"]["signatures"]`` a table of
        their genes. Scores of earlier calls stay, except those of the same name.
    signatures
        Genes by name, see :func:`read_gmt`.

    Returns
    -------
    dict
        The :class:`GeneMatch` of each signature, by its name.

    Raises
    ------
    InputError
        A name is that of another column, or the prediction has no gene of any signature.
    """
    panel = list(prediction.var_names)
    matches = {name: match_genes(genes, panel) for name, genes in signatures.items()}
    columns = [stored_name(name) for name in signatures]
    for name in signatures:
        _check_column(prediction, name)
        if columns.count(column := stored_name(name)) > 1:
            raise InputError(f"Two signatures are called {column!r}; give them other names")
    if not any(match.found for match in matches.values()):
        first = next(iter(matches.values()), GeneMatch((), {}))
        missing = f": not found are {unknown_text(first.unknown)}" if first.unknown else ""
        raise InputError(f"The prediction has no gene of any signature{missing}")
    for name, match in matches.items():
        if match.found:
            scores = signature_score(prediction, match.found)
            listed = len(match.found) + len(match.unknown)
            put_signature(prediction, Signature(name, match.found, listed), scores)
    return matches


def kept_signatures(prediction: AnnData) -> dict[str, Signature]:
    """The signatures whose scores stand in a prediction, by their columns in ``obs``."""
    return {
        column: Signature(column, tuple(str(row["genes"]).split()), int(row["listed"]))
        for column, row in _rows(prediction).items()
        if column in prediction.obs
    }


def put_signature(prediction: AnnData, signature: Signature, scores: NDArray[np.float64]) -> None:
    """Put the scores of one signature into a prediction, as :func:`keep_signatures` does.

    Raises
    ------
    InputError
        Its name is that of another column.
    """
    _check_column(prediction, signature.name)
    column, rows = stored_name(signature.name), _rows(prediction)
    rows[column] = {
        "signature": column,
        "genes": " ".join(signature.genes),
        "found": len(signature.genes),
        "listed": signature.listed,
    }
    prediction.obs[column] = scores
    _write_rows(prediction, rows)


def remove_signature(prediction: AnnData, name: str) -> None:
    """Take the scores of a signature out of a prediction, if they are there."""
    column, rows = stored_name(name), _rows(prediction)
    if column in rows:
        del rows[column]
        if column in prediction.obs:
            del prediction.obs[column]
        _write_rows(prediction, rows)


def _check_column(prediction: AnnData, name: str) -> None:
    if stored_name(name) in prediction.obs and stored_name(name) not in _rows(prediction):
        raise InputError(
            f"The signature {name!r} has the name of a column in the prediction; give it another "
            "name"
        )


def _rows(prediction: AnnData) -> dict[str, dict[str, Any]]:
    kept = notes(prediction).get("signatures")
    if not isinstance(kept, pd.DataFrame):
        return {}
    return {str(row["signature"]): dict(row) for _, row in kept.iterrows()}


def _write_rows(prediction: AnnData, rows: dict[str, dict[str, Any]]) -> None:
    if rows:
        table = pd.DataFrame(list(rows.values()))
        notes(prediction)["signatures"] = table.set_axis(table.index.astype(str))
    else:
        notes(prediction).pop("signatures", None)


def found_text(listed: int, match: GeneMatch) -> str:
    """How many genes of a list were found, and which were not, with the nearest names."""
    text = f"{len(match.found)} of {listed} genes found"
    if match.unknown:
        text += f"; not found: {unknown_text(match.unknown)}"
    return text


def unknown_text(unknown: Mapping[str, tuple[str, ...]]) -> str:
    """Names that a panel lacks, each with the nearest that it has; no more than a few."""
    named = [
        f"{name} (nearest {near[0]})" if near else name
        for name, near in list(unknown.items())[:_MOST_NAMED]
    ]
    more = len(unknown) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
