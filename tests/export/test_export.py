"""AnnData files: complete or not at all, and read and plotted by the tools they are for."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata
import matplotlib as mpl
import numpy as np
import pytest
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import RELIABILITY, drawn_prediction
from napari_nh2st import files
from napari_nh2st.errors import InputError
from napari_nh2st.export import check_output, write_anndata
from napari_nh2st.prediction import files as prediction_files


@pytest.fixture(scope="module")
def prediction() -> AnnData:
    slide = array_slide(ArrayLevel(textured(330, 402)), path="section.tif")
    return drawn_prediction(slide)[:, ["VIM", "CD74"]].copy()


def small() -> AnnData:
    return AnnData(
        np.arange(6, dtype=np.float32).reshape(3, 2), uns={"nh2st": {"model": {"name": "m"}}}
    )


def assert_equal_nested(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_equal_nested(found[name], value)
    else:
        np.testing.assert_array_equal(found, expected)


def read(path: Path) -> AnnData:
    return anndata.read_h5ad(path) if path.suffix == ".h5ad" else anndata.read_zarr(path)


@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_a_prediction_comes_back_whole(tmp_path: Path, prediction: AnnData, name: str) -> None:
    write_anndata(prediction, tmp_path / name)
    found = read(tmp_path / name)
    np.testing.assert_array_equal(found.X, prediction.X)
    assert found.X.dtype == np.float32
    for column in prediction.obs:
        np.testing.assert_array_equal(found.obs[column], prediction.obs[column])
    expected = [RELIABILITY[gene] for gene in found.var_names]
    np.testing.assert_array_equal(found.var["reliability"], expected)
    np.testing.assert_array_equal(found.obsm["spatial"], prediction.obsm["spatial"])
    assert found.obs_names.tolist() == prediction.obs_names.tolist()
    assert_equal_nested(found.uns.data if hasattr(found.uns, "data") else found.uns, prediction.uns)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.filterwarnings("ignore")  # scanpy's own, on every plot
def test_scanpy_plots_the_file_unedited(tmp_path: Path, prediction: AnnData) -> None:
    mpl.use("Agg")
    scanpy = pytest.importorskip("scanpy")
    write_anndata(prediction, tmp_path / "out.h5ad")
    (axes,) = scanpy.pl.spatial(scanpy.read_h5ad(tmp_path / "out.h5ad"), color="VIM", show=False)
    (picture,) = axes.images
    assert picture.get_array().shape == (330, 402, 3)
    (spots,) = axes.collections
    # Drawn in the order of their values, those without one first.
    values = prediction[:, "VIM"].X[:, 0]
    order = np.argsort(np.nan_to_num(values, nan=-np.inf), kind="stable")
    shown = np.ma.filled(np.ma.masked_invalid(spots.get_array()), np.nan)
    np.testing.assert_array_equal(shown, values[order])
    drawn = [path.get_extents().get_points().mean(0) for path in spots.get_paths()]
    missing = int(np.isnan(values).sum())
    places = prediction.obsm["spatial"][order]
    np.testing.assert_allclose(drawn[missing:], places[missing:], atol=1e-6)
    mpl.pyplot.close("all")


def test_cellxgene_finds_an_embedding_that_shows_the_slide_upright(
    tmp_path: Path, prediction: AnnData
) -> None:
    write_anndata(prediction, tmp_path / "out.h5ad")
    found = anndata.read_h5ad(tmp_path / "out.h5ad")
    # Its rule: a key that begins with X_, an array of numbers, finite; y goes up on its screen.
    (name,) = (key for key in found.obsm if key.startswith("X_"))
    embedding = found.obsm[name]
    assert type(embedding) is np.ndarray
    assert np.isfinite(embedding).all()
    upper_left = found.obs["array_row"].to_numpy() + found.obs["array_col"].to_numpy() == 0
    assert upper_left.sum() == 1
    assert embedding[upper_left, 1] == embedding[:, 1].max()
    assert embedding[upper_left, 0] == embedding[:, 0].min()
    np.testing.assert_array_equal(abs(embedding), found.obsm["spatial"])


@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_an_existing_file_is_replaced_only_if_allowed(tmp_path: Path, name: str) -> None:
    write_anndata(small(), tmp_path / name)
    other = AnnData(np.ones((2, 2), np.float32))
    with pytest.raises(InputError, match="already exists"):
        write_anndata(other, tmp_path / name)
    assert read(tmp_path / name).n_obs == 3
    write_anndata(other, tmp_path / name, overwrite=True)
    assert read(tmp_path / name).n_obs == 2
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_what_was_there_stays_if_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_anndata(small(), tmp_path / name)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def dropped(file: Any, content: memoryview) -> int:
        file.failure = OSError(errno.ENOSPC, "No space left on device")
        return content.nbytes

    monkeypatch.setattr("napari_nh2st.prediction.hdf5._Disk.write", dropped)
    monkeypatch.setattr(prediction_files.zarr, "consolidate_metadata", full)
    with pytest.raises(InputError, match=rf"{name} cannot be written: No space left on device$"):
        write_anndata(AnnData(np.ones((2, 2), np.float32)), tmp_path / name, overwrite=True)
    assert read(tmp_path / name).n_obs == 3
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
@pytest.mark.parametrize("failure", [OSError(errno.EACCES, "denied"), KeyboardInterrupt()])
def test_what_was_there_stays_if_replacing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, failure: BaseException
) -> None:
    write_anndata(small(), tmp_path / name)

    replace = Path.replace

    def fail(self: Path, target: Path) -> Path:
        if target == tmp_path / name:
            raise failure
        return replace(self, target)  # zarr's own

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises((InputError, KeyboardInterrupt)):
        write_anndata(AnnData(np.ones((2, 2), np.float32)), tmp_path / name, overwrite=True)
    assert read(tmp_path / name).n_obs == 3
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
@pytest.mark.parametrize("name", ["out.h5ad", "out.zarr"])
def test_a_disk_that_fills_up_is_told_in_a_sentence(tmp_path: Path, name: str) -> None:
    code = f"""
