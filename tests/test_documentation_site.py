"""The documentation site builds without a warning, and its reference says what the code has."""

import argparse
import inspect
import pkgutil
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

import napari_nh2st
from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction, drawn_spot_prediction
from napari_nh2st.cli.arguments import parser
from napari_nh2st.evaluation.settings import CompareSettings
from napari_nh2st.inference.settings import PredictSettings
from napari_nh2st.model.catalogue import CATALOGUE
from napari_nh2st.options import Option, settings_of
from napari_nh2st.prediction.schema import HELD_OUT_PCC
from napari_nh2st.training.settings import TrainSettings

DOCS = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True)
class Inner:
    """Settings within others."""

    sigma: Annotated[float, Option("Sigma", "Width", (0, 9.5), unit="µm")] = 2.0


@dataclass(frozen=True)
class Outer:
    """Settings of every kind that a table of the reference has."""

    names: Annotated[tuple[str, ...], Option("Names", "What is shown | in which order")]
    count: Annotated[int, Option("Count", "How many", (1, 2000), heading="Numbers")] = 3
    share: Annotated[float | None, Option("Share", "How much", (0, 1), default="all")] = None
    order: Annotated[Literal["up", "down"], Option("Order", "Which way")] = "up"
    is_shown: Annotated[bool, Option("Hidden", "Show nothing", negative="hidden")] = True
    inner: Annotated[Inner, Option("Inner", "Those within")] = field(default_factory=Inner)
    own: Annotated[Inner | None, Option("Own", "Further ones", default="none")] = Inner()
    plain: int = 0


