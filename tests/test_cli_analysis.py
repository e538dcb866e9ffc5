"""``nh2st domains`` and ``nh2st score``: the docks' numbers, in the files that are asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.stats import zscore

from analysis_predictions import make_prediction
from napari_nh2st.analysis import DomainSettings, NamedDomains, find_domains
from napari_nh2st.cli import main
from napari_nh2st.export import export


class Result(NamedTuple):
    code: int
    out: str
    err: str


Nh2st = Callable[..., Result]


@pytest.fixture
def nh2st(capsys: pytest.CaptureFixture[str]) -> Nh2st:
    def run(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return run
