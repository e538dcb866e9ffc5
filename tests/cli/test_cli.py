"""The command ``nh2st``: results on stdout, sentences on stderr, exit codes 0, 1 and 2."""

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

import napari_nh2st.demo
import napari_nh2st.sample_data
from array_slides import write_tiff
from command_results import Nh2st
from napari_nh2st.analysis import StainProfile, slide_stain
from napari_nh2st.cli import error_log
from napari_nh2st.errors import InputError
from napari_nh2st.inference import engine
from napari_nh2st.inference.slide_facts import tissue_facts
from napari_nh2st.model import read_config
from napari_nh2st.model.folder import save_model_folder
from napari_nh2st.slide import open_slide
from napari_nh2st.synthetic import write_synthetic_slide
from small_configs import PANEL
from small_models import small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model_folder(small_model(), folder)
    return folder


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    pixels = np.full((512, 640, 3), 245, np.uint8)
    random = np.random.default_rng(0)
    pixels[100:400, 120:520] = random.normal((190, 90, 150), 25, (300, 400, 3)).clip(0, 255)
    return write_tiff(tmp_path / "section.tif", pixels)


def is_a_short_message(text: str) -> bool:
    return len(text.strip()) > 0 and len(text.splitlines()) <= 4 and "Traceback" not in text


def test_info_tells_what_a_slide_is(nh2st: Nh2st, slide: Path) -> None:
    result = nh2st("info", slide, "--mpp", 0.5)
    assert result.code == 0
    for told in ("640 × 512 px", "0.32 × 0.26 mm", "0.5 × 0.5 (x × y), given", "generic-tiff"):
        assert told in result.out
    as_json = json.loads(nh2st("info", slide, "--json").out)
    assert (as_json["height"], as_json["width"], as_json["mpp"]) == (512, 640, None)
    assert [level["width"] for level in as_json["levels"]] == [640]


def test_info_on_the_real_slide(nh2st: Nh2st, test_data: Path) -> None:
    result = nh2st("info", test_data / "slides" / "CMU-1-Small-Region.svs", "--json")
    told = json.loads(result.out)
    assert told["vendor"] == "aperio"
    assert told["mpp"] == [0.499, 0.499]
    assert told["associated"] == ["label", "macro", "thumbnail"]


def test_predict_writes_what_was_asked_for(
    nh2st: Nh2st, slide: Path, model: Path, tmp_path: Path
) -> None:
    region = tmp_path / "region.geojson"
    corners = [[100, 100], [400, 100], [400, 300], [100, 300], [100, 100]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [corners]}}
    region.write_text(
        json.dumps({"type": "FeatureCollection", "features": [feature]}), encoding="utf-8"
    )
    output, picture = tmp_path / "out.h5ad", tmp_path / "out.png"
    result = nh2st(
        "predict", slide, "-o", output, "--model", model, "--genes", "VIM, EPCAM", "--mpp", 1,
        "--pitch-um", 40, "--layout", "hexagonal", "--region", region, "--device", "cpu",
        "--precision", "float32", "--batch-size", 7, "--reader-threads", 1, "--picture", picture,
    )  # fmt: skip
    assert result.code == 0, result.err
    prediction = anndata.read_h5ad(output)
    assert list(prediction.var_names) == ["VIM", "EPCAM"]
    provenance = prediction.uns["nh2st"]
    assert (provenance["pitch_um"], provenance["layout"]) == (40, "hexagonal")
    assert provenance["settings"]["batch_size"] == 7
    assert provenance["settings"]["reader_threads"] == 1
    assert provenance["run"] == {"device": "cpu", "precision": "float32"}
    assert list(provenance["slide"]["mpp"]) == [1, 1]
    x, y = prediction.obsm["spatial"].T
    assert ((x >= 100) & (x <= 400) & (y >= 100) & (y <= 300)).all()
    assert f"{prediction.n_obs} tiles × 2 genes" in result.out
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.partial"))


