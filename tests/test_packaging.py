"""What is built and published: the wheel, its description, and the conda recipe."""

import re
import subprocess
import sys
import tomllib
from email import message_from_string
from email.message import Message
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from npe2 import PluginManifest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
MOST_BYTES = 30_000_000
CONDA_NAMES = {
    "dask": "dask-core",
    "igraph": "python-igraph",
    "lightning-fabric": "pytorch-lightning",
    "matplotlib": "matplotlib-base",
    "torch": "pytorch",
}


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, folder], cwd=ROOT, check=True)
    (path,) = folder.iterdir()
    return path


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        return message_from_string(archive.read(name).decode())


def test_the_wheel_holds_the_package_its_model_and_pages(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = ROOT / "src" / "napari_nh2st"
    sources = {
        f"napari_nh2st/{path.relative_to(package).as_posix()}" for path in package.rglob("*.py")
    }
    docs = ROOT / "docs"
    pages = {
        f"napari_nh2st/docs/{path.relative_to(docs).as_posix()}"
        for folder in ("", "concepts", "how-to")
        for path in (docs / folder).glob("*.md")
        if path.name not in ("changelog.md", "index.md")
    }
    model = {
        f"napari_nh2st/{path.relative_to(package).as_posix()}"
        for path in (package / "models").rglob("*.*")
    }
    data = {"napari.yaml", "icon.svg", "py.typed", "model/config.schema.json"}
    expected = {*sources, *pages, *model, *(f"napari_nh2st/{name}" for name in data)}
    others = {name for name in names - expected if ".dist-info/" not in name}
    assert expected <= names
    assert "napari_nh2st/models/her2-breast-demo/model.safetensors" in names
    assert others == {"nh2st_command.py"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert wheel.stat().st_size <= MOST_BYTES


def test_napari_takes_the_manifest_and_finds_its_icon(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        archive.extract("napari_nh2st/napari.yaml", tmp_path)
        manifest = PluginManifest.from_file(tmp_path / "napari_nh2st" / "napari.yaml")
        folder, _, name = str(manifest.icon).partition(":")
        assert archive.read(f"{folder}/{name}").startswith(b"<svg")
    assert (manifest.name, manifest.display_name) == ("napari-nh2st", "NH2ST")
    assert manifest.categories


def test_the_description_has_whole_addresses_in_the_projects_repository(
    metadata: Message, project: dict[str, Any]
) -> None:
    repository = project["urls"]["Repository"]
    links = re.findall(r"\]\(([^)]+)\)", str(metadata.get_payload()))
    assert len(links) > 10
    assert all(link.startswith(("https://", "#")) for link in links)
    own = [link for link in links if "napari-nh2st" in link]
    raw = repository.replace("github.com", "raw.githubusercontent.com")
    assert all(link.startswith((f"{repository}/blob/main/", f"{raw}/main/")) for link in own)
    paths = [re.sub(r"^.*?/(?:blob/)?main/", "", link).partition("#")[0] for link in own]
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert Version(str(metadata["Version"])) > Version("0.1.dev0")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == repository
    assert citation["license"] == project["license"]


def test_the_conda_recipe_asks_for_what_the_package_asks_for(project: dict[str, Any]) -> None:
    recipe = yaml.safe_load((ROOT / "packaging" / "recipe.yaml").read_text(encoding="utf-8"))
    listed = set(recipe["requirements"]["run"][1:])
    declared = [Requirement(line) for line in project["dependencies"]]
    assert listed == {f"{CONDA_NAMES.get(r.name, r.name)} {r.specifier}" for r in declared}
    assert recipe["about"]["repository"] == project["urls"]["Repository"]
    assert recipe["about"]["summary"] == project["description"]


def test_every_action_is_pinned_by_its_hash() -> None:
    workflows = [*(ROOT / ".github" / "workflows").glob("*.yml")]
    used = [
        line.split("uses:")[1].strip()
        for path in workflows
        for line in path.read_text(encoding="utf-8").splitlines()
        if "uses:" in line
    ]
    assert len(used) > 20
    assert [
        line for line in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", line)
    ] == []
    # The same version of an action everywhere.
    assert len({line.split("@")[0] for line in used}) == len(set(used))
