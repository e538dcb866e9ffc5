"""A training from its first batch to its model: resumed, stopped, ended early, on two processes."""

import random
import subprocess
import sys
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from event_generators import result_of
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.spot_prediction import predict_spots
from napari_nh2st.model.config import CONTEXTS
from napari_nh2st.model.encoders import normalize_tiles
from napari_nh2st.model.folder import Model, load_model_folder, save_model_folder
from napari_nh2st.model.nh2st import NH2ST
from napari_nh2st.training import loop, prepare
from napari_nh2st.training.augmentation_settings import AugmentationSettings
from napari_nh2st.training.events import (
    EpochDone,
    StepDone,
    TrainEvent,
    TrainFinished,
    TrainStarted,
)
from napari_nh2st.training.inputs import StudyInputs, StudyTiles, TrainedPart, first_trained_stage
from napari_nh2st.training.loop import train, train_events
from napari_nh2st.training.run_state import BEST
from napari_nh2st.training.settings import TrainSettings
from napari_nh2st.training.start import starting_network
from napari_nh2st.training.start_settings import TrainedEncoder
from napari_nh2st.training.study import MeasuredSection, section_tiles
from napari_nh2st.training.validation import ValidationScore, predict_section
from small_configs import PANEL
from small_models import small_model
from train_studies import drawn_section

