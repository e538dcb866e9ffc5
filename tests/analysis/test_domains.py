"""Spatial domains, against scikit-learn, igraph's modularity and loops written out."""

import random
import threading
from dataclasses import replace

import igraph
import numpy as np
import pytest
from anndata import AnnData
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import StandardScaler

from analysis_predictions import array_prediction
from napari_nh2st.analysis import DomainSettings, find_domains
from napari_nh2st.errors import InputError

ROWS, COLUMNS, GENES = 20, 25, 70
SIZES = (8, 7, 5)
"""Rows of the three true domains, the largest last on the slide."""


def true_domains() -> np.ndarray:
    return np.repeat(np.repeat([3, 2, 1], SIZES[::-1]), COLUMNS)


def banded(noise: float = 0.5, unpredicted: int = 0, reliability: object = None) -> AnnData:
    """Three bands, each with genes of its own; every third gene is in none of them."""
    rng = np.random.default_rng(7)
    means = rng.normal(0, 1, (4, GENES)) * (np.arange(GENES) % 3 > 0)
    values = means[true_domains()] + rng.normal(0, noise, (ROWS * COLUMNS, GENES))
    values[rng.choice(len(values), unpredicted, replace=False)] = np.nan
    return array_prediction(values + 5, ROWS, COLUMNS, reliability=reliability)


PLAIN = DomainSettings(n_domains=3, min_reliability=None)


@pytest.mark.parametrize("method", ["kmeans", "leiden"])
def test_domains_are_found_and_numbered_by_size(method: str) -> None:
    prediction = banded(unpredicted=40)
    domains = find_domains(prediction, replace(PLAIN, method=method))
    predicted = ~np.isnan(prediction.X[:, 0])
    assert (domains.labels[~predicted] == 0).all()
    np.testing.assert_array_equal(domains.labels[predicted], true_domains()[predicted])
    assert domains.n == 3
    assert (domains.resolution is None) == (method == "kmeans")
    assert domains.notice == ""


def test_kmeans_is_that_of_scikit_learns_own_pipeline() -> None:
    prediction = banded(noise=2.5)
    domains = find_domains(prediction, replace(PLAIN, n_domains=5, n_components=6))
    scaled = StandardScaler().fit_transform(prediction.X.astype(float))
    components = PCA(6, random_state=0).fit_transform(scaled)
    expected = KMeans(5, n_init=10, random_state=0).fit_predict(components)
    assert adjusted_rand_score(domains.labels, expected) > 0.99
    sizes = np.bincount(domains.labels)[1:]
    assert sorted(sizes, reverse=True) == sizes.tolist()


@pytest.mark.parametrize("method", ["kmeans", "leiden"])
def test_the_same_seed_gives_the_same_domains(method: str) -> None:
    settings = replace(PLAIN, method=method, n_domains=4, seed=3)
    state = random.getstate()
    first, again = (find_domains(banded(noise=2.5), settings) for _ in range(2))
    np.testing.assert_array_equal(first.labels, again.labels)
    assert random.getstate() == state


def test_leiden_searches_the_resolution_that_gives_the_number_wanted() -> None:
    prediction = banded(noise=2.5)
    found = {}
    for wanted in (2, 4, 7):
        domains = find_domains(prediction, replace(PLAIN, method="leiden", n_domains=wanted))
        assert domains.n == wanted
        found[wanted] = domains
    assert found[2].resolution < found[4].resolution < found[7].resolution
    again = find_domains(
        prediction, replace(PLAIN, method="leiden", resolution=found[7].resolution)
    )
    np.testing.assert_array_equal(again.labels, found[7].labels)
    assert again.notice == ""


def test_leidens_domains_have_a_modularity_that_no_true_or_random_ones_beat() -> None:
    from sklearn.neighbors import kneighbors_graph

    prediction = banded(noise=2.5)
    domains = find_domains(prediction, replace(PLAIN, method="leiden", resolution=1.0))
    scaled = StandardScaler().fit_transform(prediction.X.astype(float))
    near = kneighbors_graph(PCA(20, random_state=0).fit_transform(scaled), 15)
    pairs = {tuple(sorted(pair)) for pair in zip(*near.nonzero(), strict=True)}
    graph = igraph.Graph(near.shape[0], edges=[(int(a), int(b)) for a, b in pairs])
    reached = graph.modularity(domains.labels)
    kmeans = find_domains(prediction, replace(PLAIN, n_domains=domains.n))
    assert reached > graph.modularity(true_domains())
    assert reached > graph.modularity(kmeans.labels)


def test_a_number_that_no_resolution_gives_is_told() -> None:
    # Three domains that share no neighbor are never joined.
    domains = find_domains(banded(noise=0.1), replace(PLAIN, method="leiden", n_domains=2))
    assert domains.n == 3
    assert domains.notice == "3 domains were found where 2 were asked for."


def test_tiles_beyond_the_largest_graph_join_those_most_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("napari_nh2st.analysis.leiden._LARGEST_GRAPH", 200)
    domains = find_domains(banded(), replace(PLAIN, method="leiden"))
    np.testing.assert_array_equal(domains.labels, true_domains())
    assert domains.notice.startswith("Leiden saw 200 of 500 tiles")


def test_many_tiles_are_clustered_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_nh2st.analysis.domains._MANY_TILES", 100)
    monkeypatch.setattr("sklearn.cluster.KMeans.__init__", None)
    np.testing.assert_array_equal(find_domains(banded(), PLAIN).labels, true_domains())


