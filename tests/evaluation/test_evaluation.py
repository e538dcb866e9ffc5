"""A model against measured sections: the network's own numbers, and a folder whole or not there."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from matplotlib.image import imread
from numpy.typing import NDArray
from scipy.stats import pearsonr

from array_slides import textured, write_tiff
from event_generators import result_of
from napari_nh2st.analysis import comparison_of
from napari_nh2st.analysis import scores as scores_module
from napari_nh2st.errors import InputError
from napari_nh2st.evaluation.density_scores import scores_by_density
from napari_nh2st.evaluation.evaluation import (
    Evaluation,
    combine_evaluations,
    evaluate,
    evaluate_events,
)
from napari_nh2st.evaluation.evaluation_folder import write_evaluation
from napari_nh2st.evaluation.events import Evaluated, SpotsPredicted
from napari_nh2st.evaluation.figures import ranked_genes
from napari_nh2st.evaluation.settings import EvaluateSettings
from napari_nh2st.evaluation.spot_prediction import measured_genes, predict_spots
from napari_nh2st.model import PUBLISHED_TARGET
from napari_nh2st.model.config import CONTEXTS
from napari_nh2st.model.encoders import normalize_tiles
from napari_nh2st.model.folder import Model, load_model_folder, new_model, save_model_folder
from napari_nh2st.model.prepared import PreparedNetwork
from napari_nh2st.spots import Section, expression_target, spot_array
from napari_nh2st.training import slide_tiles
from napari_nh2st.training.study import MeasuredSection, SectionTiles, section_tiles
from small_configs import PANEL, small_config
from small_models import color_model, small_model
from spot_sections import drawn_spots

FOLDER = "napari_nh2st.evaluation.evaluation_folder"
RGB = ("RED", "GREEN", "BLUE")


def drawn_section(
    folder: Path,
    name: str = "S1",
    genes: Sequence[str] = PANEL,
    layout: str = "square",
    seed: int = 0,
) -> MeasuredSection:
    """Spots 32 µm apart on a textured slide of 1 µm/px."""
    slide = write_tiff(folder / f"slide{seed}.tif", textured(200, 240, seed))
    spots = drawn_spots(layout, 6, 7, 32.0, (18.5, 20.0), tuple(genes), seed)
    # As they come from a table: in no order over the tissue.
    spots = spots[np.random.default_rng(seed).permutation(spots.n_obs)].copy()
    section = Section(name, f"donor of {name}", slide, folder / "counts.h5ad")
    return MeasuredSection(section, spots, (1.0, 1.0), 32.0, spot_array(spots).layout, ())


def tiles_of(measured: MeasuredSection, model: Model) -> SectionTiles:
    genes = measured_genes(model.config, measured)
    return section_tiles(measured, genes, tile_px=model.config.tile_px, mpp=model.config.mpp)


def color_means(measured: MeasuredSection) -> NDArray[np.float64]:
    """(spots, 3) mean colors of 32 px around each spot, white beyond the slide."""
    pixels = np.pad(textured(200, 240), ((40, 40), (40, 40), (0, 0)), constant_values=255)
    corners = np.rint(measured.centers - 16).astype(int) + 40
    return np.array([pixels[y : y + 32, x : x + 32].mean((0, 1)) for y, x in corners])


@pytest.mark.parametrize("layout", ["square", "hexagonal"])
@pytest.mark.parametrize("context", CONTEXTS)
def test_spots_are_predicted_as_the_plain_network_does(
    tmp_path: Path, context: str, layout: str
) -> None:
    model = small_model(context)
    measured = drawn_section(tmp_path, layout=layout)
    tiles = tiles_of(measured, model)
    events: list[SpotsPredicted] = []
    prediction = result_of(
        predict_spots(model, measured, tiles, device="cpu", precision="float32", batch_size=5),
        events,
    )
    with torch.inference_mode():
        maps = model.network.encode(normalize_tiles(torch.from_numpy(tiles.tiles), torch.float32))
        expected = model.network.predict(
            maps, torch.from_numpy(tiles.neighborhoods), torch.from_numpy(tiles.mask)
        ).numpy()
    np.testing.assert_allclose(prediction.X, expected, atol=1e-4 * np.abs(expected).max())
    assert np.abs(expected).std(0).min() > 0
    assert events[-1] == SpotsPredicted("S1", 42, 42)
    assert [event.done for event in events] == sorted({event.done for event in events})


@pytest.mark.usefixtures("mean_color")
def test_a_prediction_lies_where_its_spots_are(tmp_path: Path) -> None:
    measured = drawn_section(tmp_path, genes=RGB)
    model = color_model(reliability={"RED": 0.5, "BLUE": None})
    tiles = tiles_of(measured, model)
    prediction = result_of(predict_spots(model, measured, tiles, device="cpu"))
    np.testing.assert_allclose(prediction.X, color_means(measured), rtol=1e-5)
    np.testing.assert_array_equal(
        prediction.layers["measured"], expression_target(measured.spots, RGB)
    )
    assert prediction.obs_names.tolist() == measured.spots.obs_names.tolist()
    np.testing.assert_array_equal(prediction.obsm["spatial"], measured.spots.obsm["spatial"])
    np.testing.assert_array_equal(
        prediction.obs[["pxl_col_in_fullres", "pxl_row_in_fullres"]],
        measured.spots.obsm["spatial"],
    )
    for name in ("array_row", "array_col"):
        assert prediction.obs[name].tolist() == measured.spots.obs[name].tolist()
    np.testing.assert_array_equal(prediction.var["reliability"], [0.5, np.nan, np.nan])
    about = prediction.uns["nh2st"]
    assert (about["section"], about["donor"]) == ("S1", "donor of S1")
    assert about["model"]["name"] == "mean color"
    assert about["target"]["description"] == PUBLISHED_TARGET["description"]
    picture = prediction.uns["spatial"]["slide0"]["images"]["hires"]
    np.testing.assert_array_equal(picture, textured(200, 240))


def test_a_prediction_names_the_very_weights(tmp_path: Path) -> None:
    measured = drawn_section(tmp_path)
    save_model_folder(small_model(), tmp_path / "model")
    model = load_model_folder(tmp_path / "model")
    tiles = tiles_of(measured, model)
    prediction = result_of(predict_spots(model, measured, tiles, device="cpu"))
    assert prediction.uns["nh2st"]["model"]["sha256"] == model.config.weights["sha256"]


@pytest.mark.usefixtures("mean_color")
def test_scores_are_those_of_prediction_and_target(tmp_path: Path) -> None:
    measured = drawn_section(tmp_path, genes=RGB)
    target = expression_target(measured.spots, RGB).astype(np.float64)
    mean = {"GREEN": 2.0, "RED": 3.0, "BLUE": 1.0, "not in the panel": 5.0}
    model = color_model(training={"trained": True, "summary": "-", "target_mean": mean})
    evaluation = evaluate(model, [measured], device="cpu", bootstrap=20)
    predicted = color_means(measured)
    scores = evaluation.scores.set_index("gene")
    for column, gene in enumerate(RGB):
        x, y = predicted[:, column], target[:, column]
        assert scores.loc[gene, "pcc"] == pytest.approx(pearsonr(x, y).statistic, abs=1e-5)
        assert scores.loc[gene, "mse"] == pytest.approx(np.mean((x - y) ** 2), rel=1e-5)
        assert scores.loc[gene, "mse_baseline"] == pytest.approx(np.mean((mean[gene] - y) ** 2))
    assert evaluation.summary["better_than_mean"] == 0
    assert evaluation.summary["n_spots"] == 42
    assert evaluation.section_summaries["S1"] == evaluation.summary
    assert evaluation.notices == ()


@pytest.mark.usefixtures("mean_color")
def test_a_baseline_may_stand_in_the_panels_order_or_be_missing(tmp_path: Path) -> None:
    measured = drawn_section(tmp_path, genes=RGB)
    training: dict[str, Any] = {"trained": True, "summary": "-"}

    def evaluated(**more: Any) -> Evaluation:
        model = color_model(training=training | more)
        return evaluate(model, [measured], device="cpu", bootstrap=0)

    by_gene = evaluated(target_mean=dict(zip(RGB, (3.0, 2.0, 1.0), strict=True))).scores
    pd.testing.assert_frame_equal(evaluated(target_mean=[3.0, 2.0, 1.0]).scores, by_gene)
    without = evaluated()
    assert without.scores["mse_baseline"].isna().all()
    assert without.summary["mse_baseline"] is None
    assert "no baseline" in without.notices[0]
    with pytest.raises(InputError, match=r"target_mean has 2 values for 3 genes"):
        evaluated(target_mean=[3.0, 2.0])


def test_a_section_that_lacks_genes_is_scored_on_those_it_has(tmp_path: Path) -> None:
    whole = drawn_section(tmp_path)
    part = drawn_section(tmp_path, "S2", ("X", *PANEL[::-1][:3]), seed=1)
    evaluation = evaluate(small_model(), [whole, part], device="cpu", bootstrap=20)
    prediction = evaluation.predictions["S2"]
    assert prediction.var_names.tolist() == list(PANEL)
    assert np.isfinite(prediction.X).all()
    measured = pd.DataFrame(prediction.layers["measured"], columns=list(PANEL))
    assert measured[list(PANEL[:2])].isna().all(axis=None)
    np.testing.assert_array_equal(
        measured[list(PANEL[2:])], expression_target(part.spots, PANEL[2:])
    )
    assert any("S2 lacks 2 of the panel's 5 genes" in notice for notice in evaluation.notices)
    assert evaluation.section_summaries["S2"]["n_genes_without_pcc"] == 2
    assert evaluation.section_summaries["S2"]["mse"] is None
    assert evaluation.summary["mse"] == evaluation.section_summaries["S1"]["mse"]


def test_notices_tell_what_makes_the_numbers_less_than_they_seem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = replace(drawn_section(tmp_path), pitch_um=100.0, warnings=("S1: an odd µm/px",))
    training = {"trained": True, "summary": "-", "sections": ["S0", "S1"], "target_mean": [1] * 5}
    notices = evaluate(
        small_model(training=training), [measured], device="cpu", bootstrap=0
    ).notices
    assert len(notices) == 3
    assert "was trained on S1 (" in notices[0]
    assert "spots are 100 µm apart, in training 32 µm" in notices[1]
    assert notices[2] == "S1: an odd µm/px"

    untrained = small_model(training={"trained": False, "summary": "-", "target_mean": [1] * 5})
    read_tiles = slide_tiles.read_tiles

    def damaged(*args: Any, **named: Any) -> Any:
        tiles, readable = read_tiles(*args, **named)
        readable[[3, 7]] = False
        return tiles, readable

    monkeypatch.setattr(slide_tiles, "read_tiles", damaged)
    evaluation = evaluate(untrained, [drawn_section(tmp_path)], device="cpu", bootstrap=0)
    assert "UNTRAINED" in evaluation.notices[0]
    assert "2 of 42 spots are left out" in evaluation.notices[1]
    left = np.delete(measured.spots.obs_names, [3, 7])
    assert evaluation.predictions["S1"].obs_names.tolist() == left.tolist()


def test_an_evaluation_reports_spots_and_stops_where_its_events_are_left(tmp_path: Path) -> None:
    sections = [drawn_section(tmp_path), drawn_section(tmp_path, "S2", seed=1)]
    model = small_model()
    *progress, last = evaluate_events(model, sections, EvaluateSettings("cpu", bootstrap=20))
    assert isinstance(last, Evaluated)
    assert [(event.section, event.done) for event in progress if event.done in (0, 42)] == [
        ("S1", 0),
        ("S1", 42),
        ("S2", 0),
        ("S2", 42),
    ]
    told: list[tuple[str, int, int]] = []
    result = evaluate(
        model, sections, device="cpu", bootstrap=20, on_event=lambda *event: told.append(event)
    )
    assert told == [(event.section, event.done, event.total) for event in progress]
    pd.testing.assert_frame_equal(result.scores, last.evaluation.scores)

    Path(sections[1].section.slide).unlink()
    events = evaluate_events(model, sections, EvaluateSettings("cpu"))
    while next(events) != SpotsPredicted("S1", 42, 42):
        pass
    events.close()  # the second slide, which is gone, is never read
    assert list(events) == []


def test_the_spots_of_each_section_are_resampled_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int]] = []
    draws = scores_module._draws

    def counted(resamples: int, spots: int, rng: np.random.Generator) -> Any:
        drawn.append((resamples, spots))
        return draws(resamples, spots, rng)

    monkeypatch.setattr(scores_module, "_draws", counted)
    sections = [drawn_section(tmp_path), drawn_section(tmp_path, "S2", layout="hexagonal", seed=1)]
    result = evaluate(small_model(), sections, device="cpu", bootstrap=30)
    assert drawn == [(30, section.spots.n_obs) for section in sections]
    summaries = (result.summary, *result.section_summaries.values())
    assert all(s["mean_pcc_low"] < s["mean_pcc"] < s["mean_pcc_high"] for s in summaries)
    assert len({s["mean_pcc_low"] for s in summaries}) == 3


def test_combined_sections_are_scored_together_and_not_once_more_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = [drawn_section(tmp_path), drawn_section(tmp_path, "S2", layout="hexagonal", seed=1)]
    whole = evaluate(small_model(), sections, device="cpu", bootstrap=30)
    parts = [
        replace(
            whole,
            predictions={name: whole.predictions[name]},
            section_summaries={name: whole.section_summaries[name]},
        )
        for name in whole.predictions
    ]
    scored: list[int] = []
    score = scores_module._scored

    def counted(predictions: Sequence[AnnData], *others: Any) -> Any:
        scored.append(len(predictions))
        return score(predictions, *others)

    monkeypatch.setattr(scores_module, "_scored", counted)
    unknown = np.full((2, len(PANEL)), np.nan)
    combined = combine_evaluations(parts, unknown, bootstrap=30)
    assert scored == [2]
    assert combined.section_summaries == whole.section_summaries
    assert combined.summary == whole.summary
    pd.testing.assert_frame_equal(combined.scores, whole.scores)


def test_what_cannot_be_evaluated_is_refused_in_a_sentence(tmp_path: Path) -> None:
    measured = drawn_section(tmp_path)
    model = small_model()
    with pytest.raises(InputError, match="no section to evaluate on"):
        evaluate(model, [])
    with pytest.raises(InputError, match="S1 shares no gene with the model's panel"):
        evaluate(model, [drawn_section(tmp_path, genes=("Actb", "Gapdh"))])
    other = PUBLISHED_TARGET | {"transform": "log(1+v)", "description": "log1p"}
    with pytest.raises(InputError, match=r"target\.transform 'log\(1\+v\)'"):
        evaluate(replace(model, config=small_config(target=other)), [measured])
    with pytest.raises(InputError, match="device 'tpu' does not exist"):
        evaluate(model, [measured], device="tpu")


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Of two sections, one on a staggered array and with a name that is no file's."""
    folder = tmp_path_factory.mktemp("study")
    sections = [
        drawn_section(folder),
        drawn_section(folder, "left/2", PANEL[1:], "hexagonal", seed=1),
    ]
    return evaluate(small_model("average"), sections, device="cpu", bootstrap=30)


