"""Kinds of files, recognized by name and first line."""

import gzip
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import zarr

from napari_nh2st.spots.file_kinds import kind_of


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.yaml", "", "sections"),
        ("a.csv", "section_id,donor_id,slide,expression\n", "sections"),
        ("a.csv", "donor_id;section_id;slide;expression\n", "sections"),
        ("a_selection.tsv", "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected\n", "positions"),
        ("a.tsv", "\tERBB2\tCD74\n10x12\t3\t4\n", "ST"),
        ("a.tsv.gz", "\tERBB2\n10x12\t3\n", "ST"),
        ("a.h5ad", "", "ST"),
        ("filtered_feature_bc_matrix.h5", "", "ST"),
        ("a.svs", "", "slide"),
        ("a.jpg", "", "slide"),
        ("a.csv", "x" * 200_000, "ST"),
    ],
)
def test_what_a_file_holds_is_told_by_its_name_and_first_line(
    tmp_path: Path, name: str, content: str, kind: str
) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
    assert kind_of(path) == kind


def test_a_table_that_cannot_be_unpacked_is_left_to_its_reader(tmp_path: Path) -> None:
    damaged = bytearray(gzip.compress(np.random.default_rng(0).bytes(80_000)))
    damaged[12:60] = b"\xff" * 48
    (tmp_path / "a.tsv.gz").write_bytes(damaged)
    assert kind_of(tmp_path / "a.tsv.gz") == "ST"


@pytest.mark.parametrize(
    ("attributes", "kind"),
    [
        ({"encoding-type": "anndata"}, "ST"),
        ({"spatialdata_attrs": {}}, "ST"),
        ({"multiscales": []}, "slide"),
    ],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_stores_of_spots_are_told_from_pictures(
    tmp_path: Path, attributes: dict[str, Any], kind: str, zarr_format: Literal[2, 3]
) -> None:
    zarr.create_group(tmp_path / "a.zarr", attributes=attributes, zarr_format=zarr_format)
    assert kind_of(tmp_path / "a.zarr") == kind


def test_a_folder_of_space_ranger_is_spots_and_a_damaged_store_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "outs" / "spatial").mkdir(parents=True)
    assert kind_of(tmp_path / "outs") == "ST"
    for name, text in ((".zattrs", "[]"), ("zarr.json", '{"attributes": null}')):
        (tmp_path / "a.zarr").mkdir(exist_ok=True)
        (tmp_path / "a.zarr" / name).write_text(text, encoding="utf-8")
        assert kind_of(tmp_path / "a.zarr") == "slide"
