"""Image features that a prediction keeps, and what they add to domains on a synthetic section."""

from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import uniform_filter
from sklearn.metrics import adjusted_rand_score

from array_slides import ArrayLevel, array_slide
from napari_nh2st.analysis import DomainSettings, find_domains
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.inference.image_features import image_axes
from napari_nh2st.synthetic import SyntheticTissue
from small_models import small_model


def test_axes_are_at_right_angles_and_the_same_in_every_run() -> None:
    axes = image_axes(512)
    torch.testing.assert_close(axes.T @ axes, torch.eye(32), rtol=0, atol=1e-5)
    np.testing.assert_allclose(axes[:2, :2], [[-0.1017, -0.0078], [-0.004, 0.0249]], atol=1e-4)
    few = image_axes(20)
    assert few.shape == (20, 32)
    torch.testing.assert_close(few @ few.T, torch.eye(20), rtol=0, atol=1e-5)


def test_look_and_vote_bring_domains_nearer_to_the_true_regions() -> None:
    tissue = SyntheticTissue(seed=2, shape=(1024, 1024))
    slide = array_slide(ArrayLevel(tissue.render(0, 0, 1024, 1024)), mpp=0.5)
    settings = PredictSettings(
        device="cpu", precision="float32", step_um=16, tissue_only=False, image_features=True
    )
    prediction = predict(slide, small_model(), settings)
    fields, (x_um, y_um) = tissue.fields, 0.5 * prediction.obsm["spatial"].T
    nest, inside = (
        fields.at(uniform_filter(field, 4), y_um, x_um)
        for field in (fields.nest + fields.lumen, fields.tissue)
    )
    regions = np.where(inside < 0.5, 2, nest > 0.5)
    plain = DomainSettings(n_domains=4, min_reliability=None)

    def score(**changed: float) -> float:
        found = find_domains(prediction, replace(plain, **changed))
        return float(adjusted_rand_score(regions, found.labels))

    expression_alone, with_look, with_vote = score(), score(image_weight=0.5), score(refine=8)
    assert with_look > expression_alone + 0.03
    assert with_vote > expression_alone + 0.03
    assert score(image_weight=0.5, refine=8) > max(with_look, with_vote) + 0.03
