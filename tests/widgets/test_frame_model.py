"""How tables write numbers: alike within a column, short, and never misleading."""

import numpy as np
import pandas as pd
import pytest

from napari_nh2st.widgets.frame_model import number_format


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("effect", [0.71, -1.94e-05, -1.24], ["0.71", "0.00", "−1.24"]),
        ("sd", [0.1112, 0.0905, 0.0004], ["0.111", "0.090", "0.000"]),
        ("percentile", [95.123, 8.0], ["95.1", "8.0"]),
        ("mse", [12345.6, 7.0], ["12,346", "7"]),
        ("small", [3e-5, -1e-5], ["0.000030", "−0.000010"]),
        ("reliability", [0.547, -0.1, np.nan], ["0.55", "−0.10", "–"]),
        ("z", [np.nan, np.nan], ["–", "–"]),
        ("value", [0.0, 0.0], ["0.00", "0.00"]),
        ("n_tiles", [1234, -5], ["1,234", "−5"]),
        ("gene", ["HLA-A", "ERBB2"], ["HLA-A", "ERBB2"]),
    ],
)
def test_a_column_has_one_number_of_decimals(
    name: str, values: list[object], words: list[str]
) -> None:
    column = pd.Series(values)
    write = number_format(name, column)
    assert [write(value) for value in column] == words


def test_of_probabilities_only_the_size_is_said() -> None:
    column = pd.Series([4.91e-05, 0.00099, 0.001, 0.0386, 0.96, 1.0, np.nan])
    for name in ("p", "q"):
        write = number_format(name, column)
        words = [write(value) for value in column]
        assert words == ["<0.001", "<0.001", "0.001", "0.04", "1", "1", "–"]
