"""Panel of genes that a model is trained to predict."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, Literal

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix, diags

from napari_nh2st.errors import InputError
from napari_nh2st.html_card import settings_card
from napari_nh2st.options import Option, check_options
from napari_nh2st.spots.array import morans_i, spot_array
from napari_nh2st.spots.assembly import are_ensembl_ids
from napari_nh2st.spots.checks import check_counts

PanelRule = Literal["mean", "variable", "spatial", "given"]

# S6 kinases (RPS6KA1, ...) are named after the protein they act on.
_RIBOSOMAL = re.compile(r"RP[SL](?!6K)(?:A|P?\d).*|Rp[sl](?!6k)(?:a|p?\d).*")
_MITOCHONDRIAL = re.compile(r"(?:MT|mt)-.+")

_CHUNK = 2000
"""Genes at a time where a dense matrix is needed."""

_THETA = 100.0
"""Overdispersion of the negative binomial, as Lause et al. recommend for UMI counts."""


@dataclass(frozen=True)
class PanelSettings:
    """How a panel is chosen.

    Parameters
    ----------
    rule
        - ``"mean"``: highest mean count over all spots of all sections (published);
        - ``"variable"``: highest variance of Pearson residuals (Lause, Berens, Kobak 2021);
        - ``"spatial"``: highest Moran's I over array neighbors;
        - ``"given"``: the list ``genes``.
    leave_out_ribosomal, leave_out_mitochondrial
        Leave out these genes of human (RPS, RPL, MT-) and mouse (Rps, Rpl, mt-).
    """

    rule: Annotated[
        PanelRule,
        Option(
            "Panel",
            "Genes with the highest mean count (mean), variance of Pearson residuals (variable), "
            "or Moran's I (spatial)",
            words={
                "mean": "highest mean count",
                "variable": "highest variance",
                "spatial": "highest Moran's I",
                "given": "these genes",
            },
        ),
    ] = "mean"
    n_genes: Annotated[
        int, Option("Genes", "Number of genes; a given list is always taken whole", (1, inf))
    ] = 250
    genes: Annotated[tuple[str, ...], Option("Genes", "Genes to learn, in this order")] = ()
    leave_out_ribosomal: Annotated[
        bool, Option("Without RPS, RPL", "Leave out ribosomal genes (RPS, RPL)")
    ] = False
    leave_out_mitochondrial: Annotated[
        bool, Option("Without MT-", "Leave out mitochondrial genes (MT-)")
    ] = False

    _repr_html_ = settings_card

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class Panel:
    """The chosen genes, best first or in the order given, and a line that describes them.

    The line continues a sentence that begins with a word such as "Learning".
    """

    genes: tuple[str, ...]
    report: str


def choose_panel(
    sections: Mapping[str, AnnData],
    settings: PanelSettings | None = None,
    *,
    whose: str = "the list",
) -> Panel:
    """Choose a panel from the genes that every section has.

    Parameters
    ----------
    sections
        Raw counts by section, from :func:`~napari_nh2st.spots.read_spots`. Give the training
        sections only, so that the choice does not depend on the test sections.
    settings
        How to choose; None for the published choice, the 250 genes with the highest mean count.
    whose
        Where a given list of genes comes from, for the panel's line.

    Raises
    ------
    InputError
        No gene is in all sections, no gene is left, the rule needs raw counts and the values are
        not, or Ensembl ids do not tell which genes are ribosomal or mitochondrial.

    Examples
    --------
    .. code-block:: python

        panel = choose_panel({"C2": spots}, PanelSettings(rule="variable", n_genes=100))
        panel.genes
    """
    settings = settings or PanelSettings()
    if settings.rule == "given" and not settings.genes:
        raise InputError("The panel is empty: the list of genes has none")
    shared = _shared_genes(sections)
    where = "the section" if len(sections) == 1 else "every section"
    parts = []
    wanted = candidates = shared
    if settings.rule == "given":
        wanted = tuple(dict.fromkeys(settings.genes))
        known = set(shared)
        missing = tuple(gene for gene in wanted if gene not in known)
        candidates = tuple(gene for gene in wanted if gene in known)
        if missing:
            are = "gene is" if len(missing) == 1 else "genes are"
            parts.append(f"{len(missing)} {are} not in {where}: {_some(missing)}")
    kept = _without_left_out(candidates, settings)
    if len(kept) < len(candidates):
        parts.append(f"{len(candidates) - len(kept)} ribosomal or mitochondrial genes left out")
    if not kept:
        raise InputError(f"The panel is empty: {'; '.join(parts)}; choose other genes or sections")
    if settings.rule != "given":
        for name, spots in sections.items():
            check_counts(spots, name)
        kept = _best(sections, kept, settings)
        if len(kept) < settings.n_genes:
            parts.append(f"{settings.n_genes} were asked for")
        genes = "1 gene" if len(kept) == 1 else f"{len(kept):,} genes"
        what = f"{genes} with the highest {_WORDS[settings.rule]} of the {len(shared):,} in {where}"
    elif len(kept) < len(wanted):
        what = f"{len(kept):,} of the {len(wanted):,} genes of {whose}"
    else:
        what = f"the {len(kept):,} genes of {whose}"
    return Panel(kept, "; ".join([what, *parts]))


_WORDS = {
    "mean": "mean count",
    "variable": "variance of Pearson residuals",
    "spatial": "Moran's I",
}


def _shared_genes(sections: Mapping[str, AnnData]) -> tuple[str, ...]:
    """Genes of all sections, in the first one's order."""
    if not sections:
        raise InputError("There is no section to choose a panel from")
    names = list(sections)
    shared = set(sections[names[0]].var_names)
    for number, name in enumerate(names[1:], start=1):
        shared &= set(sections[name].var_names)
        if not shared:
            others = ", ".join(names[: min(number, 3)]) + (", ..." if number > 3 else "")
            raise InputError(
                f"No gene is in all sections: {name} shares none with {others} "
                f"(its genes are named like {sections[name].var_names[0]!r}, those of "
                f"{names[0]} like {sections[names[0]].var_names[0]!r})"
            )
    return tuple(gene for gene in sections[names[0]].var_names if gene in shared)