def test_a_folder_holds_the_whole_evaluation(tmp_path: Path, evaluation: Evaluation) -> None:
    folder = tmp_path / "new" / "evaluation"
    write_evaluation(evaluation, folder)
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
        "by_density.csv",
        "by_density.png",
        "gene_pcc.png",
        "genes.csv",
        "maps-S1.png",
        "maps-left%2F2.png",
        "predictions/S1.h5ad",
        "predictions/left%2F2.h5ad",
        "summary.json",
    ]
    assert [p.name for p in folder.parent.iterdir()] == ["evaluation"]
    content = json.loads((folder / "summary.json").read_text("utf-8"))
    assert content["summary"] == evaluation.summary
    assert content["sections"] == evaluation.section_summaries
    assert content["notices"] == list(evaluation.notices)
    assert content["model"]["context"] == "average"
    scores = pd.read_csv(folder / "genes.csv")
    assert scores.columns[:7].tolist() == [
        *("gene", "pcc", "pcc_low", "pcc_high", "mse", "mae", "mse_baseline")
    ]
    pd.testing.assert_frame_equal(scores, evaluation.scores, check_dtype=False)
    stored = anndata.read_h5ad(folder / "predictions" / "left%2F2.h5ad")
    expected = evaluation.predictions["left/2"]
    np.testing.assert_array_equal(stored.X, expected.X)
    np.testing.assert_array_equal(stored.layers["measured"], expected.layers["measured"])
    for name in ("maps-S1.png", "gene_pcc.png", "by_density.png"):
        picture = imread(folder / name)
        assert min(picture.shape[:2]) > 300
        assert picture.std() > 0.02


