"""Spatial domains: tiles of alike prediction, and the genes that mark them."""

import threading
import warnings
from dataclasses import dataclass
from typing import Annotated, Literal, overload

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.spatial import KDTree

from napari_nh2st.analysis.leiden import leiden
from napari_nh2st.errors import InputError
from napari_nh2st.options import Option, check_options
from napari_nh2st.prediction.schema import reliability
from napari_nh2st.prediction.values import predicted_tiles, standardized
from napari_nh2st.spots.array import spot_array

DomainMethod = Literal["kmeans", "leiden"]

_FEWEST_GENES = 5
_STARTS = 10
_MANY_TILES = 200_000
"""Above, k-means works on batches: its result is hardly worse, and its time stays seconds."""

_BATCH = 8192
_GENES_AT_ONCE = 64

_DECIMALS = 5
"""Digits of components, the largest value being 1."""


@dataclass(frozen=True)
class DomainSettings:
    """Everything that shapes the domains, for Python, the command line and the widget alike.

    Parameters
    ----------
    method
        ``"leiden"`` finds communities of the graph that joins each tile with the 15 whose
        prediction is most alike.
    spatial_weight
        How much the mean of a tile's neighbors on the array counts, from 0 to 1.
    refine
        Nearest tiles that vote, with the tile itself, on the domain that it ends in, which removes
        single tiles amid another domain; 0 for no vote. Published with 50 for the spots of a
        section by spatial clustering methods that follow mclust (such as stMMC, arXiv 2411.02534).
    """

    method: Annotated[
        DomainMethod,
        Option(
            "Method",
            "k-means is quick; Leiden finds communities of alike tiles, of any shape",
            words={"kmeans": "k-means", "leiden": "Leiden"},
        ),
    ] = "kmeans"
    n_domains: Annotated[int, Option("Domains", "Number of domains to find", (2, 50), step=1)] = 6
    resolution: Annotated[
        float | None,
        Option(
            "Resolution",
            "Resolution of Leiden; more for more domains",
            (1e-4, 10_000),
            default="what gives the number of domains",
        ),
    ] = None
    n_components: Annotated[
        int, Option("Components", "Principal components that are clustered", (1, 500))
    ] = 20
    spatial_weight: Annotated[
        float,
        Option(
            "Smoothness",
            "Smoothness, from 0 (each tile by itself) to 1 (by its neighbors alone)",
            (0, 1),
            step=0.1,
        ),
    ] = 0.0
    refine: Annotated[
        int,
        Option(
            "Refine",
            "Nearest tiles whose majority decides a tile's domain; 0 for no vote",
            (0, 200),
            step=1,
        ),
    ] = 0
    min_reliability: Annotated[
        float | None,
        Option(
            "Only genes",
            "Least held-out correlation of the genes that count",
            (-1, 1),
            step=0.05,
            default="all genes count",
        ),
    ] = 0.2
    seed: Annotated[int, Option("Seed", "Seed of the random start", (0, 2**32 - 1), step=1)] = 0

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, eq=False)
class Domains:
    """Tiles grouped by their prediction.

    Parameters
    ----------
    labels
        (tiles,) int64: 1 for the largest domain, 2 for the next and so on; 0 where nothing is
        predicted.
    n
        Number of domains there are, which is not always the number asked for.
    markers
        DataFrame, one row for each domain and gene that counted: ``domain``, ``gene``, ``score``,
        ``mean_in``, ``mean_out``; by domain, the highest score first. See :func:`find_domains`.
    genes
        That counted.
    resolution
        That Leiden ended with; None for k-means.
    notice
        Sentences the user should read; empty if there are none.
    """

    labels: NDArray[np.int64]
    n: int
    markers: pd.DataFrame
    genes: tuple[str, ...]
    resolution: float | None
    notice: str


