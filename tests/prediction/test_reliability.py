"""What a gene's badge says, of what, and where it does not hold."""

import numpy as np
import pandas as pd
import pytest

from gene_predictions import gene_prediction
from napari_nh2st.prediction.reliability import (
    Badges,
    has_measured,
    undo_measured,
    unfamiliar_share,
    use_measured,
)
from napari_nh2st.prediction.schema import reliability
from trusted_predictions import RELIABILITY_OF, add_trust

GREY = Badges().color(np.nan)


def test_the_badge_says_what_its_number_is_of() -> None:
    badges = Badges.of_prediction(add_trust(gene_prediction()))
    assert badges.reason(0.62) == "PCC 0.62 on other sections of the same tumour"
    assert badges.short(0.62) == badges.reason(0.62)
    assert badges.reason(0.1).startswith(
        "PCC 0.10 on other sections of the same tumour is below 0.20: there, "
    )
    assert f"no held-out PCC on {RELIABILITY_OF}" in badges.reason(np.nan)
    assert badges.color(0.62) == Badges().color(0.62) != GREY
    assert badges.is_reliable(0.2), "the threshold itself is reliable"
    assert badges.color(0.5) == badges.color(0.62) != badges.color(0.49)
    of_old_file = Badges.of_prediction(gene_prediction(), 0.3)
    assert of_old_file == Badges(0.3)
    assert of_old_file.reason(0.62) == "held-out PCC 0.62"


@pytest.mark.parametrize(
    ("stain", "far", "why"),
    [
        (3.2, 0.0, "stain is far from what the model saw"),
        (None, 0.3, "30% of the tiles are unfamiliar"),
        (2.9, 0.2, ""),
        (float("nan"), 0.1, ""),
    ],
)
def test_badges_are_grey_where_the_slide_is_far_from_the_training(
    stain: float | None, far: float, why: str
) -> None:
    prediction = add_trust(gene_prediction(), far)
    if stain is not None:
        prediction.uns["nh2st"]["stain_distance"] = stain
    badges = Badges.of_prediction(prediction)
    assert why in badges.reason(0.62)
    assert ("it may not hold here" in badges.reason(0.62)) == bool(why)
    assert ("far from training" in badges.short(0.62)) == bool(why)
    assert (badges.color(0.62) == GREY) == bool(why)
    assert badges.is_reliable(0.62)  # it is still the best that is known


def test_what_was_measured_on_the_slide_is_used_and_taken_back() -> None:
    prediction = add_trust(gene_prediction(), far=0.9)
    before = reliability(prediction)
    measured = pd.Series({"CD74": 0.4, "ERBB2": -0.1, "OTHER": 0.9})
    use_measured(prediction, measured, "this slide (283 spots)")
    use_measured(prediction, measured, "this slide (283 spots)")
    assert has_measured(prediction)
    assert reliability(prediction)["CD74"] == 0.4
    assert np.isnan(reliability(prediction)["GRB7"])  # was not measured
    badges = Badges.of_prediction(prediction)
    assert badges.reason(0.4) == "PCC 0.40 on this slide (283 spots)"  # however far it is
    assert badges.color(0.4) != GREY
    undo_measured(prediction)
    undo_measured(prediction)
    assert not has_measured(prediction)
    pd.testing.assert_series_equal(reliability(prediction), before)
    assert Badges.of_prediction(prediction).of == RELIABILITY_OF
    assert "model_reliability_of" not in prediction.uns["nh2st"]


def test_tiles_as_far_as_99_percent_of_those_of_training_are_familiar() -> None:
    prediction = gene_prediction()
    assert unfamiliar_share(prediction) == 0
    far = np.full(prediction.n_obs, 1.0)
    far[:6], far[6:7] = 1.001, np.nan
    prediction.obs["unfamiliar"] = far
    assert unfamiliar_share(prediction) == pytest.approx(6 / 46), "of 46 whose distance is known"
