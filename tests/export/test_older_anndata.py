"""AnnData of ours as anndata itself writes it, so that its older versions read it, too."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import drawn_prediction
from napari_nh2st.export import export, write_anndata

FILES = ("out.h5ad", "out.zarr", "out.ome.zarr")

READ = """
import json, sys
import anndata

def plain(data):
    return {
        "X": data.X.tolist(),
        "obs": {name: [str(v) for v in data.obs[name]] for name in data.obs},
        "var": {name: [str(v) for v in data.var[name]] for name in data.var},
        "names": [list(data.obs_names), list(data.var_names)],
        "spatial": data.obsm["spatial"].tolist(),
        "model": str(data.uns["nh2st"]["model"]["name"]),
    }

for path in sys.argv[1:]:
    read = anndata.read_h5ad if path.endswith(".h5ad") else anndata.read_zarr
    print(json.dumps(plain(read(path))))
    if path.endswith(".h5ad"):
        print(json.dumps(plain(anndata.read_h5ad(path, backed="r").to_memory())))
"""


@pytest.fixture(scope="module")
def prediction() -> AnnData:
    slide = array_slide(ArrayLevel(textured(120, 170)), mpp=(0.5, 0.5), path="section.tif")
    prediction = drawn_prediction(slide)
    prediction.obs["domain"] = pd.Categorical(["a", "b"] * (prediction.n_obs // 2))
    prediction.obs["annotation"] = ["tumour", *[None] * (prediction.n_obs - 1)]
    prediction.obs["pathologist"] = pd.array(["yes", None] * (prediction.n_obs // 2), "string")
    prediction.obs["count"] = pd.array([1, None] * (prediction.n_obs // 2), "Int64")
    prediction.obs["seen"] = pd.array([True, None] * (prediction.n_obs // 2), "boolean")
    prediction.uns["nothing"] = {"base": None}
    return prediction


@pytest.fixture(scope="module")
def files(prediction: AnnData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A prediction in each format that holds AnnData; the AnnData's own place by the format."""
    folder = tmp_path_factory.mktemp("written")
    for name in FILES:
        export(prediction, folder / name)
    places = {name: folder / name for name in FILES}
    places["out.ome.zarr"] /= "tables/table"
    return places


def opened(path: Path) -> Any:
    return h5py.File(path) if path.suffix == ".h5ad" else zarr.open_group(path, mode="r")


def encodings(group: Any, at: str = "") -> dict[str, str]:
    """The encoding of each element below a group, by its path."""
    found = {}
    for name in group:
        element = group[name]
        found[f"{at}/{name}"] = element.attrs.get("encoding-type", "")
        if hasattr(element, "keys"):
            found |= encodings(element, f"{at}/{name}")
    return found


def test_a_file_holds_what_anndata_writes_itself(
    tmp_path: Path, prediction: AnnData, files: dict[str, Path]
) -> None:
    own = prediction.copy()
    del own.uns["nothing"]["base"]
    own.obs["pathologist"] = pd.Categorical(own.obs["pathologist"].astype(object))
    with anndata.settings.override(allow_write_nullable_strings=False):  # the default before 0.13
        own.write_h5ad(tmp_path / "own.h5ad")
    expected = encodings(opened(tmp_path / "own.h5ad"))
    assert expected["/obs/annotation"] == "categorical"
    assert expected["/obs/count"] == "nullable-integer"
    for name in FILES:
        assert encodings(opened(files[name])) == expected, name


def test_the_prediction_itself_stays_as_it_is(prediction: AnnData, files: dict[str, Path]) -> None:
    assert isinstance(prediction.obs["pathologist"].dtype, pd.StringDtype)
    assert prediction.uns["nothing"] == {"base": None}
    assert not isinstance(prediction.obs["status"].dtype, pd.CategoricalDtype)


def test_a_backed_file_comes_into_memory(prediction: AnnData, files: dict[str, Path]) -> None:
    backed = anndata.read_h5ad(files["out.h5ad"], backed="r")
    found = backed.to_memory()
    backed.file.close()
    np.testing.assert_array_equal(found.X, prediction.X)
    assert found.raw is None


def test_raw_is_written_where_there_is_one(tmp_path: Path, prediction: AnnData) -> None:
    data = prediction.copy()
    data.raw = prediction
    write_anndata(data, tmp_path / "out.h5ad")
    np.testing.assert_array_equal(anndata.read_h5ad(tmp_path / "out.h5ad").raw.X, prediction.X)


def test_anndata_of_2024_reads_all_of_it(prediction: AnnData, files: dict[str, Path]) -> None:
    folder = os.environ.get("NH2ST_OLDER_ANNDATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs anndata 0.11: tox run -e older-anndata, NH2ST_OLDER_ANNDATA its folder")
    (python,) = (
        place
        for place in (Path(folder, "bin/python"), Path(folder, "Scripts/python.exe"))
        if place.exists()
    )
    paths = [str(files[name]) for name in FILES]
    done = subprocess.run([python, "-c", READ, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(FILES) + 1
    for read in found:
        np.testing.assert_array_equal(np.array(read["X"], np.float32), prediction.X)
        np.testing.assert_array_equal(read["spatial"], prediction.obsm["spatial"])
        assert read["names"] == [prediction.obs_names.tolist(), prediction.var_names.tolist()]
        assert read["obs"]["status"] == prediction.obs["status"].tolist()
        assert read["obs"]["annotation"][:2] == ["tumour", "nan"]
        assert read["obs"]["pathologist"][:2] == ["yes", "nan"]
        assert read["obs"]["count"][:2] == ["1", "<NA>"]
        assert read["model"] == prediction.uns["nh2st"]["model"]["name"]
