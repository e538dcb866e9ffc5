"""Exported files: each read again by something that knows nothing of how it was written."""

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr
from anndata import AnnData

from array_slides import ArrayLevel, array_slide, textured
from drawn_predictions import BEST, drawn_prediction, drawn_spot_prediction
from napari_nh2st.cli.export import FORMAT_NAMES
from napari_nh2st.errors import InputError
from napari_nh2st.export import FORMATS, export, format_of, prediction_table, write_table
from napari_nh2st.prediction.files import read_anndata_file
from napari_nh2st.prediction.outlines import tile_outlines
from napari_nh2st.slide import Slide
from napari_nh2st.tiles.geojson import read_regions
from small_configs import PANEL

MPP = (0.5, 0.8)
"""Pixels that are not square: mixing the axes up shows."""


@pytest.fixture(scope="module")
def slide() -> Slide:
    return array_slide(ArrayLevel(textured(300, 420)), mpp=MPP, path="section.tif")


@pytest.fixture(scope="module")
def prediction(slide: Slide) -> AnnData:
    return drawn_prediction(slide)


@pytest.fixture(scope="module")
def spots(slide: Slide) -> AnnData:
    return drawn_spot_prediction(slide)


# --- which format ---


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.h5ad", "h5ad"),
        ("a.zarr", "zarr"),
        ("a.b.zarr", "zarr"),
        ("a.ome.zarr", "ome-zarr"),
        ("a.spatialdata.zarr", "spatialdata"),
        ("a.geojson", "geojson"),
        ("a.csv", "csv"),
        ("a.pdf", "pdf"),
    ],
)
def test_the_end_of_the_name_tells_the_format(name: str, format: str) -> None:
    assert format_of(name).name == format


