"""Slides with measured ST that small models compare quickly."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from anndata import AnnData

from array_slides import textured, write_tiff
from napari_nh2st.export import write_anndata
from napari_nh2st.model.folder import save_model_folder
from small_configs import PANEL
from small_models import small_model
from spot_sections import drawn_spots

MPP = 6.25
"""Of the slide: its spots, 32 px apart, are 200 µm apart, as on a legacy array."""


class DrawnSection(NamedTuple):
    slide: Path
    expression: Path
    spots: AnnData


def write_section(
    folder: Path,
    name: str = "S1",
    *,
    factor: float = 1.0,
    genes: tuple[str, ...] = PANEL,
    normalized: bool = False,
) -> DrawnSection:
    """42 spots on a slide of tissue; the file has their positions divided by ``factor``."""
    slide = write_tiff(folder / f"{name}.tif", textured(200, 240))
    spots = drawn_spots("square", 6, 7, 32.0, (18.5, 20.0), genes, 1)
    written = spots.copy()
    written.obsm["spatial"] = spots.obsm["spatial"] / factor
    if normalized:
        written.X = np.log1p(written.X.toarray())
    expression = folder / f"{name}.h5ad"
    write_anndata(written, expression, overwrite=True)
    return DrawnSection(slide, expression, spots)


def write_model(folder: Path, **changed: object) -> Path:
    """A model whose tiles are as large as the spots' distance."""
    fields = {"mpp": MPP, "pitch_um": 200.0} | changed
    save_model_folder(small_model(**fields), folder)
    return folder
