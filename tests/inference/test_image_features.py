"""Image features that a prediction keeps, and what they add to domains on a synthetic section."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from sklearn.metrics import adjusted_rand_score

from array_slides import ArrayLevel, array_slide
from napari_nh2st.analysis import DomainSettings, find_domains
from napari_nh2st.errors import InputError
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.inference.image_features import WithImageFeatures, image_axes
from napari_nh2st.model.folder import new_model
from napari_nh2st.model.prepared import Prepared
from napari_nh2st.synthetic import SyntheticTissue
from small_configs import small_config
from small_models import MeanColor, small_model

GRAPH = small_config(architecture="merge", hyperparameters={"hidden": 8, "heads": 2}, tile_px=64)


def test_axes_are_at_right_angles_and_the_same_in_every_run() -> None:
    axes = image_axes(512)
    torch.testing.assert_close(axes.T @ axes, torch.eye(32), rtol=0, atol=1e-5)
    np.testing.assert_allclose(axes[:2, :2], [[-0.1017, -0.0078], [-0.004, 0.0249]], atol=1e-4)
    few = image_axes(20)
    assert few.shape == (20, 32)
    torch.testing.assert_close(few @ few.T, torch.eye(20), rtol=0, atol=1e-5)


@pytest.mark.parametrize("reach", ["tile", "neighborhood", "slide"])
@torch.inference_mode()
def test_they_are_means_of_the_encoders_map_and_change_nothing_else(reach: str) -> None:
    context = "query" if reach == "tile" else "neighborhood"
    model = new_model(GRAPH if reach == "slide" else small_config(context, tile_px=64), 0)
    plain = model.architecture.prepare(
        model.network, range(5), torch.device("cpu"), torch.float32, None
    )
    assert isinstance(plain, Prepared)
    with_features = WithImageFeatures(plain)
    tiles = torch.randint(0, 256, (9, 64, 64, 3), generator=torch.Generator().manual_seed(0)).byte()
    maps: list[torch.Tensor] = []
    hook = plain.encoder.register_forward_hook(lambda *seen: maps.append(seen[2]))
    rows, more = plain.encode(tiles), with_features.encode(tiles)
    hook.remove()
    assert not plain.encoder._forward_hooks
    features = maps[0].flatten(2).mean(2) @ image_axes(512)
    assert with_features.reach == plain.reach == reach
    if reach == "tile":
        expected, found = torch.cat([rows[0], features], 1), more[0]
    elif reach == "slide":
        for own, both in zip(rows, more, strict=True):  # what is kept, and the preview
            torch.testing.assert_close(both, torch.cat([own, features], 1))
        places = torch.from_numpy(np.argwhere(np.ones((3, 3)))).float()
        expected = torch.cat([plain.combine_slide(rows[0], places), features], 1)
        found = with_features.combine_slide(more[0], places)
    else:
        gathered, mask = tuple(each[None] for each in rows), torch.ones(1, 9, dtype=torch.bool)
        expected = torch.cat([plain.combine(gathered, mask), features[:1]], 1)
        found = with_features.combine(tuple(each[None] for each in more), mask)
    torch.testing.assert_close(found, expected)


def test_a_model_without_an_encoder_of_its_own_has_none() -> None:
    with pytest.raises(InputError, match="no image encoder of its own; leave them out"):
        WithImageFeatures(MeanColor("query", range(3)))


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