SHAPES = {"dim": 16, "heads": 2, "hidden": 8, "hypergraph_hidden": 12}
PLAIN = AugmentationSettings(flips=False, quarter_turns=False, stain_jitter=0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[MeasuredSection, ...]:
    """S1 and S2 to train on, and V."""
    folder = tmp_path_factory.mktemp("study")
    named = [("S1", "A"), ("S2", "B"), ("V", "C")]
    return tuple(drawn_section(folder, *one, seed) for seed, one in enumerate(named))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model to start from."""
    folder = tmp_path_factory.mktemp("start") / "model"
    save_model_folder(small_model(), folder)
    return str(folder)


def settings(**changed: Any) -> TrainSettings:
    chosen: dict[str, Any] = {
        "tile_px": 32,
        "mpp": 1.0,
        "epochs": 2,
        "batch_size": 20,
        "patch_spots": 10,
        "validation": "none",
        "device": "cpu",
        "precision": "float32",
        "checkpoint_minutes": 0,
    }
    return TrainSettings(**(chosen | SHAPES | changed))


def encoder_settings(encoder: TrainedEncoder, start: str, **changed: Any) -> TrainSettings:
    """Those parts that are not trained come from the start model."""
    given = None if encoder == "whole" else start
    return settings(encoder=encoder, start=given, **changed)


def finished(events: Iterable[TrainEvent]) -> TrainFinished:
    *_, last = events
    assert isinstance(last, TrainFinished)
    return last


def weights(model: Model) -> dict[str, Tensor]:
    return dict(model.network.state_dict())


def assert_same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert list(one) == list(other)
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def without_time(history: tuple[EpochDone, ...]) -> list[EpochDone]:
    return [replace(epoch, seconds_left=0.0) for epoch in history]


class Killed(BaseException):
    """Ends a training without any of its clearing up that a kill would not do."""


def killed_after(n_steps: int, events: Generator[TrainEvent, None, None]) -> None:
    """Take the events of so many steps and no more, as a kill would."""
    take_steps(n_steps, events)
    with pytest.raises(Killed):
        events.throw(Killed)


def take_steps(n_steps: int, events: Iterator[TrainEvent]) -> None:
    for event in events:
        n_steps -= isinstance(event, StepDone)
        if not n_steps:
            return


class TestResuming:
    @pytest.mark.parametrize(
        ("encoder", "averaging", "n_steps"),
        [
            ("whole", 0.0, 3),  # in the second of two epochs
            ("whole", 0.9, 2),  # at the end of the first
            ("frozen", 0.0, 3),
            ("last-stages", 0.0, 3),
        ],
    )
    def test_a_killed_run_ends_as_if_it_had_not_been(
        self,
        tmp_path: Path,
        study: tuple[MeasuredSection, ...],
        start: str,
        encoder: TrainedEncoder,
        averaging: float,
        n_steps: int,
    ) -> None:
        chosen = encoder_settings(
            encoder, start, averaging=averaging, validation_sections=("S2", "V"), validation="auto"
        )
        expected = finished(train_events(study, chosen))
        folder = tmp_path / "run"
        killed_after(n_steps, train_events(study, chosen, folder=folder))
        assert not (folder / "model").exists()
        events = list(train_events(study, chosen, folder=folder))
        assert sum(isinstance(event, StepDone) for event in events) < 4
        last = events[-1]
        assert isinstance(last, TrainFinished)
        assert without_time(last.history) == without_time(expected.history)
        assert last.best_epoch == expected.best_epoch
        assert_same_weights(weights(last.model), weights(expected.model))
        assert_same_weights(weights(load_model_folder(folder / "model")), weights(expected.model))
        assert sorted(p.name for p in folder.iterdir()) == ["history.csv", "model"]

    @pytest.mark.parametrize("n_steps", [3, 4, 5])  # steps of two epochs, each ends with its third
    def test_a_closed_run_loses_no_step(
        self, tmp_path: Path, study: tuple[MeasuredSection, ...], start: str, n_steps: int
    ) -> None:
        chosen = encoder_settings(
            "frozen", start, validation_sections=("V",), validation="auto", checkpoint_minutes=1e5
        )
        expected = list(train_events(study, chosen))
        n_all = sum(isinstance(event, StepDone) for event in expected)
        folder = tmp_path / "run"
        events = train_events(study, chosen, folder=folder)
        take_steps(n_steps, events)
        events.close()
        assert not (folder / "model").exists()
        resumed = list(train_events(study, chosen, folder=folder))
        assert sum(isinstance(event, StepDone) for event in resumed) == n_all - n_steps
        last, then = finished(expected), finished(resumed)
        assert without_time(then.history) == without_time(last.history)
        assert_same_weights(weights(then.model), weights(last.model))

    def test_closed_before_the_first_step_it_leaves_nothing(
        self, tmp_path: Path, study: tuple[MeasuredSection, ...], start: str
    ) -> None:
        events = train_events(study, encoder_settings("frozen", start), folder=tmp_path / "run")
        while not isinstance(next(events), TrainStarted):
            pass
        events.close()
        assert not (tmp_path / "run").exists()

    def test_the_last_epoch_is_not_lost_where_the_model_was_not_written(
        self,
        tmp_path: Path,
        study: tuple[MeasuredSection, ...],
        start: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        chosen = encoder_settings("frozen", start, epochs=1)

        def full(*_: Any, **__: Any) -> Model:
            raise InputError("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(loop, "save_model_folder", full)
            with pytest.raises(InputError, match="disk is full"):
                train(study[:1], chosen, folder=tmp_path / "run")
        events = list(train_events(study[:1], chosen, folder=tmp_path / "run"))
        assert (tmp_path / "run" / "model" / "config.json").exists()
        assert isinstance(events[-1], TrainFinished)
        assert len(events[-1].history) == 1

    @pytest.mark.parametrize(
        "changed", [{"learning_rate": 1e-3}, {"seed": 1}, {"epochs": 3}, {"context": "average"}]
    )
    def test_another_run_does_not_go_on_with_it(
        self,
        tmp_path: Path,
        study: tuple[MeasuredSection, ...],
        start: str,
        changed: dict[str, Any],
    ) -> None:
        folder = tmp_path / "run"
        chosen = encoder_settings("frozen", start)
        killed_after(2, train_events(study[:1], chosen, folder=folder))
        before = (folder / "last.pt").read_bytes()
        with pytest.raises(InputError, match=r"run holds a stopped run with other sections or set"):
            train(study[:1], replace(chosen, **changed), folder=folder)
        with pytest.raises(InputError, match=r"run holds a stopped run with other sections or set"):
            train(study[1:2], chosen, folder=folder)
        assert (folder / "last.pt").read_bytes() == before

    def test_a_finished_model_is_not_overwritten(
        self, tmp_path: Path, study: tuple[MeasuredSection, ...], start: str
    ) -> None:
        folder = tmp_path / "run"
        chosen = encoder_settings("frozen", start, epochs=1)
        train(study[:1], chosen, folder=folder)
        left = {path.relative_to(folder) for path in folder.rglob("*")}
        (folder / BEST).write_bytes(b"")  # of a run that is killed before it removes it
        with pytest.raises(InputError, match="run already holds a trained model"):
            train(study[:1], chosen, folder=folder)
        assert {path.relative_to(folder) for path in folder.rglob("*")} == left

    def test_a_damaged_checkpoint_is_named(
        self, tmp_path: Path, study: tuple[MeasuredSection, ...], start: str
    ) -> None:
        folder = tmp_path / "run"
        chosen = encoder_settings("frozen", start)
        killed_after(2, train_events(study[:1], chosen, folder=folder))
        last = folder / "last.pt"
        last.write_bytes(last.read_bytes()[:-1000])
        with pytest.raises(InputError, match=r"last\.pt is damaged or not a checkpoint"):
            train(study[:1], chosen, folder=folder)


def validated_in_turn(
    monkeypatch: pytest.MonkeyPatch, scores: list[float]
) -> list[dict[str, Tensor]]:
    """Validate with given scores; gives the weights that were validated."""
    seen: list[dict[str, Tensor]] = []

    def validate(part: TrainedPart, *_: Any) -> ValidationScore:
        seen.append({n: t.clone() for n, t in part.network.state_dict().items()})
        return ValidationScore(scores[len(seen) - 1], 0.1, 0.2)

    monkeypatch.setattr(loop, "validate", validate)
    return seen


class TestEnding:
    def test_early_with_the_best_epochs_weights(
        self,
        study: tuple[MeasuredSection, ...],
        start: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        seen = validated_in_turn(monkeypatch, [0.0, 0.1, 0.3, 0.3, 0.2, 0.9])
        chosen = encoder_settings("frozen", start, epochs=9, patience=2, validation="section")
        result = finished(train_events(study, chosen))
        assert (result.ended, result.best_epoch, len(result.history)) == ("early", 2, 5)
        assert [epoch.best_epoch for epoch in result.history] == [0, 1, 2, 2, 2]
        assert_same_weights(weights(result.model), seen[2])
        assert not torch.equal(seen[2]["decoder.0.weight"], seen[3]["decoder.0.weight"])

    def test_in_the_start_where_no_epoch_betters_it(
        self,
        tmp_path: Path,
        study: tuple[MeasuredSection, ...],
        start: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        scores = [0.5, 0.3, 0.4, 0.5, 0.2]
        chosen = encoder_settings(
            "frozen", start, epochs=9, patience=3, validation="section", checkpoint_minutes=1e5
        )
        folder = tmp_path / "run"
        seen = validated_in_turn(monkeypatch, scores)
        events = list(train_events(study, chosen, folder=folder, stop=lambda: True))
        assert [e.epoch for e in events if isinstance(e, EpochDone)] == [0]
        result = finished(events)
        assert (result.ended, result.best_epoch) == ("stopped", 0)
        seen += validated_in_turn(monkeypatch, scores[1:])
        events = list(train_events(study, chosen, folder=folder))
        epochs = [e for e in events if isinstance(e, EpochDone)]
        assert [e.epoch for e in epochs] == [0, 1, 2, 3], "what was validated before is told again"
        assert (epochs[0].loss, epochs[0].validation_pcc) == (None, 0.5)
        result = finished(events)
        assert (result.ended, result.best_epoch) == ("early", 0), "as good is not better"
        training = result.model.config.training
        assert (training["best_epoch"], training["epochs"]) == (0, 3)
        assert training["validation_pcc"] == 0.5
        assert_same_weights(weights(result.model), seen[0])
        rows = (folder / "history.csv").read_text(encoding="utf-8").splitlines()
        assert rows[1].startswith("0,9,,,,,"), "no losses before the first step"
        assert len(rows) == 5

    def test_a_network_that_has_learned_nothing_is_no_candidate(
        self, study: tuple[MeasuredSection, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = validated_in_turn(monkeypatch, [0.1, 0.2])
        chosen = settings(epochs=1, validation="section")
        assert chosen.start is None
        result = finished(train_events(study, chosen))
        assert [epoch.epoch for epoch in result.history] == [1]
        assert len(seen) == 1

    def test_stopped_with_the_best_and_ready_to_go_on(
        self,
        tmp_path: Path,
        study: tuple[MeasuredSection, ...],
        start: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        scores = [0.0, 0.1, 0.5, 0.3, 0.2]
        chosen = encoder_settings(
            "frozen", start, epochs=4, validation="section", checkpoint_minutes=1e5
        )
        seen = validated_in_turn(monkeypatch, scores)
        expected = finished(train_events(study, chosen))
        asked = 0

        def stop() -> bool:  # in the third epoch of three steps each
            nonlocal asked
            asked += 1
            return asked == 8

        seen = validated_in_turn(monkeypatch, scores)
        folder = tmp_path / "run"
        result = finished(train_events(study, chosen, folder=folder, stop=stop))
        assert (result.ended, result.best_epoch, len(result.history)) == ("stopped", 2, 3)
        assert result.unfinished_epoch == 0
        assert_same_weights(weights(result.model), seen[2])
        assert_same_weights(weights(load_model_folder(folder / "model")), seen[2])
        seen = validated_in_turn(monkeypatch, scores[3:])
        result = finished(train_events(study, chosen, folder=folder))
        assert (result.ended, result.best_epoch) == ("all epochs", 2)
        assert len(seen) == 2
        assert [epoch.epoch for epoch in result.history] == [0, 1, 2, 3, 4]
        assert_same_weights(weights(result.model), weights(expected.model))

    def test_stopped_in_the_first_epoch_and_ready_to_go_on(
        self, tmp_path: Path, study: tuple[MeasuredSection, ...], start: str
    ) -> None:
        folder = tmp_path / "run"
        chosen = encoder_settings("frozen", start, checkpoint_minutes=1e5)
        result = finished(train_events(study, chosen, folder=folder, stop=lambda: True))
        assert (result.ended, result.best_epoch, result.history) == ("stopped", 0, ())
        assert result.unfinished_epoch == 1
        assert result.model.config.training["epochs"] == 0
        trained_at = result.model.config.trained_at
        assert trained_at is not None
        assert abs((datetime.now(UTC) - trained_at).total_seconds()) < 600
        assert (folder / "last.pt").exists()
        assert finished(train_events(study, chosen, folder=folder)).ended == "all epochs"

    def test_without_validation_a_stop_keeps_the_weights_as_they_are(
        self, study: tuple[MeasuredSection, ...], start: str
    ) -> None:
        asked = iter([False] * 4)  # in the second epoch of three steps or more
        chosen = encoder_settings("frozen", start, epochs=3, validation="none")
        events = train_events(study, chosen, stop=lambda: next(asked, True))
        *_, step, result = events
        assert isinstance(step, StepDone)
        assert isinstance(result, TrainFinished)
        assert (result.ended, result.unfinished_epoch) == ("stopped", step.epoch)
        assert len(result.history) == step.epoch - 1 > 0

    def test_without_validation_the_last_epoch_is_kept(
        self, study: tuple[MeasuredSection, ...], start: str
    ) -> None:
        result = finished(
            train_events(study[:1], encoder_settings("frozen", start, epochs=3, patience=1))
        )
        assert (result.ended, result.best_epoch) == ("all epochs", 3)
        assert result.unfinished_epoch == 0
        assert {epoch.validation_pcc for epoch in result.history} == {None}


class TestWhatIsTrained:
    @pytest.mark.parametrize("averaging", [0.0, 0.5])
    def test_a_frozen_encoder_stays_as_it_is(
        self, study: tuple[MeasuredSection, ...], start: str, averaging: float
    ) -> None:
        chosen = encoder_settings("frozen", start, averaging=averaging, epochs=1)
        self._assert_changed(train(study[:1], chosen), start, ())

    def test_of_the_last_stages_each_weight_and_statistic_changes_and_no_other(
        self, study: tuple[MeasuredSection, ...], start: str
    ) -> None:
        chosen = encoder_settings("last-stages", start, epochs=1)
        self._assert_changed(train(study[:1], chosen), start, ("layer3.", "layer4."))

    @staticmethod
    def _assert_changed(model: Model, start: str, stages: tuple[str, ...]) -> None:
        network, before = model.network, load_model_folder(Path(start)).network
        assert isinstance(network, NH2ST)
        assert isinstance(before, NH2ST)
        old = before.image_encoder.state_dict()
        for name, tensor in network.image_encoder.state_dict().items():
            assert torch.equal(tensor, old[name]) != name.startswith(stages or "none"), name
        assert not torch.equal(network.query_head.weight, before.query_head.weight)

    @pytest.mark.parametrize("encoder", ["frozen", "last-stages"])
    def test_kept_maps_are_those_of_a_prediction(
        self, study: tuple[MeasuredSection, ...], encoder: TrainedEncoder
    ) -> None:
        inputs, part = inputs_of(study[0], small_model(), encoder, training=True)
        before = small_model().network.state_dict()
        rows = np.array([7, 2, 20])
        part.eval()
        with torch.inference_mode():
            got = part.maps(inputs.plain(rows))
            tiles = normalize_tiles(inputs.study.tiles(rows))
            expected = small_model().network.encode(tiles)
        assert_same_weights(dict(part.network.state_dict()), dict(before))
        torch.testing.assert_close(got, expected, rtol=0.01, atol=0.01 * float(expected.max()))

    def test_sections_set_aside_are_never_trained_on(
        self,
        study: tuple[MeasuredSection, ...],
        start: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        trained: list[str] = []
        augmented = StudyInputs.augmented

        def watched(self: StudyInputs, batch: Any, generator: torch.Generator) -> Tensor:
            sections = self.study.section_of(batch.rows).tolist()
            trained.extend(self.study.sections[number].name for number in sections)
            return augmented(self, batch, generator)

        monkeypatch.setattr(StudyInputs, "augmented", watched)
        chosen = encoder_settings(
            "frozen", start, epochs=3, validation="auto", validation_sections=("S2",)
        )
        events = list(train_events(study, chosen))
        started = next(event for event in events if isinstance(event, TrainStarted))
        assert (started.training, started.validation) == (("S1", "V"), ("S2",))
        assert {name: trained.count(name) for name in set(trained)} == {"S1": 90, "V": 90}
        config = events[-1].model.config  # type: ignore[union-attr]
        assert config.training["validation"] == ["S2"]


def inputs_of(
    measured: MeasuredSection, model: Model, encoder: TrainedEncoder, *, training: bool = False
) -> tuple[StudyInputs, TrainedPart]:
    """A section with all that is kept of it, as a training has it."""
    tiles = section_tiles(measured, PANEL, tile_px=32, mpp=1.0)
    assert isinstance(model.network, NH2ST)
    network = NH2ST(model.network.hyperparameters)
    network.load_state_dict(model.network.state_dict())
    part = TrainedPart(network.train(training), first_trained_stage(network.image_encoder, encoder))
    inputs = StudyInputs(
        StudyTiles([tiles]), part, PLAIN, looks=1, seed=0, device=torch.device("cpu")
    )
    for _ in inputs.keep():
        pass
    return inputs, part


class TestNumbers:
    @pytest.mark.parametrize("context", CONTEXTS)
    def test_a_validation_predicts_what_an_evaluation_does(
        self, study: tuple[MeasuredSection, ...], context: str
    ) -> None:
        model = small_model(context)
        inputs, part = inputs_of(study[0], model, "whole")
        got = predict_section(part, inputs, 0)
        tiles = inputs.study.sections[0]
        expected = result_of(
            predict_spots(model, study[0], tiles, device="cpu", precision="float32")
        )
        np.testing.assert_allclose(got, expected.X, rtol=1e-4, atol=1e-4 * np.abs(got).max())
        assert got.std(0).min() > 1e-3

    @pytest.mark.parametrize("averaging", [0.0, 0.9])
    def test_scores_are_those_of_the_model_that_comes_out(
        self, study: tuple[MeasuredSection, ...], averaging: float
    ) -> None:
        chosen = settings(
            epochs=1,
            context="neighborhood",
            validation_sections=("V",),
            validation="auto",
            averaging=averaging,
        )
        result = finished(train_events(study[1:], chosen))
        model = result.model
        tiles = section_tiles(study[2], model.config.panel, tile_px=32, mpp=1.0)
        predicted = result_of(
            predict_spots(model, study[2], tiles, device="cpu", precision="float32")
        ).X
        pcc = [np.corrcoef(p, t)[0, 1] for p, t in zip(predicted.T, tiles.target.T, strict=True)]
        (epoch,) = result.history
        assert epoch.validation_pcc == pytest.approx(np.mean(pcc), abs=1e-3)
        mse = np.mean((predicted - tiles.target) ** 2)
        assert epoch.validation_mse == pytest.approx(mse, rel=1e-3)
        mean = section_tiles(study[1], model.config.panel, tile_px=32, mpp=1.0).target.mean(0)
        assert epoch.baseline_mse == pytest.approx(np.mean((mean - tiles.target) ** 2), rel=1e-4)

    def test_losses_are_the_published_objective(self, study: tuple[MeasuredSection, ...]) -> None:
        """All spots of a section in one patch: the neighborhoods of the batch are the section's."""
        chosen = settings(
            epochs=1,
            batch_size=30,
            patch_spots=30,
            context="neighborhood",
            dropout=0.0,
            augmentation=PLAIN,
            query_weight=0.7,
            neighbor_weight=0.4,
            mse_weight=3.0,
            temperature=0.2,
            off_diagonal=0.3,
        )
        (epoch,) = finished(train_events(study[:1], chosen)).history

        tiles = section_tiles(study[0], self._panel(study), tile_px=32, mpp=1.0)
        network = starting_network(self._panel(study), tiles.target.mean(0), chosen, None)
        with torch.no_grad():
            outputs = network.train()(
                normalize_tiles(torch.from_numpy(tiles.tiles)),
                torch.from_numpy(tiles.target),
                torch.from_numpy(tiles.neighborhoods),
                torch.from_numpy(tiles.mask),
            )
        query, neighbor = (
            self._contrastive(image.double().numpy(), expression.double().numpy())
            for image, expression in (
                outputs.pairs["query"],
                outputs.pairs["neighbor"],
            )
        )
        mse = np.mean((outputs.prediction.numpy() - tiles.target) ** 2)
        terms = {"query_contrastive": query, "neighbor_contrastive": neighbor, "mse": mse}
        assert epoch.losses == pytest.approx(terms, rel=1e-3)
        assert epoch.loss == pytest.approx(0.7 * query + 0.4 * neighbor + 3 * mse, rel=1e-3)

    @staticmethod
    def _panel(study: tuple[MeasuredSection, ...]) -> tuple[str, ...]:
        """Genes by their mean count."""
        mean = np.asarray(study[0].spots.X.mean(0)).ravel()
        return tuple(study[0].spots.var_names[np.argsort(-mean, kind="stable")])

    @staticmethod
    def _contrastive(image: np.ndarray, expression: np.ndarray) -> float:
        """Temperature 0.2, logits of other pairs by 0.3; pair by pair."""
        losses = []
        for i, one in enumerate(image):
            logits = []
            for j, other in enumerate(expression):
                cosine = one @ other / np.sqrt((one @ one) * (other @ other))
                logits.append(cosine / 0.2 * (1 if i == j else 0.3))
            losses.append(np.log(np.sum(np.exp(logits))) - logits[i])
        return float(np.mean(losses))

    def test_bfloat16_keeps_weights_in_float32_and_comes_near(
        self, study: tuple[MeasuredSection, ...], start: str
    ) -> None:
        losses = {}
        for precision in ("float32", "bfloat16"):
            result = finished(
                train_events(
                    study[:1], encoder_settings("frozen", start, precision=precision, epochs=1)
                )
            )
            assert {t.dtype for t in result.model.network.parameters()} == {torch.float32}
            losses[precision] = result.history[0].loss
        assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.03)
        assert losses["bfloat16"] != losses["float32"]

    def test_the_callers_random_state_is_left_alone(
        self, study: tuple[MeasuredSection, ...]
    ) -> None:
        torch.manual_seed(3)
        np.random.seed(3)  # noqa: NPY002
        random.seed(3)
        before = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
        train(study[:1], settings(epochs=1, batch_size=30, dropout=0.3))
        assert torch.equal(torch.get_rng_state(), before[0])
        np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
        assert random.getstate() == before[2]


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("tile_px", 100),
            ("tile_px", 0),
            ("mpp", float("nan")),
            ("learning_rate", 0.0),
            ("learning_rate", float("inf")),
            ("epochs", 0),
            ("batch_size", 1),
            ("dropout", 1.0),
            ("averaging", 1.0),
            ("temperature", 0.0),
            ("off_diagonal", -0.1),
            ("seed", -1),
            ("devices", 0),
            ("context", "neighbors"),
            ("encoder", "head"),
            ("validation", "spot"),
            ("precision", "float64"),
        ],
    )
    def test_settings_out_of_their_range(self, name: str, value: Any) -> None:
        with pytest.raises(InputError, match=f"^{name} is "):
            TrainSettings(**{name: value})

    @pytest.mark.parametrize(("name", "value"), [("epochs", 2.5), ("batch_size", 8.5)])
    def test_settings_that_count_are_whole(self, name: str, value: Any) -> None:
        with pytest.raises(InputError, match=f"^{name} is "):
            TrainSettings(**{name: value})

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"query_weight": 0, "neighbor_weight": 0, "mse_weight": 0}, "all losses have wei"),
            ({"validation": "none", "validation_sections": ("S1",)}, "validation is none, but"),
            ({"encoder": "frozen"}, "its weights would be random"),
        ],
    )
    def test_settings_that_contradict_each_other(
        self, changed: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InputError, match=message):
            settings(**changed)

    def test_no_section_and_no_device_before_anything_is_read(
        self, study: tuple[MeasuredSection, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def unread(*_: Any, **__: Any) -> None:
            raise AssertionError("tiles are read")

        monkeypatch.setattr(prepare, "section_tiles", unread)
        with pytest.raises(InputError, match="no section to train on"):
            train([], settings())
        with pytest.raises(InputError, match="device 'tpu' does not exist"):
            train(study, settings(device="tpu"))
        with pytest.raises(InputError, match="float16 on a CPU"):
            train(study, settings(precision="float16"))
        with pytest.raises(InputError, match="no section 'X'"):
            train(study, settings(validation_sections=("X",), validation="auto"))


_ON_TWO = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent)]
from test_loop import drawn_section, encoder_settings
from napari_nh2st.evaluation import training_run_events
from napari_nh2st.training.events import TrainFinished
from napari_nh2st.training.loop import train, train_events