def test_predict_takes_tissue_that_was_drawn(
    nh2st: Nh2st, slide: Path, model: Path, tmp_path: Path
) -> None:
    drawn = np.zeros((128, 160), np.uint8)
    drawn[:80, :100] = 1  # of 512 × 640 px: its upper left 320 × 400
    drawn[-2:, -6:] = 1
    Image.fromarray(drawn).save(tmp_path / "tissue.png")
    output = tmp_path / "out.h5ad"
    command = ["predict", slide, "-o", output, "--model", model, "--mpp", 1, "--overwrite"]
    command += ["--device", "cpu", "--pitch-um", 40, "--tissue"]
    result = nh2st(*command, tmp_path / "tissue.png")
    assert result.code == 0, result.err
    x, y = anndata.read_h5ad(output).obsm["spatial"].T
    assert (x.max(), y.max()) == (380, 300)
    assert len(x) == 80
    corners = [[0, 0], [400, 0], [400, 320], [0, 320], [0, 0]]
    polygon = {"type": "Polygon", "coordinates": [corners]}
    (tmp_path / "tissue.geojson").write_text(json.dumps(polygon), encoding="utf-8")
    told = json.loads(nh2st(*command, tmp_path / "tissue.geojson", "--json").out)
    assert told["tiles"] == 80
    assert told["tissue"]["origin"] == "given"
    assert told["tissue"]["share_without_tile"] == 0
    for other in ("none.png", "model"):
        refused = nh2st(*command, tmp_path / other)
        assert refused.code == 2
        assert str(tmp_path / other) in refused.err
    assert "cannot be combined" in nh2st(*command, tmp_path / "tissue.png", "--all-tiles").err


def test_predict_says_what_each_step_costs_and_what_it_takes(
    nh2st: Nh2st, slide: Path, tmp_path: Path
) -> None:
    save_model_folder(small_model(pitch_um=80.0), tmp_path / "model")
    command = ["predict", slide, "--model", tmp_path / "model", "--mpp", 1, "--all-tiles"]
    estimated = nh2st(*command, "--estimate")
    assert estimated.code == 0, estimated.err
    lines = estimated.out.splitlines()
    assert lines[:3] == ["80 µm · 48 tiles", "40 µm · 208 tiles", "20 µm · 832 tiles"]
    assert lines[3].startswith("The time is known once")
    assert nh2st(*command).code == 2
    assert "give the file to write" in nh2st(*command).err
    output = tmp_path / "out.h5ad"
    result = nh2st(*command, "-o", output, "--step-um", 40)
    assert result.code == 0, result.err
    assert "40 µm · 208 tiles on cpu in " in result.err
    assert anndata.read_h5ad(output).uns["nh2st"]["step_um"] == 40
    as_json = json.loads(nh2st(*command, "--estimate", "--json").out)["steps"]
    assert [step["step_um"] for step in as_json] == [80, 40, 20]
    assert all(step["seconds"] > 0 for step in as_json)
    refused = nh2st(*command, "-o", output, "--step-um", 30, "--overwrite")
    assert refused.code == 2
    assert "it must divide the pitch of 80 µm evenly; the nearest are 40 and 26.67" in refused.err


