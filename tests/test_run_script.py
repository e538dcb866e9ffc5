"""scripts/run.py sets a bare machine up or says what it lacks; the pins hold together."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_script", ROOT / "scripts" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Machine:
    """A made-up machine: records what would run instead of running it."""

    def __init__(self, script: ModuleType, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.commands: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self.loadable = set(script.QT_LIBRARIES)
        self.programs = {"Xvfb", "apt-get"}
        self.modules = {"ensurepip", "pip"}
        self.pythons: dict[str, str] = {}
        self.failing = ""
        self.uid = 0
        renderer = folder / "lib" / "x86_64-linux-gnu" / "dri" / script.SOFTWARE_RENDERER
        renderer.parent.mkdir(parents=True)
        renderer.touch()
        monkeypatch.setenv("PYENV_ROOT", str(folder / "no-pyenv"))
        monkeypatch.setattr(script, "SYSTEM", folder)
        monkeypatch.setattr(script, "TOX_VENV", folder / "tox-venv")
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(os, "geteuid", lambda: self.uid, raising=False)
        monkeypatch.setattr(script.ctypes, "CDLL", self._load)
        monkeypatch.setattr(shutil, "which", lambda name: name if name in self.programs else None)
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: name if name in self.modules else None
        )
        monkeypatch.setattr(subprocess, "run", self._run)

    def _load(self, library: str) -> None:
        if library not in self.loadable:
            raise OSError(library)

    def _run(
        self, command: list[str], env: dict[str, str] | None = None, **_: object
    ) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in command]
        if len(words) == 3 and "version_info[:2])" in words[2] and "metadata" not in words[2]:
            answer = self.pythons.get(words[0])
            return subprocess.CompletedProcess(words, int(answer is None), stdout=answer or "")
        if "-c" in words:  # the probe of tox's environment, which is not there yet
            return subprocess.CompletedProcess(words, 1, stdout="")
        self.commands.append(words)
        self.environments.append(env or {})
        failed = bool(self.failing) and self.failing in words
        return subprocess.CompletedProcess(words, 1 if failed else 0)


@pytest.fixture
def machine(script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    monkeypatch.delenv("NH2ST_NEWEST_TESTS", raising=False)  # these tests run below the script
    return Machine(script, monkeypatch, tmp_path)


def test_a_complete_machine_makes_tox_and_runs_it_alone(
    script: ModuleType, machine: Machine
) -> None:
    assert script.main(["test"]) == 0
    make, install, prepare, run = machine.commands
    assert make[1:3] == ["-m", "venv"]
    assert "--constraint" in install
    assert str(ROOT / "constraints.txt") in install
    names = run[run.index("-e") + 1].split(",")
    assert names == ["older-anndata", "test", "newest", "newest-without-torch"]
    assert "--notest" in prepare
    assert prepare[prepare.index("-e") + 1] == run[run.index("-e") + 1]
    assert "NH2ST_NEWEST_TESTS" not in machine.environments[-1]


def test_arguments_after_dashes_reach_pytest(script: ModuleType, machine: Machine) -> None:
    script.main(["test", "--", "tests/test_grid.py", "-k", "hex"])
    run = machine.commands[-1]
    assert run[-4:] == ["--", "tests/test_grid.py", "-k", "hex"]
    # Those of the newest versions have other files, in which such tests may not be.
    assert run[run.index("-e") + 1] == "older-anndata,test"


def test_a_newer_python_is_found_by_its_answer(
    script: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    # A shim of pyenv is a name on the path that runs nothing.
    machine.programs |= {"python3.14", "python3.13", "python3.12"}
    machine.pythons = {"python3.12": "3.12"}
    assert script.main(["test"]) == 0
    run = machine.commands[-1]
    assert run[run.index("--discover") + 1] == "python3.12"
    assert machine.environments[-1]["NH2ST_NEWEST_TESTS"] == "tests/model"
    assert "skipped" not in capsys.readouterr().out


def test_a_newer_python_of_pyenv_is_found(
    script: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "pyenv" / "versions" / "3.13.0" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    machine.pythons = {str(python): "3.13"}
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    script.main(["test"])
    run = machine.commands[-1]
    assert run[run.index("--discover") + 1] == str(python)


def test_without_a_newer_python_its_tests_are_left_out_with_a_line(
    script: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["test"]) == 0
    assert "--discover" not in machine.commands[-1]
    assert "newest-without-torch is skipped" in capsys.readouterr().out


def test_the_exit_code_is_that_of_tox(script: ModuleType, machine: Machine) -> None:
    machine.failing = "tox.ini"
    assert script.main(["demo"]) == 0
    machine.failing = str(ROOT / "tox.ini")
    assert script.main(["demo"]) == 1


def test_without_ensurepip_the_systems_pip_fills_the_environment(
    script: ModuleType, machine: Machine
) -> None:
    machine.modules.remove("ensurepip")
    assert script.main(["demo"]) == 0
    make, install, _ = machine.commands
    assert "--without-pip" in make
    python = str(script.venv_python())
    assert install[:5] == [sys.executable, "-m", "pip", "--python", python]


def test_without_any_pip_the_message_names_the_package(
    script: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.modules.clear()
    assert script.main(["demo"]) == 1
    assert machine.commands == []
    assert "python3-pip" in capsys.readouterr().err


def test_root_gets_the_missing_libraries_and_no_others(
    script: ModuleType, machine: Machine
) -> None:
    machine.loadable -= {"libEGL.so.1", "libxcb-cursor.so.0"}
    assert script.main(["libraries"]) == 0
    update, install = machine.commands
    assert update == ["apt-get", "update"]
    assert install[:3] == ["apt-get", "install", "-y"]
    assert {word for word in install[3:] if word.startswith("lib")} == {"libegl1", "libxcb-cursor0"}


def test_another_user_gets_the_line_to_run_and_nothing_is_done(
    script: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.uid = 1000
    machine.programs.remove("Xvfb")
    assert script.main(["test"]) != 0
    assert machine.commands == []
    line = capsys.readouterr().err.splitlines()[-1].strip()
    assert line.startswith("sudo apt-get update && sudo apt-get install -y")
    assert line.endswith(" xvfb")


def test_a_missing_software_renderer_is_noticed(
    script: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(script, "SYSTEM", tmp_path / "nowhere")
    assert script.missing_packages() == ["libgl1-mesa-dri"]


def test_a_system_without_apt_is_told_what_is_missing(
    script: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.programs.clear()
    assert script.main(["test"]) == 1
    assert machine.commands == []
    assert "xvfb" in capsys.readouterr().err


def test_a_failing_apt_stops_before_tox(script: ModuleType, machine: Machine) -> None:
    machine.loadable.clear()
    machine.failing = "update"
    assert script.main(["test"]) == 1
    assert machine.commands == [["apt-get", "update"]]


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_platforms_need_no_libraries(
    script: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    machine.loadable.clear()
    assert script.main(["libraries"]) == 0
    assert machine.commands == []


def test_the_demo_needs_no_libraries(script: ModuleType, machine: Machine) -> None:
    machine.loadable.clear()
    machine.uid = 1000
    assert script.main(["demo"]) == 0


def test_relative_test_data_is_made_absolute(
    script: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NH2ST_TEST_DATA", "slides/../data")
    script.main(["test"])
    assert machine.environments[-1]["NH2ST_TEST_DATA"] == str(tmp_path.resolve() / "data")


@pytest.mark.parametrize("arguments", [[], ["tests"], ["test", "-k", "grid"]])
def test_a_wrong_command_line_shows_the_usage(
    script: ModuleType,
    machine: Machine,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    assert script.main(arguments) == 2
    assert machine.commands == []
    assert "scripts/run.py demo" in capsys.readouterr().err


def pins() -> dict[str, str]:
    """Package and version of every line of constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pin) == 2 for pin in found), "every constraint is name==version"
    versions = {canonicalize_name(name): version for name, version in found}
    assert len(versions) == len(found), "no package is pinned twice"
    return versions


