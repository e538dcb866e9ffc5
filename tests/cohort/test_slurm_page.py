"""The scripts of the page on SLURM, run whole, with an sbatch that starts jobs on this machine."""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest

from cohort_slides import write_model, write_slide

PAGE = Path(__file__).parents[2] / "docs" / "tutorials" / "slurm.md"

SBATCH = """#!/bin/bash
cp "$1" "{jobs}/$$.sh"
setsid bash "{jobs}/$$.sh" > "{jobs}/$$.log" 2>&1 &
echo "Submitted batch job $!"
"""


def script(language: str, beginning: str) -> str:
    found = re.findall(rf"```{language}\n({beginning}.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def replaced(text: str, changes: dict[str, str]) -> str:
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    return text


def write_command(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


@pytest.mark.skipif(sys.platform != "linux", reason="SLURM runs on Linux")
def test_the_job_script_predicts_on_workers_that_are_jobs(tmp_path: Path) -> None:
    shared, commands, jobs = tmp_path / "shared", tmp_path / "bin", tmp_path / "jobs"
    jobs.mkdir()
    for number in range(2):
        write_slide(shared / "slides" / f"{number}.tif", number)
    (shared / "slides" / "slides.csv").write_text(
        "slide,mpp\n0.tif,1.0\n1.tif,1.0\n", encoding="utf-8"
    )
    model = write_model(shared / "small")
    write_command(shared / "venv" / "bin" / "activate", "")
    write_command(commands / "python", f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    write_command(commands / "srun", '#!/bin/sh\nexec "$@"\n')
    write_command(commands / "sbatch", SBATCH.format(jobs=jobs))
    write_command(commands / "scancel", '#!/bin/sh\nkill -- "-$1"\n')
    here = {"/shared/": f"{shared}/"}
    on_this_machine = {
        'interface="ib0"': 'interface="lo"',
        "maximum_jobs=8": "maximum_jobs=1",
        'PredictSettings(step_um=50, device="cuda")': (
            f'PredictSettings(step_um=32, device="cpu", tissue_only=False), model={str(model)!r}'
        ),
    }
    predict = replaced(script("python", "# predict.py"), here | on_this_machine)
    (tmp_path / "predict.py").write_text(predict, encoding="utf-8")
    job = tmp_path / "job.sh"
    job.write_text(replaced(script("sh", "#!/bin/bash"), here), encoding="utf-8")
    subprocess.run(["bash", "-n", job], check=True)
    started = subprocess.Popen(
        ["bash", job],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = started.communicate(timeout=300)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
    assert started.returncode == 0, said + "".join(
        p.read_text(encoding="utf-8") for p in jobs.glob("*.log")
    )
    assert "2 1 done" in said or "2 0 done" in said
    summary = pd.read_csv(shared / "predictions" / "summary.csv")
    assert list(summary["status"]) == ["done", "done"]
    # what SLURM would have been asked for
    asked = next(jobs.glob("*.sh")).read_text(encoding="utf-8")
    for line in ("-p gpu", "-t 04:00:00", "--gres=gpu:1", "--cpus-per-task=8"):
        assert f"#SBATCH {line}\n" in asked
    assert "--nthreads 1 " in asked
    assert "--resources GPU=1 --lifetime 230m" in asked
