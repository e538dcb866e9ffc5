"""Processes that help a training end with the first one, however it ends."""

import subprocess
import sys

import psutil
import pytest

_FIRST = """
import os, subprocess, sys
from napari_nh2st.training.first_process import end_with_first_process

end_with_first_process()
code = (
    "import os, threading\\n"
    "from napari_nh2st.training.first_process import end_with_first_process\\n"
    "end_with_first_process()\\n"
    "print('ready', flush=True)\\n"
    "threading.Event().wait()"
)
helper = subprocess.Popen(
    [sys.executable, "-c", code], env=os.environ | {"LOCAL_RANK": "1"}, stdout=subprocess.PIPE
)
assert helper.stdout.readline() == b"ready\\n"
assert helper.poll() is None
print(helper.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("killed", [True, False])
def test_a_helper_ends_with_the_first_process(killed: bool) -> None:
    first = subprocess.Popen(
        [sys.executable, "-c", _FIRST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdin is not None
    assert first.stdout is not None
    helper = psutil.Process(int(first.stdout.readline()))
    if killed:
        first.kill()
    first.communicate()
    helper.wait(30)
