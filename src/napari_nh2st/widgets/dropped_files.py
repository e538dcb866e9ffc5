"""What a dropped file or folder is: a slide, measured spots, their positions, or a table."""

import csv
import gzip
import zlib
from pathlib import Path
from typing import Literal

import zarr

from napari_nh2st.prediction.files import is_anndata_store
from napari_nh2st.spots.samples import is_matrix
from napari_nh2st.spots.space_ranger import is_space_ranger
from napari_nh2st.spots.st_tables import is_table

Kind = Literal["slide", "ST", "positions", "sections"]

_YAML = (".yaml", ".yml")
_EXPRESSION = (".h5ad", ".h5")


def kind_of(path: Path) -> Kind:
    """Tell by name and first line what a file or folder holds; the rest is taken for a slide."""
    if path.suffix.lower() in _YAML:
        return "sections"
    if "tissue_positions" in path.name.lower():
        return "positions"
    if is_matrix(path):
        return "ST"
    if is_table(path):
        return _kind_of_table(path)
    if path.suffix.lower() in _EXPRESSION:
        return "ST"
    if path.is_dir() and (is_space_ranger(path) or _holds_spots(path)):
        return "ST"
    return "slide"


def _kind_of_table(path: Path) -> Kind:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            line = file.readline().decode("utf-8-sig")
        delimiter = max(",;\t", key=line.count)
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error):
        return "ST"  # whoever reads it says what is wrong with it
    columns = {cell.strip().lower() for cell in cells}
    if "section_id" in columns:
        return "sections"
    return "positions" if {"pixel_x", "x"} & columns else "ST"


def _holds_spots(folder: Path) -> bool:
    """Whether a folder is an AnnData or SpatialData, and no picture."""
    if is_anndata_store(folder) or (folder / "obsm").is_dir():
        return True
    try:
        return "spatialdata_attrs" in zarr.open_group(folder, mode="r").attrs
    except Exception:  # zarr raises whatever it meets in a damaged store
        return False
