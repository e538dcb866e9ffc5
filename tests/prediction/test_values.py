"""Values of genes in standard units, and genes in their order."""

import numpy as np
from anndata import AnnData
from scipy.stats import zscore

from napari_nh2st.prediction.value_arrays import has_value
from napari_nh2st.prediction.values import genes_by_reliability, predicted_tiles, standardized


def test_standardized_genes_are_z_scores_and_0_where_a_gene_does_not_vary() -> None:
    values = 5 + np.random.default_rng(0).gamma(2, 1, (50, 70)).astype(np.float32)
    values[:, 3], values[:, 66] = 0.1, 1e6
    values[::2, 66] = np.nextafter(np.float32(1e6), np.float32(2e6))  # differs by rounding alone
    found = standardized(values)
    expected = zscore(values.astype(np.float64), axis=0)
    expected[:, [3, 66]] = 0
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert standardized(values[:0]).shape == (0, 70)


def test_genes_alike_in_reliability_keep_their_order_and_unknown_ones_come_last() -> None:
    known = np.random.default_rng(0).choice([0.2, 0.5, np.nan], 200)
    data = AnnData(np.zeros((1, 200), np.float32))
    data.var["reliability"] = known
    ranked = [*np.flatnonzero(known == 0.5), *np.flatnonzero(known == 0.2)]
    ranked += [*np.flatnonzero(np.isnan(known))]
    assert genes_by_reliability(data) == [str(gene) for gene in ranked]


def test_a_tile_is_predicted_where_all_its_genes_have_a_value_and_has_one_where_any_has() -> None:
    values = np.ones((4, 3), np.float32)
    values[1], values[2, 1] = np.nan, np.nan
    assert predicted_tiles(AnnData(values)).tolist() == [True, False, False, True]
    assert has_value(values).tolist() == [True, False, True, True]
