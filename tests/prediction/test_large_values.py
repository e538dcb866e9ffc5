"""Values of more tiles than memory should hold: in files as they come, and when they are read."""

import mmap
from pathlib import Path

import anndata
import h5py
import numpy as np
import pytest
import torch
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from napari_nh2st.errors import InputError
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.prediction import value_arrays
from napari_nh2st.prediction.files import read_anndata_file, write_anndata
from napari_nh2st.prediction.schema import SPREAD
from napari_nh2st.prediction.value_arrays import has_value, nan_values, row_blocks
from napari_nh2st.prediction.values import best_gene, gene_values, predicted_tiles
from small_configs import PANEL
from small_models import small_model

torch.set_num_threads(1)

SETTINGS = PredictSettings(device="cpu", precision="float32", tissue_only=False)
SHAPE = (57, 70)
"""An index of HDF5 that is split has parts of 64 chunks."""


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array is large, and worked on a few rows at a time."""
    monkeypatch.setattr(value_arrays, "LARGE_BYTES", 1)
    monkeypatch.setattr(value_arrays, "BY_GENE_BYTES", 1)
    monkeypatch.setattr(value_arrays, "BLOCK_BYTES", 10 * 4 * SHAPE[1])


def is_mapped(values: object) -> bool:
    """Whether an array lies in a file; it is a plain array all the same."""
    assert type(values) is np.ndarray
    while isinstance(values, np.ndarray):
        values = values.base
    return isinstance(values, mmap.mmap)


def large_anndata() -> AnnData:
    rng = np.random.default_rng(0)
    values, spread = rng.normal(size=(2, *SHAPE)).astype(np.float32)
    values[3] = np.nan
    data = AnnData(values, layers={SPREAD: spread}, uns={"nh2st": {"a": 1}})
    data.obs["status"] = ["predicted"] * len(values)
    data.obsm["spatial"] = rng.normal(size=(len(values), 2))
    return data


@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_values_that_memory_holds_are_written_by_gene_where_that_saves_reading_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = large_anndata()
    monkeypatch.setattr(value_arrays, "BY_GENE_BYTES", data.X.nbytes)
    path = tmp_path / name
    write_anndata(data, path)
    assert is_mapped(read_anndata_file(path).X)
    np.testing.assert_array_equal(read_anndata_file(path).X, data.X)
    monkeypatch.setattr(value_arrays, "BY_GENE_BYTES", data.X.nbytes + 1)
    write_anndata(data, path, overwrite=True)
    assert not is_mapped(read_anndata_file(path).X)


@pytest.mark.usefixtures("all_large")
def test_an_array_in_a_file_is_as_one_in_memory_and_leaves_no_file(tmp_path: Path) -> None:
    values = nan_values(SHAPE, tmp_path)
    assert is_mapped(values)
    assert values.shape == SHAPE
    assert np.isnan(values).all()
    values[5:7] = 1
    value_arrays.leave_memory(values)
    assert has_value(values).nonzero()[0].tolist() == [5, 6]
    assert values[5:7].tolist() == [[1.0] * 70] * 2
    del values
    assert not list(tmp_path.iterdir())
    assert not is_mapped(nan_values(SHAPE))
    assert [(rows.start, rows.stop) for rows in row_blocks(SHAPE)][-2:] == [(40, 50), (50, 57)]


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_a_file_of_large_values_is_read_by_anndata_as_any_other(tmp_path: Path, name: str) -> None:
    data, path = large_anndata(), tmp_path / name
    write_anndata(data, path)
    others = anndata.read_h5ad(path) if name == "out.h5ad" else anndata.read_zarr(path)
    for found in (others, read_anndata_file(path)):
        np.testing.assert_array_equal(found.X, data.X)
        np.testing.assert_array_equal(found.layers[SPREAD], data.layers[SPREAD])
        np.testing.assert_array_equal(found.obsm["spatial"], data.obsm["spatial"])
        assert found.obs["status"].tolist() == data.obs["status"].tolist()
        assert found.uns["nh2st"]["a"] == 1
        assert found.X.dtype == np.float32


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_genes_are_read_from_the_file_when_they_are_used(tmp_path: Path, name: str) -> None:
    data, path = large_anndata(), tmp_path / name
    write_anndata(data, path)
    found = read_anndata_file(path)
    assert is_mapped(found.X)
    assert is_mapped(found.layers[SPREAD])
    np.testing.assert_array_equal(gene_values(found, "4"), data.X[:, 4])
    np.testing.assert_array_equal(predicted_tiles(found), predicted_tiles(data))
    found.X[0] = 7  # as a run that goes on would
    assert has_value(found.X).tolist() == has_value(data.X).tolist()
    read = anndata.read_h5ad if name == "out.h5ad" else anndata.read_zarr
    np.testing.assert_array_equal(read(path).X, data.X)
    found[:5].write_h5ad(tmp_path / "part.h5ad")
    assert (anndata.read_h5ad(tmp_path / "part.h5ad").X[0] == 7).all()
    write_anndata(found, path, overwrite=True)
    assert (read_anndata_file(path).X[0] == 7).all()
    np.testing.assert_array_equal(read_anndata_file(path).X[1:], data.X[1:])


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("layout", [{"chunks": (57, 1), "compression": "gzip"}, {"chunks": (9, 1)}])
def test_values_that_lie_otherwise_are_read_whole(
    tmp_path: Path, layout: dict[str, object]
) -> None:
    data, path = large_anndata(), tmp_path / "out.h5ad"
    write_anndata(data, path)
    with h5py.File(path, "r+") as file:
        about = dict(file["X"].attrs)
        del file["X"]
        file.create_dataset("X", data=data.X, **layout).attrs.update(about)
    found = read_anndata_file(path)
    assert not is_mapped(found.X)
    np.testing.assert_array_equal(found.X, data.X)


@pytest.mark.usefixtures("all_large")
def test_genes_that_lie_in_another_order_in_their_file_are_read_whole(tmp_path: Path) -> None:
    data, path = large_anndata(), tmp_path / "out.h5ad"
    write_anndata(data, path)
    with h5py.File(path, "r+") as file:
        about = dict(file["X"].attrs)
        del file["X"]
        dataset = file.create_dataset("X", SHAPE, "<f4", chunks=(SHAPE[0], 1))
        dataset.attrs.update(about)
        for gene in (0, *range(SHAPE[1] - 1, 0, -1)):  # room is made for what is written first
            dataset[:, gene] = data.X[:, gene]
            file.flush()
    found = read_anndata_file(path)
    assert not is_mapped(found.X)
    np.testing.assert_array_equal(found.X, data.X)


@pytest.mark.usefixtures("all_large")
def test_values_of_a_damaged_store_or_in_chunks_are_read_whole(tmp_path: Path) -> None:
    data, path = large_anndata(), tmp_path / "out.zarr"
    write_anndata(data, path)
    chunk = path / "X" / "0.0"
    chunk.write_bytes(chunk.read_bytes()[:-4])
    with pytest.raises(InputError, match="cannot be read as AnnData"):
        read_anndata_file(path)
    chunk.unlink()  # as where a folder was copied in part
    with pytest.raises(InputError, match=r"X/0\.0, which holds its values, is missing"):
        read_anndata_file(path)
    assert np.isnan(anndata.read_zarr(path).X).all(), "others read no values, rather than zeros"
    data.write_zarr(tmp_path / "other.zarr")
    found = read_anndata_file(tmp_path / "other.zarr")
    assert not is_mapped(found.X)
    np.testing.assert_array_equal(found.X, data.X)


@pytest.mark.usefixtures("all_large")
@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_a_run_with_large_values_gives_what_it_gives_in_memory(tmp_path: Path, name: str) -> None:
    slide = array_slide(ArrayLevel(textured(363, 429)), path="folder/sec.tion.tif")
    model = small_model("neighborhood")
    alone = predict(slide, model, SETTINGS)
    filed = predict(slide, model, SETTINGS, output=tmp_path / name)
    assert is_mapped(filed.X)
    assert not is_mapped(alone.X)
    assert np.isfinite(alone.X).all()
    for found in (filed, read_anndata_file(tmp_path / name)):
        np.testing.assert_array_equal(found.X, alone.X)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_best_gene_is_the_most_reliable_that_has_a_value() -> None:
    values = np.ones((4, len(PANEL)), np.float32)
    data = AnnData(values)
    data.var_names = list(PANEL)
    assert best_gene(data) == PANEL[0]
    data.var["reliability"] = [0.1, 0.5, 0.5, *[np.nan] * (len(PANEL) - 3)]
    assert best_gene(data) == PANEL[1]
    data.X[:, 1] = np.nan
    assert best_gene(data) == PANEL[2]
    data.X[:, :3] = np.nan
    assert best_gene(data) == PANEL[3]
    data.X[:] = np.nan
    assert best_gene(data) == PANEL[1]
