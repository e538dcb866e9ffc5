"""A section that lies differently in each orientation, and files that have it mirrored."""

from pathlib import Path

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from array_slides import write_tiff
from napari_nh2st.export import write_anndata
from napari_nh2st.spots import Section
from small_configs import PANEL
from spot_sections import drawn_spots


def l_shaped_pixels() -> NDArray[np.uint8]:
    """(400, 480, 3) an L of tissue, which lies differently in each orientation."""
    pixels = np.full((400, 480, 3), 245, np.uint8)
    ink = np.random.default_rng(0).normal((190, 110, 170), 12, pixels.shape)
    for tissue in (np.s_[30:330, 40:140], np.s_[250:330, 40:300]):
        pixels[tissue] = np.clip(ink[tissue], 0, 255)
    return pixels


def spots_on(pixels: NDArray[np.uint8], genes: tuple[str, ...] = ("A", "B", "C")) -> AnnData:
    """Spots on all of the tissue, 20 px and 200 µm apart."""
    spots = drawn_spots(rows=20, columns=24, pitch_px=20, origin=(10, 10), genes=genes)
    x, y = spots.obsm["spatial"].astype(int).T
    return spots[pixels[y, x].min(1) < 200].copy()


def mirrored_section(folder: Path, name: str = "L") -> tuple[Section, NDArray[np.float64]]:
    """A section whose file has x mirrored, and (n, 2) (x, y) where its spots belong."""
    pixels = l_shaped_pixels()
    spots = spots_on(pixels, PANEL)
    belong = np.asarray(spots.obsm["spatial"], np.float64).copy()
    spots.obsm["spatial"] = np.column_stack([pixels.shape[1] - belong[:, 0], belong[:, 1]])
    slide = write_tiff(folder / f"{name}.tif", pixels)
    write_anndata(spots, folder / f"{name}.h5ad")
    return Section(name, "D", slide, folder / f"{name}.h5ad"), belong