@overload
def find_domains(
    prediction: AnnData, settings: DomainSettings | None = None, stop: None = None
) -> Domains: ...
@overload
def find_domains(
    prediction: AnnData, settings: DomainSettings | None, stop: threading.Event
) -> Domains | None: ...
def find_domains(
    prediction: AnnData,
    settings: DomainSettings | None = None,
    stop: threading.Event | None = None,
) -> Domains | None:
    """Group tiles by their prediction.

    Genes are standardized over the predicted tiles, so that each counts the same whatever its
    range; their principal components are clustered.

    The ``score`` of a gene in a domain is the standardized mean difference
    ``(mean_in − mean_out) / √((var_in + var_out) / 2)`` of its tiles and all others (Cohen 1988,
    with the variance of the two averaged); NaN where it varies in neither. Domains were found
    by these very genes, so a high score describes a domain and is no test of it.

    Parameters
    ----------
    prediction
        Tiles × genes; ``obsm["spatial"]`` for ``refine``, and the array's columns beside it for
        ``spatial_weight``.
    settings
        :class:`DomainSettings`; its defaults if left out.
    stop
        Ends the work early when it is set, from another thread.

    Returns
    -------
    Domains or None
        None if it was stopped.

    Raises
    ------
    InputError
        Fewer tiles are predicted than domains are wanted, or no gene varies.

    Examples
    --------
    >>> domains = find_domains(prediction, DomainSettings(n_domains=4))  # doctest: +SKIP
    >>> domains.markers.groupby("domain").head(3)  # doctest: +SKIP
    """
    settings = settings or DomainSettings()
    stop = stop or threading.Event()
    predicted = predicted_tiles(prediction)
    count = int(predicted.sum())
    if count < settings.n_domains:
        raise InputError(
            f"{count} tiles are predicted, too few for {settings.n_domains} domains; predict more, "
            "or ask for fewer domains"
        )
    columns, notices = _reliable_genes(prediction, settings.min_reliability)
    values = np.asarray(prediction.X)[predicted][:, columns]
    points = _components(values, settings)
    if stop.is_set():
        return None
    if settings.spatial_weight:
        points = _smoothed(prediction, predicted, points, settings.spatial_weight)
    resolution = None
    if settings.method == "kmeans":
        groups = _kmeans(points, settings)
    else:
        communities = leiden(points, settings.n_domains, settings.resolution, settings.seed, stop)
        if communities is None:
            return None
        groups, resolution = communities.labels, communities.resolution
        if communities.sampled < count:
            notices.append(
                f"Leiden saw {communities.sampled:,} of {count:,} tiles; the others joined the "
                "domain of those most alike."
            )
    if stop.is_set():
        return None
    if settings.refine:
        groups = _refined(prediction.obsm["spatial"][predicted], groups, settings.refine)
    ordered, n = _by_size(groups)
    if n != settings.n_domains and settings.resolution is None:
        found = "1 domain was" if n == 1 else f"{n} domains were"
        notices.append(f"{found} found where {settings.n_domains} were asked for.")
    labels = np.zeros(prediction.n_obs, np.int64)
    labels[predicted] = ordered
    genes = tuple(prediction.var_names[columns])
    markers = _markers(values, ordered, n, genes)
    return Domains(labels, n, markers, genes, resolution, " ".join(notices))


