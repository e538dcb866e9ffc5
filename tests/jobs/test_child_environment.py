"""A child process imports what its parent would, and nothing that lies in the working folder."""

import subprocess
import sys
from pathlib import Path

import pytest

import napari_nh2st
from napari_nh2st.jobs import JobPool
from napari_nh2st.jobs.environment import child_environment, trusted_paths


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder whose files have the names of modules; gives what they leave when run."""
    mark = tmp_path / "it-ran"
    folder = tmp_path / "downloads"
    folder.mkdir()
    for name in ("numpy", "torch", "pickle", "queue", "napari_nh2st", "sitecustomize"):
        (folder / f"{name}.py").write_text(
            f"open({str(mark)!r}, 'w').write({name!r})\n", encoding="utf-8"
        )
    monkeypatch.chdir(folder)
    return mark


def output(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, *arguments],
        env=child_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()


def test_a_job_runs_nothing_of_the_working_folder(
    trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1]))
    jobs = JobPool(("numpy", "process_jobs"))
    job = jobs.job("echo", first="a")
    job.send("end")
    assert list(job.events()) == ["a"]
    jobs.close()
    assert not trap.exists()


@pytest.mark.parametrize("here", ["", ".", "{cwd}"])
def test_the_working_folder_is_not_handed_on(
    trap: Path, monkeypatch: pytest.MonkeyPatch, here: str
) -> None:
    monkeypatch.setattr(sys, "path", [here.format(cwd=Path.cwd()), *sys.path])
    assert (
        output("-c", "import pickle, numpy; print(numpy.__file__)") == sys.modules["numpy"].__file__
    )
    assert not trap.exists()


def test_processes_of_a_child_are_as_safe(trap: Path) -> None:
    code = (
        "import multiprocessing as m, os\n"
        "if __name__ == '__main__':\n"
        "    p = m.get_context('spawn').Process(target=os.getpid); p.start(); p.join()\n"
        "    print(p.exitcode)"
    )
    assert output("-c", code) == "0"
    assert not trap.exists()


def test_a_child_finds_what_its_parent_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_the_parent.py").write_text("word = 'found'\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert output("-c", "import beside_the_parent as b; print(b.word)") == "found"
    assert output("-c", "import napari_nh2st as n; print(n.__file__)") == napari_nh2st.__file__


def test_the_folder_that_the_package_is_imported_from_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = Path(napari_nh2st.__file__).parents[1]
    monkeypatch.chdir(source)
    monkeypatch.syspath_prepend(str(source))
    assert str(source) in trusted_paths()


def test_variables_that_make_python_run_or_ask_for_more_are_left_out() -> None:
    given = {"PYTHONSTARTUP": "/x.py", "PYTHONINSPECT": "1", "PYTHONUTF8": "1", "HOME": "/home/me"}
    environment = child_environment(given)
    assert environment.keys() == {"PYTHONUTF8", "HOME", "PYTHONPATH", "PYTHONSAFEPATH"}
