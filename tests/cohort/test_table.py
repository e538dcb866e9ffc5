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
    (slides / "broken.svs").write_text("no slide", encoding="utf-8")
    (slides / "halves.geojson").write_text(
        json.dumps([_half("tumour", 0), _half("stroma", 100)]), encoding="utf-8"
    )
    (slides / "slides.csv").write_text(
        "slide,mpp,region,donor\na.tif,1,halves.geojson,P1\nb.tif,1,,P2\nbroken.svs,1,,P3\n",
        encoding="utf-8",
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


def with_regions(
    folder: Path, copy: Path, region: object, path: Path | None = None, empty: int = 0
) -> Path:
    """The cohort with other regions in the notes of slide a, of which some tiles have no value."""
    copy.mkdir(exist_ok=True)
    for name in ("summary.csv", "b.h5ad"):
        (copy / name).write_bytes((folder / name).read_bytes())
    a = anndata.read_h5ad(folder / "a.h5ad")
    a.uns["nh2st"]["settings"]["region"] = region
    a.X[:empty] = np.nan
    a.write_h5ad(copy / "a.h5ad")
    with (copy / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0]["region"] = "" if path is None else str(path)
    rows[1]["donor"] = ""
    with (copy / "summary.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return copy


def test_regions_have_the_names_of_their_file_or_numbers(folder: Path, tmp_path: Path) -> None:
    def strips(*numbers: int) -> dict[str, np.ndarray]:
        return {
            str(number): np.array([[0, x], [0, x + 14], [190, x + 14], [190, x]], float)
            for number in numbers
            for x in (1 + 17 * number,)
        }

    def regions(given: object, path: Path | None = None) -> list[str]:
        table = cohort_table(with_regions(folder, tmp_path / "out", given, path), ["VIM"])
        assert list(table["donor"].fillna("none"))[-1] == ""
        return list(table["region"])[:-1]

    named = tmp_path / "named.geojson"
    named.write_text(json.dumps([_half("tumour", 0), _half("tumour", 100)]), encoding="utf-8")
    assert regions(strips(0)) == ["all"]  # the whole, under no other name
    assert regions(strips(0, 1)) == ["all", "region 1", "region 2"]
    assert regions(strips(0, 1), tmp_path / "gone.geojson") == ["all", "region 1", "region 2"]
    assert regions(strips(0, 1, 2), named) == ["all", "region 1", "region 2", "region 3"]
    many = cohort_table(with_regions(folder, tmp_path / "many", strips(*range(11))), ["VIM"])
    a = anndata.read_h5ad(folder / "a.h5ad")
    x = a.obsm["spatial"][:, 0]
    counts = [int(((x > at) & (x < at + 14)).sum()) for at in range(1, 188, 17)]
    assert many["n_tiles"].tolist()[1:-1] == counts  # the tenth is not the second
    # Two polygons of one name are one region.
    both = with_regions(folder, tmp_path / "both", strips(2, 10), named)
    table = cohort_table(both, ["VIM"])
    assert list(table["region"]) == ["all", "tumour", "all"]
    assert table["n_tiles"][1] == counts[2] + counts[10] == 2 * counts[2] > 0


def test_tiles_without_a_value_and_genes_that_never_vary_count_nothing(
    folder: Path, tmp_path: Path
) -> None:
    copy = with_regions(folder, tmp_path / "out", {}, empty=5)
    a, b = (anndata.read_h5ad(copy / f"{name}.h5ad") for name in "ab")
    for each, name in ((a, "a"), (b, "b")):
        each.X[5:, 0] = 1000.0
        each.X[:5, 0] = np.nan if name == "a" else 1000.0
        each.write_h5ad(copy / f"{name}.h5ad")
    constant = str(a.var_names[0])
    table = cohort_table(copy, [], {"flat": [constant], "one": ["VIM"]})
    assert table["n_tiles"].tolist() == [a.n_obs - 5, b.n_obs]
    assert table["flat"].tolist() == [0.0, 0.0]
    vim = [a[5:, "VIM"].X, b[:, "VIM"].X]
    means = np.array([values.mean(dtype=float) for values in vim])
    within = np.mean([values.var(dtype=float) for values in vim])
    expected = (means - means.mean()) / np.sqrt(within + means.var())
    np.testing.assert_allclose(table["one"], expected, rtol=1e-5)


def test_what_cannot_be_read_is_left_out_and_told(folder: Path, tmp_path: Path) -> None:
    for name in ("summary.csv", "a.h5ad"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "b.h5ad").write_text("a letter", encoding="utf-8")
    table = cohort_table(tmp_path, ["VIM"])
    assert set(table["slide"]) == {"a"}
    assert table.attrs["notices"][0].startswith("b is left out: ")
    (tmp_path / "a.h5ad").write_text("a letter", encoding="utf-8")
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
    sets.write_text("epithelium\tof the test\tEPCAM\tVIM\n", encoding="utf-8")
    written = tmp_path / "means.csv"
    command = ["table", str(folder), "--genes", "VIM", "--signatures", str(sets)]
    assert main([*command, "-o", str(written)]) == 0
    table = cohort_table(folder, ["VIM"], {"epithelium": ["EPCAM", "VIM"]})
    pd.testing.assert_frame_equal(pd.read_csv(written), table, check_dtype=False)
    # neither the summary nor a table of other things is written over
    summary = folder / "summary.csv"
    before = summary.read_text(encoding="utf-8")
    assert main([*command, "-o", str(summary), "--overwrite"]) == 2
    assert summary.read_text(encoding="utf-8") == before
    with written.open(newline="") as file:
        assert next(csv.reader(file))[:3] == ["slide", "region", "n_tiles"]
