"""Unfamiliarity: against scikit-learn, numpy.linalg and the chi distribution."""

import numpy as np
import pytest
from scipy.stats import chi
from sklearn.covariance import LedoitWolf

from napari_nh2st.analysis.unfamiliarity import fit_familiar, unfamiliarity
from napari_nh2st.errors import InputError


@pytest.mark.parametrize(("tiles", "features"), [(300, 12), (40, 96)])
def test_distance_is_that_of_the_shrunk_covariance(tiles: int, features: int) -> None:
    rng = np.random.default_rng(tiles)
    mixing = rng.normal(size=(features, features))
    training = rng.normal(size=(tiles, features)) @ mixing + rng.normal(size=features)
    new = 2 * rng.normal(size=(50, features)) @ mixing
    fitted = LedoitWolf().fit(training)

    familiar = fit_familiar([training])

    def distance(rows: np.ndarray) -> np.ndarray:
        off = rows - training.mean(0)
        return np.sqrt(np.sum(off * np.linalg.solve(fitted.covariance_, off.T).T, axis=1))

    assert familiar.far == pytest.approx(np.quantile(distance(training), 0.99))
    np.testing.assert_allclose(unfamiliarity(familiar, new), distance(new) / familiar.far)
    np.testing.assert_allclose(
        familiar.whitening.T @ fitted.covariance_ @ familiar.whitening,
        np.eye(features),
        atol=1e-9,
    )


def test_far_is_the_chi_quantile_for_normal_features() -> None:
    features = 5
    training = np.random.default_rng(0).normal(size=(100_000, features))
    familiar = fit_familiar([training])
    assert familiar.far == pytest.approx(chi.ppf(0.99, features), rel=0.01)
    assert np.mean(unfamiliarity(familiar, training) > 1) == pytest.approx(0.01, abs=1e-4)


def test_far_is_learned_from_sections_that_were_left_out() -> None:
    rng = np.random.default_rng(6)
    sections = [rng.normal(loc=shift, size=(60, 4)) for shift in (0.0, 0.5, 3.0)]
    left_out = []
    for i, section in enumerate(sections):
        others = np.concatenate([s for k, s in enumerate(sections) if k != i])
        fitted = LedoitWolf().fit(others)
        left_out.append(np.sqrt(fitted.mahalanobis(section)))
    familiar = fit_familiar(sections)
    assert familiar.far == pytest.approx(np.quantile(np.concatenate(left_out), 0.99))
    # Of all sections the same distances, at another scale.
    together = fit_familiar([np.concatenate(sections)])
    new = rng.normal(size=(7, 4))
    np.testing.assert_allclose(
        unfamiliarity(familiar, new) * familiar.far, unfamiliarity(together, new) * together.far
    )
    assert familiar.far > together.far


def test_units_of_the_features_do_not_matter_at_one_scale() -> None:
    training = np.random.default_rng(2).normal(size=(200, 6))
    new = np.random.default_rng(3).normal(size=(20, 6))
    one, other = fit_familiar([training]), fit_familiar([1000 * training + 7])
    np.testing.assert_allclose(unfamiliarity(one, new), unfamiliarity(other, 1000 * new + 7))


def test_a_tile_without_features_has_no_unfamiliarity() -> None:
    training = np.random.default_rng(4).normal(size=(30, 3))
    result = unfamiliarity(fit_familiar([training]), [[0, np.nan, 0], [0, 0, 0]])
    assert np.isnan(result[0])
    assert np.isfinite(result[1])


def test_features_that_cannot_be_fitted_are_refused() -> None:
    training = np.random.default_rng(5).normal(size=(30, 3))
    with pytest.raises(InputError, match="9 of 9 have them"):
        fit_familiar([training[:9]])
    training[0, 0] = np.nan
    with pytest.raises(InputError, match="29 of 30 have them"):
        fit_familiar([training])
    with pytest.raises(InputError, match="9 of 9 have them"):
        fit_familiar([training[1:], training[1:10]])
    with pytest.raises(InputError, match="do not vary"):
        fit_familiar([np.ones((30, 3))])