def test_a_format_that_is_said_wins_over_the_name() -> None:
    assert format_of("a.zarr", "spatialdata").name == "spatialdata"
    assert format_of("a.zarr", "ome-zarr").name == "ome-zarr"


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("a.tiff", None, r"must end in one of \.h5ad, \.zarr, .*\.ome\.zarr.*\.pdf$"),
        ("a", None, "must end in one of"),
        ("a.csv", "loom", "no format 'loom'; there are h5ad, .*pdf"),
        ("a.zarr", "geojson", r"ends in \.geojson"),
    ],
)
def test_unknown_formats_are_told_with_those_there_are(
    name: str, format: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        format_of(name, format)


def test_the_command_offers_every_format() -> None:
    assert tuple(known.name for known in FORMATS) == FORMAT_NAMES


# --- genes ---


def test_only_the_chosen_genes_are_written(tmp_path: Path, prediction: AnnData) -> None:
    genes = ("VIM", "ERBB2")
    export(prediction, tmp_path / "out.h5ad", genes=genes)
    found = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert found.var_names.tolist() == list(genes)
    np.testing.assert_array_equal(found.X, prediction[:, list(genes)].X)


@pytest.mark.parametrize("name", ["out.h5ad", "out.geojson", "out.csv", "out.ome.zarr", "out.png"])
@pytest.mark.parametrize(
    ("genes", "message"),
    [
        (["VIM", "erb2"], "erb2 is not among the 5 predicted genes. Did you mean ERBB2"),
        (["VIM", "VIM"], "VIM is given more than once"),
        ([], "No gene is chosen"),
    ],
)
def test_wrong_genes_are_refused_before_anything_is_written(
    tmp_path: Path, prediction: AnnData, name: str, genes: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        export(prediction, tmp_path / name, genes=genes)
    assert list(tmp_path.iterdir()) == []


# --- GeoJSON ---


def read_features(path: Path) -> list[dict[str, Any]]:
    collection = json.loads(path.read_text(encoding="utf-8"))
    assert collection["type"] == "FeatureCollection"
    features: list[dict[str, Any]] = collection["features"]
    return features


def test_geojson_has_a_tile_object_with_measurements_per_tile(
    tmp_path: Path, prediction: AnnData
) -> None:
    export(prediction, tmp_path / "out.geojson", genes=("VIM", "CD74"))
    features = read_features(tmp_path / "out.geojson")
    assert [f["properties"]["name"] for f in features] == prediction.obs_names.tolist()
    assert {f["properties"]["objectType"] for f in features} == {"tile"}
    assert len({f["id"] for f in features}) == prediction.n_obs
    for feature, values in zip(features[:-2], prediction[:, ["VIM", "CD74"]].X, strict=False):
        measured = feature["properties"]["measurements"]
        assert list(measured) == ["VIM", "CD74"]
        np.testing.assert_array_equal(np.array(list(measured.values()), np.float32), values)
    assert "measurements" not in features[-1]["properties"]
    assert features[-1]["properties"]["metadata"] == {"status": "segment (1, 1) is damaged"}


def test_geojson_tiles_are_squares_of_tissue_around_their_centers(
    tmp_path: Path, prediction: AnnData, slide: Slide
) -> None:
    export(prediction, tmp_path / "out.geojson", genes=("VIM",))
    rings = [f["geometry"]["coordinates"][0] for f in read_features(tmp_path / "out.geojson")]
    assert all(ring[0] == ring[-1] and len(ring) == 5 for ring in rings)
    corners = np.array(rings)[:, :4]
    center, half = prediction.obsm["spatial"], np.array([32 / MPP[1], 32 / MPP[0]]) / 2
    within = (center + half <= slide.shape[::-1]).all(1)
    assert 0 < within.sum() < len(within)  # those of the last row and column reach beyond
    np.testing.assert_allclose(corners[within].mean(1), center[within], atol=1e-3)
    width, height = np.ptp(corners[within], axis=1).T
    np.testing.assert_allclose(width * MPP[1], 32, atol=1e-2)
    np.testing.assert_allclose(height * MPP[0], 32, atol=1e-2)
    # At the slide's edge they end.
    np.testing.assert_allclose(corners.min(1), center - half, atol=1e-3)
    np.testing.assert_allclose(
        corners.max(1), np.minimum(center + half, slide.shape[::-1]), atol=1e-3
    )
    # Our own reader of regions, which is made for QuPath's exports, takes them as they are.
    outlines = read_regions(tmp_path / "out.geojson")
    np.testing.assert_allclose(outlines[3][:5, ::-1], rings[3])


def test_exporting_twice_gives_the_same_file(tmp_path: Path, prediction: AnnData) -> None:
    for name in ("a.geojson", "b.geojson"):
        export(prediction, tmp_path / name)
    assert (tmp_path / "a.geojson").read_bytes() == (tmp_path / "b.geojson").read_bytes()


@pytest.mark.parametrize(("layout", "pitch_um"), [("square", 20.0), ("hexagonal", 32.0)])
def test_outlines_of_tiles_that_overlap_do_not(slide: Slide, layout: Any, pitch_um: float) -> None:
    outlines = tile_outlines(drawn_prediction(slide, layout, pitch_um))
    low, high = outlines.min(1), outlines.max(1)
    shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
    area = np.prod(shared.clip(0), axis=-1) * np.prod(MPP)
    own = pitch_um**2 if layout == "square" else pitch_um**2 * np.sqrt(3) / 2
    np.testing.assert_allclose(np.diag(area), own)
    np.testing.assert_allclose(area - np.diag(np.diag(area)), 0, atol=1e-6)


def test_domains_become_classifications_with_their_colors(
    tmp_path: Path, prediction: AnnData
) -> None:
    domains = prediction.copy()
    labels = np.where(np.arange(domains.n_obs) % 2, "stroma", "tumour")
    domains.obs["domain"] = pd.Categorical(labels)
    domains.uns["domain_colors"] = np.array(["#00ff00", "#800000"])
    domains.obs.loc[domains.obs_names[0], "domain"] = np.nan
    export(domains, tmp_path / "out.geojson", genes=("VIM",), domains="domain")
    properties = [f["properties"] for f in read_features(tmp_path / "out.geojson")]
    assert "classification" not in properties[0]
    assert properties[1]["classification"] == {"name": "stroma", "color": [0, 255, 0]}
    assert properties[2]["classification"] == {"name": "tumour", "color": [128, 0, 0]}
    with pytest.raises(
        InputError, match=r"no domains 'cluster' in the prediction: obs has .*domain"
    ):
        export(domains, tmp_path / "other.geojson", domains="cluster")


def test_spots_are_squares_of_their_diameter(tmp_path: Path, spots: AnnData) -> None:
    export(spots, tmp_path / "out.geojson", genes=("VIM",))
    ring = np.array(read_features(tmp_path / "out.geojson")[0]["geometry"]["coordinates"][0])
    (section,) = spots.uns["spatial"].values()
    diameter = section["scalefactors"]["spot_diameter_fullres"]
    np.testing.assert_allclose(np.ptp(ring, axis=0), diameter, atol=2e-3)


# --- CSV ---


def test_csv_has_places_and_genes_of_every_tile(tmp_path: Path, prediction: AnnData) -> None:
    export(prediction, tmp_path / "out.csv", genes=("VIM", "ERBB2"))
    table = pd.read_csv(tmp_path / "out.csv", index_col="tile")
    assert table.index.tolist() == prediction.obs_names.tolist()
    np.testing.assert_allclose(table[["x_px", "y_px"]], prediction.obsm["spatial"])
    np.testing.assert_allclose(table["y_um"], (prediction.obs["array_row"] + 0.5) * 32)
    np.testing.assert_allclose(table["x_um"], (prediction.obs["array_col"] + 0.5) * 32)
    np.testing.assert_allclose(
        table[["VIM", "ERBB2"]], prediction[:, ["VIM", "ERBB2"]].X, rtol=1e-6
    )
    assert table["status"].iloc[-2] == "pending"


def test_csv_of_spots_needs_no_array(spots: AnnData) -> None:
    table = prediction_table(spots)
    assert table.columns.tolist() == ["x_px", "y_px", "x_um", "y_um", "status", *PANEL]


def test_any_table_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    regions = pd.DataFrame({"tiles": [3, 4]}, index=pd.Index(["a", "b"], name="region"))
    path = tmp_path / "regions.csv"
    write_table(regions, path)
    pd.testing.assert_frame_equal(pd.read_csv(path, index_col="region"), regions)
    with pytest.raises(InputError, match="already exists"):
        write_table(regions, path)
    with pytest.raises(InputError, match=r"must end in \.csv"):
        write_table(regions, tmp_path / "regions.txt")

    def full(table: pd.DataFrame, draft: Path, **_: Any) -> None:
        draft.write_text("half a li", encoding="utf-8")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    with pytest.raises(InputError, match=r"regions\.csv cannot be written: No space left"):
        write_table(regions, path, overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("region,tiles")
    assert [file.name for file in tmp_path.iterdir()] == ["regions.csv"]


# --- OME-Zarr ---


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
def test_ome_zarr_puts_every_tile_at_its_place_in_micrometres(
    tmp_path: Path, slide: Slide, layout: Any
) -> None:
    prediction = drawn_prediction(slide, layout)
    export(prediction, tmp_path / "out.ome.zarr", genes=("VIM", "CD74"))
    attributes = json.loads((tmp_path / "out.ome.zarr" / ".zattrs").read_text(encoding="utf-8"))
    (multiscale,) = attributes["multiscales"]
    assert multiscale["version"] == "0.4"
    assert [axis["name"] for axis in multiscale["axes"]] == ["c", "y", "x"]
    assert [axis.get("unit") for axis in multiscale["axes"]] == [None, "micrometer", "micrometer"]
    (dataset,) = multiscale["datasets"]
    scale, translation = (
        np.array(step[kind])
        for step, kind in zip(
            dataset["coordinateTransformations"], ("scale", "translation"), strict=True
        )
    )
    image = zarr.open_array(tmp_path / "out.ome.zarr" / dataset["path"], mode="r")[...]
    # As in an OME-Zarr slide with scale = µm/px: its pixel k, center k + 0.5, lies at k · scale.
    expected = (prediction.obsm["spatial"][:, ::-1] - 0.5) * MPP
    for channel, gene in enumerate(("VIM", "CD74")):
        values = prediction[:, gene].X[:, 0]
        for value, place in zip(values[:-2], expected, strict=False):
            _, rows, columns = np.nonzero(image[channel : channel + 1] == value)
            center = np.array([rows.mean(), columns.mean()]) * scale[1:] + translation[1:]
            np.testing.assert_allclose(center, place, atol=1e-4)
    assert np.isnan(image).any()


@pytest.mark.parametrize(("layout", "pitch_um"), [("square", 90.0), ("hexagonal", 60.0)])
def test_ome_zarr_lies_in_place_where_a_viewer_knows_its_scale_alone(
    tmp_path: Path, layout: Any, pitch_um: float
) -> None:
    slide = array_slide(ArrayLevel(textured(900, 600)), mpp=MPP, path="section.tif")
    prediction = drawn_prediction(slide, layout, pitch_um)
    # No tile lies at the corner.
    prediction = prediction[(prediction.obs[["array_row", "array_col"]] > 0).all(axis=1)].copy()
    export(prediction, tmp_path / "out.ome.zarr", genes=("VIM",))
    attributes = json.loads((tmp_path / "out.ome.zarr" / ".zattrs").read_text(encoding="utf-8"))
    (dataset,) = attributes["multiscales"][0]["datasets"]
    scale = np.array(dataset["coordinateTransformations"][0]["scale"][1:])
    image = zarr.open_array(tmp_path / "out.ome.zarr" / "0", mode="r")[0]
    expected = (prediction.obsm["spatial"][:, ::-1] - 0.5) * MPP
    values = prediction[:, "VIM"].X[:, 0]
    known = np.isfinite(values)
    assert known.sum() > 3
    for value, place in zip(values[known], expected[known], strict=True):
        shown = np.argwhere(image == value).mean(0) * scale
        assert (abs(shown - place) <= 8).all()


def test_ome_zarr_channels_are_labelled_with_their_genes(
    tmp_path: Path, prediction: AnnData
) -> None:
    export(prediction, tmp_path / "out.ome.zarr")
    channels = json.loads((tmp_path / "out.ome.zarr" / ".zattrs").read_text(encoding="utf-8"))[
        "omero"
    ]["channels"]
    assert [channel["label"] for channel in channels] == list(PANEL)
    assert [channel["label"] for channel in channels if channel["active"]] == [BEST]
    for channel, gene in zip(channels, PANEL, strict=True):
        window, values = channel["window"], prediction[:, gene].X
        assert window["min"] == pytest.approx(np.nanmin(values))
        assert window["max"] == pytest.approx(np.nanmax(values))
        assert window["min"] < window["start"] < window["end"] < window["max"]


def test_ome_zarr_chunks_lie_in_folders_as_the_standard_asks(
    tmp_path: Path, prediction: AnnData
) -> None:
    export(prediction, tmp_path / "out.ome.zarr", genes=("VIM",))
    assert (tmp_path / "out.ome.zarr" / "0" / "0" / "0" / "0").is_file()


def test_a_reader_of_ome_zarr_reads_it(tmp_path: Path, prediction: AnnData) -> None:
    ome_zarr = pytest.importorskip("ome_zarr.reader")
    io = pytest.importorskip("ome_zarr.io")
    export(prediction, tmp_path / "out.ome.zarr", genes=("VIM", "CD74"))
    (node, *_) = list(ome_zarr.Reader(io.parse_url(tmp_path / "out.ome.zarr"))())
    assert node.metadata["channel_names"] == ["VIM", "CD74"]
    assert node.data[0].shape[0] == 2
    assert [kind["type"] for kind in node.metadata["coordinateTransformations"][0]] == [
        "scale",
        "translation",
    ]


def test_ome_zarr_carries_the_prediction_it_shows(tmp_path: Path, prediction: AnnData) -> None:
    export(prediction, tmp_path / "out.ome.zarr", genes=("VIM", "CD74"))
    alone = anndata.read_zarr(tmp_path / "out.ome.zarr" / "tables" / "table")
    for found in (alone, read_anndata_file(tmp_path / "out.ome.zarr")):
        assert found.var_names.tolist() == ["VIM", "CD74"]
        np.testing.assert_array_equal(found.X, prediction[:, ["VIM", "CD74"]].X)
        np.testing.assert_array_equal(found.obsm["spatial"], prediction.obsm["spatial"])
        assert found.uns["nh2st"]["model"]["name"] == prediction.uns["nh2st"]["model"]["name"]


def test_spots_are_no_image(tmp_path: Path, spots: AnnData) -> None:
    with pytest.raises(InputError, match="at measured spots are not an image: choose"):
        export(spots, tmp_path / "out.ome.zarr")


def test_a_slide_is_never_replaced_by_its_heatmap(tmp_path: Path, prediction: AnnData) -> None:
    slide = tmp_path / "slide.ome.zarr"
    zarr.open_group(slide, mode="w", zarr_format=2).attrs["multiscales"] = [{"version": "0.4"}]
    before = sorted(path.name for path in slide.iterdir())
    with pytest.raises(InputError, match="is not a heatmap of this program: it is not overwritten"):
        export(prediction, slide, overwrite=True)
    assert sorted(path.name for path in slide.iterdir()) == before
    export(prediction, tmp_path / "heat.ome.zarr", genes=("VIM",))
    export(prediction, tmp_path / "heat.ome.zarr", genes=("CD74", "VIM"), overwrite=True)
    assert zarr.open_array(tmp_path / "heat.ome.zarr" / "0", mode="r").shape[0] == 2


# --- what cannot be exported ---


@pytest.mark.parametrize("name", ["out.geojson", "out.csv", "out.ome.zarr", "out.png"])
def test_an_anndata_that_is_no_prediction_is_refused(tmp_path: Path, name: str) -> None:
    data = AnnData(np.ones((3, 2), np.float32), obsm={"spatial": np.ones((3, 2))})
    with pytest.raises(
        InputError, match=r"not a prediction of napari-nh2st: it has no uns\['nh2st'\]"
    ):
        export(data, tmp_path / name)


@pytest.mark.parametrize("name", ["a.h5ad", "a.zarr", "a.geojson", "a.csv", "a.ome.zarr", "a.png"])
def test_of_a_prediction_without_a_value_nothing_is_written(
    tmp_path: Path, prediction: AnnData, name: str
) -> None:
    stopped = prediction.copy()
    stopped.X[:] = np.nan
    with pytest.raises(InputError, match=f"{name} is not written: no tile .* has a value"):
        export(stopped, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_table_beyond_ascii_is_known_to_spreadsheets(tmp_path: Path, prediction: AnnData) -> None:
    export(prediction, tmp_path / "plain.csv")
    assert (tmp_path / "plain.csv").read_bytes().startswith(b"tile,")
    named = prediction.copy()
    named.obs["region"] = "Müller"
    export(named, tmp_path / "named.csv")
    assert (tmp_path / "named.csv").read_text(encoding="utf-8-sig").startswith("tile,")
    assert (tmp_path / "named.csv").read_bytes().startswith("\ufefftile,".encode())
    assert pd.read_csv(tmp_path / "named.csv")["region"].unique().tolist() == ["Müller"]
    export(named, tmp_path / "named.csv", overwrite=True)


def test_what_is_missing_in_a_prediction_is_named(tmp_path: Path, prediction: AnnData) -> None:
    broken = prediction.copy()
    del broken.obsm["spatial"]
    with pytest.raises(InputError, match="spatial"):
        export(broken, tmp_path / "out.csv")


@pytest.mark.parametrize(
    "name", ["out.h5ad", "out.zarr", "out.geojson", "out.csv", "out.ome.zarr", "out.svg"]
)
def test_nothing_is_overwritten_unasked(tmp_path: Path, prediction: AnnData, name: str) -> None:
    for overwrite in (False, True):
        export(prediction, tmp_path / name, genes=("VIM",), overwrite=overwrite)
    with pytest.raises(InputError, match="already exists"):
        export(prediction, tmp_path / name, genes=("VIM",))
    script = {"out.groovy"} if name == "out.geojson" else set()
    assert {path.name for path in tmp_path.iterdir()} == {name, *script}
    with pytest.raises(InputError, match="there is no folder"):
        export(prediction, tmp_path / "missing" / name)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_disk_that_fills_up_is_told_in_a_sentence(tmp_path: Path, slide: Slide) -> None:
    source, folder = tmp_path / "source.h5ad", tmp_path / "out"
    export(drawn_prediction(slide, pitch_um=4), source)
    folder.mkdir()
    names = ["a.geojson", "a.csv", "a.ome.zarr", "a.png", "a.pdf"]
    code = f"""
import resource
from pathlib import Path
from napari_nh2st.errors import InputError
from napari_nh2st.export import export, read_anndata_file
prediction = read_anndata_file(Path({str(source)!r}))
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))
for name in {names}:
    try:
        export(prediction, {str(folder)!r} + "/" + name)
    except InputError as error:
        print(error)
"""
    # -B: else the limit leaves halves of compiled modules for the next test that imports them.
    found = subprocess.run(
        [sys.executable, "-B", "-c", code], capture_output=True, text=True, check=True
    )
    expected = [f"{folder / name} cannot be written: File too large" for name in names]
    assert found.stdout.splitlines() == expected
    assert list(folder.iterdir()) == []
