"""A disk that fills up, and a largest size of files: a sentence, and nothing lost.

These are the system's own, so that libraries which write by themselves meet them too.
"""

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import crash_cases
import pytest
from extent import Extent
from fault_runs import Prepared, Tally, fresh, wrong_afterwards, wrong_words
from forking import ForkServer

NAMES = ("predict", "predict-over-zarr", "export-h5ad", "export-ome.zarr", "model-save", "train")


@pytest.mark.parametrize("name", NAMES)
def test_files_that_may_not_grow(
    name: str,
    server: ForkServer,
    undisturbed: Callable[[str], Prepared],
    extent: Extent,
    tally: Tally,
) -> None:
    run = undisturbed(name)
    for seed in range(extent.seed, extent.seed + extent.points):
        fresh(run)
        largest = int(random.Random(seed).uniform(0, 1) ** 3 * run.largest)
        ended = server.run(crash_cases.disturbed_by_file_size, run.name, run.place, largest)
        if ended.how == "returned":
            tally.add("done")
            continue
        wrong = wrong_words(ended) or wrong_afterwards(server, run)
        tally.add("refused", wrong and f"{largest} bytes: {wrong}")
    assert not tally.problems, "\n\n".join(tally.problems)


@contextmanager
def small_disk(place: Path, n_bytes: int) -> Iterator[Callable[[], None]]:
    """A disk of its own; gives what makes room on it."""

    def mount(*options: str) -> None:
        command = ["mount", *options, "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")

    mount("-t", "tmpfs", "-o", f"size={n_bytes}")
    try:
        yield lambda: mount("-t", "tmpfs", "-o", "remount,size=2g")
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_fills_up(
    name: str,
    server: ForkServer,
    undisturbed: Callable[[str], Prepared],
    extent: Extent,
    tally: Tally,
) -> None:
    run = undisturbed(name)
    for seed in range(extent.seed, extent.seed + extent.points):
        shutil.rmtree(run.place, ignore_errors=True)
        run.place.mkdir()
        share = random.Random(seed).uniform(0.05, 1.5)
        with small_disk(run.place, int(run.before + share * run.added) + 65_536) as make_room:
            shutil.copytree(run.template, run.place, dirs_exist_ok=True)
            ended = server.run(crash_cases.disturbed, run.name, run.place, None)
            if ended.how == "returned":
                tally.add("done")
                continue
            wrong = wrong_words(ended)
            make_room()
            wrong = wrong or wrong_afterwards(server, run)
            tally.add("refused", wrong and f"a disk of {share:.2f} of what it needs: {wrong}")
    assert not tally.problems, "\n\n".join(tally.problems)
