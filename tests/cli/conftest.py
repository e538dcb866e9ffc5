"""Fixtures of the tests of the command."""

import pytest

from command_results import Nh2st, Result
from napari_nh2st.cli import main


@pytest.fixture
def nh2st(capsys: pytest.CaptureFixture[str]) -> Nh2st:
    """Runs the command in this process."""

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        return Result(code, *capsys.readouterr())

    return run