def declared_requirements() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    lines = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *(
            line
            for name in ("napari", "openslide", "hub", "spatialdata", "visium-hd", "distributed")
            for line in extras[name]
        ),
        *(line for group in project["dependency-groups"].values() for line in group),
    ]
    return [Requirement(line) for line in lines if isinstance(line, str)]


@pytest.mark.parametrize("requirement", declared_requirements(), ids=lambda r: r.name)
def test_each_declared_requirement_has_a_pin_that_meets_it(requirement: Requirement) -> None:
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_pre_commit_and_the_tests_use_the_same_ruff() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"ruff==([\d.]+)", hooks)) == {pins()["ruff"]}


# --- what is installed without torch, in scripts/install_dependencies.py ---


@pytest.fixture
def installer() -> ModuleType:
    place = ROOT / "scripts" / "install_dependencies.py"
    spec = importlib.util.spec_from_file_location("install_dependencies", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_dependency_but_torch_is_installed(installer: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {Requirement(line).name for line in project["dependencies"]}
    found = {Requirement(line).name for line in installer.requirements(())}
    assert declared - found == {"torch", "lightning-fabric"}
    assert "spatialdata" in {Requirement(r).name for r in installer.requirements(["spatialdata"])}


def test_the_lowest_versions_are_the_bounds(installer: ModuleType) -> None:
    lines = installer.requirements(installer.EXTRAS)
    pinned = [Requirement(line) for line in installer.lowest(lines)]
    assert [pin.name for pin in pinned] == [Requirement(line).name for line in lines]
    for pin, line in zip(pinned, lines, strict=True):
        (bound,) = Requirement(line).specifier
        (exact,) = pin.specifier
        assert (bound.operator, exact.operator) == (">=", "==")
        assert exact.version == bound.version
