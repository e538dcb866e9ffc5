"""``-v``, ``-q`` and ``--log-file``: what is shown on stderr, and what is kept."""

import argparse
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from array_slides import write_tiff
from command_results import Nh2st
from napari_nh2st.analysis import StainProfile
from napari_nh2st.cli.verbosity import as_asked
from napari_nh2st.log_file import VARIABLE
from napari_nh2st.model.folder import save_model_folder
from small_models import small_model


@pytest.fixture
def predict(tmp_path: Path) -> list[object]:
    pixels = np.random.default_rng(0).normal((190, 90, 150), 25, (128, 128, 3)).clip(0, 255)
    slide = write_tiff(tmp_path / "a.tif", pixels.astype(np.uint8))
    # Another stain than the model saw: there is a notice.
    stain = StainProfile(np.full(6, 0.5), 0.01**2 * np.eye(6), 100, 1, 2.5)
    training = {"trained": True, "summary": "For a test.", "stain": stain.to_json()}
    model = save_model_folder(small_model(training=training), tmp_path / "model")
    command = ["predict", slide, "-o", tmp_path / "a.h5ad", "--model", model.source, "--mpp", 1]
    return [*command, "--all-tiles", "--overwrite", "--device", "cpu"]


def test_progress_and_notices_are_shown_or_hidden_and_kept(
    nh2st: Nh2st, predict: list[object], tmp_path: Path
) -> None:
    usual = nh2st(*predict)
    assert (usual.code, "Notice: " in usual.err, " tiles on cpu" in usual.err) == (0, True, True)
    assert "Info: " not in usual.err
    much = nh2st(*predict, "-v")
    assert f"Info: {tmp_path / 'a.tif'}: generic-tiff, 128 × 128 px" in much.err
    assert "Debug: " not in much.err
    assert "Debug: " in nh2st("-vv", *predict).err
    assert "Debug: " in nh2st("-v", *predict, "-v").err
    log = tmp_path / "run.log"
    quiet = nh2st(*predict, "-q", "--log-file", log)
    assert (quiet.code, quiet.out, quiet.err) == (0, usual.out, "")
    text = log.read_text(encoding="utf-8")
    for expected in (" DEBUG ", "WARNING", "Notice: ", " tiles on cpu", "128 × 128 px"):
        assert expected in text
    # What was hidden once is shown again.
    assert nh2st(*predict).err == usual.err


def test_errors_are_said_and_logged_whatever_is_hidden(
    nh2st: Nh2st, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "run.log"))
    missing = nh2st("-q", "info", tmp_path / "none.svs")
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    text = (tmp_path / "run.log").read_text(encoding="utf-8")
    assert f"ERROR {os.getpid()} napari_nh2st.cli: {missing.err}" in text
    assert "Traceback" in text
    given = tmp_path / "given.log"
    nh2st("-q", "info", tmp_path / "none.svs", "--log-file", given)
    assert "none.svs" in given.read_text(encoding="utf-8")
    assert (tmp_path / "run.log").read_text(encoding="utf-8") == text


def test_what_nobody_foresaw_is_in_the_log_too(
    nh2st: Nh2st, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("here")

    monkeypatch.setattr("napari_nh2st.cli.cache.cached_kinds", fail)
    failed = nh2st("cache", "list", "--log-file", tmp_path / "run.log")
    assert failed.code == 1
    assert "(traceback in " in failed.err
    assert 'raise ZeroDivisionError("here")' in (tmp_path / "run.log").read_text(encoding="utf-8")


def test_options_of_no_use_are_refused(nh2st: Nh2st, tmp_path: Path) -> None:
    for arguments in (("-v", "cache", "list", "-q"), ("cache", "list", "-q", "-v")):
        refused = nh2st(*arguments)
        assert refused.code == 2
        assert refused.out == ""
    slide = tmp_path / "a.svs"
    slide.write_text("precious", encoding="utf-8")
    refused = nh2st("cache", "list", "--log-file", slide)
    assert (refused.code, refused.out) == (2, "")
    assert "is not a log of nh2st" in refused.err
    assert slide.read_text(encoding="utf-8") == "precious"
    assert not [h for h in logging.getLogger().handlers if "nh2st" in type(h).__module__]


def test_signed_urls_of_the_command_line_are_not_logged(
    nh2st: Nh2st, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["nh2st", "info", "https://host/a.svs?key=secret"])
    assert nh2st("cache", "list", "--log-file", tmp_path / "run.log").code == 0
    text = (tmp_path / "run.log").read_text(encoding="utf-8")
    assert "nh2st info https://host/a.svs" in text
    assert "secret" not in text


def test_warnings_that_have_sentences_of_ours_are_shown_on_demand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for verbose in (0, 1):
        with as_asked(argparse.Namespace(verbose_1=verbose), owns_process=True):
            logging.getLogger("tifffile").warning("odd tag")
            logging.getLogger("library").warning("careful")
    assert capsys.readouterr().err.splitlines() == [
        "Warning: careful",
        "Warning: odd tag",
        "Warning: careful",
    ]
