"""Names that no file can hold, in every part of an AnnData, as anndata's own readers find them."""

import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.files import write_anndata
from napari_nh2st.prediction.schema import MARK


def with_slashes() -> AnnData:
    data = AnnData(
        X=np.arange(6, dtype=np.float32).reshape(3, 2),
        obs=pd.DataFrame({"B/Plasma": [1.0, 2.0, 3.0], "a": [0, 1, 2]}, list("xyz")),
        var=pd.DataFrame({"in/out": [True, False]}, ["HLA/A", "VIM"]),
        uns={MARK: {"a/b": "deep"}, "c/d": {"e": 1}, "list": pd.DataFrame({"f/g": [1]}, ["0"])},
        obsm={"h/i": np.ones((3, 2))},
        layers={"j/k": np.full((3, 2), 7.0)},
    )
    data.raw = data.copy()
    return data


@pytest.mark.parametrize("suffix", [".h5ad", ".zarr"])
def test_a_slash_becomes_an_underscore_in_the_file_alone(tmp_path: Path, suffix: str) -> None:
    data, path = with_slashes(), tmp_path / f"out{suffix}"
    with pytest.warns(UserWarning, match=r"obs\['B/Plasma'\] is written as 'B_Plasma' .and 7"):
        write_anndata(data, path)
    read = anndata.read_h5ad(path) if suffix == ".h5ad" else anndata.read_zarr(path)
    assert read.obs["B_Plasma"].tolist() == [1, 2, 3]
    assert list(read.var) == ["in_out"]
    assert list(read.var_names) == ["HLA/A", "VIM"]  # values, not names of places in a file
    assert read.uns[MARK] == {"a_b": "deep"}
    assert read.uns["c_d"] == {"e": 1}
    assert list(read.uns["list"]) == ["f_g"]
    assert list(read.obsm) == ["h_i"]
    np.testing.assert_array_equal(read.layers["j_k"], data.layers["j/k"])
    assert list(read.raw.var) == ["in_out"]
    np.testing.assert_array_equal(read.raw.X, data.X)
    assert list(data.obs) == ["B/Plasma", "a"]
    assert "c/d" in data.uns


def test_names_that_would_be_one_are_refused_and_others_are_not_touched(tmp_path: Path) -> None:
    data = with_slashes()
    data.obs["B_Plasma"] = "kept"
    with pytest.raises(InputError, match="obs has 'B/Plasma' and another name that is 'B_Plasma'"):
        write_anndata(data, tmp_path / "out.h5ad")
    assert list(tmp_path.iterdir()) == []
    plain = AnnData(data.X, uns={MARK: {}})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        write_anndata(plain, tmp_path / "out.h5ad")
