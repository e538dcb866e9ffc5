"""``nh2st domains`` and ``nh2st score``: the docks' numbers, in the files that are asked for."""

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.stats import zscore

from command_results import Nh2st
from drawn_predictions import drawn_prediction, slide_file
from napari_nh2st.analysis import DomainSettings, NamedDomains, find_domains
from napari_nh2st.export import export
from napari_nh2st.slide import open_slide


@pytest.fixture(scope="module")
def prediction(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of tiles, of which the last two have no value."""
    folder = tmp_path_factory.mktemp("prediction")
    with open_slide(slide_file(folder / "slide.tif"), mpp=1) as slide:
        export(drawn_prediction(slide), folder / "prediction.h5ad")
    return folder / "prediction.h5ad"


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        ("", DomainSettings()),
        (
            "--method leiden --n-domains 3 --n-components 4 --spatial-weight 0.5 --refine 6 "
            "--seed 3",
            DomainSettings("leiden", 3, n_components=4, spatial_weight=0.5, refine=6, seed=3),
        ),
        ("--all-genes --n-domains 2", DomainSettings(n_domains=2, min_reliability=None)),
        ("--min-reliability -0.5", DomainSettings(min_reliability=-0.5)),
        (
            "--method leiden --resolution 0.5",
            DomainSettings("leiden", resolution=0.5),
        ),
    ],
)
def test_domains_are_those_of_python_and_dock(
    nh2st: Nh2st, prediction: Path, tmp_path: Path, flags: str, settings: DomainSettings
) -> None:
    output = tmp_path / "out.h5ad"
    result = nh2st("domains", prediction, "-o", output, *flags.split(), "--json")
    assert result.code == 0, result.err
    written = anndata.read_h5ad(output)
    expected = find_domains(anndata.read_h5ad(prediction), settings)
    kept = NamedDomains.of(written)
    assert kept is not None
    np.testing.assert_array_equal(kept.labels, expected.labels)
    assert kept.labels[-2:].tolist() == [0, 0]
    pd.testing.assert_frame_equal(kept.markers, expected.markers)
    assert len(written.uns["domain_colors"]) == expected.n
    told = json.loads(result.out)
    assert [each["tiles"] for each in told["domains"]] == np.bincount(expected.labels)[1:].tolist()
    assert told["notices"] == ([expected.notice] if expected.notice else [])
    assert told["resolution"] == expected.resolution
    assert told["genes"] == list(expected.genes)


def test_domains_of_others_that_are_replaced_are_said(
    nh2st: Nh2st, prediction: Path, tmp_path: Path
) -> None:
    annotated = anndata.read_h5ad(prediction)
    annotated.obs["domain"] = ["tumour"] * annotated.n_obs
    export(annotated, tmp_path / "annotated.h5ad")
    command = ("domains", "--n-domains", 2, "--all-genes", "-o")
    result = nh2st(*command, tmp_path / "first.h5ad", tmp_path / "annotated.h5ad")
    assert result.code == 0
    assert "obs['domain'], which you or other software wrote, is replaced" in result.err
    result = nh2st(*command, tmp_path / "second.h5ad", tmp_path / "first.h5ad", "--json")
    assert (result.err, json.loads(result.out)["notices"]) == ("", [])


def test_domains_are_written_as_tables_and_for_qupath(
    nh2st: Nh2st, prediction: Path, tmp_path: Path
) -> None:
    command = ("domains", prediction, "--n-domains", 3, "--overwrite")
    result = nh2st(*command, "-o", tmp_path / "d.csv", "--markers", tmp_path / "markers.csv")
    assert result.code == 0, result.err
    n = anndata.read_h5ad(prediction).n_obs
    assert result.out.splitlines()[-1].endswith(f"3 domains of {n} tiles")
    tiles = pd.read_csv(tmp_path / "d.csv")
    assert tiles["domain"].isna().sum() == 2
    assert "VIM" not in tiles
    assert nh2st(*command, "-o", tmp_path / "d.geojson").code == 0
    features = json.loads((tmp_path / "d.geojson").read_text(encoding="utf-8"))["features"]
    classes = {f["properties"]["name"]: f["properties"].get("classification") for f in features}
    assert {name: entry and entry["name"] for name, entry in classes.items()} == {
        name: None if pd.isna(domain) else domain
        for name, domain in zip(tiles["tile"], tiles["domain"], strict=True)
    }
    # Cohen's d of one gene, by hand.
    markers = pd.read_csv(tmp_path / "markers.csv").set_index(["domain", "gene"])
    values = anndata.read_h5ad(prediction)[:, "VIM"].X[:, 0]
    inside = values[(tiles["domain"] == "domain 1").to_numpy()]
    outside = values[(tiles["domain"].notna() & (tiles["domain"] != "domain 1")).to_numpy()]
    spread = np.sqrt((inside.var(ddof=1) + outside.var(ddof=1)) / 2)
    score = (inside.mean() - outside.mean()) / spread
    assert markers.loc[("domain 1", "VIM"), "score"] == pytest.approx(score, rel=1e-4)


def mean_z(path: Path, genes: list[str]) -> np.ndarray:
    values = np.array(anndata.read_h5ad(path)[:, genes].X, np.float64)
    return np.append(zscore(values[:-2]).mean(1), [np.nan, np.nan])


def test_signatures_of_a_gmt_file_are_scored(
    nh2st: Nh2st, prediction: Path, tmp_path: Path
) -> None:
    sets = tmp_path / "sets.gmt"
    sets.write_text(
        "IMMUNE\t-\tcd74\tPTPRC\nSTROMA\t-\tVIM\tCOL1A1\nNONE\t-\tABC1\n", encoding="utf-8"
    )
    output = tmp_path / "out.h5ad"
    result = nh2st("score", prediction, "-o", output, "--signatures", sets)
    assert result.code == 0, result.err
    n = anndata.read_h5ad(prediction).n_obs
    assert result.out == f"{output}: 2 of 3 signatures, {n} tiles\n"
    assert "IMMUNE: 1 of 2 genes found; not found: PTPRC" in result.err
    assert "NONE: 0 of 1 genes found" in result.err
    written = anndata.read_h5ad(output)
    expected = {"IMMUNE": ["CD74"], "STROMA": ["VIM", "COL1A1"]}
    for name, genes in expected.items():
        np.testing.assert_allclose(written.obs[name], mean_z(prediction, genes), atol=1e-5)
    assert "NONE" not in written.obs
    table = written.uns["nh2st"]["signatures"]
    assert table["genes"].tolist() == ["CD74", "VIM COL1A1"]

    # One more, into the file that has some.
    added = nh2st(
        "score", output, "-o", output, "--overwrite", "--genes", "vim; epcam", "--name", "a/b"
    )
    assert added.code == 0, added.err
    written = anndata.read_h5ad(output)
    assert written.uns["nh2st"]["signatures"]["signature"].tolist() == ["IMMUNE", "STROMA", "a_b"]
    np.testing.assert_allclose(written.obs["a_b"], mean_z(prediction, ["VIM", "EPCAM"]), atol=1e-5)


def test_scores_are_written_as_tables_and_for_qupath(
    nh2st: Nh2st, prediction: Path, tmp_path: Path
) -> None:
    (tmp_path / "amplicon.txt").write_text("erbb2\nEPCAM, ERBB3\n", encoding="utf-8")
    command = ("score", prediction, "--genes-file", tmp_path / "amplicon.txt", "--json")
    result = nh2st(*command, "-o", tmp_path / "s.csv")
    assert json.loads(result.out)["signatures"] == {
        "amplicon": {
            "genes": ["ERBB2", "EPCAM"],
            "listed": 3,
            "not_found": {"ERBB3": ["ERBB2"]},
        }
    }
    expected = mean_z(prediction, ["ERBB2", "EPCAM"])
    np.testing.assert_allclose(pd.read_csv(tmp_path / "s.csv")["amplicon"], expected, atol=1e-5)
    assert nh2st(*command, "-o", tmp_path / "s.geojson").code == 0
    features = json.loads((tmp_path / "s.geojson").read_text(encoding="utf-8"))["features"]
    measured = [f["properties"].get("measurements", {}).get("amplicon", np.nan) for f in features]
    np.testing.assert_allclose(measured, expected, atol=1e-5)


@pytest.mark.parametrize("command", ["domains", "score"])
def test_what_is_no_prediction_is_refused(
    nh2st: Nh2st, prediction: Path, tmp_path: Path, command: str
) -> None:
    counts = anndata.read_h5ad(prediction)
    del counts.uns["nh2st"]
    counts.write_h5ad(tmp_path / "counts.h5ad")
    (tmp_path / "out.csv").write_text("precious", encoding="utf-8")
    more = ("--genes", "VIM") if command == "score" else ()
    for source, output, said in (
        (tmp_path / "counts.h5ad", "new.h5ad", "is not a prediction"),
        (tmp_path / "gone.h5ad", "new.h5ad", "no such file"),
        (prediction.with_name("slide.tif"), "new.h5ad", "cannot be read as AnnData"),
        (prediction, "new.png", "must end in .h5ad"),
        (prediction, "out.csv", "already exists"),
    ):
        result = nh2st(command, source, "-o", tmp_path / output, *more)
        assert result.code == 2
        assert said in result.err
        assert 0 < len(result.err.splitlines()) <= 4
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == "precious"
    assert not list(tmp_path.glob("new*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("domains", "--n-domains", 200), "n_domains is 200"),
        (("domains", "--n-domains", 40, "--seed", -1), "seed is -1"),
        (("score", "--genes", "NOWHERE"), "no gene of any signature"),
        (("score", "--genes", " , "), "no gene in the signature"),
        (("score", "--genes", "VIM", "--name", "status"), "a column in the prediction"),
        (("score", "--signatures", "sets.gmt", "--name", "x"), "cannot be used with --signatures"),
        (("score",), "one of the arguments --signatures --genes --genes-file is required"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    nh2st: Nh2st, prediction: Path, tmp_path: Path, arguments: tuple[object, ...], said: str
) -> None:
    command, *others = arguments
    result = nh2st(command, prediction, "-o", tmp_path / "out.csv", *others)
    assert result.code == 2
    assert said in result.err
    assert not (tmp_path / "out.csv").exists()
