"""``nh2st export``: the core with other words, and exit codes."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import anndata
import pandas as pd
import pytest

from array_slides import ArrayLevel, array_slide, textured
from command_results import Nh2st
from drawn_predictions import drawn_prediction
from napari_nh2st.export import FigureSettings, write_anndata


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    slide = array_slide(ArrayLevel(textured(300, 420)), path="section.tif")
    path = tmp_path_factory.mktemp("prediction") / "section.h5ad"
    write_anndata(drawn_prediction(slide), path)
    return path


def test_every_option_reaches_the_file(tmp_path: Path, nh2st: Nh2st, predicted: Path) -> None:
    result = nh2st(
        "export",
        predicted,
        "-o",
        tmp_path / "out.geojson",
        "--genes",
        "VIM, CD74",
        "--domains",
        "status",
    )
    assert result.code == 0
    assert result.out == f"{tmp_path / 'out.geojson'}: GeoJSON for QuPath, 35 tiles\n"
    first = json.loads((tmp_path / "out.geojson").read_text(encoding="utf-8"))["features"][0][
        "properties"
    ]
    assert list(first["measurements"]) == ["VIM", "CD74"]
    assert first["classification"] == {"name": "predicted"}


def test_json_tells_programs_what_was_written(
    tmp_path: Path, nh2st: Nh2st, predicted: Path
) -> None:
    genes = tmp_path / "genes.txt"
    genes.write_text("ERBB2\n", encoding="utf-8")
    output = tmp_path / "out.csv"
    result = nh2st("export", predicted, "-o", output, "--genes-file", genes, "--json")
    told = json.loads(result.out)
    assert told == {"output": str(output), "format": "csv", "tiles": 35, "genes": ["ERBB2"]}
    assert "ERBB2" in pd.read_csv(output).columns


def test_a_store_is_exported_as_a_file_is(tmp_path: Path, nh2st: Nh2st, predicted: Path) -> None:
    assert nh2st("export", predicted, "-o", tmp_path / "a.zarr").code == 0
    assert nh2st("export", tmp_path / "a.zarr", "-o", tmp_path / "b.h5ad").code == 0
    found, expected = anndata.read_h5ad(tmp_path / "b.h5ad"), anndata.read_h5ad(predicted)
    assert (found.X == expected.X).sum() == (expected.X == expected.X).sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "out.loom"], "the name must end in one of .h5ad"),
        (["-o", "there.csv"], "already exists"),
        (["-o", "out.csv", "--genes", "VIN"], "Did you mean VIM"),
        (["-o", "out.csv", "--genes-file", "no.txt"], "no.txt cannot be read"),
        (["-o", "out.geojson", "--domains", "domain"], "no domains 'domain'"),
        (["-o", "out.csv", "--format", "loom"], "invalid choice"),
        (["-o", "no/out.csv"], "there is no folder"),
        (
            ["-o", "out.png", "--limits", "3", "0"],
            "limits is 3 0; it must be two numbers, the lower",
        ),
        (["-o", "out.png", "--limits", "0", "inf"], "limits is 0 inf; it must be two numbers, "),
        (["-o", "out.png", "--limits", "0"], "argument --limits: expected 2 arguments"),
        (["-o", "out.png", "--limits", "0", "3", "5"], "unrecognized arguments: 5"),
        (["-o", "out.png", "--limits", "low", "high"], "--limits: invalid float value: 'low'"),
        (["-o", "out.png", "--percentiles", "1", "101"], "percentiles is 1 101; it must be two "),
        (["-o", "out.png", "--colormap", "maggma"], "no colormap 'maggma' in matplotlib; did you "),
        (
            ["-o", "out.csv", "--limits", "0", "3"],
            "--limits is for figures (.png, .svg, .pdf), not",
        ),
    ],
)
def test_what_cannot_be_used_is_a_sentence_and_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    nh2st: Nh2st,
    predicted: Path,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.csv").write_text("precious", encoding="utf-8")
    result = nh2st("export", predicted, *arguments)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["there.csv"]
    assert Path("there.csv").read_text(encoding="utf-8") == "precious"


FIGURE = {
    "limits": (-0.5, 3.0),
    "percentiles": (5.0, 95.0),
    "colormap": "viridis",
    "opacity": 0.5,
    "smooth": True,
    "fade": True,
    "dpi": 72,
}


def test_every_setting_of_a_figure_is_an_option(
    tmp_path: Path, nh2st: Nh2st, predicted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[FigureSettings] = []
    monkeypatch.setattr(
        "napari_nh2st.export.figure.save_heatmap_figure",
        lambda prediction, genes, path, settings: drawn.append(settings),
    )
    words: list[object] = []
    for name, value in FIGURE.items():
        words += [f"--{name}", *(value if isinstance(value, tuple) else [value])]
    words = [word for word in words if word is not True]
    assert nh2st("export", predicted, "-o", tmp_path / "a.png", *words).code == 0
    assert nh2st("export", predicted, "-o", tmp_path / "a.png").code == 0
    assert drawn == [FigureSettings(**FIGURE), FigureSettings()]
    assert FIGURE.keys() == {field.name for field in fields(FigureSettings)}


def test_settings_of_a_figure_are_taken_from_the_users_file(
    tmp_path: Path, nh2st: Nh2st, predicted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "own.toml"
    config.write_text(
        "[export]\nlimits = [0, 3]\ncolormap = 'cividis'\nsmooth = true\n", encoding="utf-8"
    )
    monkeypatch.setenv("NH2ST_CONFIG", str(config))
    drawn: list[FigureSettings] = []
    monkeypatch.setattr(
        "napari_nh2st.export.figure.save_heatmap_figure",
        lambda prediction, genes, path, settings: drawn.append(settings),
    )
    assert nh2st("export", predicted, "-o", tmp_path / "a.png", "--limits", "1", "2").code == 0
    assert drawn == [FigureSettings(limits=(1, 2), colormap="cividis", smooth=True)]
    assert nh2st("export", predicted, "-o", tmp_path / "a.csv").code == 0, "it asks for no figure"
    text = " ".join(nh2st("export", "--help").out.split())
    assert "the same for all genes (default: 0 3; from your configuration)" in text
    assert "last color (default: 1 99)" in text


def test_the_help_loads_neither_numpy_nor_anndata() -> None:
    code = (
        "import sys; from napari_nh2st.cli.main import main\n"
        "try: main(['export', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(str({'numpy', 'anndata', 'matplotlib'} & set(sys.modules) or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""
    assert "--percentiles LOW HIGH" in done.stdout


@pytest.mark.parametrize("content", [None, b"", b"\x89HDF\r\n\x1a\nbroken"])
def test_a_prediction_that_cannot_be_read_is_named(
    tmp_path: Path, nh2st: Nh2st, content: bytes | None
) -> None:
    path = tmp_path / "broken.h5ad"
    if content is not None:
        path.write_bytes(content)
    result = nh2st("export", path, "-o", tmp_path / "out.csv")
    assert result.code == 2
    assert str(path) in result.err
    assert "no such file" in result.err if content is None else "cannot be read" in result.err