def test_scores_by_density_are_those_of_the_quarters(evaluation: Evaluation) -> None:
    """Of two sections, of which one lacks a gene and counts for no error."""
    found = scores_by_density(evaluation.predictions.values())
    assert found is not None
    first, second = evaluation.predictions.values()
    both = [
        (float(density), section, row)
        for section, each in enumerate((first, second))
        for row, density in enumerate(each.obs["nuclei_per_mm2"])
    ]
    both.sort(key=lambda spot: spot[0])
    assert both[0][0] < both[-1][0]
    for number, scores in enumerate(found.itertuples(index=False)):
        quarter = [spot for k, spot in enumerate(both) if int(k * 4 / len(both)) == number]
        assert (scores[0], scores[1]) == (quarter[0][0], quarter[-1][0])
        assert scores.spots == len(quarter)
        spots = [(first, second)[section][row] for _, section, row in quarter]
        predicted, measured = (
            np.concatenate(each)
            for each in ([s.X for s in spots], [s.layers["measured"] for s in spots])
        )
        pcc = [np.corrcoef(predicted[:, g], measured[:, g])[0, 1] for g in range(5)]
        assert scores.mean_pcc == pytest.approx(np.mean([p for p in pcc if np.isfinite(p)]))
        errors = [np.square(s.X - s.layers["measured"]).mean() for s in spots]
        assert scores.mse == pytest.approx(np.nanmean(errors), rel=1e-5)