def test_predict_for_programs_prints_json_alone(
    nh2st: Nh2st, slide: Path, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.zarr"
    result = nh2st("predict", slide, "-o", output, "--model", model, "--mpp", 1, "--json")
    told = json.loads(result.out)
    assert all(line.startswith("Notice: ") for line in result.err.splitlines())
    assert told["output"] == str(output)
    assert told["genes"] == len(PANEL)
    assert told["tiles"] == anndata.read_zarr(output).n_obs


@pytest.mark.parametrize("off", [0.0, 0.1])
def test_a_stain_unlike_the_model_s_is_told_alike_everywhere(
    nh2st: Nh2st, slide: Path, tmp_path: Path, off: float
) -> None:
    with open_slide(slide, mpp=1) as opened:
        own = np.median(slide_stain(opened), axis=0)
    # Hematoxylin is off by so many of its standard deviations, and nothing else is.
    profile = StainProfile(own - off * np.eye(6)[0], 0.01**2 * np.eye(6), 100, 1, 2.5)
    training = {"trained": True, "summary": "For a test.", "stain": profile.to_json()}
    save_model_folder(small_model(training=training), tmp_path / "model")
    output = tmp_path / "out.h5ad"
    command = ["predict", slide, "-o", output, "--model", tmp_path / "model", "--mpp", 1]
    result = nh2st(*command, "--json")
    told = json.loads(result.out)
    assert told["stain_distance"] == pytest.approx(100 * off, abs=0.01)
    about = anndata.read_h5ad(output).uns["nh2st"]
    assert about["stain_distance"] == told["stain_distance"]
    assert list(about["notices"]) == told["notices"]
    assert result.err == "".join(f"Notice: {notice}\n" for notice in told["notices"])
    stain = [text for text in told["notices"] if "stain" in text]
    with open_slide(slide, mpp=1) as opened:
        known = tissue_facts(opened, read_config(tmp_path / "model"))
    assert stain == ([known.notice] if known.notice else [])
    assert any("distance 10.0" in text for text in stain) == bool(off)


def damage_a_tile(path: Path, index: int) -> None:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        offset, count = page.dataoffsets[index], page.databytecounts[index]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * count)


def test_a_damaged_tile_is_reported_and_the_rest_is_predicted(
    nh2st: Nh2st, slide: Path, model: Path, tmp_path: Path
) -> None:
    damage_a_tile(slide, 35)  # of 8 × 10 tiles of 64 px: row 3, column 5
    output = tmp_path / "out.h5ad"
    result = nh2st("predict", slide, "-o", output, "--model", model, "--mpp", 1)
    assert result.code == 0
    prediction = anndata.read_h5ad(output)
    missing = np.isnan(prediction.X).all(1)
    x, y = prediction.obsm["spatial"].T
    touches = (np.abs(x - 352) < 32 + 16) & (np.abs(y - 224) < 32 + 16)
    np.testing.assert_array_equal(missing, touches)
    assert f"{touches.sum()} of {prediction.n_obs} tiles could not be read" in result.err
    assert not prediction.obs["status"][touches].isin(["predicted", "pending"]).any()


