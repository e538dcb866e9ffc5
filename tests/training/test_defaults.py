"""What a training does where its settings leave it open: what a start has learned, it keeps."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_nh2st.evaluation import crossval, evaluate
from napari_nh2st.model.config import read_config
from napari_nh2st.model.encoders import normalize_tiles
from napari_nh2st.model.folder import Model, load_model_folder, save_model_folder
from napari_nh2st.model.sources import find_model
from napari_nh2st.spots import PanelSettings, read_sections
from napari_nh2st.synthetic import write_synthetic_study
from napari_nh2st.training import TrainSettings, load_study, train
from napari_nh2st.training.defaults import ResolvedSettings, resolved_settings, same_settings
from napari_nh2st.training.events import TrainStarted
from napari_nh2st.training.loop import train_events
from napari_nh2st.training.study import MeasuredSection, tiles_for
from small_configs import PANEL, small_config
from small_models import small_model

BUNDLED = "her2-breast-demo"

ONE_NEW = ("NEW", *PANEL[1:])
ALL_NEW = ("N1", "N2", "N3")
MOST_NEW = ("N1", "N2", "N3", PANEL[0])
RIDGE, FINE, PUBLISHED = ("ridge", 2e-5, 200.0), (None, 2e-5, 1.0), (None, 5e-4, 1.0)

FROZEN = {"encoder": "frozen", "start": "a model"}
FILE = {"encoder_weights": "resnet.pt"}


def recorded(mse_weight: Any, **changed: Any) -> dict[str, Any]:
    """A config's training that tells what weight the squared error had."""
    return {"trained": True, "summary": "", "settings": {"mse_weight": mse_weight}} | changed


@pytest.mark.parametrize(
    ("given", "start", "panel", "expected"),
    [
        # Without a start model.
        ({}, None, PANEL, PUBLISHED),
        (FILE, None, PANEL, PUBLISHED),
        (FILE | {"encoder": "frozen"}, None, PANEL, RIDGE),
        (FILE | {"encoder": "last-stages"}, None, PANEL, RIDGE),
        (
            FILE | {"encoder": "frozen", "head_start": "random"},
            None,
            PANEL,
            ("random", 5e-4, 1.0),
        ),
        (FILE | {"head_start": "ridge"}, None, PANEL, RIDGE),
        # On maps of a random encoder.
        ({"head_start": "ridge"}, None, PANEL, ("ridge", 5e-4, 200.0)),
        # The start model knows the panel, be it smaller than its own.
        (FROZEN, {}, PANEL, FINE),
        (FROZEN, {}, PANEL[::-2], FINE),
        (FROZEN | {"encoder": "last-stages"}, {}, PANEL, FINE),
        (FROZEN | {"encoder": "whole"}, {}, PANEL, FINE),
        (FROZEN | {"head_start": "random"}, {}, PANEL, ("random", 2e-5, 1.0)),
        (FROZEN | {"head_start": "ridge"}, {}, PANEL, RIDGE),
        (FROZEN, {"training": recorded(37)}, PANEL, (None, 2e-5, 37.0)),
        (FROZEN | {"head_start": "ridge"}, {"training": recorded(37)}, PANEL, RIDGE),
        # What a config says that makes no sense.
        (FROZEN, {"training": recorded("much")}, PANEL, FINE),
        (FROZEN, {"training": recorded(float("nan"))}, PANEL, FINE),
        (FROZEN, {"training": recorded(0)}, PANEL, FINE),
        (FROZEN, {"training": recorded(3, settings=[3])}, PANEL, FINE),
        # It does not know all of the panel.
        (FROZEN, {}, ONE_NEW, RIDGE),
        (FROZEN, {}, ALL_NEW, RIDGE),
        (FROZEN | {"encoder": "whole"}, {}, ONE_NEW, FINE),
        (FROZEN | {"encoder": "whole"}, {}, MOST_NEW, PUBLISHED),
        (FROZEN | {"encoder": "whole"}, {}, ALL_NEW, PUBLISHED),
        (FROZEN | {"head_start": "random"}, {}, ALL_NEW, ("random", 5e-4, 1.0)),
        (FROZEN | {"head_start": "random"}, {}, ONE_NEW, ("random", 2e-5, 1.0)),
        # It knows nothing, or its head has lost what it reads.
        (FROZEN, {"training": recorded(37, trained=False)}, PANEL, RIDGE),
        (FROZEN | FILE, {}, PANEL, RIDGE),
        (FROZEN | FILE | {"encoder": "whole"}, {}, PANEL, PUBLISHED),
        (FROZEN | {"context": "query"}, {"context": "neighborhood"}, PANEL, RIDGE),
        (FROZEN | {"context": "neighborhood"}, {"context": "neighborhood"}, PANEL, FINE),
        (FROZEN | {"context": "neighborhood"}, {"context": "average"}, PANEL, FINE),
        (FROZEN | {"context": "average"}, {"context": "query"}, PANEL, FINE),
        # What is given stays.
        (FROZEN | {"learning_rate": 1e-3}, {}, PANEL, (None, 1e-3, 1.0)),
        (FROZEN | {"mse_weight": 0.0}, {}, ALL_NEW, ("ridge", 2e-5, 0.0)),
    ],
)
def test_what_is_left_open_follows_from_the_start(
    given: dict[str, Any],
    start: dict[str, Any] | None,
    panel: tuple[str, ...],
    expected: tuple[str | None, float, float],
) -> None:
    config = None if start is None else small_config(**start)
    settings = TrainSettings(**given, epochs=7)
    resolved = resolved_settings(settings, config, panel)
    assert (resolved.head_start, resolved.learning_rate, resolved.mse_weight) == expected
    # All else is as it was, and there is nothing more to decide.
    decided = ("architecture", "encoder", "adapter_rank", "head_start")
    decided += ("learning_rate", "mse_weight", "stain")
    open_before = {name: getattr(settings, name) for name in decided}
    assert replace(resolved, **open_before).to_json() == settings.to_json()
    assert resolved_settings(resolved, config, panel) == resolved
    assert isinstance(resolved, ResolvedSettings)


