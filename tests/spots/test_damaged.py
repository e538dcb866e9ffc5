"""Counts whose parts do not fit each other are refused before anything is computed with them."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from napari_nh2st.errors import InputError
from napari_nh2st.spots import read_sections, read_spots
from spot_sections import drawn_spots


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("indptr", np.full(81, 2**31 - 1)),
        ("indptr", np.zeros(3, np.int32)),
        ("indices", np.full(4, b"text")),
        ("data", np.full(4, b"text")),
    ],
)
def test_a_sparse_matrix_that_is_none(tmp_path: Path, part: str, values: np.ndarray) -> None:
    path = tmp_path / "spots.h5ad"
    drawn_spots().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        if values.dtype.kind == "S":
            values = np.resize(values, len(file["X"][part]))
        del file["X"][part]
        file["X"][part] = values
    with pytest.raises(InputError, match=r"spots\.h5ad"):
        read_spots(path)


@pytest.mark.parametrize("part", ["features/name", "features/feature_type", "barcodes"])
def test_a_list_of_space_ranger_that_is_too_short(tmp_path: Path, part: str) -> None:
    path = tmp_path / "filtered_feature_bc_matrix.h5"
    with h5py.File(path, "w") as file:
        file["matrix/shape"] = np.array([2, 2])
        file["matrix/data"] = np.ones(2)
        file["matrix/indices"], file["matrix/indptr"] = np.array([0, 1]), np.array([0, 1, 2])
        for name in ("barcodes", "features/id", "features/name"):
            file[f"matrix/{name}"] = np.array([b"A", b"B"])
        file["matrix/features/feature_type"] = np.full(2, b"Gene Expression")
        del file[f"matrix/{part}"]
        file[f"matrix/{part}"] = np.array([b"Gene Expression"])
    (tmp_path / "spatial").mkdir()
    (tmp_path / "spatial" / "tissue_positions.csv").write_text(
        "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\n"
        "A,1,0,0,5,5\nB,1,0,2,5,9\n",
        encoding="utf-8",
    )
    with pytest.raises(InputError, match="is not a feature-barcode matrix of Space Ranger"):
        read_spots(path)


@pytest.mark.parametrize("text", ["[" * 100_000, "a" * 2_000_000], ids=["deep", "long"])
def test_yaml_that_would_never_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "sections.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"sections\.yaml: (it is too long|this YAML)"):
        read_sections(tmp_path / "sections.yaml")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs on Windows")
def test_a_fifo_deep_in_a_folder_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    deep = tmp_path / "spots.zarr" / "X" / "0"
    deep.mkdir(parents=True)
    os.mkfifo(deep / "0")
    with pytest.raises(InputError, match=r"spots\.zarr/X/0/0: is a named pipe"):
        read_spots(tmp_path / "spots.zarr")
