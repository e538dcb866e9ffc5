"""Folders for Vitessce: files lie over each other in µm, and the configuration holds together."""

import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import zarr
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import BEST, drawn_prediction, drawn_spot_prediction
from napari_nh2st.errors import InputError
from napari_nh2st.export import export
from napari_nh2st.prediction.files import read_anndata_file
from napari_nh2st.prediction.schema import notes
from napari_nh2st.slide import Slide

MPP = (0.5, 0.8)
"""Pixels that are not square: mixing the axes up shows."""


@pytest.fixture(scope="module")
def slide() -> Slide:
    return array_slide(ArrayLevel(textured(1300, 420)), mpp=MPP, path="a <b> & c.tif")


@pytest.fixture(scope="module")
def prediction(slide: Slide) -> AnnData:
    prediction = drawn_prediction(slide)
    names = np.resize(["stroma", "tumour"], prediction.n_obs).astype(object)
    names[0] = np.nan
    prediction.obs["domain"] = names
    prediction.uns["domain_colors"] = np.array(["#ff8000", "#0000ff"], object)
    notes(prediction)["notices"] = np.array(["The stain is paler."], object)
    return prediction


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, prediction: AnnData) -> Path:
    path = tmp_path_factory.mktemp("vitessce") / "out.vitessce"
    export(prediction, path, domains="domain")
    return path


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


def test_tiles_have_their_values_and_squares_in_um(folder: Path, prediction: AnnData) -> None:
    tiles = anndata.read_zarr(folder / "tiles.zarr")
    known = prediction[:-2]  # the last two have no value
    assert tiles.obs_names.tolist() == known.obs_names.tolist()
    np.testing.assert_array_equal(tiles.X, known.X)
    x, y = (tiles.obsm["spatial_um"] / MPP[::-1]).T
    np.testing.assert_allclose(np.column_stack([x, y]), known.obsm["spatial"], rtol=1e-6)
    outlines = tiles.obsm["outline_um"]
    assert outlines.shape == (known.n_obs, 4, 2)
    np.testing.assert_allclose(outlines.mean(1), tiles.obsm["spatial_um"], rtol=1e-5)
    np.testing.assert_allclose(np.ptp(outlines, axis=1), 32, rtol=1e-4)
    assert read_anndata_file(folder / "tiles.zarr").uns["nh2st"]["slide"]["name"] == "a <b> & c.tif"


def test_the_picture_covers_the_slide_in_um(folder: Path, prediction: AnnData) -> None:
    image = zarr.open_group(folder / "image.ome.zarr", mode="r")
    (multiscale,) = image.attrs["multiscales"]
    levels = [image[dataset["path"]] for dataset in multiscale["datasets"]]
    assert [level.shape for level in levels] == [(3, 1300, 420), (3, 650, 210), (3, 325, 105)]
    for level, dataset in zip(levels, multiscale["datasets"], strict=True):
        (transformation,) = dataset["coordinateTransformations"]
        extent = np.multiply(transformation["scale"][1:], level.shape[1:])
        np.testing.assert_allclose(extent, np.multiply((1300, 420), MPP), atol=2)
    (section,) = prediction.uns["spatial"].values()
    np.testing.assert_array_equal(np.moveaxis(levels[0][:], 0, -1), section["images"]["hires"])
    half = levels[0][:].astype(float)
    naive = (half[:, ::2, ::2] + half[:, 1::2, ::2] + half[:, ::2, 1::2] + half[:, 1::2, 1::2]) / 4
    np.testing.assert_allclose(levels[1][:], naive, atol=0.5)


def scopes_in(value: Any, known: dict[str, Any]) -> list[tuple[str, str]]:
    """All (coordination type, scope) that a layer refers to."""
    found = []
    for name, scope in value.items():
        if isinstance(scope, dict) and name in known and "__dummy__" not in str(scope):
            found += [(name, s) for to in scope.values() for s in np.atleast_1d(to)]
    return found


