"""Stores whose values are pickles are refused, wherever a zarr store is read."""

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import zarr

from napari_nh2st.errors import InputError
from napari_nh2st.prediction.files import read_anndata_file
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import read_spots
from napari_nh2st.zarr_codecs import refuse_pickles


class Trap:
    """Leaves a mark where it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def change(file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    edit(content)
    file.write_text(json.dumps(content), encoding="utf-8")


PICKLE = {"id": "pickle", "protocol": 5}


def ome_zarr(folder: Path, version: int) -> Path:
    group = zarr.open_group(folder, mode="w", zarr_format=version)
    array = group.create_array("0", shape=(3, 64, 64), chunks=(3, 64, 64), dtype="uint8")
    array[:] = 7
    image = {
        "axes": [{"name": name} for name in "cyx"],
        "datasets": [{"path": "0", "coordinateTransformations": []}],
    }
    if version == 2:
        group.attrs["multiscales"] = [image | {"version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    return folder


@pytest.mark.parametrize(
    ("version", "edit"),
    [
        (2, lambda content: content.update(compressor=PICKLE)),
        (2, lambda content: content.update(filters=[{"id": "delta", "dtype": "u1"}, PICKLE])),
        (3, lambda content: content.update(codecs=[{"name": "numcodecs.pickle"}])),
        (
            3,
            lambda content: content["codecs"].append(
                {"name": "sharding_indexed", "configuration": {"codecs": [{"name": "pickle"}]}}
            ),
        ),
    ],
)
def test_a_slide_of_pickles_is_refused(
    tmp_path: Path, version: int, edit: Callable[[dict[str, Any]], object]
) -> None:
    folder = ome_zarr(tmp_path / "slide.zarr", version)
    open_slide(folder).close()
    mark = tmp_path / "it-ran"
    for chunk in (folder / "0").rglob("*"):
        if chunk.is_file() and chunk.name not in (".zarray", ".zattrs", "zarr.json"):
            chunk.write_bytes(pickle.dumps(Trap(mark)))
    change(folder / "0" / (".zarray" if version == 2 else "zarr.json"), edit)
    with pytest.raises(InputError, match="stored as pickles"):
        open_slide(folder)
    assert not mark.exists()


@pytest.mark.parametrize("read", [read_spots, read_anndata_file])
@pytest.mark.parametrize("consolidated", [False, True])
def test_anndata_of_pickles_is_refused(
    tmp_path: Path, read: Callable[[Path], object], consolidated: bool
) -> None:
    folder = tmp_path / "spots.zarr"
    data = anndata.AnnData(np.ones((4, 3), np.float32), uns={"notes": {"table": np.arange(3)}})
    data.obsm["spatial"] = np.arange(8.0).reshape(4, 2)
    with anndata.settings.override(zarr_write_format=2):
        data.write_zarr(folder)
    refuse_pickles(folder)
    mark = tmp_path / "it-ran"
    array = folder / "uns" / "notes" / "table"
    (array / "0").write_bytes(pickle.dumps(Trap(mark)))
    if consolidated and (folder / ".zmetadata").exists():
        key = "uns/notes/table/.zarray"
        change(folder / ".zmetadata", lambda all_: all_["metadata"][key].update(filters=[PICKLE]))
    else:
        change(array / ".zarray", lambda content: content.update(filters=[PICKLE]))
    # zarr itself may not know such consolidated metadata.
    with pytest.raises(InputError, match=r"stored as pickles|holds no AnnData"):
        read(folder)
    assert not mark.exists()


def test_a_group_that_looks_like_an_array_hides_nothing(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=3)
    group.create_array("c/hidden", shape=(2,), dtype="uint8")
    (tmp_path / "a.zarr" / ".zarray").write_text("{}", encoding="utf-8")
    (tmp_path / "a.zarr" / "round").symlink_to(tmp_path / "a.zarr")
    refuse_pickles(tmp_path / "a.zarr")
    change(
        tmp_path / "a.zarr" / "c" / "hidden" / "zarr.json",
        lambda content: content.update(codecs=[{"name": "pickle"}]),
    )
    with pytest.raises(InputError, match=r"hidden.zarr\.json"):
        refuse_pickles(tmp_path / "a.zarr")