folder, start = Path(sys.argv[2]), sys.argv[3]
study = [drawn_section(folder, name, name, seed) for seed, name in enumerate(("S1", "S2"))]
settings = encoder_settings("frozen", start, devices=2)
on_event = lambda event: print(type(event).__name__, flush=True)
{call}
"""


def on_two(call: str, folder: Path, start: str) -> list[str]:
    """Run a call in two processes; gives the names of its events."""
    for seed, name in enumerate(("S1", "S2")):
        drawn_section(folder, name, name, seed)
    script = folder / "script.py"
    script.write_text(_ON_TWO.replace("{call}", call), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, script, Path(__file__).parent, folder, start],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    "call",
    [
        "for event in train_events(study, settings, folder=folder / 'run'): on_event(event)",
        "train(study, settings, folder=folder / 'run', on_event=on_event)",
    ],
)
def test_two_processes_train_one_model(tmp_path: Path, start: str, call: str) -> None:
    events = on_two(call, tmp_path, start)
    assert events.count("TrainFinished") == events.count("TrainStarted") == 1
    assert events.count("EpochDone") == 2
    # 60 spots make 6 patches, of which each process takes 3.
    assert events.count("StepDone") == 2 * 1
    model = load_model_folder(tmp_path / "run" / "model")
    assert model.config.training["epochs"] == 2
    before = load_model_folder(Path(start)).network.state_dict()
    assert not torch.equal(
        model.network.state_dict()["query_head.weight"], before["query_head.weight"]
    )


def test_on_two_processes_the_start_is_scored_when_none_waits_for_the_other(
    tmp_path: Path, start: str
) -> None:
    call = (
        "held_out = [drawn_section(folder, 'S3', 'S3', 2)]\n"
        "run = training_run_events(study, held_out, settings, folder=folder / 'run')\n"
        "for event in run: on_event(event)"
    )
    drawn_section(tmp_path, "S3", "S3", 2)
    events = on_two(call, tmp_path, start)
    at_end = events[events.index("TrainFinished") :]
    assert at_end.count("HeldOut") == events.count("HeldOut") == 2
    assert at_end.count("Scoring") == events.count("Scoring") > 0
    config = load_model_folder(tmp_path / "run" / "model").config
    assert set(config.reliability or {}) == set(PANEL)
    assert (tmp_path / "run" / "test-before" / "genes.csv").is_file()


def test_a_stop_reads_no_slide_again(tmp_path: Path) -> None:
    section = drawn_section(tmp_path, "S", "A", 0)
    stopped: list[bool] = []
    for event in train_events([section], settings(), folder=tmp_path / "run", stop=stopped.pop):
        if isinstance(event, StepDone):
            section.section.slide.unlink(missing_ok=True)
            stopped.append(True)
    assert isinstance(event, TrainFinished)
    assert event.ended == "stopped"
    assert event.model.config.training["stain"]
