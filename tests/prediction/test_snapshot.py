"""A snapshot of a prediction stays as it was."""

import numpy as np
import pandas as pd

from gene_predictions import gene_prediction
from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.prediction.snapshot import snapshot


def test_what_is_annotated_later_is_not_in_it_and_values_are_not_copied() -> None:
    prediction = gene_prediction()
    labels = np.arange(prediction.n_obs) % 2 + 1
    markers = pd.DataFrame({"domain": [1], "gene": ["CD74"], "score": [1.0]})
    domains = NamedDomains(labels, ("a", "b"), markers)
    domains.write(prediction)
    prediction.layers["measured"] = prediction.X + 1
    kept = snapshot(prediction)
    domains.renamed(1, "tumor").write(prediction)
    prediction.uns["nh2st"]["shown_gene"] = "KRT19"
    prediction.var["reliability"] = 0.0
    del prediction.layers["measured"]
    assert list(kept.obs["domain"].cat.categories) == ["a", "b"]
    assert kept.uns["nh2st"]["domain_markers"]["domain"].tolist() == ["a"]
    assert "shown_gene" not in kept.uns["nh2st"]
    assert kept.var["reliability"].iloc[0] == 0.71
    np.testing.assert_array_equal(kept.layers["measured"], kept.X + 1)
    assert np.shares_memory(kept.X, prediction.X)
    assert kept.obs_names.equals(prediction.obs_names)
    assert kept.obsm.keys() == prediction.obsm.keys()
