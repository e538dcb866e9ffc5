"""What the process of a hostile model or data file does (see :mod:`forking`)."""

import hashlib
import json
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from damage import damage
from hostile import VALUES, mutated_json, mutated_table

from array_slides import textured, write_tiff
from napari_nh2st.analysis.signatures import read_gmt
from napari_nh2st.cli.options import read_genes
from napari_nh2st.inference import PredictSettings, predict
from napari_nh2st.model.card import model_card
from napari_nh2st.model.config import CONFIG_FILE, WEIGHTS_FILE, read_config
from napari_nh2st.model.folder import load_model_folder, save_model_folder
from napari_nh2st.prediction.files import read_anndata_file, write_anndata
from napari_nh2st.prediction.schema import check_prediction
from napari_nh2st.slide import open_slide
from napari_nh2st.spots import read_sections, read_spots
from napari_nh2st.tiles.geojson import read_regions
from small_configs import PANEL
from small_models import small_model
from spot_sections import drawn_spots


def write_model(folder: Path) -> None:
    """A model as it should be."""
    save_model_folder(small_model(), folder)


def spoil_model(folder: Path, seed: int) -> str:
    """Change a model's config, or the header or the bytes of its weights; in words what.

    What is changed in the weights has the checksum that the config names: a model is hostile, and
    not just damaged.
    """
    chance = random.Random(seed)
    config, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    content = json.loads(config.read_text(encoding="utf-8"))
    what = chance.choice(("config", "config", "header", "header", "bytes"))
    if what == "config":
        text, how = mutated_json(content, chance)
        config.write_bytes(text.encode(errors="replace"))
        return f"config: {how}"
    if what == "header":
        data = weights.read_bytes()
        n = int.from_bytes(data[:8], "little")
        text, how = mutated_json(json.loads(data[8 : 8 + n]), chance)
        header = text.encode(errors="replace")
        length = chance.choice((len(header), len(header), len(header), 2**40, n, 0))
        weights.write_bytes(length.to_bytes(8, "little") + header + data[8 + n :])
        how = f"header: {how}, length {length}"
    else:
        kind, where = damage(weights, chance.randrange(2**31))
        how = f"weights: {kind}, {where}"
    content["weights"]["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    config.write_text(json.dumps(content), encoding="utf-8")
    return how


def use_model(folder: Path) -> str:
    """Show a model and predict with it."""
    warnings.simplefilter("ignore")
    config = read_config(folder)
    model_card(config)
    model = load_model_folder(folder)
    slide = write_tiff(folder / "slide.tif", textured(120, 120))
    settings = PredictSettings(
        device="cpu", precision="float32", tissue_only=False, genes=model.config.panel[:2]
    )
    with open_slide(slide, mpp=config.mpp) as opened:
        values = np.asarray(predict(opened, model, settings).X)
    return "used" if np.isfinite(values).all() else "gives values that are not finite"


def write_data(folder: Path) -> None:
    """One of each file of data that users give."""
    folder.mkdir()
    spots = drawn_spots(genes=PANEL)
    write_anndata(spots, folder / "spots.h5ad")
    write_anndata(spots, folder / "spots.zarr")
    with open_slide(write_tiff(folder / "slide.tif", textured(120, 120)), mpp=1.0) as slide:
        settings = PredictSettings(device="cpu", precision="float32", tissue_only=False)
        predict(slide, small_model(), settings, output=folder / "prediction.h5ad")
    table = spots.to_df().astype(int)
    table.to_csv(folder / "counts.tsv", sep="\t")
    rows = ["x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected"]
    for name, (x, y) in zip(table.index, spots.obsm["spatial"], strict=True):
        array_x, array_y = name.split("x")
        rows.append(f"{array_x}\t{array_y}\t{array_x}\t{array_y}\t{x}\t{y}\t1")
    (folder / "positions.tsv").write_text("\n".join(rows), encoding="utf-8")
    header = "section_id,donor_id,slide,expression,mpp"
    (folder / "sections.csv").write_text(
        f"{header}\nS0,D0,slide.tif,spots.h5ad,0.5\n", encoding="utf-8"
    )
    section = dict(
        zip(header.split(","), ["S0", "D0", "slide.tif", "spots.h5ad", "0.5"], strict=True)
    )
    (folder / "sections.yaml").write_text(json.dumps({"sections": [section]}), encoding="utf-8")
    ring = [[0, 0], [0, 90], [90, 90], [0, 0]]
    shapes: list[Any] = [{"type": "Polygon", "coordinates": [ring]}]
    shapes.append({"type": "MultiPolygon", "coordinates": [[ring], [ring]]})
    features = [{"type": "Feature", "geometry": shape, "properties": {}} for shape in shapes]
    regions = {"type": "FeatureCollection", "features": features}
    (folder / "regions.geojson").write_text(json.dumps(regions), encoding="utf-8")
    (folder / "signatures.gmt").write_text(
        "Immune\tof T cells\tCD74\tVIM\nTumor\t\tERBB2\n", encoding="utf-8"
    )
    (folder / "genes.txt").write_text("ERBB2\nCD74 # a comment\n", encoding="utf-8")
    _write_space_ranger(folder / "outs")


def _write_space_ranger(folder: Path) -> None:
    (folder / "spatial").mkdir(parents=True)
    with h5py.File(folder / "filtered_feature_bc_matrix.h5", "w") as file:
        matrix = file.create_group("matrix")
        matrix["barcodes"] = np.array([f"AAAC{i:04}-1" for i in range(20)], "S10")
        matrix["data"] = np.arange(1, 61, dtype=np.int32)
        matrix["indices"] = np.tile(np.arange(3), 20).astype(np.int64)
        matrix["indptr"] = np.arange(0, 61, 3).astype(np.int64)
        matrix["shape"] = np.array([3, 20], np.int32)
        features = matrix.create_group("features")
        features["id"] = np.array([f"ENSG{i:011}" for i in range(3)], "S15")
        features["name"] = np.array(["ERBB2", "CD74", "VIM"], "S5")
        features["feature_type"] = np.array(["Gene Expression"] * 3, "S15")
        features["genome"] = np.array(["GRCh38"] * 3, "S6")
    rows = ["barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"]
    rows += [f"AAAC{i:04}-1,1,{i // 5},{2 * (i % 5)},{100 * i},{50 * i}" for i in range(20)]
    (folder / "spatial" / "tissue_positions.csv").write_text("\n".join(rows), encoding="utf-8")
    factors = {"tissue_hires_scalef": 0.1, "tissue_lowres_scalef": 0.03}
    factors |= {"spot_diameter_fullres": 40.0, "fiducial_diameter_fullres": 60.0}
    (folder / "spatial" / "scalefactors_json.json").write_text(
        json.dumps(factors), encoding="utf-8"
    )


def _read_prediction(path: Path) -> None:
    check_prediction(read_anndata_file(path))


_READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "spots.h5ad": ("spots.h5ad", read_spots),
    "spots.zarr": ("spots.zarr", read_spots),
    "prediction.h5ad": ("prediction.h5ad", _read_prediction),
    "counts.tsv": ("counts.tsv", lambda path: read_spots(path, path.parent / "positions.tsv")),
    "positions.tsv": ("counts.tsv", lambda path: read_spots(path, path.parent / "positions.tsv")),
    "sections.csv": ("sections.csv", read_sections),
    "sections.yaml": ("sections.yaml", read_sections),
    "regions.geojson": ("regions.geojson", read_regions),
    "signatures.gmt": ("signatures.gmt", read_gmt),
    "genes.txt": ("genes.txt", read_genes),
    "outs/filtered_feature_bc_matrix.h5": ("outs", read_spots),
    "outs/spatial/tissue_positions.csv": ("outs", read_spots),
    "outs/spatial/scalefactors_json.json": ("outs", read_spots),
}
"""By the file that is spoiled: what is given to the reader, and the reader."""