def test_a_model_is_compared_with_what_its_settings_came_to(tmp_path: Path) -> None:
    start = str(tmp_path / "start")
    save_model_folder(small_model(), Path(start))
    told = {"start": start, "encoder": "frozen", "learning_rate": 2e-5, "mse_weight": 1.0}
    asked = TrainSettings(start=start, encoder="frozen", panel=PanelSettings("given", genes=PANEL))
    recorded_then = asked.to_json() | told
    assert same_settings(recorded_then, asked, PANEL)
    added = ("architecture", "smoothing", "soft_weight", "group_weight")
    of_earlier_version = {n: v for n, v in recorded_then.items() if n not in added}
    augmentation = dict(recorded_then["augmentation"])
    del augmentation["stain_colors"]
    assert same_settings(of_earlier_version | {"augmentation": augmentation}, asked, PANEL)
    assert not same_settings(recorded_then, asked, ALL_NEW)  # ridge, and another weight
    assert not same_settings(recorded_then, replace(asked, learning_rate=1e-4), PANEL)
    assert same_settings(recorded_then, replace(asked, device="cpu"), PANEL), "as for a run"
    gone = replace(asked, start=str(tmp_path / "gone"))
    assert not same_settings(recorded_then, gone, PANEL), "another start model, there or not"


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> tuple[MeasuredSection, ...]:
    """Two to learn from, two to go on with, and one to test on."""
    folder = tmp_path_factory.mktemp("study")
    table = write_synthetic_study(
        folder, range(5), donors=tuple("ABCDE"), size_um=(1800, 1800), mpp=2.4
    )
    return load_study(read_sections(table), trust_positions=True)


FINE_TUNING = TrainSettings(
    start=BUNDLED, encoder="frozen", validation="none", device="cpu", precision="float32"
)


