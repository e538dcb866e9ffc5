"""A model that brings slides to its own stain: alike in training, evaluation and prediction."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from array_slides import ArrayLevel, array_slide
from napari_nh2st import PredictSettings, predict
from napari_nh2st.analysis import fit_stain, slide_stain
from napari_nh2st.analysis.stain_normalization import REFERENCE, normalization, slide_stain_colors
from napari_nh2st.inference.notices import stain_fit
from napari_nh2st.inference.resample import Resampler
from napari_nh2st.inference.slide_facts import tissue_facts
from napari_nh2st.slide import Slide
from small_configs import small_config
from small_models import small_model

OTHER = np.array([[0.55, 0.75, 0.37], [0.20, 0.90, 0.39]])
OTHER_AMOUNTS = np.array([1.4, 1.6])


def stained(
    vectors: NDArray[np.float64], amounts: NDArray[np.float64], power: float = 1.0
) -> Slide:
    """A slide of 1 µm/px, drawn with two stains; of more tissue the lower the power."""
    y, x = np.mgrid[:420, :420]
    shares = np.stack(
        [
            (0.5 + 0.5 * np.sin(y / 9) * np.cos(x / 13)) ** 2,
            (0.5 + 0.5 * np.cos(y / 17 + 1) * np.sin(x / 11)) ** 2,
        ],
        -1,
    )
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    light = 256 * np.exp(-(shares**power * amounts) @ unit) - 1
    return array_slide(ArrayLevel(np.clip(np.rint(light), 0, 255).astype(np.uint8)), mpp=1.0)


@pytest.fixture(scope="module")
def slides() -> tuple[Slide, Slide]:
    return stained(REFERENCE.vectors, REFERENCE.amounts), stained(OTHER, OTHER_AMOUNTS)


SETTINGS = PredictSettings(device="cpu", precision="float32", step_um=32.0, tissue_only=False)


def test_a_slide_in_another_stain_is_predicted_as_in_the_reference(
    slides: tuple[Slide, Slide],
) -> None:
    as_it_is, brought = small_model(), small_model(stain_reference=REFERENCE.to_json())
    before, after = (
        [predict(slide, model, SETTINGS).X for slide in slides] for model in (as_it_is, brought)
    )
    spread = after[0].std(0).mean()
    assert np.abs(before[0] - before[1]).mean() > 5 * np.abs(after[0] - after[1]).mean()
    assert np.abs(after[0] - after[1]).mean() < 0.2 * spread


def test_tiles_are_multiplied_in_optical_density(slides: tuple[Slide, Slide]) -> None:
    matrix = normalization(slide_stain_colors(slides[1]), REFERENCE)
    np.testing.assert_array_equal(matrix, np.round(matrix.astype(float), 6).astype(np.float32))
    tiles = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    got = Resampler((8, 8), 8, torch.device("cpu"), matrix)(tiles).numpy()
    density = -np.log((tiles.numpy().astype(float) + 1) / 256) @ matrix
    np.testing.assert_allclose(got, np.clip(256 * np.exp(-density) - 1, 0, 255), atol=0.01)


def test_a_slide_of_one_stain_is_predicted_as_it_is_with_a_word() -> None:
    slide = stained(np.array([REFERENCE.vectors[0]] * 2), REFERENCE.amounts)
    brought = predict(slide, small_model(stain_reference=REFERENCE.to_json()), SETTINGS)
    plain = predict(slide, small_model(), SETTINGS)
    np.testing.assert_array_equal(brought.X, plain.X)
    assert "in its own stain" in "".join(brought.uns["nh2st"]["notices"])
    assert "in its own stain" not in "".join(plain.uns["nh2st"]["notices"])


BROWN = np.array([[0.72, 0.60, 0.33], [0.27, 0.57, 0.78]])


def test_of_a_slide_brought_to_the_reference_only_what_is_no_he_is_far(
    slides: tuple[Slide, Slide],
) -> None:
    profile = fit_stain([slide_stain(slides[0])])
    training = {"trained": True, "summary": "For a test.", "stain": profile.to_json()}
    as_it_is = small_config(training=training)
    brought = small_config(training=training, stain_reference=REFERENCE.to_json())
    far = tissue_facts(slides[1], as_it_is).notice
    assert far is not None
    assert "pinker" in far
    assert tissue_facts(slides[1], brought).notice is None
    matrix = normalization(slide_stain_colors(slides[1]), REFERENCE)
    assert stain_fit(slides[1], brought, matrix=matrix).distance is None
    one_stain = stained(np.array([REFERENCE.vectors[0]] * 2), REFERENCE.amounts)
    assert "in its own stain" in str(tissue_facts(one_stain, brought).notice)
    immunostained = stain_fit(stained(BROWN, np.array([0.5, 2.5])), brought, matrix=matrix)
    assert "(DAB)" in str(immunostained.notice)


def test_a_slide_brought_to_the_reference_is_far_where_its_tissue_holds_the_stains_otherwise(
    slides: tuple[Slide, Slide],
) -> None:
    def brought(slide: Slide) -> NDArray[np.float32]:
        return normalization(slide_stain_colors(slide), REFERENCE)

    training = {"trained": True, "summary": "For a test."}
    training["stain"] = fit_stain([slide_stain(slides[0])]).to_json()
    own = slide_stain(slides[0], matrix=brought(slides[0]))
    training["normalized_stain"] = fit_stain([own]).to_json()
    config = small_config(training=training, stain_reference=REFERENCE.to_json())
    # The same tissue in other colors is not: they are taken away.
    alike = stain_fit(slides[1], config, matrix=brought(slides[1]))
    assert alike.distance is not None
    assert alike.distance < 1.5
    assert alike.notice is None
    dense = stained(OTHER, OTHER_AMOUNTS, power=0.3)
    other = stain_fit(dense, config, matrix=brought(dense))
    assert other.distance is not None
    assert other.distance > 3
    assert "tissue may be of another kind" in str(other.notice)
    assert str(other.notice) in str(tissue_facts(dense, config).notice)


def test_stain_is_described_as_the_model_sees_it(slides: tuple[Slide, Slide]) -> None:
    matrix = normalization(slide_stain_colors(slides[1]), REFERENCE)
    level = slides[1].levels[0]
    assert isinstance(level, ArrayLevel)
    pixels = level.pixels.astype(float)
    light = 256 * np.exp(np.log((pixels + 1) / 256) @ matrix.astype(float)) - 1
    seen = array_slide(ArrayLevel(np.clip(np.rint(light), 0, 255).astype(np.uint8)), mpp=1.0)
    centers = np.array([[210.0, 210.0], [150.0, 260.0]])
    np.testing.assert_allclose(
        slide_stain(slides[1], centers=centers, mpp=1.0, matrix=matrix),
        slide_stain(seen, centers=centers, mpp=1.0),
        atol=1e-4,
    )