def test_few_spots_have_no_quarters(evaluation: Evaluation) -> None:
    few = evaluation.predictions["S1"][:31]
    assert scores_by_density([few]) is None
    without = evaluation.predictions["S1"].copy()
    del without.obs["nuclei_per_mm2"]
    assert scores_by_density([without]) is None


def test_each_file_is_a_comparison_with_the_scores_of_its_own_section(
    tmp_path: Path, evaluation: Evaluation
) -> None:
    write_evaluation(evaluation, tmp_path / "out")
    for name, file, missing in (("S1", "S1", ()), ("left/2", "left%2F2", PANEL[:1])):
        stored = anndata.read_h5ad(tmp_path / "out" / "predictions" / f"{file}.h5ad")
        measured = stored.layers["measured"]
        pcc = [
            np.nan if gene in missing else pearsonr(x, y)[0]
            for gene, x, y in zip(stored.var_names, stored.X.T, measured.T, strict=True)
        ]
        np.testing.assert_allclose(stored.var["pcc"], pcc, atol=1e-6)
        known = stored.var.dropna(subset="pcc")
        assert (known["pcc_low"] < known["pcc_high"]).all()
        if not missing:
            squares = ((stored.X.astype(np.float64) - measured) ** 2).mean(0)
            np.testing.assert_allclose(stored.var["mse"], squares, rtol=1e-6)
        kept = comparison_of(stored)
        assert kept.summary == evaluation.section_summaries[name]
        assert kept.scores["pcc"].to_numpy() == pytest.approx(pcc, nan_ok=True, abs=1e-6)
        assert all("lacks 1 of the panel's" in text for text in kept.notices[-1:]) == bool(missing)
        about = stored.uns["nh2st"]["comparison"]
        assert (about["section"], about["expression"]) == (name, "counts.h5ad")
        assert about["interval"] == "95 %, 30 resamples of the spots"


