"""Means of genes and signatures over a cohort: slides and regions compare with each other."""

import csv
import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from cohort_slides import SETTINGS, write_model, write_slide
from napari_nh2st import predict_cohort
from napari_nh2st.cohort import cohort_table
from napari_nh2st.errors import InputError

GENES = ["EPCAM", "VIM"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides of two donors, one of them in two named regions, and one that is none."""
    slides = tmp_path_factory.mktemp("slides")
    for number, name in enumerate("ab"):
        write_slide(slides / f"{name}.tif", number)
    (slides / "broken.svs").write_text("no slide")
    (slides / "halves.geojson").write_text(json.dumps([_half("tumour", 0), _half("stroma", 100)]))
    (slides / "slides.csv").write_text(
        "slide,mpp,region,donor\na.tif,1,halves.geojson,P1\nb.tif,1,,P2\nbroken.svs,1,,P3\n"
    )
    output = tmp_path_factory.mktemp("out")
    model = write_model(tmp_path_factory.mktemp("models") / "small")
    predict_cohort([slides / "slides.csv"], output, model, SETTINGS)
    return output


def _half(name: str, x: int) -> dict[str, object]:
    corners = [[x, 0], [x + 90, 0], [x + 90, 190], [x, 190], [x, 0]]
    geometry = {"type": "Polygon", "coordinates": [corners]}
    properties = {"classification": {"name": name}}  # as QuPath writes it
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def test_each_slide_and_region_has_the_mean_of_its_tiles(folder: Path) -> None:
    table = cohort_table(folder, GENES)
    assert list(table.columns) == ["slide", "region", "n_tiles", "donor", *GENES]
    assert list(table["slide"] + " " + table["region"]) == [
        "a all",
        "a tumour",
        "a stroma",
        "b all",
    ]
    assert list(table["donor"]) == ["P1", "P1", "P1", "P2"]
    a = anndata.read_h5ad(folder / "a.h5ad")
    tumour = a.obsm["spatial"][:, 0] < 90
    assert table["n_tiles"].tolist() == [a.n_obs, tumour.sum(), (~tumour).sum(), 36]
    expected = np.asarray(a[tumour, GENES].X, np.float64).mean(0)
    np.testing.assert_allclose(table.loc[1, GENES].to_numpy(float), expected)


def test_signatures_compare_slides(folder: Path) -> None:
    table = cohort_table(folder, [], {"both": ["epcam", "VIM", "NOT-THERE"]})
    slides = [anndata.read_h5ad(folder / f"{name}.h5ad")[:, GENES].X for name in "ab"]
    means = np.array([slide.mean(0, dtype=float) for slide in slides])
    within = np.array([slide.var(0, dtype=float) for slide in slides]).mean(0)
    expected = ((means - means.mean(0)) / np.sqrt(within + means.var(0))).mean(1)
    of_slides = table[table["region"] == "all"]["both"]
    np.testing.assert_allclose(of_slides, expected, rtol=1e-6)
    assert of_slides.sum() == pytest.approx(0, abs=1e-9)
    assert table.attrs["notices"] == ("both: 1 of its genes are not predicted",)


def test_regions_may_be_given(folder: Path) -> None:
    corners = np.array([[0, 0], [0, 100], [100, 100], [100, 0]], float)
    table = cohort_table(folder, ["VIM"], regions={"b": {"corner": corners, "away": corners + 999}})
    rows = table[table["slide"] == "b"].set_index("region")
    b = anndata.read_h5ad(folder / "b.h5ad")
    inside = (b.obsm["spatial"] < 100).all(1)
    assert rows.loc["corner", "VIM"] == pytest.approx(b[inside, "VIM"].X.mean())
    assert rows.loc["away", "n_tiles"] == 0
    assert np.isnan(rows.loc["away", "VIM"])


def test_what_cannot_be_read_is_left_out_and_told(folder: Path, tmp_path: Path) -> None:
    for name in ("summary.csv", "a.h5ad"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "b.h5ad").write_text("a letter")
    table = cohort_table(tmp_path, ["VIM"])
    assert set(table["slide"]) == {"a"}
    assert table.attrs["notices"][0].startswith("b is left out: ")
    (tmp_path / "a.h5ad").write_text("a letter")
    with pytest.raises(InputError, match="a is left out"):
        cohort_table(tmp_path)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((["VIMM"],), "VIMM is predicted for none of the slides; did you mean VIM"),
        ((None, {"VIM": ["VIM"]}), "VIM would be the name of two columns"),
    ],
)
def test_what_cannot_be_asked_for_is_told(
    folder: Path, asked: tuple[object, ...], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        cohort_table(folder, *asked)  # type: ignore[arg-type]


def test_a_folder_without_a_summary_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it has no summary\.csv"):
        cohort_table(tmp_path)


def test_rows_of_a_file_are_those_of_the_table(folder: Path, tmp_path: Path) -> None:
    from nh2st_command import main

    sets = tmp_path / "sets.gmt"
    sets.write_text("epithelium\tof the test\tEPCAM\tVIM\n")
    written = tmp_path / "means.csv"
    command = ["table", str(folder), "--genes", "VIM", "--signatures", str(sets)]
    assert main([*command, "-o", str(written)]) == 0
    table = cohort_table(folder, ["VIM"], {"epithelium": ["EPCAM", "VIM"]})
    pd.testing.assert_frame_equal(pd.read_csv(written), table, check_dtype=False)
    # neither the summary nor a table of other things is written over
    summary = folder / "summary.csv"
    before = summary.read_text()
    assert main([*command, "-o", str(summary), "--overwrite"]) == 2
    assert summary.read_text() == before
    with written.open(newline="") as file:
        assert next(csv.reader(file))[:3] == ["slide", "region", "n_tiles"]