DATA = tuple(_READERS)

_ATTRIBUTES = [
    value
    for value in VALUES
    if (isinstance(value, str) and "\x00" not in value and len(value) < 60_000)
    or (isinstance(value, int | float) and abs(value) < 2**63)
    or isinstance(value, float)
]
"""Those of the hostile values that HDF5 takes for an attribute."""


def spoil_data(folder: Path, name: str, seed: int) -> str:
    """Change one of the files of :func:`write_data`; in words how."""
    chance = random.Random(seed)
    path = folder / name
    if path.suffix in (".h5ad", ".h5") and chance.random() < 0.7:
        return _spoil_hdf5(path, chance)
    if path.is_dir() or path.suffix in (".h5ad", ".h5") or chance.random() < 0.2:
        return ", ".join(damage(path, chance.randrange(2**31)))
    if path.suffix in (".json", ".geojson", ".yaml"):
        text, how = mutated_json(json.loads(path.read_text(encoding="utf-8")), chance)
    else:
        text, how = mutated_table(path.read_text(encoding="utf-8"), chance)
    path.write_bytes(text.encode(chance.choice(("utf-8", "utf-8", "utf-16")), errors="replace"))
    return how


def _spoil_hdf5(path: Path, chance: random.Random) -> str:
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = chance.choice(names)
        node = file[name]
        how = chance.choice(("remove", "value", "value", "attribute", "attribute", "shape"))
        if how == "attribute" and len(node.attrs):
            key = chance.choice(sorted(node.attrs))
            value = chance.choice(_ATTRIBUTES)
            del node.attrs[key]
            node.attrs[key] = value
            return f"{name}: attribute {key} is {str(value)[:40]!r}"
        if how == "remove" or isinstance(node, h5py.Group):
            del file[name]
            return f"{name} is not there"
        attributes, values = dict(node.attrs), np.asarray(node[()])
        del file[name]
        if how == "shape":
            values = np.resize(values, chance.choice(((), (0,), (1,), (7,), (3, 5, 2))))
        elif values.dtype.kind in "iuf":
            number = chance.choice((-1, 0, 2**31 - 1, -(2**31)))
            hostile = np.array(number).astype(values.dtype)
            kind = chance.choice(("one", "all", "text", "nan"))
            if kind == "one" and values.size:
                values = values.copy()
                values.flat[chance.randrange(values.size)] = hostile
            elif kind == "all":
                values = np.full_like(values, hostile)
            elif kind == "nan":
                values = np.full(values.shape, np.nan)
            else:
                values = np.full(values.shape, b"text", "S4")
        else:
            values = np.full(values.shape, chance.choice((b"", b"\xff\xfe", b"same")), "S4")
        new = file.create_dataset(name, data=values)
        for key, value in attributes.items():
            new.attrs[key] = value
        return f"{name}: {how} {values.dtype} {values.shape} {str(values.flat[:1])[:40]}"


def use_data(folder: Path, name: str) -> str:
    """Read a spoiled file as the commands do."""
    warnings.simplefilter("ignore")
    given, reader = _READERS[name]
    reader(folder / given)
    return "read"
