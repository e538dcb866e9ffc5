"""Table of a cohort: means of genes and signatures in each slide and its regions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import ArrayLike, NDArray

from napari_nh2st.analysis.regions import tiles_in_region
from napari_nh2st.analysis.signatures import match_genes
from napari_nh2st.cohort.cohort_slide import CohortSlide
from napari_nh2st.cohort.summary import SUMMARY, rows_of, slide_of
from napari_nh2st.errors import InputError
from napari_nh2st.names import nearest_names
from napari_nh2st.prediction.files import read_anndata_file
from napari_nh2st.prediction.schema import check_prediction, notes
from napari_nh2st.prediction.values import SAME, predicted_tiles
from napari_nh2st.tiles.geojson import named_polygons

ALL = "all"
"""Region of all tiles of a slide."""

Regions = Mapping[str, ArrayLike]
"""By name, (n, 2) corners (y, x) in full-resolution pixels."""


@dataclass(frozen=True, eq=False)
class SlideMeans:
    """Means of a slide's genes.

    Parameters
    ----------
    slide
        The slide, with the name of its output.
    tiles
        Predicted tiles by region; the first, :data:`ALL`, is of all.
    means
        Regions × genes; NaN in a region without tiles.
    variance
        Of each gene over all tiles.
    """

    slide: CohortSlide
    tiles: "pd.Series[int]"
    means: pd.DataFrame
    variance: "pd.Series[float]"


def cohort_table(
    folder: Path | str,
    genes: Sequence[str] | None = None,
    signatures: Mapping[str, Sequence[str]] | None = None,
    regions: Mapping[str, Regions] | None = None,
) -> pd.DataFrame:
    """Means of genes and signatures in each slide of a cohort, and in its regions.

    Parameters
    ----------
    folder
        Folder that a cohort was predicted into, with its ``summary.csv``.
    genes
        Genes to include, in this order; None for all.
    signatures
        Genes by name of the signature, as :func:`~napari_nh2st.analysis.read_gmt` reads them.
    regions
        Further regions, by the name of the slide's output without its suffix. If a slide was
        predicted in a region file of several polygons, each of these is a region anyway.

    Returns
    -------
    DataFrame
        One row for each slide that is done, with ``region`` ``"all"``, and one for each of its
        regions: ``slide``, ``region``, ``n_tiles`` (those with a value), further columns of the
        table of slides, such as ``donor``, then a column for each gene and each signature.
        ``attrs["notices"]`` are sentences on slides that could not be read, and on unknown genes.

        - A gene's value is the mean over the tiles, in the units of the prediction.
        - A signature's is the mean over its genes of ``(mean − µ) / σ``. µ and σ² are the mean and
          the variance of the gene over the cohort, every slide with the same weight, however many
          tiles it has: 0 is the cohort's mean, and slides can be compared with each other.

    Raises
    ------
    InputError
        The folder has no summary or no slide that is done, or a gene is in no slide.

    Examples
    --------
    .. code-block:: python

        from napari_nh2st.cohort import cohort_table

        table = cohort_table("predictions", ["ERBB2", "GRB7"])
        table[table.region == "all"].sort_values("ERBB2")
    """
    found, notices = [], []
    for output, slide in done_slides(Path(folder)):
        try:
            found.append(slide_means(output, slide, (regions or {}).get(slide.name)))
        except InputError as error:
            notices.append(f"{slide.name} is left out: {error}")
    if not found:
        raise InputError(notices[0] if notices else f"{folder}: no slide is done yet")
    table = table_of(found, genes, signatures or {})
    table.attrs["notices"] = (*notices, *table.attrs["notices"])
    return table


def done_slides(folder: Path) -> list[tuple[Path, CohortSlide]]:
    """Outputs in the folder of a cohort with their slides, in the summary's order.

    Raises
    ------
    InputError
        There is no summary in the folder, or it cannot be read.
    """
    path = folder / SUMMARY
    if not path.is_file():
        raise InputError(f"{folder} is not the folder of a cohort: it has no {SUMMARY}")
    done = (row for row in rows_of(path) if row.get("status") == "done")
    return [(folder / row["output"], slide_of(row)) for row in done]


def slide_means(output: Path, slide: CohortSlide, regions: Regions | None = None) -> SlideMeans:
    """Read a prediction, and take the means of its genes.

    Parameters
    ----------
    output
        The prediction.
    slide
        Its slide.
    regions
        Further regions.

    Raises
    ------
    InputError
        It cannot be read, or a region is not a polygon.
    """
    prediction = read_anndata_file(output)
    check_prediction(prediction)
    inside = {ALL: predicted_tiles(prediction)}
    for name, polygon in (*_own_regions(prediction, slide), *(regions or {}).items()):
        tiles = tiles_in_region(prediction, polygon, name)
        inside[name] = inside[name] | tiles if name in inside else tiles
    names = prediction.var_names.astype(str)
    values = np.asarray(prediction.X)
    means = [_mean(values[tiles]) for tiles in inside.values()]
    return SlideMeans(
        slide,
        pd.Series({name: int(tiles.sum()) for name, tiles in inside.items()}),
        pd.DataFrame(means, index=list(inside), columns=names),
        pd.Series(_variance(values[inside[ALL]]), index=names),
    )


def table_of(
    slides: Sequence[SlideMeans],
    genes: Sequence[str] | None,
    signatures: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    """The table of some slides; see :func:`cohort_table`."""
    panel = list(dict.fromkeys(gene for slide in slides for gene in slide.means.columns))
    wanted = panel if genes is None else list(dict.fromkeys(genes))
    if unknown := [gene for gene in wanted if gene not in set(panel)]:
        near = nearest_names(unknown[0], panel)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise InputError(f"{unknown[0]} is predicted for none of the slides{hint}")
    own = dict.fromkeys(name for slide in slides for name in slide.slide.columns)
    rows = pd.DataFrame(
        [
            {"slide": each.slide.name, "region": region, "n_tiles": int(each.tiles[region])}
            | {name: each.slide.columns.get(name, "") for name in own}
            for each in slides
            for region in each.means.index
        ]
    )
    means = pd.concat([each.means for each in slides], ignore_index=True)
    scores, notices = _scores(slides, means, signatures)
    columns = [*rows.columns, *wanted, *scores.columns]
    if twice := {name for name in columns if columns.count(name) > 1}:
        raise InputError(
            f"{min(twice)} would be the name of two columns: a gene, a signature, or a column of "
            "the table of slides; give the signature or the column another name"
        )
    table = pd.concat([rows, means[wanted], scores], axis=1)
    table.attrs["notices"] = notices
    return table


def _scores(
    slides: Sequence[SlideMeans], means: pd.DataFrame, signatures: Mapping[str, Sequence[str]]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Signatures of all rows, with genes standardized over the cohort, and what they lack."""
    of_slides = pd.DataFrame([each.means.loc[ALL] for each in slides])
    within = pd.DataFrame([each.variance for each in slides]).mean()
    center = of_slides.mean()
    spread = np.sqrt(within + of_slides.var(ddof=0))
    varies = spread > SAME * center.abs()
    standard = ((means - center) / spread).where(varies | means.isna(), 0.0)
    scores, notices = {}, []
    for name, genes in signatures.items():
        match = match_genes(genes, list(means.columns))
        if match.unknown:
            notices.append(f"{name}: {len(match.unknown)} of its genes are not predicted")
        scores[name] = standard[list(match.found)].mean(axis=1)
    return pd.DataFrame(scores, index=means.index), tuple(notices)


def _own_regions(
    prediction: AnnData, slide: CohortSlide
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Polygons that a slide was predicted in, by the names that they have in their file.

    None for a single one without a name: it is the whole.
    """
    kept = notes(prediction).get("settings", {}).get("region") or {}
    polygons = [np.asarray(kept[key], np.float64) for key in sorted(kept, key=int)]
    names = [""] * len(polygons)
    if slide.region is not None:
        try:
            given = [name for name, _ in named_polygons(slide.region)]
        except InputError:  # it is gone, and the polygons are here
            given = []
        names = given if len(given) == len(names) else names
    if len(polygons) > 1 or any(names):
        for number, (name, polygon) in enumerate(zip(names, polygons, strict=True), 1):
            yield name or f"region {number}", polygon


def _mean(values: NDArray[np.float32]) -> NDArray[np.float64]:
    if not len(values):
        return np.full(values.shape[1], np.nan)
    mean: NDArray[np.float64] = values.mean(0, dtype=np.float64)
    return mean


def _variance(values: NDArray[np.float32]) -> NDArray[np.float64]:
    if not len(values):
        return np.full(values.shape[1], np.nan)
    variance: NDArray[np.float64] = values.var(0, dtype=np.float64)
    return variance
