"""Synthetic Visium sections: a slide, and the folder that Space Ranger would write for it."""

import json
import os
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from PIL import Image

from napari_nh2st.files import check_place, whole_output
from napari_nh2st.files_of_others import files_of_others, keep_files
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import Section
from napari_nh2st.spots.feature_matrix import GENE_EXPRESSION

from .expression import ProgrammeSettings, synthetic_spots
from .tissue import SyntheticTissue
from .writing import write_synthetic_slide

_MATRIX = "filtered_feature_bc_matrix.h5"
_POSITIONS, _PICTURE = "tissue_positions.csv", "tissue_hires_image.png"
_FACTORS = "scalefactors_json.json"
_OWN_FILES = (_MATRIX, *(f"spatial/{name}" for name in (_POSITIONS, _PICTURE, _FACTORS)))
_SOFTWARE = "napari-nh2st, synthetic"
_SPOT_UM = 55.0
_PICTURE_PX = 600


def write_synthetic_visium(
    folder: str | os.PathLike[str],
    seed: int = 0,
    *,
    size_um: tuple[float, float] = (2000.0, 2000.0),
    mpp: float = 1.0,
    donor: str | None = None,
) -> Section:
    """Write a synthetic slide, and its expression in the files of Space Ranger.

    Parameters
    ----------
    folder
        Folder for ``visium-{seed}.tiff`` and ``visium-{seed}/outs``; created if it does not exist.
        Synthetic ones of these names are replaced, others never.
    seed
        Seed of the tissue.
    size_um
        (height, width) of the slide in µm. The default has some 200 to 300 spots, 100 µm apart.
    mpp
        µm per pixel of the slide.
    donor
        Id of the donor; None for ``donor-{seed}``.

    Returns
    -------
    Section
        ``read_spots(section.expression)`` returns the measured counts.

    Raises
    ------
    ValueError
        The slide is too small for spots, or the µm/px is out of range.
    OSError, InputError
        The files cannot be written.

    Examples
    --------
    .. code-block:: python

        section = write_synthetic_visium("visium", seed=1)
        spots = read_spots(section.expression)
    """
    folder, name = Path(folder), f"visium-{seed}"
    height, width = (round(size / mpp) for size in size_um)
    tissue = SyntheticTissue(seed, (height, width), mpp)
    spots = synthetic_spots(
        tissue, ProgrammeSettings(pitch_um=100.0, tile_um=100.0, layout="hexagonal")
    )
    outs = folder / name / "outs"
    outs.parent.mkdir(parents=True, exist_ok=True)
    check_place(outs, True, is_ours=_is_synthetic, kind="a synthetic Visium section", folder=True)
    slide = write_synthetic_slide(folder / f"{name}.tiff", seed, tissue.shape, mpp)
    others = files_of_others(outs, _OWN_FILES)
    with whole_output(outs) as draft:
        (draft / "spatial").mkdir(parents=True)
        barcodes = _barcodes(spots.n_obs)
        _write_matrix(draft / _MATRIX, spots, barcodes)
        _write_positions(draft / "spatial", spots, barcodes)
        _write_picture(draft / "spatial", slide, mpp)
        keep_files(outs, draft, others)
    return Section(name, f"donor-{seed}" if donor is None else donor, slide, outs)


def _is_synthetic(outs: Path) -> bool:
    try:
        with h5py.File(outs / _MATRIX) as file:
            return bool(file.attrs.get("software_version") == _SOFTWARE)
    except OSError:
        return False


def _barcodes(number: int) -> NDArray[np.str_]:
    """Sixteen bases each: the place in the list, to base 4."""
    digits = np.arange(number)[:, None] // 4 ** np.arange(15, -1, -1) % 4
    return np.array(["".join("ACGT"[digit] for digit in row) + "-1" for row in digits])


def _write_matrix(path: Path, spots: AnnData, barcodes: NDArray[np.str_]) -> None:
    counts = spots.X.tocsr()
    genes = spots.var_names.to_numpy(str)
    with h5py.File(path, "w") as file:
        file.attrs["software_version"] = _SOFTWARE
        matrix = file.create_group("matrix")
        matrix["barcodes"] = barcodes.astype("S")
        matrix["data"] = counts.data.astype(np.int32)
        matrix["indices"] = counts.indices.astype(np.int64)
        matrix["indptr"] = counts.indptr.astype(np.int64)
        matrix["shape"] = np.array(counts.shape[::-1], np.int32)
        features = matrix.create_group("features")
        features["id"] = features["name"] = genes.astype("S")
        features["feature_type"] = np.full(len(genes), GENE_EXPRESSION.encode())


def _write_positions(spatial: Path, spots: AnnData, barcodes: NDArray[np.str_]) -> None:
    places = ["array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres"]
    table = pd.DataFrame({"barcode": barcodes, "in_tissue": 1})
    table[places] = spots.obs[places].to_numpy()
    table = table.astype({"array_row": int, "array_col": int})
    table.to_csv(spatial / _POSITIONS, index=False)


def _write_picture(spatial: Path, slide: Path, mpp: float) -> None:
    with open_slide(slide) as opened:
        height, width = opened.shape
        scale = min(1.0, _PICTURE_PX / max(height, width))
        picture = Image.fromarray(opened.read_region(0, 0, height, width))
    picture.resize((round(width * scale), round(height * scale))).save(spatial / _PICTURE)
    factors = {"tissue_hires_scalef": scale, "spot_diameter_fullres": _SPOT_UM / mpp}
    (spatial / _FACTORS).write_text(json.dumps(factors), encoding="utf-8")
