"""Spatial domains: tiles of alike prediction, and the genes that mark them."""

import threading
import warnings
from dataclasses import dataclass, replace
from typing import NamedTuple, overload

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.spatial import KDTree

from napari_nh2st.analysis.domain_markers import domain_markers
from napari_nh2st.analysis.domain_matching import is_same_domain
from napari_nh2st.analysis.domain_settings import DomainSettings
from napari_nh2st.analysis.leiden import leiden
from napari_nh2st.errors import InputError
from napari_nh2st.prediction.schema import IMAGE_FEATURES, head_layers, reliability
from napari_nh2st.prediction.values import predicted_tiles, standardized
from napari_nh2st.spots.array import spot_array

_FEWEST_GENES = 5
_STARTS = 10
_MANY_TILES = 200_000
"""Above, k-means works on batches: its result is hardly worse, and its time stays seconds."""

_BATCH = 8192

_DECIMALS = 5
"""Digits of components, the largest value being 1."""


@dataclass(frozen=True, eq=False)
class Domains:
    """Tiles grouped by their prediction.

    Parameters
    ----------
    labels
        (tiles,) int64: 1 for the largest domain, 2 for the next and so on; 0 where nothing is
        predicted.
    n
        Number of domains found, which is not always the number asked for.
    markers
        DataFrame, one row for each domain and gene used: ``domain``, ``gene``, ``score``,
        ``mean_in``, ``mean_out``; by domain, the highest score first. See :func:`find_domains`.
    genes
        Genes used; with an ``image_weight`` of 1, those among which markers are sought.
    resolution
        The resolution that Leiden ended with; None for k-means.
    notice
        Sentences the user should read; empty if there are none.
    stable
        (tiles,) number of the model's heads, each searched for domains in the same way, in which a
        tile falls into the domain that corresponds to its own; None if the prediction kept no
        values of heads.
    n_heads
        Number of these heads.
    """

    labels: NDArray[np.int64]
    n: int
    markers: pd.DataFrame
    genes: tuple[str, ...]
    resolution: float | None
    notice: str
    stable: NDArray[np.int64] | None = None
    n_heads: int = 0


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

    Genes are standardized over the predicted tiles, so that all have the same weight whatever their
    range; their principal components are clustered.

    The ``score`` of a gene in a domain is the standardized mean difference
    ``(mean_in − mean_out) / √((var_in + var_out) / 2)`` between its tiles and all others (Cohen
    1988, with the average of the two variances); NaN if the gene varies in neither. Domains were
    found by these very genes, so a high score describes a domain and is no test of it.

    Parameters
    ----------
    prediction
        Tiles × genes, with ``obsm["spatial"]`` for ``refine``, and also ``obs["array_row"]`` and
        ``obs["array_col"]`` for ``spatial_weight``.
    settings
        How to group them; None for the defaults.
    stop
        Ends the work early when it is set, from another thread.

    Returns
    -------
    Domains or None
        None if it was stopped.

    Raises
    ------
    InputError
        Fewer tiles are predicted than domains are wanted, no gene varies, or ``image_weight`` asks
        for image features that the prediction does not have.

    Examples
    --------
    .. code-block:: python

        domains = find_domains(prediction, DomainSettings(n_domains=4))
        domains.markers.groupby("domain").head(3)
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
    tiles = _Tiles(prediction, predicted, settings, stop)
    groups = tiles.grouped(values)
    if groups is None:
        return None
    ordered, n = _by_size(groups.labels)
    if groups.sampled < count:
        notices.append(
            f"Leiden saw {groups.sampled:,} of {count:,} tiles; the others joined the domain of "
            "the most similar ones."
        )
    if n != settings.n_domains and settings.resolution is None:
        found = "1 domain was" if n == 1 else f"{n} domains were"
        notices.append(f"{found} found, although {settings.n_domains} were asked for.")
    stable, n_heads = None, 0
    heads = head_layers(prediction)

    def of_head(name: str) -> NDArray[np.floating]:  # one at a time: each is as large as X
        return np.asarray(prediction.layers[name])[predicted][:, columns]

    if heads and all(np.isfinite(of_head(name)).all() for name in heads):
        # The same search for each head, of Leiden at the resolution that was found.
        same = replace(tiles, settings=replace(settings, resolution=groups.resolution))
        agreeing = np.zeros(count, np.int64)
        for name in heads:
            other = same.grouped(of_head(name))
            if other is None:
                return None
            agreeing += is_same_domain(ordered, other.labels)
        stable, n_heads = np.zeros(prediction.n_obs, np.int64), len(heads)
        stable[predicted] = agreeing
    labels = np.zeros(prediction.n_obs, np.int64)
    labels[predicted] = ordered
    genes = tuple(prediction.var_names[columns])
    markers = domain_markers(values, ordered, n, genes)
    notice = " ".join(notices)
    return Domains(labels, n, markers, genes, groups.resolution, notice, stable, n_heads)


