"""Log file: what is in it, of which processes, and what it is never written to."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from napari_nh2st.errors import InputError
from napari_nh2st.log_file import VARIABLE, log_as_parent, logging_to

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"
log = logging.getLogger("napari_nh2st.a_test")


def test_a_log_has_times_levels_and_all_records_of_the_package(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with logging_to(path):
        log.debug("from \x1b[31m%s\nto there", "here")
        logging.getLogger("library").info("of no interest")
        logging.getLogger("chatty").setLevel(logging.INFO)  # as some libraries do themselves
        logging.getLogger("chatty").info("of no interest")
        logging.getLogger("library").warning("careful")
        logging.getLogger("urllib3.pool").warning("slow")
    log.debug("too late")
    with logging_to(path, libraries=logging.INFO):
        logging.getLogger("library").info("asked for")
        logging.getLogger("urllib3.pool").info("https://host/slide?key=secret")
    assert re.sub(STAMP, "T", path.read_text(encoding="utf-8")).splitlines() == [
        rf"T DEBUG {os.getpid()} napari_nh2st.a_test: from \x1b[31mhere",
        "  to there",
        f"T WARNING {os.getpid()} library: careful",
        f"T WARNING {os.getpid()} urllib3.pool: slow",
        f"T INFO {os.getpid()} library: asked for",
    ]
    assert (root.level, root.handlers) == before


def test_processes_that_are_started_meanwhile_append_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "before.log")
    path = tmp_path / "run.log"
    child = (
        "import logging; from napari_nh2st.log_file import log_as_parent; log_as_parent(); "
        "log_as_parent(); logging.getLogger('napari_nh2st.child').debug('here I am')"
    )
    with logging_to(path):
        subprocess.run([sys.executable, "-c", child], check=True)
    assert os.environ[VARIABLE] == "before.log"
    assert re.fullmatch(
        rf"{STAMP} DEBUG \d+ napari_nh2st\.child: here I am\n", path.read_text(encoding="utf-8")
    )


def test_a_child_whose_log_is_gone_works_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone" / "run.log"))
    before = list(logging.getLogger().handlers)
    log_as_parent()
    assert logging.getLogger().handlers == before


@pytest.mark.parametrize("content", [b"II*\0\1\0\0\0 a slide", b"gene\nERBB2\n"])
def test_other_files_are_never_written_to(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "slide.svs"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"slide\.svs is not a log of nh2st"), logging_to(path):
        pass
    assert path.read_bytes() == content
    for other in (tmp_path, tmp_path / "no" / "run.log"):
        with pytest.raises(InputError, match="cannot be written"), logging_to(other):
            pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
def test_a_log_on_a_full_disk_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(Path("/dev/full")):
        log.info("no room for this")
    assert capsys.readouterr().err == ""