@pytest.mark.parametrize("kind", ["tiles", "spots"])
def test_the_configuration_refers_to_what_is_in_it(
    tmp_path: Path, folder: Path, slide: Slide, kind: str
) -> None:
    if kind == "spots":
        folder = tmp_path / "spots.vitessce"
        export(drawn_spot_prediction(slide), folder)
    config = config_of(folder)
    space = config["coordinationSpace"]
    for view in config["layout"]:
        for name, scope in view["coordinationScopes"].items():
            assert set(np.atleast_1d(scope)) <= set(space[name]), (view["component"], name)
    for name, layers in space["metaCoordinationScopes"]["A"].items():
        assert set(layers) <= set(space[name])
    referred = [
        pair
        for layer in space["metaCoordinationScopesBy"]["A"].values()
        for pair in scopes_in(layer, space)
    ]
    assert len(referred) > 10
    for name, scope in referred:
        assert scope in space[name], name
    cells = [
        (v["x"] + dx, v["y"] + dy)
        for v in config["layout"]
        for dx in range(v["w"])
        for dy in range(v["h"])
    ]
    assert len(cells) == len(set(cells)) == 144  # views that do not overlap, on 12 x 12 cells
    for file in config["datasets"][0]["files"]:
        assert (folder / file["url"].removeprefix("http://localhost:8000/")).is_dir()
    tiles = zarr.open_group(folder / "tiles.zarr", mode="r")
    options = config["datasets"][0]["files"][0]["options"]
    paths = [option["path"] for name, option in options.items() if name != "obsSets"]
    for path in [*paths, *(each["path"] for each in options.get("obsSets", ()))]:
        assert path in tiles
    if kind == "spots":
        assert space["spatialSpotRadius"] == {"tiles": pytest.approx(16, rel=0.3)}
        assert options["obsSpots"] == {"path": "obsm/spatial_um"}
    else:
        assert options["obsSegmentations"] == {"path": "obsm/outline_um"}


def test_classes_have_their_colors_and_the_text_its_notices(folder: Path) -> None:
    config = config_of(folder)
    space = config["coordinationSpace"]
    assert space["featureSelection"]["A"] is None
    assert space["obsColorEncoding"]["A"] == "cellSetSelection"
    assert space["obsSetSelection"]["A"] == [["domain", "stroma"], ["domain", "tumour"]]
    assert space["obsSetColor"]["A"] == [
        {"path": ["domain", "stroma"], "color": [255, 128, 0]},
        {"path": ["domain", "tumour"], "color": [0, 0, 255]},
    ]
    assert config["description"].endswith("The stain is paler.")


def test_the_page_shows_the_folder_that_it_lies_in(folder: Path) -> None:
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "<title>a &lt;b&gt; &amp; c</title>" in page
    # What it replaces by its own place is what the configuration has.
    assert 'text.replaceAll("http://localhost:8000/", here)' in page
    assert 'fetch("config.json")' in page


def test_without_domains_and_picture_a_gene_is_shown(tmp_path: Path, slide: Slide) -> None:
    prediction = drawn_prediction(slide)
    prediction.uns["spatial"] = {}
    export(prediction, tmp_path / "out.vitessce", genes=("VIM", "ERBB2"))
    config = config_of(tmp_path / "out.vitessce")
    assert config["coordinationSpace"]["featureSelection"]["A"] == ["ERBB2"]
    assert config["coordinationSpace"]["obsColorEncoding"]["A"] == "geneSelection"
    assert "imageLayer" not in config["coordinationSpace"]
    assert not (tmp_path / "out.vitessce" / "image.ome.zarr").exists()
    assert anndata.read_zarr(tmp_path / "out.vitessce" / "tiles.zarr").n_vars == 2


def test_classes_may_be_numbers_and_have_anything_for_colors(
    tmp_path: Path, slide: Slide, prediction: AnnData
) -> None:
    numbered = prediction.copy()
    numbered.obs["leiden"] = np.arange(numbered.n_obs) % 2
    numbered.uns["leiden_colors"] = np.array([[1.0, 0, 0, 1], [0, 0, 1, 1]])
    numbered.uns["domain_colors"] = np.array(["a color", "#0000ff"], object)
    export(numbered, tmp_path / "out.vitessce", domains="leiden")
    space = config_of(tmp_path / "out.vitessce")["coordinationSpace"]
    assert space["obsSetSelection"]["A"] == [["leiden", "0"], ["leiden", "1"]]
    assert space["obsSetColor"]["A"] == [
        {"path": ["leiden", "0"], "color": [255, 0, 0]},
        {"path": ["leiden", "1"], "color": [0, 0, 255]},
    ]
    obs = anndata.read_zarr(tmp_path / "out.vitessce" / "tiles.zarr").obs
    assert obs["leiden"].cat.categories.tolist() == ["0", "1"]
    assert numbered.obs["leiden"].dtype == int
    numbered.uns["domain_colors"] = None
    export(numbered, tmp_path / "other.vitessce")