class _Groups(NamedTuple):
    """Groups of the predicted tiles, in no order: Leiden's resolution, and tiles that it saw."""

    labels: NDArray[np.int64]
    resolution: float | None
    sampled: int


@dataclass(frozen=True)
class _Tiles:
    """The predicted tiles of a prediction, to be grouped by values of theirs."""

    prediction: AnnData
    predicted: NDArray[np.bool_]
    settings: DomainSettings
    stop: threading.Event

    def grouped(self, values: NDArray[np.floating]) -> _Groups | None:
        """Group them by (predicted tiles, genes) values; None if it was stopped."""
        settings = self.settings
        standard = standardized(values)
        if not standard.any():
            raise InputError("No gene varies between the predicted tiles, so there are no domains")
        points = _components(standard[:, standard.any(0)], settings)
        if settings.image_weight:
            features = _image_features(self.prediction, self.predicted)
            points = _beside_image(points, features, settings)
        if self.stop.is_set():
            return None
        if settings.spatial_weight:
            points = _smoothed(self.prediction, self.predicted, points, settings.spatial_weight)
        resolution, sampled = None, len(points)
        if settings.method == "kmeans":
            labels = _kmeans(points, settings)
        else:
            found = leiden(
                points, settings.n_domains, settings.resolution, settings.seed, self.stop
            )
            if found is None:
                return None
            labels, resolution, sampled = found.labels, found.resolution, found.sampled
        if self.stop.is_set():
            return None
        if settings.refine:
            centers = self.prediction.obsm["spatial"][self.predicted]
            labels = _refined(centers, labels, settings.refine)
        return _Groups(labels, resolution, sampled)


def _reliable_genes(
    prediction: AnnData, least: float | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Columns of the genes that count, and what is to be said of the choice."""
    everything = np.arange(prediction.n_vars)
    if least is None:
        return everything, []
    known = reliability(prediction).to_numpy()
    if np.isnan(known).all():
        return everything, ["The reliability of the genes is not known, so all of them are used."]
    reliable = np.flatnonzero(known >= least)
    if len(reliable) >= min(_FEWEST_GENES, prediction.n_vars):
        return reliable, []
    how_many = {0: "No gene has", 1: "Only 1 gene has"}.get(
        len(reliable), f"Only {len(reliable)} genes have"
    )
    return everything, [f"{how_many} a reliability of {least:g} or more, so all genes are used."]


def _components(values: NDArray[np.floating], settings: DomainSettings) -> NDArray[np.float32]:
    """(tiles, components) of values that vary, the largest being 1."""
    # Not above: scikit-learn takes a second to load, which a viewer would stand still.
    from sklearn.decomposition import PCA

    n_components = min(settings.n_components, *values.shape)
    points = PCA(n_components, random_state=settings.seed).fit_transform(values)
    # Equal tiles stay equal, though a product of matrices may round each row in its own way.
    return np.asarray(np.round(points / np.abs(points).max(), _DECIMALS), np.float32)


def _image_features(prediction: AnnData, predicted: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(tiles, 32) image features of the predicted tiles."""
    known = prediction.obsm.get(IMAGE_FEATURES)
    if known is None:
        raise InputError(
            "The image weight is above 0, but this prediction has no image features: predict "
            "again with “Keep image features” (--image-features), or set the image weight to 0"
        )
    features = np.asarray(known, np.float32)[predicted]
    if missing := int((~np.isfinite(features)).any(1).sum()):
        raise InputError(
            f"The image weight is above 0, but {missing:,} of {len(features):,} predicted tiles "
            "have no image features: predict the slide again with “Keep image features”"
        )
    return features


def _beside_image(
    points: NDArray[np.float32], features: NDArray[np.float32], settings: DomainSettings
) -> NDArray[np.float32]:
    """Components of expression beside those of the look, each with its share of the variance."""
    features = features - features.mean(0)
    blocks = [(1 - settings.image_weight, points)]
    if features.any():  # tiles that all look the same say nothing
        blocks.append((settings.image_weight, _components(features, settings)))
    return np.concatenate(
        [np.sqrt(share / block.var(0).sum()) * block for share, block in blocks], axis=1
    ).astype(np.float32)


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