def _without_left_out(genes: tuple[str, ...], settings: PanelSettings) -> tuple[str, ...]:
    patterns = [
        pattern
        for pattern, wanted in (
            (_RIBOSOMAL, settings.leave_out_ribosomal),
            (_MITOCHONDRIAL, settings.leave_out_mitochondrial),
        )
        if wanted
    ]
    if patterns and genes and are_ensembl_ids(np.array(genes, str)):
        raise InputError(
            "Ribosomal and mitochondrial genes are known by their symbols, and the sections have "
            f"Ensembl ids ({genes[0]}); give sections with symbols, or keep those genes"
        )
    return tuple(gene for gene in genes if not any(p.fullmatch(gene) for p in patterns))


def _best(
    sections: Mapping[str, AnnData], genes: tuple[str, ...], settings: PanelSettings
) -> tuple[str, ...]:
    matrices = []
    for section in sections.values():
        columns = section.var_names.get_indexer(list(genes))
        matrices.append(csc_matrix(section.X, dtype=np.float64)[:, columns])
    if settings.rule == "mean":
        n_spots = sum(matrix.shape[0] for matrix in matrices)
        score = sum(np.asarray(matrix.sum(0)).ravel() for matrix in matrices) / n_spots
    else:
        score = np.mean(
            [
                _residual_variance(matrix)
                if settings.rule == "variable"
                else _spatial_score(matrix, section)
                for matrix, section in zip(matrices, sections.values(), strict=True)
            ],
            axis=0,
        )
    # Genes that score the same stand in the order of their names, whatever the files' order.
    order = np.lexsort((np.array(genes, str), -score))
    return tuple(genes[k] for k in order[: settings.n_genes])


def _residual_variance(counts: csc_matrix) -> NDArray[np.float64]:
    """Variance of each gene's analytic Pearson residuals, clipped at √spots."""
    per_spot = np.asarray(counts.sum(1)).ravel()
    per_gene = np.asarray(counts.sum(0)).ravel()
    share = per_spot / max(per_spot.sum(), 1)
    limit = np.sqrt(counts.shape[0])

    def variance(dense: NDArray[np.float64], columns: slice) -> NDArray[np.float64]:
        expected = share[:, None] * per_gene[columns]
        spread = np.sqrt(expected + expected**2 / _THETA)
        residuals = (dense - expected) / np.where(spread > 0, spread, 1)
        return np.asarray(np.clip(residuals, -limit, limit).var(0))

    return _by_chunks(counts, variance)


def _spatial_score(counts: csc_matrix, section: AnnData) -> NDArray[np.float64]:
    """Moran's I of log-normalized counts; -1 for genes that do not vary."""
    neighbors: csr_matrix = spot_array(section).neighbors
    total = np.asarray(counts.sum(1)).ravel()
    scaled = csc_matrix(diags(1e4 / np.where(total > 0, total, 1)) @ counts)
    score = _by_chunks(scaled, lambda dense, _: morans_i(np.log1p(dense), neighbors))
    return np.where(np.isnan(score), -1.0, score)


def _by_chunks(
    counts: csc_matrix, score: Callable[[NDArray[np.float64], slice], NDArray[Any]]
) -> NDArray[np.float64]:
    parts = []
    for start in range(0, counts.shape[1], _CHUNK):
        columns = slice(start, start + _CHUNK)
        parts.append(score(counts[:, columns].toarray(), columns))
    return np.concatenate(parts)


def _some(genes: tuple[str, ...]) -> str:
    return ", ".join(genes[:5]) + (", ..." if len(genes) > 5 else "")