import resource, sys
import numpy as np
from anndata import AnnData
from pathlib import Path
from napari_nh2st.errors import InputError
from napari_nh2st.export import write_anndata
data = AnnData(np.random.default_rng(0).random((100, 100)).astype(np.float32))
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))
try:
    write_anndata(data, Path({str(tmp_path / name)!r}))
except InputError as error:
    print(error)
"""
    # What measures coverage would write its own file there, and Python halves of compiled modules.
    others = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    found = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, check=True, env=others
    )
    assert found.stderr == ""
    assert found.stdout == f"{tmp_path / name} cannot be written: File too large\n"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.csv", r"must end in \.h5ad or \.zarr"),
        ("out", r"must end in \.h5ad or \.zarr"),
        ("missing/out.h5ad", "there is no folder .*missing"),
        ("file/out.h5ad", "there is no folder .*file"),
        ("there.h5ad", "already exists"),
        ("there.zarr", "already exists"),
        ("folder.h5ad", "already exists"),
    ],
)
def test_bad_outputs_are_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "there.h5ad").touch()
    (tmp_path / "there.zarr").mkdir()
    (tmp_path / "folder.h5ad").mkdir()
    with pytest.raises(InputError, match=message):
        check_output(tmp_path / name, overwrite=False)


def test_a_folder_is_not_overwritten_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder.h5ad").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_output(tmp_path / "folder.h5ad", overwrite=True)


def test_a_folder_that_is_not_ours_is_not_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "slide.zarr"
    folder.mkdir()
    (folder / "picture").touch()
    refused = "is not a prediction that NH2ST wrote: it is not overwritten"
    with pytest.raises(InputError, match=refused):
        write_anndata(small(), folder, overwrite=True)
    assert (folder / "picture").exists()
    measured = tmp_path / "measured.zarr"
    AnnData(np.ones((4, 2), np.float32)).write_zarr(measured)
    with pytest.raises(InputError, match=refused):
        write_anndata(small(), measured, overwrite=True)
    assert read(measured).n_obs == 4


def test_a_folder_that_cannot_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(files.tempfile, "TemporaryFile", denied)
    with pytest.raises(InputError, match=r"out\.h5ad cannot be written: Permission denied"):
        check_output(tmp_path / "out.h5ad", overwrite=False)


def test_what_anndata_cannot_store_is_told_in_a_sentence(tmp_path: Path) -> None:
    data = small()
    data.obs["mixed"] = [1, "a", object()]
    with pytest.raises(InputError, match=r"cannot be stored: .*key '.*mixed'"):
        write_anndata(data, tmp_path / "out.h5ad")
    assert list(tmp_path.iterdir()) == []
