"""``nh2st train``, ``evaluate`` and ``crossval``: what reaches the core, what the user is told."""

import csv
import io
import json
import math
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from tqdm import tqdm

from command_results import Nh2st, Result
from napari_nh2st.cli import crossval as crossval_command
from napari_nh2st.cli import main, training_progress
from napari_nh2st.cli import study as study_command
from napari_nh2st.cli import train as train_command
from napari_nh2st.cli.arguments import parser
from napari_nh2st.cli.stopping import StopRequest
from napari_nh2st.cli.training_arguments import train_settings
from napari_nh2st.cli.training_progress import TrainingReport
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation import evaluation_folder, training_run
from napari_nh2st.evaluation.settings import CrossValidateSettings
from napari_nh2st.model import read_config
from napari_nh2st.model.card import model_card
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.spots import PanelSettings
from napari_nh2st.training import (
    AugmentationSettings,
    EpochDone,
    Preparing,
    StepDone,
    TrainSettings,
    TrainStarted,
)
from napari_nh2st.training.known_models import known_models, unfinished_runs
from napari_nh2st.training.record import read_record
from section_tables import write_section, write_table
from small_configs import PANEL, small_config
from small_models import small_model

SMALL = ("--tile-px", 32, "--mpp", 6.25, "--dim", 16, "--heads", 2, "--device", "cpu")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of three sections, each of its own donor."""
    folder = tmp_path_factory.mktemp("study")
    return write_table(folder / "sections.csv", [write_section(folder, k) for k in range(3)])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model_folder(small_model(mpp=6.25, pitch_um=200.0), folder)
    return folder


@pytest.fixture(scope="module")
def knowing_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """It was trained on S0."""
    folder = tmp_path_factory.mktemp("models") / "knowing"
    trained_on = {"trained": True, "summary": "Made for a test.", "sections": ["S0"]}
    save_model_folder(small_model(mpp=6.25, training=trained_on), folder)
    return folder


@pytest.fixture(scope="module", autouse=True)
def no_drawing() -> Iterator[None]:
    """Figures have tests of their own, and take most of an evaluation's time."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("save_maps", "save_gene_pcc", "save_density_figure"):
            patch.setattr(evaluation_folder, name, lambda *others: others[-1].touch())
        yield


class Arrived(InputError):
    """Ends a command where the core would begin."""


