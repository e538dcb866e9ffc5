"""Every block of Python and every command in README and documentation is run, top to bottom.

A page is followed in a folder of its own with small inputs of the names that it uses. What stands
in :data:`NOT_RUN` is left out, each for its reason.
"""

import re
import shlex
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from shutil import copytree
from typing import Any, NamedTuple

import pandas as pd
import pytest
from matplotlib import pyplot

from array_slides import textured
from flat_slides import flat
from image_files import described, write_ome
from napari_nh2st.cli.arguments import parser
from napari_nh2st.cli.main import main
from napari_nh2st.model.folder import new_model, save_model_folder
from napari_nh2st.synthetic import write_synthetic_slide
from section_tables import write_section, write_table
from shown_predictions import show_prediction
from small_configs import small_config
from spot_sections import drawn_spots

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
GENES = ("ERBB2", "CD74", "IGKC", "COL1A1", "GRB7", "STARD3", "EPCAM", "VIM")
MODELS = ("her2-breast-demo", "my-model")

NOT_RUN = {
    r"pip (install|download) |^python3? -m venv|^pre-commit|^    --platform": "installs",
    r"python3 scripts/run.py|^pytest ": "what runs this test",
    r"^benchmarks/|^python benchmarks/": "tests/test_benchmarks.py tries them",
    r"https://|s3://": "tests/remote reads slides at URLs",
    r"fetch-encoder|transformers:": "fetches; tests/model has encoders that are there",
    r"--start run/model": "goes on from the line before, which is not run",
    r"features:|--features trident": "tests/training/test_given_features.py has such files",
    r"--workers|--scheduler|SLURMCluster|#SBATCH": "tests/cohort runs them, the scripts whole",
    r"merged\.h5ad": "tests/spots has files of several sections and bins",
    r"^#!": "tests/cohort/test_slurm_page.py runs the script",
    r"import squidpy|import spatialdata_plot": "tests/scverse, where they are installed",
    r"class RingNetwork|ArchitectureEntry\(": "tests/training/test_architectures.py runs both",
}
"""What a block or command contains → where it is tried instead."""

TINY = "--tile-px 32 --mpp 6.25 --epochs 1 --dim 16 --heads 2 --hypergraph-hidden 16"
VISIUM = {
    "size_um=(1600, 1600)": "size_um=(1000, 1000), mpp=2.0",
    "--epochs 10": "--epochs 1",
    "--n-genes 100": "--n-genes 20",
}
SMALLER = {
    "docs/tutorials/first-slide.md": {"shape=(1500, 1500)": "shape=(500, 500)"},
    "docs/tutorials/fine-tune-visium.md": VISIUM,
    "docs/tutorials/compare.md": VISIUM,
    "README.md": {
        "nh2st predict": "nh2st predict --step-um 200",
        "--sections sections.csv -o run": f"--sections sections.csv -o run {TINY}",
        "--sections sections.csv -o cv": f"--sections sections.csv -o cv {TINY} --no-final",
    },
    "docs/notebooks/headless.md": {"shape=(2000, 2000)": "shape=(600, 600)"},
    "docs/notebooks/training.md": {
        "(2400, 2400)": "(1600, 1600)",
        "epochs=2": "epochs=1",
    },
    "docs/models.md": {"-o run": "-o run --epochs 1", "-o cv": "-o cv --no-final"},
    "docs/how-to/compare-architectures.md": {
        "-o compared --start": "-o compared --epochs 1 --start",
        "-o compared/sepal": "-o compared/sepal --epochs 1 --no-final",
        "linear,nh2st:query,nh2st:average,sepal,deepset": "linear,sepal",
    },
    "docs/how-to/panels.md": {
        "--sections sections.csv": f"--sections sections.csv {TINY}",
        "--n-genes 100": "--n-genes 4",
    },
    "docs/training.md": {
        '"mpp": 2.0': '"mpp": 4.0',
        "--tile-px 64 --mpp 2.5 --epochs 4": "--tile-px 32 --mpp 2.5 --epochs 1 --dim 16 --heads 2",
        "--epochs 4": "--epochs 1",
        "--epochs 3": "--epochs 1 --no-final",
        "epochs=3": "epochs=1",
    },
}
"""Page → texts in its blocks, and what they are for this test."""


TRAINS = re.compile(
    r"^nh2st (train|evaluate|crossval) |\bTrainSettings\b|evaluate_events|_study\b"
    r"|--model tuned/model|scores/predictions"
)
"""What trains, and what reads its results: run with ``--all-blocks``, as in the workflow, and else
parsed. It takes minutes."""

NEEDS_TRAINING = ("docs/notebooks/training.md",)
"""Pages whose blocks all go on from a training."""

MAKES_ITS_PREDICTION = ("README.md", "docs/predicting.md", "docs/tutorials/first-slide.md")


class Block(NamedTuple):
    """A fenced block of a page, its first line and its code."""

    line: int
    language: str
    code: str


def blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    fences = re.finditer(r"^```([\w{}-]*)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [
        # A cell of a notebook is a block of Python.
        Block(text.count("\n", 0, f.start(2)) + 1, f[1].replace("{code-cell}", "python"), f[2])
        for f in fences
    ]