@pytest.fixture(scope="module")
def first(sections: tuple[MeasuredSection, ...], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of genes that the bundled one does not know."""
    folder = tmp_path_factory.mktemp("first")
    panel = PanelSettings(n_genes=60)
    train(sections[:2], replace(FINE_TUNING, panel=panel, epochs=3), folder=folder)
    return str(folder / "model")


def scores(model: Model, unseen: MeasuredSection) -> tuple[float, float]:
    """Mean PCC over genes, and MSE."""
    predicted = evaluate(model, [unseen], device="cpu", bootstrap=0).predictions[unseen.name]
    x, measured = np.asarray(predicted.X), predicted.layers["measured"]
    pcc = [np.corrcoef(x[:, k], measured[:, k])[0, 1] for k in range(x.shape[1])]
    return float(np.mean(pcc)), float(np.mean((x - measured) ** 2))


def test_a_new_panel_starts_from_ridge_and_is_learned(
    sections: tuple[MeasuredSection, ...], first: str
) -> None:
    config = read_config(Path(first))
    assert set(config.panel) - set(read_config(find_model(BUNDLED)).panel)
    told = config.training["settings"]
    assert (told["head_start"], told["learning_rate"], told["mse_weight"]) == RIDGE
    ours = scores(load_model_folder(Path(first)), sections[4])
    published = replace(
        FINE_TUNING,
        panel=PanelSettings("given", genes=config.panel),
        epochs=3,
        head_start="random",
        learning_rate=5e-4,
        mse_weight=1.0,
    )
    theirs = scores(train(sections[:2], published), sections[4])
    assert ours[0] > theirs[0] + 0.05
    assert ours[1] < theirs[1]


def test_fine_tuning_as_it_is_does_not_fall_below_its_start(
    sections: tuple[MeasuredSection, ...], first: str
) -> None:
    before = scores(load_model_folder(Path(first)), sections[4])
    settings = replace(FINE_TUNING, start=first, epochs=6)
    tuned = train(sections[2:4], settings)
    told = tuned.config.training["settings"]
    assert "head_start" not in told
    assert (told["learning_rate"], told["mse_weight"]) == (2e-5, 200.0)
    after = scores(tuned, sections[4])
    # Some 50 spots a section: scores are no surer than that.
    assert after[0] >= before[0] - 0.03
    assert after[1] <= before[1] * 1.08
    # With the published ones it does.
    published = replace(settings, learning_rate=5e-4, mse_weight=1.0)
    spoiled = scores(train(sections[2:4], published), sections[4])
    assert spoiled[0] < before[0] - 0.06
    assert spoiled[1] > before[1] * 1.3


def test_on_part_of_its_panel_a_start_predicts_at_the_height_of_the_target(
    sections: tuple[MeasuredSection, ...], first: str
) -> None:
    """Without a step to speak of: what is scaled to a smaller sum is higher."""
    start = load_model_folder(Path(first))
    panel = start.config.panel[40:]
    settings = replace(
        FINE_TUNING,
        start=first,
        panel=PanelSettings("given", genes=panel),
        learning_rate=1e-9,
        epochs=1,
    )
    model = train(sections[2:3], settings)
    tiles = tiles_for(sections[2], model.config, panel)

    def predicted(one: Model) -> np.ndarray:
        network: Any = one.network
        with torch.inference_mode():
            maps = network.encode(normalize_tiles(torch.from_numpy(tiles.tiles)))
            index, mask = torch.from_numpy(tiles.neighborhoods), torch.from_numpy(tiles.mask)
            return network.predict(maps, index, mask).numpy()

    now, before = predicted(model), predicted(start)[:, 40:]
    np.testing.assert_allclose(now.mean(0), tiles.target.mean(0), atol=2e-3)
    assert np.abs(before.mean(0) - tiles.target.mean(0)).min() > 0.1
    # Each gene moves by a constant: what it knows of the tissue stays.
    np.testing.assert_allclose(now - now.mean(0), before - before.mean(0), atol=2e-3)


def test_a_stopped_run_goes_on_with_the_defaults_it_began_with(
    sections: tuple[MeasuredSection, ...], first: str, tmp_path: Path
) -> None:
    settings = replace(FINE_TUNING, start=first, epochs=2, batch_size=16, checkpoint_minutes=0)
    told = None
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 1

    for event in train_events(sections[2:3], settings, folder=tmp_path, stop=stop):
        if isinstance(event, TrainStarted):
            told = event.notices
    assert told is not None
    name = read_config(Path(first)).name
    assert (
        f"The prediction head starts from {name}, for 60 of 60 genes: learning rate 2e-05, "
        "weight of the squared error 200."
    ) in told
    assert (tmp_path / "last.pt").exists()
    spelled_out = replace(settings, learning_rate=2e-5, mse_weight=200.0)
    assert train(sections[2:3], spelled_out, folder=tmp_path).config.training["epochs"] == 2
    assert not (tmp_path / "last.pt").exists()


def test_finished_folds_are_taken_whose_defaults_came_to_the_same(
    sections: tuple[MeasuredSection, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossval, "write_evaluation", lambda *_: None)  # figures take their time
    settings = replace(FINE_TUNING, panel=PanelSettings(n_genes=20), epochs=1)
    trained: list[str] = []

    def heard(left_out: str, event: Any) -> None:
        if isinstance(event, TrainStarted):
            trained.append(left_out)

    for _ in range(2):
        crossval.cross_validate(
            sections[:2], settings, folder=tmp_path, final=False, on_event=heard
        )
    assert trained == ["A", "B"]
