"""Kinds of files of a study: slides, measured spots, positions, features, tables of sections."""

import csv
import gzip
import zlib
from pathlib import Path
from typing import Literal

from napari_nh2st.spots.read import is_spots_store
from napari_nh2st.spots.samples import is_matrix
from napari_nh2st.spots.space_ranger import is_space_ranger
from napari_nh2st.spots.st_tables import is_table
from napari_nh2st.tiles.feature_files import is_features_file

Kind = Literal["slide", "ST", "positions", "sections", "features"]

_YAML = (".yaml", ".yml")
_EXPRESSION = (".h5ad", ".h5")


def kind_of(path: Path) -> Kind:
    """Kind of a file or folder by its name and first line; whatever is none of them is a slide."""
    if path.suffix.lower() in _YAML:
        return "sections"
    if "tissue_positions" in path.name.lower():
        return "positions"
    if is_matrix(path):
        return "ST"
    if is_features_file(path):
        return "features"
    if is_table(path):
        return _kind_of_table(path)
    if path.suffix.lower() in _EXPRESSION:
        return "ST"
    if path.is_dir() and (is_space_ranger(path) or is_spots_store(path)):
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
