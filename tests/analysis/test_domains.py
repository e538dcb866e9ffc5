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
from napari_nh2st.analysis import DomainSettings, NamedDomains, find_domains
from napari_nh2st.analysis.domain_matching import is_same_domain
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
    assert domains.notice == "3 domains were found, although 2 were asked for."


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
    assert "all genes are used" in domains.notice


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


def with_looks(prediction: AnnData, seed: int = 3) -> AnnData:
    """Image features that follow the true domains, in few of their directions."""
    rng = np.random.default_rng(seed)
    looks = rng.normal(0, 1, (4, 32)) * (np.arange(32) < 3)
    features = 6 + looks[true_domains()] + rng.normal(0, 0.6, (prediction.n_obs, 32))
    prediction.obsm["image_features"] = features.astype(np.float16)
    return prediction


def test_the_look_of_tiles_is_clustered_beside_their_expression() -> None:
    prediction = with_looks(banded(noise=4.0))
    settings = replace(PLAIN, n_components=6, image_weight=0.4)
    domains = find_domains(prediction, settings)
    blocks = []
    for share, values in ((0.6, prediction.X), (0.4, prediction.obsm["image_features"])):
        values = values.astype(float)
        scaled = StandardScaler(with_std=share == 0.6).fit_transform(values)
        components = PCA(6, random_state=0).fit_transform(scaled)
        blocks.append(components * np.sqrt(share / components.var(0).sum()))
    expected = KMeans(3, n_init=10, random_state=0).fit_predict(np.hstack(blocks))
    assert adjusted_rand_score(domains.labels, expected) > 0.99
    # Neither alone gives these.
    for weight in (0.0, 1.0):
        alone = find_domains(prediction, replace(settings, image_weight=weight)).labels
        assert adjusted_rand_score(alone, expected) < 0.95
    assert domains.markers["score"].notna().any()


def test_image_features_that_are_not_there_are_asked_for() -> None:
    settings = replace(PLAIN, image_weight=0.5)
    with pytest.raises(InputError, match="no image features: predict again with “Keep image"):
        find_domains(banded(), settings)
    prediction = with_looks(banded())
    prediction.obsm["image_features"][7:9] = np.nan
    with pytest.raises(InputError, match="2 of 500 predicted tiles have no image features"):
        find_domains(prediction, settings)
    prediction.X[7:9] = np.nan  # a tile without values needs none
    assert find_domains(prediction, settings).labels[7] == 0


def test_a_tile_is_stable_in_as_many_heads_as_group_it_alike() -> None:
    prediction = banded(unpredicted=40)
    predicted = np.isfinite(prediction.X[:, 0])
    rng = np.random.default_rng(1)
    for number in (1, 2, 10):
        noise = rng.normal(0, 0.3, prediction.shape)
        prediction.layers[f"head_{number}"] = prediction.X + noise.astype(np.float32)
    # In one head, the first tiles look as those of another domain do.
    moved = np.flatnonzero(predicted)[:30]
    other = np.flatnonzero(predicted & (true_domains() == 1))[:30]
    prediction.layers["head_10"][moved] = prediction.X[other]
    domains = find_domains(prediction, PLAIN)
    assert domains.n_heads == 3
    assert domains.stable is not None
    expected = np.where(predicted, 3, 0)
    expected[moved] = 2
    np.testing.assert_array_equal(domains.stable, expected)

    prediction.uns["nh2st"] = {}
    named = NamedDomains.found(domains)
    named.write(prediction)
    read = NamedDomains.of(prediction)
    assert read is not None
    np.testing.assert_array_equal(read.stable, expected)
    assert read.n_heads == 3
    first = int(named.labels[moved[0]])
    whole = named.legend()["stable"]
    assert whole[first - 1] == pytest.approx(100 * (1 - 30 / (domains.labels == first).sum()))
    assert (np.delete(whole.to_numpy(), first - 1) == 100).all()
    # Domains found without heads say nothing of them.
    NamedDomains.found(find_domains(banded(), PLAIN)).write(prediction)
    assert "domain_stable_in" not in prediction.obs
    assert "stable" not in NamedDomains.of(prediction).legend()  # type: ignore[union-attr]


def test_groups_are_matched_so_that_most_tiles_agree() -> None:
    labels = np.array([1, 1, 1, 2, 2, 3, 3, 3, 3])
    other = np.array([7, 7, 5, 5, 5, 9, 9, 9, 4])
    expected = [True, True, False, True, True, True, True, True, False]
    np.testing.assert_array_equal(is_same_domain(labels, other), expected)


def test_a_vote_of_all_tiles_leaves_one_domain_and_says_so() -> None:
    domains = find_domains(banded()[:100].copy(), replace(PLAIN, refine=200))
    assert domains.n == 1
    assert "1 domain was found, although 3" in domains.notice


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
    assert "3 domains were found, although 5 were asked for" in domains.notice


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
