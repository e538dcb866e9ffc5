"""``nh2st completion``: scripts for shells."""

import subprocess
import sys

import pytest

from command_results import Nh2st


@pytest.mark.skipif(sys.platform == "win32", reason="asks bash itself")
def test_bash_completes_commands_and_options(nh2st: Nh2st) -> None:
    result = nh2st("completion", "bash")
    assert (result.code, result.err) == (0, "")
    ask = (
        "COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _shtab_nh2st; "
        'printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    for words, expected in (
        ("nh2st pre", {"predict"}),
        ("nh2st predict --step", {"--step-um"}),
        ("nh2st model fetch", {"fetch-encoder"}),
    ):
        script = f"{result.out}\n{ask.format(words=words)}"
        said = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
        assert set(said.stdout.split()) == expected, said.stderr


def test_an_unknown_shell_is_refused(nh2st: Nh2st) -> None:
    assert nh2st("completion", "fish").code == 2