def test_one_section_has_its_maps_under_a_plain_name(
    tmp_path: Path, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{FOLDER}.save_maps", lambda *given: given[-1].touch())
    one = replace(evaluation, predictions={"S1": evaluation.predictions["S1"]})
    write_evaluation(one, tmp_path / "out")
    assert (tmp_path / "out" / "maps.png").exists()


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path, evaluation: Evaluation) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="already exists"):
        write_evaluation(evaluation, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("step", ["save_gene_pcc", "write_anndata"])
def test_a_failure_in_the_middle_leaves_nothing(
    tmp_path: Path, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object) -> None:
        error = OSError(28, "No space left on device")
        if step == "write_anndata":
            raise InputError("a draft cannot be written") from error
        raise error

    monkeypatch.setattr(f"{FOLDER}.save_maps", lambda *given: given[-1].touch())
    monkeypatch.setattr(f"{FOLDER}.{step}", full)
    with pytest.raises(InputError, match=r"out cannot be written: No space left on device$"):
        write_evaluation(evaluation, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_maps_show_genes_from_the_whole_ranking() -> None:
    pcc = [0.1, np.nan, 0.9, 0.5, 0.3, 0.7]
    scores = pd.DataFrame({"gene": list("ABCDEF"), "pcc": pcc})
    assert ranked_genes(scores) == {
        "C": "best of 5 genes",
        "F": "upper quartile of 5 genes",
        "D": "median of 5 genes",
        "A": "worst of 5 genes",
    }
    assert list(ranked_genes(scores.iloc[:1])) == ["A"]
    assert ranked_genes(scores.iloc[1:2]) == {}


def test_rows_of_a_whole_slide_beyond_half_precision_are_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = drawn_section(tmp_path)
    tiles = section_tiles(measured, PANEL, tile_px=32, mpp=1.0)
    shapes = {"hidden": 8, "heads": 2}
    model = new_model(small_config(architecture="merge", hyperparameters=shapes), 0)
    plain = PreparedNetwork.encode

    def spoiled(self: PreparedNetwork, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        rows, *more = plain(self, batch)
        return 7e4 * torch.ones_like(rows), *more

    monkeypatch.setattr(PreparedNetwork, "encode", spoiled)
    with pytest.raises(InputError, match=r"S1: a tile cannot be predicted: .* half precision"):
        result_of(predict_spots(model, measured, tiles, device="cpu"))