@pytest.fixture
def bad_input(
    request: pytest.FixtureRequest, slide: Path, model: Path, tmp_path: Path
) -> tuple[list[object], str]:
    """A command line that cannot work, and words its message has to hold."""
    output = tmp_path / "new.h5ad"
    existing = tmp_path / "existing.h5ad"
    existing.write_text("precious", encoding="utf-8")
    files = {
        "empty.svs": b"",
        "text.svs": b"not a slide at all\n" * 50,
        "truncated.tif": slide.read_bytes()[: slide.stat().st_size * 2 // 3],
        "blank": b"\n\n",
        "twice": b"VIM\nVIM\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    white = write_tiff(tmp_path / "white.tif", np.full((300, 300, 3), 250, np.uint8))
    deep = tmp_path / "deep.tif"
    tifffile.imwrite(deep, np.zeros((300, 300, 3), np.uint16), tile=(64, 64), photometric="rgb")
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    config = json.loads((damaged / "config.json").read_text(encoding="utf-8"))
    (damaged / "config.json").write_text(json.dumps(config | {"mpp": "half"}), encoding="utf-8")
    good = ["predict", slide, "-o", output, "--model", model, "--mpp", 1]
    cases: dict[str, tuple[list[object], str]] = {
        "missing slide": (["info", tmp_path / "nothing.svs"], "nothing.svs"),
        "empty slide": (["info", tmp_path / "empty.svs"], "empty"),
        "text as slide": (["info", tmp_path / "text.svs"], "text.svs"),
        "truncated slide": (["info", tmp_path / "truncated.tif"], "truncated.tif"),
        "folder as slide": (["info", tmp_path], str(tmp_path)),
        "no µm/px": (good[:-2], "--mpp"),
        "no tissue": (["predict", white, *good[2:]], "tissue"),
        "16-bit slide": (["predict", deep, *good[2:]], "brightfield"),
        "unknown gene": ([*good, "--genes", "ERB2"], "ERBB2"),
        "no genes in file": ([*good, "--genes-file", tmp_path / "blank"], "no gene"),
        "gene twice in file": ([*good, "--genes-file", tmp_path / "twice"], "VIM"),
        "genes file missing": ([*good, "--genes-file", tmp_path / "gone"], "gone"),
        "region not GeoJSON": ([*good, "--region", tmp_path / "text.svs"], "GeoJSON"),
        "output exists": ([*good[:3], existing, *good[4:]], "exists"),
        "output suffix": ([*good[:3], tmp_path / "out.csv", *good[4:]], ".h5ad"),
        "output folder missing": ([*good[:3], tmp_path / "no" / "o.h5ad", *good[4:]], "no folder"),
        "picture folder missing": ([*good, "--picture", tmp_path / "no" / "p.png"], "no folder"),
        "device": ([*good, "--device", "cuda:9"], "cuda:9"),
        "precision on this device": (
            [*good, "--device", "cpu", "--precision", "float16"],
            "float16",
        ),
        "pitch": ([*good, "--pitch-um", -5], "pitch_um"),
        "model missing": ([*good, "--model", tmp_path / "gone"], "gone"),
        "model damaged": ([*good, "--model", damaged], "mpp"),
        "model in the way": (
            ["model", "new", "--genes-file", tmp_path / "twice", "-o", model],
            "exists",
        ),
        "no such argument": (["info", slide, "--color"], "--color"),
        "no command": ([], "usage"),
    }
    return cases[request.param]


@pytest.mark.parametrize(
    "bad_input",
    [
        "missing slide", "empty slide", "text as slide", "truncated slide", "folder as slide",
        "no µm/px", "no tissue", "16-bit slide", "unknown gene", "no genes in file",
        "gene twice in file", "genes file missing", "region not GeoJSON", "output exists",
        "output suffix", "output folder missing", "picture folder missing", "device",
        "precision on this device", "pitch", "model missing", "model damaged", "model in the way",
        "no such argument", "no command",
    ],
    indirect=True,
)  # fmt: skip
def test_bad_input_gets_a_sentence_and_exit_code_2(
    nh2st: Nh2st, bad_input: tuple[list[object], str], tmp_path: Path
) -> None:
    arguments, words = bad_input
    result = nh2st(*arguments)
    assert result.code == 2
    assert words in result.err
    assert result.out == ""
    if arguments:  # else the help
        assert is_a_short_message(result.err), result.err
    assert (tmp_path / "existing.h5ad").read_text(encoding="utf-8") == "precious"
    assert not (tmp_path / "new.h5ad").exists()


def test_overwriting_is_done_when_asked_for(
    nh2st: Nh2st, slide: Path, model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.h5ad"
    arguments = ["predict", slide, "-o", output, "--model", model, "--mpp", 1]
    output.write_text("no prediction", encoding="utf-8")
    assert nh2st(*arguments, "--overwrite").code == 2
    assert output.read_text(encoding="utf-8") == "no prediction"
    output.unlink()
    assert nh2st(*arguments).code == 0
    first = output.stat().st_mtime_ns
    assert nh2st(*arguments).code == 2
    assert output.stat().st_mtime_ns == first
    assert nh2st(*arguments, "--overwrite").code == 0
    assert output.stat().st_mtime_ns != first


def zarr_slide(path: Path) -> Path:
    """An OME-Zarr slide of one level."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    random = np.random.default_rng(0)
    pixels = random.normal((190, 90, 150), 25, (256, 256, 3)).clip(0, 255).astype(np.uint8)
    group.create_array("0", data=np.moveaxis(pixels, -1, 0), chunks=(3, 128, 128))
    axes = [{"name": "c", "type": "channel"}] + [
        {"name": name, "type": "space", "unit": "micrometer"} for name in "yx"
    ]
    scale = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    return path


@pytest.mark.parametrize("output", ["slide.zarr", "slide.zarr/out.h5ad", "precious.zarr"])
def test_overwriting_never_takes_the_slide_or_what_is_no_prediction(
    nh2st: Nh2st, model: Path, tmp_path: Path, output: str
) -> None:
    slide = zarr_slide(tmp_path / "slide.zarr")
    (tmp_path / "precious.zarr").mkdir()
    (tmp_path / "precious.zarr" / "data").write_text("precious", encoding="utf-8")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = nh2st("predict", slide, "-o", tmp_path / output, "--model", model, "--overwrite")
    assert result.code == 2
    assert is_a_short_message(result.err)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    good = ["predict", slide, "-o", tmp_path / "out.zarr", "--model", model, "--all-tiles"]
    assert nh2st(*good).code == 0
    assert nh2st(*good, "--overwrite").code == 0, "a prediction may be overwritten"


def test_a_picture_takes_the_place_of_nothing_unasked(
    nh2st: Nh2st, slide: Path, model: Path, tmp_path: Path
) -> None:
    picture, content = tmp_path / "picture.png", slide.read_bytes()
    picture.write_text("precious", encoding="utf-8")
    good = ["predict", slide, "-o", tmp_path / "out.h5ad", "--model", model, "--mpp", 1]
    assert nh2st(*good, "--picture", picture).code == 2
    assert nh2st(*good, "--picture", tmp_path / "picture.xyz").code == 2
    assert picture.read_text(encoding="utf-8") == "precious"
    renamed = slide.rename(tmp_path / "section.png")
    good[1] = renamed
    refused = nh2st(*good, "--picture", renamed, "--overwrite")
    assert "is the slide" in refused.err
    assert renamed.read_bytes() == content
    assert not (tmp_path / "out.h5ad").exists()
    assert nh2st(*good, "--picture", picture, "--overwrite").code == 2
    assert picture.read_text(encoding="utf-8") == "precious", "no figure of ours"
    picture.unlink()
    for _ in range(2):
        assert nh2st(*good, "--picture", picture, "--overwrite").code == 0
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_byte_order_mark_is_not_part_of_a_gene(
    nh2st: Nh2st, slide: Path, model: Path, tmp_path: Path
) -> None:
    genes, output = tmp_path / "genes.txt", tmp_path / "out.h5ad"
    genes.write_bytes(b"\xef\xbb\xbfVIM\r\nEPCAM\r\n")
    result = nh2st(
        "predict", slide, "-o", output, "--model", model, "--mpp", 1, "--genes-file", genes
    )
    assert result.code == 0, result.err
    assert list(anndata.read_h5ad(output).var_names) == ["VIM", "EPCAM"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--mpp", "0"), ("--mpp", "nan"), ("--mpp", "500"), ("--pitch-um", "0"), ("--pitch-um", "inf"),
     ("--seed", "-1"), ("--seed", "99999999999999999999999")],
)  # fmt: skip
def test_model_new_makes_no_model_that_cannot_be_loaded(
    nh2st: Nh2st, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, value: str
) -> None:
    monkeypatch.setattr("napari_nh2st.model.folder.save_file", lambda state, path: path.touch())
    (tmp_path / "genes").write_text("VIM", encoding="utf-8")
    folder = tmp_path / "model"
    result = nh2st(
        "model", "new", "--genes-file", tmp_path / "genes", "-o", folder, f"{option}={value}"
    )
    assert result.code == 2
    assert is_a_short_message(result.err)
    assert not folder.exists()


def test_a_file_that_may_not_be_read_is_bad_input(
    nh2st: Nh2st, slide: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("napari_nh2st.model.weights_file.file_sha256", refuse)
    output = tmp_path / "out.h5ad"
    result = nh2st("predict", slide, "-o", output, "--model", model, "--mpp", 1)
    assert result.code == 2
    assert result.err == f"nh2st: {model / 'model.safetensors'}: Permission denied\n"


def test_a_stopped_run_says_what_is_kept_and_goes_on(
    nh2st: Nh2st, slide: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["predict", slide, "-o", tmp_path / "out.h5ad", "--model", model, "--mpp", 1]
    arguments += ["--batch-size", 20]
    computed = engine.tile_values

    def interrupted(*args: Any) -> Iterator[Any]:
        batches = computed(*args)
        yield next(batches)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(engine, "tile_values", interrupted)
        stopped = nh2st(*arguments)
    assert stopped.code == 1
    assert "20 of" in stopped.err
    assert not (tmp_path / "out.h5ad").exists()
    result = nh2st(*arguments)
    assert result.code == 0
    assert "20 done by an earlier run" in result.err
    assert np.isfinite(anndata.read_h5ad(tmp_path / "out.h5ad").X).all()


def breaks(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise error

    monkeypatch.setattr("napari_nh2st.slide.open_slide", broken)


def test_what_nobody_foresaw_is_one_line_that_names_a_log(
    nh2st: Nh2st, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NH2ST_CACHE", str(tmp_path / "cache"))
    breaks(monkeypatch, RuntimeError("the sky\nfell"))
    for number in range(1, error_log.KEPT + 3):
        result = nh2st("info", slide)
        assert result.code == 1
        start, end = "nh2st: failed: RuntimeError: the sky fell (traceback in ", ")\n"
        assert result.err.startswith(start)
        assert result.err.endswith(end)
        log = Path(result.err.removeprefix(start).removesuffix(end))
        logs = sorted((tmp_path / "cache").rglob("*.log"))
        assert log == logs[-1]
        assert len(logs) == min(number, error_log.KEPT)
        assert "Traceback (most recent call last)" in log.read_text(encoding="utf-8")
        if os.name == "posix":
            assert [stat.S_IMODE(p.stat().st_mode) for p in (log, log.parent)] == [0o600, 0o700]


def test_the_name_of_a_log_is_one_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NH2ST_CACHE", str(tmp_path))
    last_of_a_second = 1_700_000_000_999_999_999
    monkeypatch.setattr(error_log.time, "time_ns", lambda: last_of_a_second)
    log = error_log.write_error_log(RuntimeError("fell"))
    assert log is not None
    moment = datetime.fromtimestamp(1_700_000_000)
    assert log.name == f"nh2st-{moment:%Y%m%d-%H%M%S}-999999999.log"


def test_an_error_is_one_line_also_where_no_log_can_be_written(
    nh2st: Nh2st, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NH2ST_CACHE", str(tmp_path / "file"))
    breaks(monkeypatch, RuntimeError("the sky fell"))
    assert nh2st("info", slide).err == "nh2st: failed: RuntimeError: the sky fell\n"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_prints_the_traceback_on_every_command(
    nh2st: Nh2st, slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setenv("NH2ST_CACHE", str(tmp_path / "cache"))
    breaks(monkeypatch, RuntimeError("the sky fell"))
    arguments: list[object] = ["info", slide]
    arguments.insert(place, "--debug")
    result = nh2st(*arguments)
    assert result.code == 1
    assert result.err.startswith("Traceback (most recent call last)")
    assert result.err.endswith("nh2st: failed: RuntimeError: the sky fell\n")
    assert not list(tmp_path.rglob("*.log"))


@pytest.mark.parametrize("command", [["predict"], ["model", "info"], ["train"], ["export"]])
def test_every_command_has_debug(nh2st: Nh2st, command: list[str]) -> None:
    assert "--debug" in nh2st(*command, "--help").out


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (MemoryError(), 1, "nh2st: there is not enough memory; "),
        (MemoryError("Unable to allocate 7.45 GiB for an array"), 1, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you"), 1, "not enough memory"),
        (OSError(errno.ENOSPC, "No space left on device", "a.h5ad"), 2, "a.h5ad: No space left"),
        (OSError(errno.EIO, "Input/output error", "a.svs"), 1, "Input/output error"),
        (InputError("one\n\x1b]0;two\a\nthree\nfour\nfive"), 2, "nh2st: one\n\\x1b]0;two\\x07\n"),
    ],
)
def test_errors_of_every_kind_are_short_and_harmless(
    nh2st: Nh2st,
    slide: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    code: int,
    said: str,
) -> None:
    monkeypatch.setenv("NH2ST_CACHE", str(tmp_path / "cache"))
    breaks(monkeypatch, error)
    result = nh2st("info", slide)
    assert result.code == code
    assert said in result.err
    assert is_a_short_message(result.err)
    assert result.err.replace("\n", "").isprintable()


def test_model_new_makes_an_untrained_model_that_says_so(nh2st: Nh2st, tmp_path: Path) -> None:
    genes, folder = tmp_path / "genes.txt", tmp_path / "fresh"
    genes.write_text("ERBB2\n# a comment\nGAPDH  # housekeeping\n\n", encoding="utf-8")
    made = nh2st(
        "model", "new", "--genes-file", genes, "--seed", 7, "-o", folder,
        "--context", "average", "--mpp", 0.25,
    )  # fmt: skip
    assert made.code == 0, made.err
    told = json.loads(nh2st("model", "info", folder, "--json").out)
    assert told["panel"] == ["ERBB2", "GAPDH"]
    assert told["hyperparameters"]["context"] == "average"
    assert (told["mpp"], told["pitch_um"]) == (0.25, 56)
    assert told["training"]["trained"] is False
    assert "UNTRAINED" in nh2st("model", "info", folder).out
    assert "UNTRAINED" in (folder / "README.md").read_text(encoding="utf-8")
    checked = nh2st("model", "check", folder)
    assert checked.code == 0
    assert "UNTRAINED" in checked.out


def test_model_list_names_the_bundled_models(
    nh2st: Nh2st, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_nh2st.model.bundled_models", lambda: {"small": model})
    assert "small" in nh2st("model", "list").out
    assert json.loads(nh2st("model", "list", "--json").out)["small"]["panel"] == list(PANEL)


def test_model_list_names_the_architectures_that_train_takes(nh2st: Nh2st) -> None:
    shown = nh2st("model", "list", "--architectures").out.splitlines()
    names = ["nh2st", "linear", "rings", "sepal", "deepset", "triplex", "triplex-slide", "merge"]
    assert [line.split()[0] for line in shown] == names
    listed = json.loads(nh2st("model", "list", "--architectures", "--json").out)
    assert listed["linear"].startswith("Ridge regression")
    helped = nh2st("train", "--help").out
    assert f"{{{','.join(names)}}}" in helped


@pytest.mark.parametrize("real", [True, False])
def test_demo_predicts_the_sample_slide_and_draws_it(
    nh2st: Nh2st, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real: bool
) -> None:
    path = write_synthetic_slide(tmp_path / "sample.tiff", shape=(512, 512))
    monkeypatch.setattr(napari_nh2st.demo, "demo_model", lambda: small_model(mpp=2.0))
    words = "the real one" if real else "the synthetic one"
    monkeypatch.setattr(napari_nh2st.sample_data, "sample_slide", lambda: (path, words))
    for _ in range(2):  # a second demo replaces the first
        result = nh2st("demo", "-o", tmp_path / "demo")
        assert result.code == 0, result.err
    assert words in result.out
    assert anndata.read_h5ad(tmp_path / "demo" / "sample.h5ad").n_obs > 0
    assert (tmp_path / "demo" / "sample.png").stat().st_size > 10_000


def test_the_installed_command_starts() -> None:
    code = "from napari_nh2st.cli import main; raise SystemExit(main())"
    shown = subprocess.run(
        [sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.startswith("nh2st 0.")