def test_only_our_own_folders_are_replaced(tmp_path: Path, slide: Slide) -> None:
    prediction = drawn_prediction(slide)
    path = tmp_path / "out.vitessce"
    export(prediction, path, genes=("VIM", BEST))
    assert config_of(path)["coordinationSpace"]["featureSelection"]["A"] == [BEST]
    with pytest.raises(InputError, match="already exists"):
        export(prediction, path)
    export(prediction, path, genes=("CD74",), overwrite=True)
    assert anndata.read_zarr(path / "tiles.zarr").var_names.tolist() == ["CD74"]
    (path / "config.json").unlink()
    with pytest.raises(InputError, match="is not a Vitessce folder of this program"):
        export(prediction, path, overwrite=True)


def test_what_cannot_be_shown_is_refused_before_anything_is_written(
    tmp_path: Path, slide: Slide
) -> None:
    prediction = drawn_prediction(slide)
    with pytest.raises(InputError, match="no domains 'zone'"):
        export(prediction, tmp_path / "out.vitessce", domains="zone")
    prediction.X[:] = np.nan
    with pytest.raises(InputError, match="value"):
        export(prediction, tmp_path / "out.vitessce")
    assert list(tmp_path.iterdir()) == []


def test_classes_with_a_slash_in_their_name_are_found_by_the_page(
    tmp_path: Path, prediction: AnnData
) -> None:
    named = prediction.copy()
    named.obs["stroma/tumour"] = named.obs.pop("domain")
    named.uns["stroma/tumour_colors"] = named.uns.pop("domain_colors")
    with pytest.warns(UserWarning, match="is written as 'stroma_tumour'"):
        export(named, tmp_path / "out.vitessce", domains="stroma/tumour")
    tiles = anndata.read_zarr(tmp_path / "out.vitessce" / "tiles.zarr")
    assert set(tiles.obs["stroma_tumour"].dropna()) == {"stroma", "tumour"}
    config = config_of(tmp_path / "out.vitessce")
    (sets,) = (
        file["options"]["obsSets"]
        for file in config["datasets"][0]["files"]
        if "obsSets" in file.get("options", {})
    )
    assert sets[0] == {"name": "stroma_tumour", "path": "obs/stroma_tumour"}


@pytest.mark.parametrize("suffix", [".vitessce", ".ome.zarr", ".zarr"])
def test_a_new_export_removes_its_own_files_and_none_of_others(
    tmp_path: Path, prediction: AnnData, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    export(prediction, path)
    ours = {file.relative_to(path) for file in path.rglob("*") if file.is_file()}
    (path / "README.md").write_text("mine", encoding="utf-8")
    (path / "figures" / "panel").mkdir(parents=True)
    (path / "figures" / "panel" / "a.png").write_bytes(b"png")
    (path / "latest").symlink_to("figures")
    nested = next(
        (path / name for name in ("tiles.zarr", "tables") if (path / name).is_dir()), path
    )
    (nested / "mine").mkdir()
    (nested / "mine" / "b.txt").write_text("b", encoding="utf-8")
    prediction = prediction.copy()
    (section,) = prediction.uns["spatial"].values()
    section["images"].clear()  # there is no picture now
    export(prediction, path, genes=("VIM",), overwrite=True)
    assert (path / "README.md").read_text(encoding="utf-8") == "mine"
    assert (path / "latest").readlink() == Path("figures")
    assert (path / "latest" / "panel" / "a.png").read_bytes() == b"png"
    assert (nested / "mine" / "b.txt").read_text(encoding="utf-8") == "b"
    assert not (path / "image.ome.zarr").exists()
    again = {file.relative_to(path) for file in path.rglob("*") if file.is_file()}
    assert len(again - ours) == 3  # of others, beside the link
    tables = {".vitessce": "tiles.zarr", ".ome.zarr": "tables/table", ".zarr": ""}
    assert list(anndata.read_zarr(path / tables[suffix]).var_names) == ["VIM"]
