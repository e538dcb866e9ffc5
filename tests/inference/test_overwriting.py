"""What may be replaced is known by its content as written by this program; anything else stays."""

import json
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
import zarr
from anndata import AnnData
from matplotlib.figure import Figure

from array_slides import ArrayLevel, array_slide, textured
from napari_nh2st.errors import InputError
from napari_nh2st.export import export, write_anndata, write_table
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.model.folder import load_model_folder, save_model_folder
from napari_nh2st.spots import Section, write_sections
from napari_nh2st.synthetic import write_synthetic_slide
from small_models import small_model

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def prediction() -> AnnData:
    slide = array_slide(ArrayLevel(textured(330, 402)), path="section.tif")
    settings = PredictSettings(
        genes=("VIM", "CD74"), device="cpu", precision="float32", tissue_only=False
    )
    return predict(slide, small_model(), settings)


def measured(path: Path) -> None:
    """Counts as Space Ranger's are kept by scanpy."""
    counts = AnnData(np.ones((4, 2), np.float32), uns={"spatial": {"V1": {}}})
    if path.suffix == ".h5ad":
        counts.write_h5ad(path)
    else:
        counts.write_zarr(path)


def drawn_by_others(path: Path) -> None:
    figure = Figure()
    figure.add_subplot().set_title("napari-nh2st")
    figure.savefig(path)


def counts_table(path: Path) -> None:
    frame = pd.DataFrame({"C6_10x12": [1], "C6_11x12": [2]}, index=pd.Index(["ERBB2"], name="tile"))
    frame.to_csv(path)


def annotations(path: Path) -> None:
    """As QuPath exports what a pathologist has drawn."""
    path.write_text(
        json.dumps({"type": "FeatureCollection", "features": []}, indent=2), encoding="utf-8"
    )


def picture_store(path: Path) -> None:
    group = zarr.open_group(path, mode="w")
    group.attrs["multiscales"] = [{"version": "0.4"}]


def damaged(path: Path) -> None:
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))


THEIRS: list[tuple[str, Callable[[Path], None]]] = [
    ("out.h5ad", measured),
    ("out.zarr", measured),
    ("out.h5ad", damaged),
    ("out.csv", counts_table),
    ("out.csv", damaged),
    ("out.geojson", annotations),
    ("out.ome.zarr", picture_store),
    ("out.png", drawn_by_others),
    ("out.svg", drawn_by_others),
    ("out.pdf", drawn_by_others),
    ("out.png", damaged),
]


def contents(path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in (path, *path.rglob("*")) if p.is_file()}


@pytest.mark.filterwarnings("ignore")  # of anndata, about formats of zarr
@pytest.mark.parametrize(("name", "make"), THEIRS)
def test_files_of_others_are_not_overwritten(
    tmp_path: Path, prediction: AnnData, name: str, make: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    make(path)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"is not .*: it is not overwritten"):
        export(prediction, path, overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _ in THEIRS))
def test_what_was_exported_is_overwritten(tmp_path: Path, prediction: AnnData, name: str) -> None:
    path = tmp_path / name
    export(prediction, path, genes=("VIM",))
    before = contents(tmp_path)
    with pytest.raises(InputError, match="already exists"):
        export(prediction, path, genes=("CD74",))
    assert contents(tmp_path) == before
    export(prediction, path, genes=("CD74",), overwrite=True)
    assert contents(tmp_path) != before


def test_a_prediction_that_other_programs_saved_is_one(tmp_path: Path, prediction: AnnData) -> None:
    path = tmp_path / "out.h5ad"
    write_anndata(prediction, path)
    again = anndata.read_h5ad(path)
    again.obs["leiden"] = "1"
    again.write_h5ad(path)
    write_anndata(prediction, path, overwrite=True)
    assert "leiden" not in anndata.read_h5ad(path).obs


def test_a_table_of_one_kind_may_have_columns_more(tmp_path: Path) -> None:
    first = pd.DataFrame({"gene": ["A"], "mean": [1.0], "moran": [0.1]}).set_index("gene")
    second = first.assign(spread=2.0)[["spread", "mean", "moran"]]
    write_table(first, tmp_path / "genes.csv")
    write_table(second, tmp_path / "genes.csv", overwrite=True)
    assert "spread" in (tmp_path / "genes.csv").read_text(encoding="utf-8")


def test_a_folder_that_is_no_model_is_not_overwritten(tmp_path: Path) -> None:
    """A model of other software has a config.json too."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    before = contents(folder)
    with pytest.raises(InputError, match="is not overwritten"):
        save_model_folder(small_model(), folder, overwrite=True)
    assert contents(folder) == before


def test_other_files_in_a_model_folder_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_model_folder(small_model(), folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: main", encoding="utf-8")
    (folder / "LICENSE").write_text("ours", encoding="utf-8")
    (folder / "link").symlink_to("LICENSE")
    save_model_folder(small_model(reliability={"VIM": 0.25}), folder, overwrite=True)
    assert load_model_folder(folder).config.reliability == {"VIM": 0.25}
    assert (folder / ".git" / "HEAD").read_text(encoding="utf-8") == "ref: main"
    assert (folder / "LICENSE").read_text(encoding="utf-8") == "ours"
    assert (folder / "link").is_symlink()


def test_a_sections_table_replaces_only_a_sections_table(tmp_path: Path) -> None:
    sections = [Section("A", "1", tmp_path / "a.tif", tmp_path / "a.h5ad")]
    path = tmp_path / "sections.csv"
    path.write_text(
        "section_id;donor_id;slide;expression;mpp\n", encoding="utf-8"
    )  # as spreadsheets write it
    write_sections(sections, path)
    assert "a.h5ad" in path.read_text(encoding="utf-8")
    counts_table(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="is not a sections table: it is not overwritten"):
        write_sections(sections, path)
    assert path.read_bytes() == before


def test_a_synthetic_slide_replaces_only_a_synthetic_slide(tmp_path: Path) -> None:
    path = tmp_path / "slide.tiff"
    tifffile.imwrite(path, textured(64, 64), photometric="rgb")
    before = path.read_bytes()
    with pytest.raises(InputError, match="is not a synthetic slide"):
        write_synthetic_slide(path, shape=(300, 300))
    assert path.read_bytes() == before
    path.unlink()
    for seed in (1, 2):
        write_synthetic_slide(path, seed, shape=(300, 300))
    assert "seed 2" in tifffile.TiffFile(path).pages.first.description
