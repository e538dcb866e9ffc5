"""Threads that wait for each other sleep, in the command and in jobs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_nh2st.jobs import JobPool
from napari_nh2st.thread_waits import short_waits

_SHORT = {"GOMP_SPINCOUNT": "1000", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*_SHORT, "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_what_a_user_says_of_it_counts(name: str) -> None:
    assert short_waits({name: "7"}) == {}
    assert short_waits({}) == _SHORT


@pytest.mark.parametrize("given", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}])
def test_the_command_sets_it_before_torch_is_imported(given: dict[str, str]) -> None:
    code = (
        "import sys, nh2st_command, os; assert 'torch' not in sys.modules; "
        "print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | given,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()
    assert said == (["None", "ACTIVE"] if given else list(_SHORT.values()))


def test_jobs_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    jobs = JobPool(("process_jobs",))
    job = jobs.job("variable", name="GOMP_SPINCOUNT")
    assert list(job.events()) == ["1000"]
    jobs.close()
