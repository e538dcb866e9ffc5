"""Maps of new runs: added to a former one, in its place, beside it, and undone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from anndata import AnnData

from napari_nh2st.analysis.named_domains import NamedDomains
from napari_nh2st.analysis.signatures import Signature
from napari_nh2st.export import export
from napari_nh2st.layers.tile_positions import tile_at
from napari_nh2st.prediction.files import read_anndata_file, write_anndata
from shown_predictions import Shown, show_prediction
from waiting import wait_until

GENES = ["CD74", "ERBB2"]


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    return show_prediction(tmp_path)


def part_of(prediction: AnnData, tiles: slice, add: float = 0.0) -> AnnData:
    """A run of a region: these tiles, with a value more, still to come."""
    part = prediction[tiles].copy()
    part.X[:] = np.nan
    part.obs["status"] = "pending"
    notes = part.uns["nh2st"]
    corners = np.array([(0.0, 0.0), (0.0, add), (add, 0.0)])
    notes["settings"] = {**notes["settings"], "region": {"0": corners}}
    return part


def fill(part: AnnData, prediction: AnnData, tiles: list[int], add: float) -> np.ndarray:
    part.X[tiles] = prediction[part.obs_names].X[tiles] + add
    return np.array(tiles)


def test_a_region_is_added_to_the_map_tile_by_tile(shown: Shown) -> None:
    session, heatmap, whole = shown.session, shown.heatmap, shown.prediction
    first = part_of(whole, slice(0, 40), 1.0)
    first.X[:] = whole.X[:40]
    heatmap.take(first, shown.slide_layer)
    pin = session.pins.pin("ERBB2")
    session.show_signature(Signature("both", tuple(GENES), 2))
    wait_until(lambda: bool(session.signatures.items))
    (signature,) = session.signatures.items
    second = part_of(whole, slice(30, 60), 2.0)
    run = session.runs.show(shown.slide_layer, second, "CD74")
    assert run.heatmap is heatmap
    assert session.heatmaps == (heatmap,)
    union = heatmap.prediction
    assert list(union.obs_names) == list(whole.obs_names[:60])
    np.testing.assert_array_equal(union.obsm["spatial"], whole.obsm["spatial"][:60])
    np.testing.assert_array_equal(union.X[:40], whole.X[:40], "what was there")
    assert np.isnan(union.X[40:]).all()

    run.bring(fill(second, whole, [0, 29], 5.0))
    heatmap.refresh()
    heatmap.filled.emit(heatmap)
    assert run.n_done == 2
    assert union.obs["status"].iloc[[30, 59]].tolist() == ["predicted"] * 2, "if it never ends"
    assert union.obs["status"].iloc[58] == "pending"
    expected = np.r_[
        whole.X[:30], whole.X[30:31] + 5, whole.X[31:40], np.full((20, whole.n_vars), np.nan)
    ]
    expected[59] = whole.X[59] + 5
    np.testing.assert_array_equal(union.X, expected)
    column = whole.var_names.get_loc
    for layer, gene in ((heatmap.layer, "CD74"), (pin.layer, "ERBB2")):
        drawn = heatmap.raster.image(expected[:, column(gene)])
        np.testing.assert_array_equal(layer.data, drawn)
    has_value = np.isfinite(heatmap.layer.data)
    wait_until(lambda: np.array_equal(np.isfinite(signature.layer.data), has_value))
    np.testing.assert_array_equal(first.X, whole.X[:40], "the former stays as it was")


def test_an_ended_run_says_of_its_tiles_what_became_of_them(shown: Shown, tmp_path: Path) -> None:
    whole = shown.prediction
    first = part_of(whole, slice(0, 4), 1.0)
    first.X[:] = whole.X[:4]
    first.obs["status"] = "predicted"
    first.uns["nh2st"]["run"] = {"device": "cpu", "precision": "float32"}
    first.uns["nh2st"]["notices"] = np.array(["pale"], object)
    shown.heatmap.take(first, shown.slide_layer)
    second = part_of(whole, slice(2, 8), 2.0)
    second.uns["nh2st"]["run"] = {"device": "cpu", "precision": "bfloat16"}
    second.uns["nh2st"]["notices"] = np.array(["pale", "far"], object)
    run = shown.session.runs.show(shown.slide_layer, second, "CD74")
    fill(second, whole, [1, 2], 5.0)
    second.obs["status"] = ["damaged", "predicted", "predicted", "damaged", "pending", "pending"]
    second.obs["unfamiliar"] = np.arange(6.0) / 8
    run.finish()
    union = shown.heatmap.prediction
    assert union.obs["status"].tolist() == [*["predicted"] * 5, "damaged", "pending", "pending"]
    np.testing.assert_array_equal(union.X[2], whole.X[2], "damaged now: the former value stays")
    np.testing.assert_array_equal(union.X[3], whole.X[3] + 5)
    np.testing.assert_array_equal(
        union.obs["unfamiliar"].iloc[:6], [np.nan] * 3 + [1 / 8, 2 / 8, 3 / 8]
    )
    file = tmp_path / "union.h5ad"
    write_anndata(union, file)
    about = read_anndata_file(file).uns["nh2st"]
    assert len(about["settings"]["region"]) == 2
    assert list(about["notices"]) == ["pale", "far"]
    assert about["run"]["precision"] == "float32, bfloat16"


def test_a_region_on_the_map_of_the_whole_slide_leaves_it_whole(shown: Shown) -> None:
    part = part_of(shown.prediction, slice(0, 5), 1.0)
    shown.session.runs.show(shown.slide_layer, part, "CD74")
    union = shown.heatmap.prediction
    assert union is not shown.prediction
    assert union.n_obs == shown.prediction.n_obs
    assert union.uns["nh2st"]["settings"]["region"] == {}


def test_domains_stay_on_the_tiles_that_had_them(shown: Shown) -> None:
    whole = shown.prediction
    first = part_of(whole, slice(0, 40), 1.0)
    first.X[:] = whole.X[:40]
    shown.heatmap.take(first, shown.slide_layer)
    labels = np.arange(40) % 2 + 1
    markers = NamedDomains(labels, ("a", "b"), whole.var.iloc[:0])
    shown.session.domains.put(shown.heatmap, markers)
    shown.session.runs.show(shown.slide_layer, part_of(whole, slice(30, 60), 2.0), "CD74")
    carried = NamedDomains.of(shown.heatmap.prediction)
    assert carried is not None
    np.testing.assert_array_equal(carried.labels, np.r_[labels, np.zeros(20)])
    assert shown.session.domains.layer_of(shown.heatmap) is not None


def test_undo_exchanges_the_map_with_that_before_the_run(shown: Shown) -> None:
    runs, heatmap, whole = shown.session.runs, shown.heatmap, shown.prediction
    assert not runs.can_undo(heatmap)
    # The first run, stopped and gone on with: before it there was none.
    heatmap.take(whole.copy(), shown.slide_layer)
    runs.show(shown.slide_layer, whole, "CD74", goes_on=True)
    assert heatmap.prediction is whole
    assert not runs.can_undo(heatmap)
    other = whole.copy()
    run = runs.show(shown.slide_layer, other, "CD74")
    assert heatmap.prediction is other, "a whole slide takes the map's place"
    assert run.union is None
    heatmap.is_filling = True
    assert not runs.can_undo(heatmap)
    heatmap.is_filling = False
    # The same run, stopped and gone on with: not its own half is gone back to.
    runs.show(shown.slide_layer, whole.copy(), "CD74", goes_on=True)
    runs.undo(heatmap)
    assert heatmap.prediction is whole
    assert runs.can_undo(heatmap)
    shown.viewer.layers.remove(heatmap.layer)
    assert not runs.can_undo(heatmap)


DIFFERENT = ["model", "weights", "pitch", "step", "layout", "mpp", "genes", "renamed"]


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_differs_makes_a_layer_of_its_own(shown: Shown, what: str) -> None:
    whole, name = shown.prediction, shown.slide_layer.name
    other = part_of(whole, slice(0, 40), 1.0)
    about, detail, of_former = other.uns["nh2st"], "", ""
    match what:
        case "model":
            about["model"] = {**about["model"], "name": "mine", "sha256": "0"}
            detail, of_former = " · mine", f" · {whole.uns['nh2st']['model']['name']}"
        case "weights":
            model = whole.uns["nh2st"]["model"]
            model["sha256"], about["model"] = "1234567", {**model, "sha256": "7654321"}
            detail, of_former = (f" · {model['name']} {digits}" for digits in ("765432", "123456"))
        case "pitch":
            about["pitch_um"] *= 2
            detail, of_former = " · pitch 64 µm", " · pitch 32 µm"
        case "step":
            about["step_um"] /= 2
            about["step_px_fullres"] = about["step_px_fullres"] / 2
            detail, of_former = " · 16 µm", " · 32 µm"
        case "layout":
            about["layout"] = "hexagonal"
            detail, of_former = " · hexagonal", " · square"
        case "mpp":
            about["slide"] = {**about["slide"], "mpp": np.array([0.5, 0.5])}
            about["step_px_fullres"] = about["step_px_fullres"] * 2
            detail, of_former = " · 0.5 µm/px", " · 1 µm/px"
        case "genes":
            other = other[:, GENES].copy()
            detail, of_former = " · 2 genes", f" · {whole.n_vars} genes"
        case "renamed":
            shown.heatmap.layer.name = "to keep"
    run = shown.session.runs.show(shown.slide_layer, other, "CD74")
    assert shown.heatmap.prediction is whole
    assert run.heatmap.prediction is other
    assert shown.session.heatmaps == (shown.heatmap, run.heatmap)
    shown_name = run.heatmap.layer.name.removesuffix(" · UNTRAINED")
    assert shown_name == f"CD74 · {name}{detail}"
    if what != "renamed":
        former = shown.heatmap.layer.name.removesuffix(" · UNTRAINED")
        assert former == f"CD74 · {name}{of_former}", "it says as well what it is"
    run.heatmap.gene = "ERBB2"
    assert run.heatmap.layer.name.startswith(f"ERBB2 · {name}{detail}")
    if what != "renamed":  # each map is found again by what it is of
        again = whole.copy()
        shown.session.runs.show(shown.slide_layer, again, "CD74")
        assert shown.heatmap.prediction is again
        assert len(shown.session.heatmaps) == 2


def test_of_several_maps_each_says_what_tells_it_from_the_others(shown: Shown) -> None:
    show, layer = shown.session.runs.show, shown.slide_layer
    for step, pitch in ((16.0, 32.0), (32.0, 64.0)):
        other = shown.prediction.copy()
        about = other.uns["nh2st"]
        about["step_px_fullres"] = about["step_px_fullres"] * step / about["step_um"]
        about["step_um"], about["pitch_um"] = step, pitch
        show(layer, other, "CD74")
    names = [each.layer.name.removesuffix(" · UNTRAINED") for each in shown.session.heatmaps]
    assert [name.split(" · ", 2)[2] for name in names] == ["32 µm", "16 µm", "pitch 64 µm · 32 µm"]


def test_a_union_is_hovered_picked_and_exported_as_one_run_over_both_regions(
    shown: Shown, tmp_path: Path
) -> None:
    heatmap, whole = shown.heatmap, shown.prediction
    whole.obs["status"] = "predicted"
    whole.X[-2:] = 1.5
    right, left = part_of(whole, slice(50, whole.n_obs), 1.0), part_of(whole, slice(0, 60), 2.0)
    fill(right, whole, list(range(right.n_obs)), 0.0)
    right.obs["status"] = "predicted"
    heatmap.take(right, shown.slide_layer)
    run = shown.session.runs.show(shown.slide_layer, left, "CD74")
    run.bring(fill(left, whole, list(range(left.n_obs)), 0.0))
    left.obs["status"] = "predicted"
    run.finish()
    heatmap.refresh()
    union = heatmap.prediction
    assert list(union.obs_names) != list(whole.obs_names), "in another order"
    gene = whole.var_names.get_loc("CD74")
    for row in (0, 49, 50, 59, 60, whole.n_obs - 1):
        at = shown.slide_layer.data_to_world(whole.obsm["spatial"][row, ::-1] - 0.5)
        tile = tile_at(heatmap, at)
        assert tile is not None
        assert union.obs_names[tile] == whole.obs_names[row]
        np.testing.assert_array_equal(union.X[tile], whole.X[row])
        assert heatmap.layer.get_value(at, world=True) == whole.X[row, gene]
    for suffix in (".h5ad", ".zarr"):
        written = []
        for name, prediction in (("union", union), ("whole", whole)):
            export(prediction, tmp_path / f"{name}{suffix}")
            written.append(read_anndata_file(tmp_path / f"{name}{suffix}"))
        np.testing.assert_array_equal(written[0][whole.obs_names].X, written[1].X)
        assert set(written[0].obs["status"]) == {"predicted"}
    tables = []
    for name, prediction in (("union", union), ("whole", whole)):
        export(prediction, tmp_path / f"{name}.csv")
        tables.append(pd.read_csv(tmp_path / f"{name}.csv", index_col=0))
        export(prediction, tmp_path / f"{name}.ome.zarr")
    pd.testing.assert_frame_equal(tables[0].loc[tables[1].index], tables[1])
    rasters = [
        zarr.open_group(tmp_path / f"{name}.ome.zarr", mode="r") for name in ("union", "whole")
    ]
    np.testing.assert_array_equal(rasters[0]["0"][:], rasters[1]["0"][:])