def pages_with_code() -> list[str]:
    pages = [page.relative_to(ROOT).as_posix() for page in PAGES]
    return [p for p in pages if any(b.language in ("python", "sh", "bash") for b in blocks(p))]


def is_run(code: str) -> bool:
    return not any(re.search(pattern, code) for pattern in NOT_RUN)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Slides, spots, tables and predictions of the names that pages use."""
    folder = tmp_path_factory.mktemp("inputs")
    config = small_config(panel=GENES, mpp=6.25, pitch_um=200.0)
    save_model_folder(new_model(config, 0), folder / MODELS[0])
    write_synthetic_slide(folder / "slide.svs", seed=1, shape=(600, 600), mpp=1.4)
    slides = folder / "slides"
    slides.mkdir()
    for name in ("a", "b"):
        (slides / f"{name}.svs").write_bytes((folder / "slide.svs").read_bytes())
    (folder / "genes.txt").write_text("ERBB2\nCD74\nIGKC\n", encoding="utf-8")
    (folder / "slides.csv").write_text("slide\nslides/a.svs\nslides/b.svs\n", encoding="utf-8")
    (folder / "sets.gmt").write_text("amplicon\tof a test\tERBB2\tGRB7\tSTARD3\n", encoding="utf-8")
    rows = [
        write_section(folder, seed, GENES) | {"section_id": name}
        for seed, name in enumerate(("C4", "C5", "C6"))
    ]
    for table in ("sections.csv", "study.csv"):
        write_table(folder / table, rows)
    write_table(folder / "others.csv", [write_section(folder, 7, GENES)])
    write_legacy_section(folder)
    regions = (textured(300, 400, seed) for seed in (3, 4))
    write_ome(
        folder / "slide.scn", *((r, described(f"region {k}", 2.0)) for k, r in enumerate(regions))
    )
    with chdir(folder):
        assert main(["predict", "slide.svs", "-o", "slide.h5ad", "--model", MODELS[0]]) == 0
        assert main(["predict", "images/C6.jpg", "-o", "C6.h5ad", "--mpp", "6.25"]) == 0
        assert main(["evaluate", "--model", MODELS[0], "--sections", "others.csv", "-o", "ev"]) == 0
        Path("ev/predictions/S7.h5ad").rename("C6-compared.h5ad")
    return folder


def write_legacy_section(folder: Path) -> None:
    """A section in the tables of legacy arrays, as those of Andersson et al."""
    spots = drawn_spots("square", 6, 7, 32.0, (18.5, 20.0), GENES, seed=2)
    for name in ("counts", "spots", "images"):
        (folder / name).mkdir()
    counts = pd.DataFrame(spots.X.toarray(), spots.obs_names, spots.var_names)
    counts.to_csv(folder / "counts" / "C6.tsv.gz", sep="\t")
    x, y = spots.obsm["spatial"].T
    columns = {"x": spots.obs["array_col"], "y": spots.obs["array_row"], "pixel_x": x, "pixel_y": y}
    table = pd.DataFrame(columns | {"selected": 1})
    table.to_csv(folder / "spots" / "C6_selection.tsv", sep="\t", index=False)
    flat(folder / "images" / "C6.jpg", textured(200, 240, 2))


@pytest.fixture
def place(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a page is followed in."""
    pyplot.switch_backend("Agg")
    folder = tmp_path / "place"
    copytree(inputs, folder, ignore=lambda *_: MODELS)
    for name in MODELS:
        (folder / name).symlink_to(inputs / MODELS[0])
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NH2ST_CONFIG")
    monkeypatch.setattr("platformdirs.user_config_dir", lambda *_, **__: str(tmp_path / "config"))
    yield folder
    pyplot.close("all")


@pytest.mark.parametrize("page", pages_with_code())
def test_blocks_run(
    page: str,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    pytestconfig: pytest.Config,
) -> None:
    trains = pytestconfig.getoption("all_blocks")
    if page in MAKES_ITS_PREDICTION:
        Path("slide.h5ad").unlink()
    names: dict[str, Any] = {"__name__": "page"}
    if page == "docs/napari.md":
        names["viewer"] = show_prediction(place, "CD74").viewer
    for line, language, code in blocks(page):
        assert language or not code.startswith("nh2st "), f"{page}:{line} is no block of sh"
        for text, smaller in SMALLER.get(page, {}).items():
            code = code.replace(text, smaller)
        if language == "python" and is_run(code):
            compiled = compile("\n" * (line - 1) + code, ROOT / page, "exec")
            if trains or not (page in NEEDS_TRAINING or TRAINS.search(code)):
                exec(compiled, names)
        elif language in ("sh", "bash") and is_run(code.partition("\n")[0]):
            for number, command in enumerate(code.splitlines(), line):
                if not command.strip() or not is_run(command):
                    continue
                program, *arguments = shlex.split(command, comments=True)
                assert program == "nh2st", f"{page}:{number}"
                if trains or not TRAINS.search(command):
                    status = main(arguments)
                    assert status == 0, f"{page}:{number}: {command}\n{capsys.readouterr().err}"
                else:
                    parser().parse_args(arguments)
