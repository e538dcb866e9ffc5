"""The model that comes with the package: there without a network, and honest about itself."""

from pathlib import Path

import numpy as np
import pytest

from napari_nh2st import PredictSettings, load_model, open_slide, predict
from napari_nh2st.analysis.stain_normalization import REFERENCE, reference_of
from napari_nh2st.model import bundled_models, read_config
from napari_nh2st.model.card import model_card
from napari_nh2st.model.folder import Model
from napari_nh2st.synthetic import write_synthetic_slide

NAME = "her2-breast-demo"


@pytest.fixture(scope="module")
def bundled() -> Model:
    return load_model(NAME)


def test_it_loads_by_name_and_is_small() -> None:
    folder = bundled_models()[NAME]
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 50e6
    assert {file.name for file in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "heads.safetensors",
        "README.md",
    }


def test_it_sees_all_slides_in_one_stain(bundled: Model) -> None:
    reference = reference_of(bundled.config)
    assert reference is not None
    np.testing.assert_allclose(reference.vectors, REFERENCE.vectors)


def test_it_has_the_heads_of_five_sections_left_out_and_an_interval_of_every_gene(
    bundled: Model,
) -> None:
    assert bundled.heads is not None
    assert bundled.heads.count == 5
    config = bundled.config
    assert config.reliability_of == "other sections of the same tumour"
    assert config.interval_90 is not None
    assert set(config.interval_90) == set(config.panel)
    widths = [half for half in config.interval_90.values() if half is not None]
    assert len(widths) == 250
    assert 0.1 < min(widths) < max(widths) < 1
    coverage = config.training["held_out"]["coverage"]
    assert set(coverage) == set(config.training["sections"])
    # "About 90 %", on every section, by what had not seen it; C3 has fewer, and C4 more.
    assert all(0.84 <= each["mean"] <= 0.94 for each in coverage.values())
    assert np.mean([each["mean"] for each in coverage.values()]) == pytest.approx(0.9, abs=0.015)
    assert config.usual_spread is not None
    assert set(config.usual_spread) == set(config.panel)
    assert all(usual is not None and 0 < usual < 0.2 for usual in config.usual_spread.values())


def test_every_gene_has_a_held_out_correlation_that_its_summary_agrees_with(
    bundled: Model,
) -> None:
    config = bundled.config
    assert len(config.panel) == 250
    assert config.reliability is not None
    assert set(config.reliability) == set(config.panel)
    known = [value for value in config.reliability.values() if value is not None]
    held_out = config.training["held_out"]["contexts"][config.context]["all"]
    assert np.mean(known) == pytest.approx(held_out["mean_pcc"], abs=1e-3)
    assert held_out["mean_pcc"] > 0.5
    assert held_out["mse"] < held_out["mse_baseline"]


def test_its_card_says_what_it_is_and_what_it_is_not_for(bundled: Model) -> None:
    card = (bundled_models()[NAME] / "README.md").read_text(encoding="utf-8")
    assert card == model_card(read_config(bundled_models()[NAME]))
    assert "covariance" not in card, "a matrix is nothing to read"
    for text in ("demonstration", "one donor", "Not for diagnosis", "log10", "µm/px"):
        assert text in card
    assert str(Path.home()) not in card
    assert "encoder.pt" not in (bundled_models()[NAME] / "config.json").read_text(encoding="utf-8")


def test_it_predicts_a_slide(bundled: Model, tmp_path: Path) -> None:
    path = tmp_path / "slide.tiff"
    write_synthetic_slide(path, seed=3, shape=(1600, 1600), mpp=1.0)
    settings = PredictSettings(genes=("ERBB2", "IGKC"), device="cpu")
    with open_slide(path) as slide:
        prediction = predict(slide, bundled, settings)
    assert prediction.n_obs > 10
    assert np.isfinite(prediction.X).all()
    assert np.isfinite(prediction.layers["spread"]).all()
    assert 0.005 < np.median(prediction.layers["spread"]) < 0.5
    assert np.isfinite(prediction.obs["unfamiliar"]).all()
    # In the target's units: log10(1 + counts per 10,000 of the panel) is at most 4.
    assert prediction.X.min() > -0.5
    assert prediction.X.max() < 4.5
    assert (prediction.var["reliability"] > -1).all()