def test_only_reliable_genes_count() -> None:
    reliability = np.where(np.arange(GENES) < 12, 0.3, 0.1)
    reliability[3] = np.nan
    domains = find_domains(banded(reliability=reliability), DomainSettings(n_domains=3))
    expected = [f"G{i}" for i in range(12) if i != 3]
    assert list(domains.genes) == expected
    assert set(domains.markers["gene"]) == set(expected)
    assert domains.notice == ""


@pytest.mark.parametrize(
    ("reliable", "told"),
    [(4, "Only 4 genes have a reliability of 0.2 or more"), (0, "No gene has a reliability")],
)
def test_too_few_reliable_genes_are_told_and_all_count(reliable: int, told: str) -> None:
    reliability = np.where(np.arange(GENES) < reliable, 0.3, 0.1)
    domains = find_domains(banded(reliability=reliability), DomainSettings(n_domains=3))
    assert len(domains.genes) == GENES
    assert domains.notice.startswith(told)
    assert "all genes count" in domains.notice


def test_unknown_reliability_is_told_and_all_count() -> None:
    domains = find_domains(banded(), DomainSettings(n_domains=3))
    assert len(domains.genes) == GENES
    assert "not known" in domains.notice


def test_neighbors_smooth_domains() -> None:
    prediction = banded(noise=6)
    alone, smooth = (
        adjusted_rand_score(
            true_domains(), find_domains(prediction, replace(PLAIN, spatial_weight=w)).labels
        )
        for w in (0.0, 0.8)
    )
    assert smooth > alone + 0.2


def test_refined_domains_are_what_most_of_the_nine_tiles_around_are() -> None:
    prediction = banded(noise=6)
    order = np.random.default_rng(1).permutation(prediction.n_obs)
    settings = replace(PLAIN, n_domains=4)
    plain, refined = np.zeros((2, len(order)), int)
    for labels, refine in ((plain, 0), (refined, 8)):
        labels[order] = find_domains(
            prediction[order].copy(), replace(settings, refine=refine)
        ).labels
    of_grid, expected, found = plain.reshape(ROWS, COLUMNS), [], []
    for row in range(1, ROWS - 1):
        for column in range(1, COLUMNS - 1):  # nine tiles whose distance is no tie
            around = of_grid[row - 1 : row + 2, column - 1 : column + 2]
            votes = [(around == label).sum() for label in range(5)]
            winners = [label for label in range(5) if votes[label] == max(votes)]
            own = of_grid[row, column]
            if own in winners or len(winners) == 1:
                expected.append(own if own in winners else winners[0])
                found.append(refined[row * COLUMNS + column])
    assert len(expected) > 300
    assert adjusted_rand_score(expected, found) == 1  # numbered by size anew
    alone, voted = (adjusted_rand_score(true_domains(), labels) for labels in (plain, refined))
    assert voted > alone + 0.1


def test_a_vote_of_all_tiles_leaves_one_domain_and_says_so() -> None:
    domains = find_domains(banded()[:100].copy(), replace(PLAIN, refine=200))
    assert domains.n == 1
    assert "1 domain was found where 3" in domains.notice


def test_markers_are_standardized_mean_differences() -> None:
    prediction = banded(unpredicted=40)
    prediction.X[~np.isnan(prediction.X[:, 0]), 6] = 1.1
    domains = find_domains(prediction, PLAIN)
    markers = domains.markers
    assert len(markers) == 3 * GENES
    assert markers["domain"].is_monotonic_increasing
    for domain, gene, score, mean_in, mean_out in markers.itertuples(index=False):
        values = prediction[:, gene].X.ravel().astype(float)
        inside = values[domains.labels == domain]
        outside = values[(domains.labels != domain) & (domains.labels > 0)]
        assert mean_in == pytest.approx(inside.mean())
        assert mean_out == pytest.approx(outside.mean())
        if gene == "G6":
            assert np.isnan(score)
            continue
        spread = np.sqrt((inside.var(ddof=1) + outside.var(ddof=1)) / 2)
        assert score == pytest.approx((inside.mean() - outside.mean()) / spread, abs=1e-5)
    for _, table in markers.dropna().groupby("domain"):
        assert table["score"].is_monotonic_decreasing


def test_a_set_stop_ends_the_work() -> None:
    stop = threading.Event()
    stop.set()
    for method in ("kmeans", "leiden"):
        assert find_domains(banded(), replace(PLAIN, method=method), stop) is None


def test_fewer_distinct_tiles_than_domains_are_told() -> None:
    values = np.repeat(np.eye(3), [4, 3, 2], axis=0)
    domains = find_domains(array_prediction(values, 3, 3), replace(PLAIN, n_domains=5))
    assert domains.n == 3
    assert np.bincount(domains.labels).tolist() == [0, 4, 3, 2]
    assert "3 domains were found where 5 were asked for" in domains.notice


def test_what_has_no_domains_is_a_sentence() -> None:
    values = np.full((9, 3), np.nan)
    values[:2] = 1
    with pytest.raises(InputError, match="2 tiles are predicted, too few for 3 domains"):
        find_domains(array_prediction(values, 3, 3), PLAIN)
    with pytest.raises(InputError, match="No gene varies"):
        find_domains(array_prediction(np.full((9, 3), 1.1), 3, 3), PLAIN)


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "dbscan"},
        {"n_domains": 1},
        {"resolution": 0.0},
        {"spatial_weight": 1.5},
        {"refine": -1},
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        DomainSettings(**wrong)