@pytest.fixture(scope="module")
def tables() -> Iterator[dict[str, Any]]:
    """What makes the tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS / "_extensions")
        yield runpy.run_path(str(DOCS / "_extensions" / "reference_tables.py"))


@pytest.fixture(scope="module")
def docstrings() -> dict[str, Any]:
    """What makes docstrings and signatures easier to read."""
    return runpy.run_path(str(DOCS / "_extensions" / "docstrings.py"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Pages of the reference as text, by name."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "text"]
    build += ["-D", "nb_execution_mode=off"]  # tests/test_documented_blocks.py runs notebooks
    ended = subprocess.run(
        [*build, "-d", folder / "doctrees", DOCS, folder / "pages"], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    reference = folder / "pages" / "reference"
    return {path.stem: path.read_text(encoding="utf-8") for path in reference.rglob("*.txt")}


def test_every_key_of_a_prediction_is_described(pages: dict[str, str]) -> None:
    slide = array_slide(ArrayLevel(textured(300, 300)), mpp=(0.5, 0.5), path="section.tif")
    for prediction in (drawn_prediction(slide), drawn_spot_prediction(slide)):
        for place in ("obs", "var", "layers", "obsm", "varm"):
            for key in getattr(prediction, place):
                assert f'"{place}["{key}"]"' in pages["anndata"]
        assert f'"varm["{HELD_OUT_PCC}"]"' in pages["anndata"]
        for key in prediction.uns["nh2st"]:
            assert f'| "{key}" ' in pages["anndata"]


def test_every_command_and_setting_is_listed(pages: dict[str, str]) -> None:
    for line in parser().format_help().splitlines():
        if line.startswith("    ") and not line.startswith("     "):
            assert f"\nnh2st {line.split()[0]}\n" in pages["command-line"]
    assert '"--step-um µm"' in pages["command-line"]
    assert "\nnh2st model fetch-encoder\n" in pages["command-line"]
    for kind in (PredictSettings, TrainSettings, CompareSettings):
        for name in settings_of(kind):
            assert f'| "{name}" ' in pages["settings"]
    for key in CATALOGUE:
        assert f'| "{key}" ' in pages["architectures"]


def test_a_field_has_what_its_option_says(tables: dict[str, Any]) -> None:
    assert list(tables["settings"](f"{__name__}:Outer")) == [
        "| field | what | default | range |",
        "|---|---|---|---|",
        "| `names` | What is shown \\| in which order | required |  |",
        "| **Numbers** |  |  |  |",
        "| `count` | How many | `3` | from 1 to 2,000 |",
        "| `share` | How much | all | from 0 to 1 |",
        "| `order` | Which way | `'up'` | `up`, `down` |",
        "| `is_shown` | False: show nothing | `True` |  |",
        "| `inner` | Those within; see `Inner` |  |  |",
        "| `own` | Further ones; see `Inner` |  |  |",
    ]
    assert list(tables["settings"](f"{__name__}:Inner"))[2:] == [
        "| `sigma` | Width | `2` | from 0 to 9.5 µm |"
    ]


def test_a_command_has_its_groups_arguments_and_commands(tables: dict[str, Any]) -> None:
    command = argparse.ArgumentParser("tool")
    below = command.add_subparsers().add_parser("cut", help="cut it")
    below.add_argument("file", help="which")
    below.add_argument("--secret", help=argparse.SUPPRESS)
    for each in (command, below):
        each.add_argument("--debug", dest=each.prog, metavar="X", help="say more")
    group = below.add_argument_group("size", "How large it is.")
    group.add_argument("-n", "--number", type=int, default=2, help="how many (%(default)s)")
    group.add_argument("--all", action="store_true", help="all of it")
    below.add_subparsers(title="kinds").add_parser("fine", help="thin")
    assert [line for line in tables["_command"](command, 2) if line] == [
        "| argument | what |",
        "|---|---|",
        "| `cut` | cut it |",
        "| `--debug X` | say more |",
        "## tool cut",
        "| argument | what |",
        "|---|---|",
        "| `file` | which |",
        "| **size** | How large it is. |",
        "| `-n NUMBER`, `--number NUMBER` | how many (2) |",
        "| `--all` | all of it |",
        "| **kinds** |  |",
        "| `fine` | thin |",
        "### tool cut fine",
        "```text",
        "tool cut file fine [-h]",
        "```",
        "| argument | what |",
        "|---|---|",
    ]


def test_names_and_keys_say_what_they_are(tables: dict[str, Any]) -> None:
    names = "\n".join(tables["names"]())
    assert "| {py:obj}`predict <napari_nh2st.inference.predict>` | Predict gene expression" in names
    assert "generator of events" in names.partition("predict_events")[2].partition("\n")[0]
    keys = list(tables["keys"]())
    for row in (
        '| `obs["array_row"]` | row and column in the array',  # of a tuple of two
        '| `obs["status"]` | `pending`, `predicted`, or why',  # values of constants
        '| `obs["domain"]` | domain of each tile',
    ):
        assert row in "\n".join(keys)
    places = [row[3:].partition("[")[0] for row in keys[2:]]
    assert [*dict.fromkeys(places)] == ["obs", "var", "layers", "obsm", "varm", "uns"]
    assert not re.search(r":\w+:`", "\n".join([names, *keys]))
    notes = "\n".join(tables["notes"]())
    assert "| `pitch_um` | `float` | always |" in notes
    assert "| `donor` | `str` | where it applies |" in notes
    rows = {row.split("`")[1]: row for row in list(tables["architectures"]())[2:]}
    assert rows.keys() == CATALOGUE.keys()
    assert rows["nh2st"].split(" | ")[2:4] == ["as its context says", "trained"]
    assert rows["triplex-slide"].endswith(
        "slide | frozen | `napari_nh2st/model/triplex_slide.py` |"
    )


def test_every_public_name_is_described_in_its_room(pages: dict[str, str]) -> None:
    for name in napari_nh2st.__all__:
        found = getattr(napari_nh2st, name)
        if inspect.isclass(found) or inspect.isroutine(found):
            room = found.__module__.split(".")[1]
            described = rf"^(\w+ )?napari_nh2st\.{room}\.{name}\b"
            assert re.search(described, pages[room], re.MULTILINE), name


def test_functions_of_the_top_level_have_parameters_and_an_example() -> None:
    functions = [getattr(napari_nh2st, name) for name in napari_nh2st.__all__]
    functions = [found for found in functions if inspect.isroutine(found)]
    assert len(functions) > 10
    for function in functions:
        for part in ("Parameters", "Examples"):
            assert f"\n{part}\n-----" in (inspect.getdoc(function) or ""), function


def test_docstrings_are_read_as_they_are_meant(pages: dict[str, str]) -> None:
    for page in DOCS.glob("reference/api/*.md"):
        text = pages[page.stem]
        assert not re.search(r"^ *Type:$", text, re.MULTILINE), page  # half of a property's text
        assert "**," not in text, page  # an attribute's name, taken for a type
        assert "ndarray[tuple[Any, ...], dtype" not in re.sub(r"(?m)^ *property .*", "", text), page
        assert "<factory>" not in text, page
    assert "**n_tiles, n_sections** --" in pages["analysis"]  # described together
    assert "labels: NDArray[int64]," in pages["analysis"]
    assert "first: ArrayLike," in pages["analysis"]
    assert "weights: Mapping[str, Any] = ...," in pages["model"]
    settings = pages["inference"].partition("PredictSettings(…)")[2]
    assert "All fields, with their defaults and ranges: Settings." in settings.partition("class")[0]


def test_types_of_ours_have_the_name_that_leads_to_them(docstrings: dict[str, Any]) -> None:
    for given, expected in {
        "(a: ~napari_nh2st.slide.slide.Slide)": "(a: ~napari_nh2st.slide.Slide)",
        "~napari_nh2st.slide.bulk.NoName | None": "~napari_nh2st.slide.bulk.NoName | None",
        "~numpy.ndarray[tuple[~typing.Any, ...], ~numpy.dtype[~numpy.number[~typing.Any]]]": (
            "NDArray[~numpy.number[~typing.Any]]"
        ),
        "(mpp: float = 0.5, n: int = 20_000)": "(mpp: float = 0.5, n: int = 20_000)",
    }.items():
        assert docstrings["short"](given) == expected


def test_the_page_of_names_lists_all_and_says_what_each_is(pages: dict[str, str]) -> None:
    _, *parts = re.split(r'^"(napari_nh2st[.\w]*)"\n=+$', pages["api"], flags=re.MULTILINE)
    listed = dict(zip(parts[::2], parts[1::2], strict=True))
    assert {"napari_nh2st", "napari_nh2st.analysis", "napari_nh2st.export"} < set(listed)
    for package, table in listed.items():
        rows = re.findall(r'^\| "(\w+)" +\| (.*?) *\|$', table, re.MULTILINE)
        names = [name for name, _ in rows]
        home = import_module(package)
        assert names == list(getattr(home, "__all__", names)), package
        assert names
        assert all(hasattr(home, name) for name in names), package
        assert all(text for _, text in rows), package


def test_every_package_with_public_names_is_on_the_page_of_names(pages: dict[str, str]) -> None:
    inner = ("cli", "jobs", "layers", "remote", "widgets", "prediction")
    for found in pkgutil.iter_modules(napari_nh2st.__path__):
        if found.ispkg and found.name not in inner:
            assert f'"napari_nh2st.{found.name}"\n==' in pages["api"]


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("models", "[it](../SECURITY.md)", "[it]({repository}/blob/main/SECURITY.md)"),
        (
            "a",
            "[it](../benchmarks/README.md#b)",
            "[it]({repository}/blob/main/benchmarks/README.md#b)",
        ),
        ("tutorials/first-slide", "[it](../slides.md#a) ![x](../images/tile.png)", None),
        (
            "reference/api/slide",
            "[it](../../../README.md)",
            "[it]({repository}/blob/main/README.md)",
        ),
    ],
)
def test_links_out_of_the_site_lead_to_the_repository(
    page: str, text: str, expected: str | None
) -> None:
    conf = runpy.run_path(str(DOCS / "conf.py"))
    source = [text]
    conf["_link_to_repository"](None, page, source)
    assert source == [(expected or text).format(repository=conf["REPOSITORY"])]