def _reliable_genes(
    prediction: AnnData, least: float | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Columns of the genes that count, and what is to be said of the choice."""
    everything = np.arange(prediction.n_vars)
    if least is None:
        return everything, []
    known = reliability(prediction).to_numpy()
    if np.isnan(known).all():
        return everything, ["How reliable the genes are is not known, so all of them count."]
    reliable = np.flatnonzero(known >= least)
    if len(reliable) >= min(_FEWEST_GENES, prediction.n_vars):
        return reliable, []
    how_many = {0: "No gene has", 1: "Only 1 gene has"}.get(
        len(reliable), f"Only {len(reliable)} genes have"
    )
    return everything, [f"{how_many} a reliability of {least:g} or more, so all genes count."]


def _components(values: NDArray[np.floating], settings: DomainSettings) -> NDArray[np.float32]:
    """(tiles, components) of the standardized genes."""
    # Not above: scikit-learn takes a second to load, which a viewer would stand still.
    from sklearn.decomposition import PCA

    standard = standardized(values)
    varying = standard.any(0)
    if not varying.any():
        raise InputError("No gene varies between the predicted tiles, so there are no domains")
    standard = standard[:, varying]
    n_components = min(settings.n_components, *standard.shape)
    points = PCA(n_components, random_state=settings.seed).fit_transform(standard)
    # Equal tiles stay equal, though a product of matrices may round each row in its own way.
    return np.asarray(np.round(points / np.abs(points).max(), _DECIMALS), np.float32)


def _smoothed(
    prediction: AnnData,
    predicted: NDArray[np.bool_],
    points: NDArray[np.float32],
    weight: float,
) -> NDArray[np.float32]:
    """Each tile mixed with the mean of its predicted neighbors."""
    neighbors = spot_array(prediction).neighbors[predicted][:, predicted].astype(np.float32)
    degree = np.asarray(neighbors.sum(1)).reshape(-1, 1)
    around = np.divide(neighbors @ points, degree, out=points.copy(), where=degree > 0)
    return np.asarray((1 - weight) * points + weight * around, np.float32)


def _kmeans(points: NDArray[np.float32], settings: DomainSettings) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    if len(points) > _MANY_TILES:
        model = MiniBatchKMeans(
            settings.n_domains, n_init=_STARTS, batch_size=_BATCH, random_state=settings.seed
        )
    else:
        model = KMeans(settings.n_domains, n_init=_STARTS, random_state=settings.seed)
    with warnings.catch_warnings():
        # Fewer distinct tiles than domains: the result's notice says so.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(model.fit_predict(points), np.int64)


def _refined(centers: NDArray[np.floating], groups: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """The commonest group among each tile and its k nearest; its own where several are."""
    near = KDTree(centers).query(centers, min(k + 1, len(centers)))[1].reshape(len(centers), -1)
    voted = groups[near]
    best, most = groups.copy(), (voted == groups[:, None]).sum(1)
    for group in np.unique(groups):
        votes = (voted == group).sum(1)
        best[votes > most] = group
        most = np.maximum(most, votes)
    return best


def _by_size(groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Groups numbered from 1, the largest first; of equal ones that of the first tile."""
    _, first, group, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(sizes), np.int64)
    rank[np.lexsort((first, -sizes))] = np.arange(1, len(sizes) + 1)
    return rank[group], len(sizes)


def _markers(
    values: NDArray[np.floating], labels: NDArray[np.int64], n: int, genes: tuple[str, ...]
) -> pd.DataFrame:
    member = (labels == np.arange(1, n + 1)[:, None]).astype(np.float64)
    n_in = member.sum(1)[:, None]
    tables = []
    for first in range(0, len(genes), _GENES_AT_ONCE):
        part = values[:, first : first + _GENES_AT_ONCE].astype(np.float64)
        middle = part.mean(0)
        part -= middle  # around 0, sums of squares keep their digits
        total, squares = member @ part, member @ part**2
        inside = _mean_and_variance(total, squares, n_in)
        outside = _mean_and_variance(
            total.sum(0) - total, squares.sum(0) - squares, len(values) - n_in
        )
        spread = np.sqrt((inside[1] + outside[1]) / 2)
        varies = spread > 1e-7 * np.abs(middle)
        score = np.full_like(spread, np.nan)
        np.divide(inside[0] - outside[0], spread, out=score, where=varies)
        tables.append((score, inside[0] + middle, outside[0] + middle))
    score, mean_in, mean_out = (
        np.concatenate(parts, axis=1) for parts in zip(*tables, strict=True)
    )
    markers = pd.DataFrame(
        {
            "domain": np.repeat(np.arange(1, n + 1), len(genes)),
            "gene": np.tile(np.array(genes), n),
            "score": score.ravel(),
            "mean_in": mean_in.ravel(),
            "mean_out": mean_out.ravel(),
        }
    )
    return markers.sort_values(
        ["domain", "score"], ascending=[True, False], kind="stable", ignore_index=True
    )


def _mean_and_variance(
    total: NDArray[np.float64], squares: NDArray[np.float64], count: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean, NaN of nothing, and the sample's variance, 0 of a single tile; (domains, genes)."""
    mean = np.full_like(total, np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    variance = np.maximum(squares - count * mean**2, 0) / np.maximum(count - 1, 1)
    return mean, variance
