"""What a dropped file or folder is: a slide, measured spots, their positions, or a table."""

import csv
import gzip
import json
from pathlib import Path
from typing import Literal

from napari_nh2st.spots.space_ranger import is_space_ranger
from napari_nh2st.spots.st_tables import is_table

Kind = Literal["slide", "ST", "positions", "sections"]

_YAML = (".yaml", ".yml")
_EXPRESSION = (".h5ad", ".h5")


def kind_of(path: Path) -> Kind:
    """Tell by name and first line what a file or folder holds; the rest is taken for a slide."""
    if path.suffix.lower() in _YAML:
        return "sections"
    if is_table(path):
        return _kind_of_table(path)
    if path.suffix.lower() in _EXPRESSION:
        return "ST"
    if path.is_dir() and (is_space_ranger(path) or _holds_anndata(path)):
        return "ST"
    return "slide"


def _kind_of_table(path: Path) -> Kind:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            line = file.readline().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, EOFError):
        return "ST"  # whoever reads it says what is wrong with it
    delimiter = max(",;\t", key=line.count)
    columns = {cell.strip().lower() for cell in next(csv.reader([line], delimiter=delimiter), [])}
    if "section_id" in columns:
        return "sections"
    return "positions" if {"pixel_x", "x"} & columns else "ST"


def _holds_anndata(folder: Path) -> bool:
    """Whether a zarr folder is an AnnData or SpatialData, and no picture."""
    for name, key in (("zarr.json", "attributes"), (".zattrs", None)):
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        attributes = content.get(key, {}) if key else content
        if attributes.get("encoding-type") == "anndata" or "spatialdata_attrs" in attributes:
            return True
    return (folder / "obsm").is_dir()
