"""Spots for tests: real sections, each read once, and small ones drawn on an array."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from napari_nh2st.spots import read_spots


@cache
def her2st(data: Path, section: str) -> AnnData:
    folder = data / "her2st"
    return read_spots(
        folder / "counts" / f"{section}.tsv.gz", folder / "spots" / f"{section}_selection.tsv"
    )


@cache
def mob(data: Path, section: int) -> AnnData:
    folder = data / "mob"
    return read_spots(folder / f"MOB{section}.tsv.gz", folder / f"alignment_table_MOB{section}.tsv")


def array_positions(layout: str, rows: int, columns: int) -> NDArray[np.int64]:
    """(n, 2) (row, column); shifted layouts count columns in half steps, as Visium does."""
    row, column = np.mgrid[:rows, :columns].reshape(2, -1)
    if layout != "square":
        column = 2 * column + row % 2
    return np.column_stack([row, column])


def drawn_spots(
    layout: str = "square",
    rows: int = 8,
    columns: int = 10,
    pitch_px: float = 40.0,
    origin: tuple[float, float] = (20.0, 20.0),
    genes: tuple[str, ...] = ("A", "B", "C"),
    seed: int = 0,
) -> AnnData:
    """Poisson counts on an array; ``origin`` is the first spot's (x, y).

    Square arrays are legacy ones, of 200 µm.
    """
    array = array_positions(layout, rows, columns)
    step = {
        "square": (pitch_px, pitch_px),
        "hexagonal": (pitch_px * np.sqrt(3) / 2, pitch_px / 2),
        "interleaved": (pitch_px / 2, pitch_px / 2),
    }[layout]
    counts = np.random.default_rng(seed).poisson(3, (len(array), len(genes)))
    return AnnData(
        csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame(
            {"array_row": array[:, 0], "array_col": array[:, 1]},
            index=[f"{column}x{row}" for row, column in array],
        ),
        var=pd.DataFrame(index=list(genes)),
        obsm={"spatial": (array * step)[:, ::-1] + origin},
        uns={"nh2st_spots": {"pitch_um": 200.0}} if layout == "square" else {},
    )


def assert_same_spots(spots: AnnData, expected: AnnData) -> None:
    assert spots.obs_names.tolist() == expected.obs_names.tolist()
    assert spots.var_names.tolist() == expected.var_names.tolist()
    np.testing.assert_array_equal(spots.X.toarray(), expected.X.toarray())
    np.testing.assert_array_equal(spots.obsm["spatial"], expected.obsm["spatial"])
    names = ["array_row", "array_col"]
    np.testing.assert_array_equal(spots.obs[names], expected.obs[names])