@pytest.fixture
def arriving(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a command hands to the core; nothing is trained."""
    arrived: dict[str, Any] = {}

    def training_run(sections: Any, held_out: Any, settings: TrainSettings, **others: Any) -> Any:
        arrived.update(held_out=[s.name for s in held_out])
        return arrive(sections, settings, **others)

    def cross_validate(sections: Any, settings: TrainSettings, plan: Any, **others: Any) -> Any:
        return arrive(sections, settings, plan=plan, **others)

    def arrive(sections: Any, settings: TrainSettings, **others: Any) -> Any:
        arrived.update(sections=[s.name for s in sections], settings=settings, **others)
        raise Arrived("enough")

    monkeypatch.setattr(train_command, "training_run_events", training_run)
    monkeypatch.setattr(crossval_command, "cross_validate_events", cross_validate)
    return arrived


def is_a_short_message(text: str) -> bool:
    return 0 < len(text.strip().splitlines()) <= 6 and "Traceback" not in text


def test_the_first_help_does_without_what_takes_long_to_load() -> None:
    code = (
        "import sys; from napari_nh2st.cli.arguments import parser; text = parser().format_help();"
        "assert 'crossval' in text; assert not {'torch', 'jsonschema'} & set(sys.modules);"
        "print('quick')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "quick", done.stderr


@pytest.mark.parametrize("command", ["train", "crossval", "evaluate", "predict", "domains"])
def test_the_help_of_a_command_needs_no_torch(command: str) -> None:
    code = (
        "import sys; from napari_nh2st.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'sklearn', 'napari'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--seed" in done.stdout or "--device" in done.stdout


def test_every_setting_has_an_option(nh2st: Nh2st) -> None:
    text = nh2st("train", "--help").out
    for field in fields(TrainSettings):
        if field.name not in ("panel", "augmentation"):
            assert f"--{field.name.replace('_', '-')}" in text.split()
    for flag in ("--panel", "--n-genes", "--genes-file", "--no-flips", "--stain-jitter"):
        assert flag in text
    assert f"(default: {TrainSettings().patience})" in " ".join(text.split())


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", TrainSettings()),
        (
            "--epochs 7 --patience 3 --batch-size 32 --learning-rate 1e-4 --seed 5",
            TrainSettings(epochs=7, patience=3, batch_size=32, learning_rate=1e-4, seed=5),
        ),
        (
            "--validation section --device cpu --devices 2 --precision float32",
            TrainSettings(validation="section", device="cpu", devices=2, precision="float32"),
        ),
        ("--validation-sections S1,S2", TrainSettings(validation_sections=("S1", "S2"))),
        ("--panel spatial", TrainSettings(panel=PanelSettings("spatial"))),
        ("--smoothing spcs", TrainSettings(smoothing="spcs")),
        (
            "--guides boundary --distillation 0.5",
            TrainSettings(guides="boundary", distillation=0.5),
        ),
        (
            "--n-genes 3 --leave-out-ribosomal --leave-out-mitochondrial",
            TrainSettings(
                panel=PanelSettings(
                    n_genes=3, leave_out_ribosomal=True, leave_out_mitochondrial=True
                )
            ),
        ),
        (
            "--context neighborhood --tile-px 64 --mpp 0.25 --dim 32 --depth 2 --heads 4 "
            "--mlp-ratio 2 --hidden 7 --hypergraph-hidden 9 --neighbors 6 --hyperedge-others 2 "
            "--dropout 0.1",
            TrainSettings(
                context="neighborhood",
                tile_px=64,
                mpp=0.25,
                dim=32,
                depth=2,
                heads=4,
                mlp_ratio=2.0,
                hidden=7,
                hypergraph_hidden=9,
                neighbors=6,
                hyperedge_others=2,
                dropout=0.1,
            ),
        ),
        (
            "--query-weight 0 --neighbor-weight 2 --mse-weight 3 --temperature 0.1 "
            "--off-diagonal 1 --patch-spots 4 --weight-decay 0.01 --warm-up 0 --gradient-clip 0 "
            "--averaging 0.9 --checkpoint-minutes 1",
            TrainSettings(
                query_weight=0,
                neighbor_weight=2,
                mse_weight=3,
                temperature=0.1,
                off_diagonal=1,
                patch_spots=4,
                weight_decay=0.01,
                warm_up=0,
                gradient_clip=0,
                averaging=0.9,
                checkpoint_minutes=1,
            ),
        ),
        (
            "--no-flips --stain-jitter 0",
            TrainSettings(augmentation=AugmentationSettings(flips=False, stain_jitter=0)),
        ),
    ],
)
def test_what_is_given_arrives_and_nothing_else_is_changed(
    nh2st: Nh2st, arriving: dict[str, Any], study: Path, flags: str, expected: TrainSettings
) -> None:
    nh2st("train", "--sections", study, "-o", study.parent / "never", *flags.split())
    assert arriving["settings"] == expected
    assert arriving["sections"] == ["S0", "S1", "S2"]


def test_start_genes_name_and_test_sections_arrive(
    nh2st: Nh2st, arriving: dict[str, Any], study: Path, model: Path, tmp_path: Path
) -> None:
    genes = tmp_path / "genes.txt"
    genes.write_text("VIM\nCD74\n", encoding="utf-8")
    nh2st(
        *("train", "--sections", study, "-o", tmp_path / "run", "--name", "mine"),
        *("--start", model, "--encoder", "frozen", "--frozen-looks", 4),
        *("--genes-file", genes, "--test-sections", "S2, S0", "--validation", "none"),
    )
    assert (arriving["sections"], arriving["held_out"]) == (["S1"], ["S0", "S2"])
    assert (arriving["name"], arriving["folder"]) == ("mine", tmp_path / "run")
    assert arriving["settings"] == TrainSettings(
        start=str(model),
        encoder="frozen",
        frozen_looks=4,
        validation="none",
        panel=PanelSettings("given", genes=("VIM", "CD74")),
    )


def test_what_a_cross_validation_is_told_arrives(
    nh2st: Nh2st, arriving: dict[str, Any], study: Path, tmp_path: Path
) -> None:
    nh2st(
        *("crossval", "--sections", study, "-o", tmp_path / "cv", "--leave", "section"),
        *("--contexts", "average,query", "--no-final", "--epochs", 2, "--intervals", "spread"),
    )
    assert arriving["settings"] == TrainSettings(epochs=2)
    assert arriving["folder"] == tmp_path / "cv"
    assert arriving["plan"] == CrossValidateSettings(
        "section", ("average", "query"), final=False, intervals="spread"
    )


def test_architectures_are_compared_on_the_same_folds(
    nh2st: Nh2st, study: Path, model: Path, tmp_path: Path
) -> None:
    command = (
        *("crossval", "--sections", study, "-o", tmp_path / "out", "--start", model),
        *("--compare", "sepal,linear", "--leave", "section", "--epochs", 1, "--device", "cpu"),
    )
    result = nh2st(*command)
    assert result.code == 0, result.err
    assert "sepal: Training without section S0" in result.err
    assert "over 3 folds, and wide because they are few" in result.err
    table, folds = (part.splitlines() for part in result.out.split("\n\n"))
    assert "minus linear (95 % interval)" in table[0]
    assert [row.split()[0] for row in table[1:]] == ["sepal", "linear"]
    assert [row.split()[0] for row in folds[1:]] == ["S0", "S1", "S2"]
    again = nh2st(*command, "--json")
    told = json.loads(again.out)
    assert "Training" not in again.err
    sepal, linear = told["architectures"]
    difference = np.mean([fold["difference"] for fold in sepal["folds"]])
    assert f"{difference:+.3f} (" in table[1]
    assert sepal["difference"] == pytest.approx(difference)
    assert (linear["architecture"], linear["difference"]) == (told["reference"], None)
    assert (tmp_path / "out" / "comparison.png").is_file()
    chosen = nh2st(
        *("crossval", "--sections", study, "-o", tmp_path / "out" / "sepal", "--start", model),
        *("--architecture", "sepal", "--leave", "section", "--epochs", 1, "--device", "cpu"),
    )
    assert chosen.code == 0, chosen.err
    assert re.findall("Training .*", chosen.err) == ["Training on all sections"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            "--architecture linear --guides boundary --epochs 3 --encoder frozen",
            "--epochs, --guides: no effect on a training of architecture linear.",
        ),
        ("--architecture sepal --epochs 3 --neighbors 6 --adapter-rank 0", ""),
        ("--dim 64 --hidden 8 --query-weight 2", ""),
    ],
)
def test_options_that_change_nothing_are_said(
    nh2st: Nh2st, arriving: dict[str, Any], study: Path, model: Path, flags: str, said: str
) -> None:
    start = ("--start", model) if "architecture" in flags else ()
    command = ("train", "--sections", study, "-o", study.parent / "never", *start)
    lines = nh2st(*command, *flags.split()).err.splitlines()
    expected = [f"Notice: {said}"] if said else []
    assert [line for line in lines if "no effect" in line] == expected


def test_what_one_of_the_compared_architectures_uses_has_an_effect(model: Path) -> None:
    given = ["--start", str(model), "--epochs", "3", "--guides", "none"]
    args = parser().parse_args(["train", "--sections", "s.csv", "-o", "never", *given])
    settings = train_settings(args)
    assert study_command.unused_notices(args, settings, ["linear", "triplex"]) == []
    assert study_command.unused_notices(args, settings, ["linear", "sepal"]) == [
        "--guides: no effect on a training of these architectures."
    ]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--contexts", "query"), "--contexts cannot be used with --compare: write the context"),
        (("--no-final",), "--no-final cannot be used"),
        (("--start", "{model}", "--architecture", "sepal"), "--architecture cannot be used"),
        ((), "linear cannot be compared with these settings: encoder is frozen"),
        (("--start", "{model}", "--encoder", "whole"), "linear cannot be compared"),
    ],
)
def test_a_comparison_that_cannot_run_is_refused(
    nh2st: Nh2st, study: Path, model: Path, tmp_path: Path, flags: tuple[str, ...], said: str
) -> None:
    given = [flag.format(model=model) for flag in flags]
    output = tmp_path / "out"
    result = nh2st(
        *("crossval", "--sections", study, "-o", output, "--compare", "linear,sepal"), *given
    )
    assert result.code == 2
    assert said in result.err
    assert is_a_short_message(result.err)
    assert not output.exists()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"expression": "gone.h5ad"}, ("row 3", "column expression", "gone.h5ad")),
        ({"slide": ""}, ("row 3", "column slide", "empty")),
        ({"mpp": "wide"}, ("row 3", "column mpp", "'wide'")),
    ],
)
def test_a_wrong_cell_is_named_by_row_and_column(
    nh2st: Nh2st, study: Path, changed: dict[str, str], said: tuple[str, ...]
) -> None:
    rows = [write_section(study.parent, k) for k in range(2)]
    table = write_table(study.parent / "wrong.csv", [rows[0], rows[1] | changed])
    for command in ("train", "crossval"):
        result = nh2st(command, "--sections", table, "-o", study.parent / "never")
        assert result.code == 2
        assert is_a_short_message(result.err)
        assert all(part in result.err for part in said)
    assert not (study.parent / "never").exists()


def test_a_wrong_column_is_named(nh2st: Nh2st, study: Path) -> None:
    table = study.parent / "column.csv"
    table.write_text(
        study.read_text(encoding="utf-8").replace("donor_id", "donor"), encoding="utf-8"
    )
    result = nh2st("train", "--sections", table, "-o", study.parent / "never")
    assert result.code == 2
    assert "no column 'donor'; did you mean donor_id?" in result.err


@pytest.mark.parametrize(
    ("command", "flags", "said"),
    [
        ("train", ["--validation", "donor"], "all 2 sections are of one donor (X)"),
        ("crossval", [], "there is one (X); leave out sections instead (--leave section)"),
    ],
)
def test_one_donor_cannot_be_split_by_donor(
    nh2st: Nh2st, study: Path, command: str, flags: list[str], said: str
) -> None:
    rows = [write_section(study.parent, k) | {"donor_id": "X"} for k in range(2)]
    table = write_table(study.parent / "donor.csv", rows)
    result = nh2st(command, "--sections", table, "-o", study.parent / "never", *flags)
    assert result.code == 2
    assert said in result.err


@pytest.mark.parametrize(
    ("section", "flags", "said"),
    [
        ({"rows": 2}, [], ("S8", "14 spots", "20")),
        ({"genes": ("OTHER", "GENES")}, [], ("No gene is in all sections", "S8")),
        ({"bad": float("nan")}, [], ("S8", "NaN")),
        ({"bad": 0.5}, [], ("S8", "normalized")),
        ({}, ["--genes-file", "genes.txt"], ("The panel is empty", "NOWHERE")),
    ],
    ids=["few spots", "no shared genes", "NaN", "normalized", "empty panel"],
)
def test_sections_that_cannot_be_trained_on_are_refused(
    nh2st: Nh2st,
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    section: dict[str, Any],
    flags: list[str],
    said: tuple[str, ...],
) -> None:
    for name in ("slide0.tif", "counts0.h5ad"):
        shutil.copy(study.parent / name, tmp_path)
    first = write_section(tmp_path, 0)
    table = write_table(tmp_path / "s.csv", [first, write_section(tmp_path, 8, **section)])
    (tmp_path / "genes.txt").write_text("NOWHERE\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    result = nh2st(
        "train", "--sections", table, "-o", "run", *SMALL, "--validation", "none", *flags
    )
    assert result.code == 2
    assert is_a_short_message(result.err)
    assert all(part in result.err for part in said), result.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--test-sections", "S7"], "there is no 'S7'; there are S0, S1, S2"),
        (["--test-sections", "S0,S1,S2"], "names all sections"),
        (["--validation-sections", "S7"], "there is no section 'S7'"),
        (["--encoder", "frozen"], "weights would be random"),
        (["--encoder-weights", "gone.pt"], "there is no file gone.pt"),
        (["--start", "no-such-model"], "There is no model no-such-model"),
        (["--start", "M", "--n-genes", "5"], "--n-genes with --start"),
        (["--genes-file", "G", "--n-genes", "5"], "--n-genes cannot be used"),
        (["--tile-px", "40"], "multiple of 32"),
        (["--device", "abacus"], "'abacus' does not exist"),
        (["--learning-rate", "nan"], "learning_rate is nan"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_read(
    nh2st: Nh2st,
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[str],
    said: str,
) -> None:
    monkeypatch.setattr(study_command, "load_study", None)
    result = nh2st("train", "--sections", study, "-o", tmp_path / "run", *flags)
    assert result.code == 2
    assert said in result.err


@pytest.mark.parametrize("command", [("train", "--test-sections", "S1,S0"), ("crossval",)])
def test_what_the_start_model_has_seen_is_not_held_out(
    nh2st: Nh2st, study: Path, knowing_model: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    place = "--sections", study, "-o", tmp_path / "run"
    result = nh2st(*command, *place, "--start", knowing_model)
    assert result.code == 2
    assert "was trained on S0 (sections with that name)" in result.err


def test_an_output_that_is_a_file_is_refused(nh2st: Nh2st, study: Path, tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    for output in (tmp_path / "run", tmp_path / "run" / "below"):
        result = nh2st("train", "--sections", study, "-o", output)
        assert result.code == 2
        assert is_a_short_message(result.err)


def test_a_fine_tune_is_tested_and_says_how_far_to_trust_it(
    nh2st: Nh2st, study: Path, model: Path, tmp_path: Path
) -> None:
    command = (
        *("train", "--sections", study, "-o", tmp_path / "run", "--start", model),
        *("--encoder", "frozen", "--epochs", 1, "--test-sections", "S2", "--device", "cpu"),
    )
    result = nh2st(*command, "--json")
    assert result.code == 0, result.err
    told = json.loads(result.out)
    assert set(told["test"]) == {"before", "after"}
    scores = pd.read_csv(tmp_path / "run" / "test" / "genes.csv").set_index("gene")["pcc"]
    config = read_config(tmp_path / "run" / "model")
    assert config.reliability == {
        gene: pytest.approx(pcc, abs=1e-4) for gene, pcc in scores.items()
    }
    assert told["test"]["after"]["mean_pcc"] == pytest.approx(scores.mean())
    assert config.training["sections"] == ["S0", "S1"]
    before = json.loads(
        (tmp_path / "run" / "test-before" / "summary.json").read_text(encoding="utf-8")
    )
    assert before["summary"] == told["test"]["before"]
    assert before["model"]["name"] == "small"

    again = nh2st(*command)
    assert again.code == 2
    assert "already holds a trained model; give another folder" in again.err

    # Killed after the training and before the end of the test: only the test is done again.
    shutil.rmtree(tmp_path / "run" / "test")
    again = nh2st(*command)
    assert again.code == 0
    assert "it has not been tested yet" in again.err
    assert "mean PCC, all genes" in again.out
    assert (tmp_path / "run" / "test" / "genes.csv").is_file()


def stop_after(monkeypatch: pytest.MonkeyPatch, epoch: int, *signals: signal.Signals) -> None:
    """Send signals to ourselves when an epoch is shown."""
    show = TrainingReport.__call__

    def shown(report: TrainingReport, event: Any) -> None:
        show(report, event)
        if isinstance(event, EpochDone) and event.epoch == epoch:
            for number in signals:
                signal.raise_signal(number)

    monkeypatch.setattr(TrainingReport, "__call__", shown)


def test_what_a_run_stopped_within_an_epoch_keeps_is_told_as_it_is(
    nh2st: Nh2st, pair: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StopRequest, "__call__", lambda _: True)
    result = nh2st(
        *("train", "--sections", pair, "-o", tmp_path / "run", "--start", model),
        *("--encoder", "frozen", "--epochs", 2, "--validation", "none", "--batch-size", 4),
        *("--device", "cpu"),
    )
    assert result.code == 1
    assert "genes, weights as they were in epoch 1\n" in result.out
    assert "The weights of epoch 1 so far are in " in result.err


def test_a_stopped_fine_tune_names_no_test_that_is_not_there(
    nh2st: Nh2st, study: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(monkeypatch, 0, signal.SIGINT)
    result = nh2st(
        *("train", "--sections", study, "-o", tmp_path / "run", "--start", model),
        *("--encoder", "frozen", "--epochs", 3, "--test-sections", "S2", "--device", "cpu"),
    )
    assert result.code == 1
    assert "the same command continues from there" in result.err
    assert "before" in result.out
    assert not (tmp_path / "run" / "test").exists()
    assert "scores, figures and predictions" not in result.out


def test_a_stopped_run_keeps_the_best_and_goes_on(
    nh2st: Nh2st, study: Path, model: Path, tmp_path: Path
) -> None:
    command = (
        *("train", "--sections", study, "-o", tmp_path / "run", "--start", model),
        *("--encoder", "frozen", "--epochs", 3, "--device", "cpu"),
    )
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    for epoch, number in ((1, signal.SIGINT), (2, signal.SIGTERM)):
        with pytest.MonkeyPatch.context() as patch:
            stop_after(patch, epoch, number)
            stopped = nh2st(*command)
        assert stopped.code == 1
        assert "the same command continues from there" in stopped.err
        assert read_config(tmp_path / "run" / "model").training["epochs"] == epoch
    assert "Continuing after epoch 1 of 3" in stopped.err
    assert unfinished_runs() == [tmp_path / "run"], "the Train dock offers it"
    assert read_record(tmp_path / "run").resumes(tmp_path / "run")
    assert known_models()[-1] == str(tmp_path / "run" / "model")
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers

    other = nh2st(*command, "--learning-rate", "0.1")
    assert other.code == 2
    assert "holds a stopped run with other sections or settings" in other.err

    resumed = nh2st(*command)
    assert resumed.code == 0
    assert "Continuing after epoch 2 of 3" in resumed.err
    shown = [line.split(":")[0] for line in resumed.err.splitlines() if line.startswith("epoch")]
    assert shown == ["epoch 3/3"]
    assert read_config(tmp_path / "run" / "model").training["epochs"] == 3
    assert unfinished_runs() == []


def test_a_start_model_is_recorded_by_its_whole_path(
    nh2st: Nh2st, pair: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(model.parent)
    monkeypatch.setattr(StopRequest, "__call__", lambda _: True)
    nh2st(
        *("train", "--sections", pair, "-o", tmp_path / "run", "--start", model.name),
        *("--encoder", "frozen", "--epochs", 2, "--validation", "none", "--device", "cpu"),
    )
    assert read_record(tmp_path / "run").settings.start == str(model)


def test_a_second_signal_stops_at_once(
    nh2st: Nh2st, study: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(monkeypatch, 1, signal.SIGINT, signal.SIGINT)
    result = nh2st(
        *("train", "--sections", study, "-o", tmp_path / "run", "--start", model),
        *("--encoder", "frozen", "--epochs", 3, "--device", "cpu"),
    )
    assert result.code == 1
    assert "Stopped. Files written so far are in" in result.err
    assert not (tmp_path / "run" / "model").exists()


def test_a_terminal_gets_a_bar_and_a_line_for_each_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(training_progress, "tqdm", partial(tqdm, mininterval=0))
    stop = StopRequest()
    report = TrainingReport(quiet=False, silent=False, stop=stop)
    started = TrainStarted(
        ("S0",), ("S1",), PANEL, 42, 1000, "cpu", "float32", 0, 2, ("Mind the gap.",) * 2
    )
    report(Preparing("reading tiles", 0, 84))
    assert not stop.graceful
    report(started)
    assert stop.graceful
    report(EpochDone(0, 2, None, {}, 1e-4, 0.2, 0.05, 0.04, 0, math.nan))
    report(StepDone(1, 2, 4, 0.5, 10.0, 7200.0))
    report(
        EpochDone(
            1, 2, 0.4, {"query_contrastive": 0.1, "mse": 0.2}, 1e-4, 0.25, 0.03, 0.04, 1, 100.0
        )
    )
    report.close()
    text = terminal.getvalue()
    assert text.count("Notice: Mind the gap.") == 1
    assert "2/4" in text
    assert "loss 0.500, 10 spots/s, 2 h 00 min left" in text
    assert (
        "epoch 0/2, before the first step; validation PCC 0.200, MSE 0.0500 (mean: 0.0400), "
        "best 0\n"
    ) in text
    told = (
        "epoch 1/2: loss 0.4000, MSE 0.2000; validation PCC 0.250, MSE 0.0300 (mean: 0.0400), "
        "best 1; 1 min 40 s left"
    )
    assert told in text


def test_a_process_that_helps_another_ends_quietly(
    nh2st: Nh2st, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_events(*others: Any, **more: Any) -> Any:
        yield Preparing("reading tiles", 0, 10)

    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(training_run, "train_events", train_events)
    result = nh2st("train", "--sections", study, "-o", tmp_path / "run", "--test-sections", "S2")
    assert result == Result(0, "", "")
    assert not (tmp_path / "run").exists()


def test_an_evaluation_is_printed_and_written(
    nh2st: Nh2st, study: Path, knowing_model: Path, tmp_path: Path
) -> None:
    command = ("evaluate", "--model", knowing_model, "--sections", study, "--bootstrap", 20)
    result = nh2st(*command, "-o", tmp_path / "scores")
    assert result.code == 0, result.err
    summary = json.loads((tmp_path / "scores" / "summary.json").read_text(encoding="utf-8"))[
        "summary"
    ]
    lines = result.out.splitlines()
    assert lines[0].startswith("mean PCC over all 5 genes")
    low, high = summary["mean_pcc_low"], summary["mean_pcc_high"]
    assert f"{summary['mean_pcc']:.3f} ({low:.3f} to {high:.3f})" in lines[0]
    assert [line.split()[0] for line in lines[1:5]] == ["top-50", "top-10", "MSE", "MSE"]
    assert "trained on S0" in result.err
    assert {path.name for path in (tmp_path / "scores").iterdir()} == {
        *("summary.json", "genes.csv", "gene_pcc.png", "predictions"),
        *(f"maps-S{k}.png" for k in range(3)),
    }
    prediction = anndata.read_h5ad(tmp_path / "scores" / "predictions" / "S1.h5ad")
    assert list(prediction.var_names) == list(PANEL)

    assert nh2st(*command, "-o", tmp_path / "scores").code == 2
    as_json = json.loads(nh2st(*command, "-o", tmp_path / "more", "--json").out)
    assert as_json["summary"] == summary
    assert set(as_json["sections"]) == {"S0", "S1", "S2"}


def test_reliability_is_written_only_from_sections_not_seen(
    nh2st: Nh2st, study: Path, pair: Path, knowing_model: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(knowing_model, tmp_path / "own")
    weights = read_config(own).weights
    command = ("evaluate", "--model", own, "--write-reliability", "--bootstrap", 0)
    refused = nh2st(*command, "--sections", study, "-o", tmp_path / "scores")
    assert refused.code == 2
    assert "was trained on S0" in refused.err
    result = nh2st(*command, "--sections", pair, "-o", tmp_path / "scores")
    assert result.code == 0, result.err
    scores = pd.read_csv(tmp_path / "scores" / "genes.csv").set_index("gene")["pcc"]
    config = read_config(own)
    assert config.reliability == {
        gene: pytest.approx(pcc, abs=1e-4) for gene, pcc in scores.items()
    }
    assert config.weights == weights
    assert "intervals come from the errors on these sections" in result.out
    assert config.interval_90 is not None
    errors = []
    for section in ("S1", "S2"):
        prediction = anndata.read_h5ad(tmp_path / "scores" / "predictions" / f"{section}.h5ad")
        size = np.sort(np.abs(prediction.layers["measured"] - prediction.X), axis=0)
        errors.append(size[int(np.ceil(0.9 * (len(size) + 1))) - 1])
    np.testing.assert_allclose(
        [config.interval_90[gene] for gene in config.panel], np.max(errors, axis=0), rtol=1e-3
    )
    again = nh2st(*command, "--sections", pair, "-o", tmp_path / "again", "--json")
    kept = read_config(own)
    assert kept.interval_90 == config.interval_90
    coverage = kept.training["held_out"]["coverage"]
    assert coverage == json.loads(again.out)["coverage"]
    assert set(coverage) == {"S1", "S2"}
    assert "intervals: as they were before" in (own / "README.md").read_text(encoding="utf-8")
    named = nh2st("evaluate", "--model", "a/b", *command[3:], "--sections", pair, "-o", "never")
    assert named.code == 2


@pytest.fixture(scope="module")
def pair(study: Path) -> Path:
    """The table of two of the sections."""
    rows = list(csv.DictReader(study.read_text(encoding="utf-8").splitlines()))
    return write_table(study.parent / "pair.csv", rows[1:])


@pytest.fixture(scope="module")
def validated(pair: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crossval") / "cv"
    code = main(
        [
            *("crossval", "--sections", str(pair), "-o", str(folder), "--start", str(model)),
            *("--encoder", "frozen", "--epochs", "1", "--contexts", "query,average"),
            *("--device", "cpu"),
        ]
    )
    assert code == 0
    return folder


def test_a_cross_validation_gives_the_model_its_reliability(validated: Path) -> None:
    config = read_config(validated / "model")
    scores = pd.read_csv(validated / config.context / "genes.csv").set_index("gene")["pcc"]
    assert config.reliability == {
        gene: pytest.approx(pcc, abs=1e-4) for gene, pcc in scores.items()
    }
    assert config.training["sections"] == ["S1", "S2"]


def test_the_card_tells_what_was_held_out_and_no_gene_by_gene_lists(validated: Path) -> None:
    config = read_config(validated / "model")
    card = (validated / "model" / "README.md").read_text(encoding="utf-8")
    query = config.training["held_out"]["contexts"]["query"]
    assert f"| {query['all']['mse']:.4f} | {query['all']['mse_baseline']:.4f} |" in card
    assert f"| `query` | {query['all']['mean_pcc']:.3f} (" in card
    for section in ("S1", "S2"):
        assert f"| {section} | {query['sections'][section]['mean_pcc']:.3f} |" in card
    mean = config.training["target_mean"]["VIM"]
    assert str(mean) not in card
    assert "learning_rate" not in card
    assert max(map(len, card.splitlines())) < 400


def test_the_card_says_what_a_model_is_for_and_what_not() -> None:
    training = {
        "trained": True,
        "summary": "A demonstration.",
        "intended_use": ["Trying out the plugin."],
        "limits": ["One donor.", "Not for decisions about patients."],
        "held_out": "measured elsewhere",
    }
    card = model_card(small_config(training=training))
    assert "## Intended use\n\n- Trying out the plugin.\n" in card
    assert "## Limits\n\n- One donor.\n- Not for decisions about patients.\n" in card
    assert "- held_out: measured elsewhere" in card


def test_a_cross_validation_prints_a_row_for_each_fold(
    nh2st: Nh2st, pair: Path, model: Path, tmp_path: Path, validated: Path
) -> None:
    # Folds that are trained are taken as they are.
    shutil.copytree(validated / "folds", tmp_path / "cv" / "folds")
    command = (
        *("crossval", "--sections", pair, "-o", tmp_path / "cv"),
        *("--encoder", "frozen", "--epochs", "1", "--contexts", "query,average", "--no-final"),
        *("--device", "cpu", "--start", model),
    )
    result = nh2st(*command)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    header = "donor left out  PCC query  PCC average  MSE ("
    assert lines[0].startswith(header)
    assert [line.split()[0] for line in lines[1:4]] == ["donor1", "donor2", "mean"]
    assert lines[4].startswith("Taken: context ")
    assert not (tmp_path / "cv" / "model").exists()
    summary = json.loads((tmp_path / "cv" / "query" / "summary.json").read_text(encoding="utf-8"))[
        "summary"
    ]
    assert float(lines[3].split()[1]) == pytest.approx(summary["mean_pcc"], abs=6e-4)
    assert np.isfinite(float(lines[1].split()[4]))
    assert lines[0].endswith("in 90 % intervals")
    assert re.search(r" \d+% \(genes \d+% to \d+%\)$", lines[1])


def test_a_stopped_cross_validation_exits_with_1(
    nh2st: Nh2st, pair: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(monkeypatch, 1, signal.SIGINT)
    result = nh2st(
        *("crossval", "--sections", pair, "-o", tmp_path / "cv", "--start", model),
        *("--encoder", "frozen", "--epochs", "2", "--device", "cpu"),
    )
    assert result.code == 1
    assert "the same command continues from there" in result.err
    assert [path.name for path in (tmp_path / "cv").iterdir()] == ["folds"]


def test_contexts_that_there_are_not_are_refused(nh2st: Nh2st, study: Path) -> None:
    result = nh2st("crossval", "--sections", study, "-o", "never", "--contexts", "query,all")
    assert result.code == 2
    assert "'all'" in result.err
