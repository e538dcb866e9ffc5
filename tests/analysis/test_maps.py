"""What a prediction's genes say by themselves and in lists: Moran's I, signatures."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.spatial import KDTree
from scipy.stats import zscore

from analysis_predictions import PITCH_PX, array_prediction
from napari_nh2st.analysis import (
    match_genes,
    moran,
    parse_genes,
    read_gmt,
    signature_score,
)
from napari_nh2st.errors import InputError
from napari_nh2st.prediction.values import predicted_tiles

PANEL = ("ERBB2", "C4orf48", "HLA-A", "HLA-B", "ESR1", "KRT18", "KRT19")


def random_prediction(layout: str = "square", genes: int = 70) -> AnnData:
    """More genes than are computed at once, of different smoothness; some tiles not predicted."""
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:9, :11].reshape(2, -1)
    smooth = np.sin(y / 2)[:, None] * np.cos(x / 3)[:, None]
    values = 3 + smooth * np.linspace(0, 2, genes) + rng.normal(0, 0.4, (99, genes))
    values[rng.choice(99, 15, replace=False)] = np.nan
    return array_prediction(values, 9, 11, layout)


@pytest.mark.parametrize(("layout", "most"), [("square", 8), ("hexagonal", 6)])
def test_morans_i_is_a_loop_over_pairs_of_predicted_neighbors(layout: str, most: int) -> None:
    prediction = random_prediction(layout)
    found = moran(prediction)
    reach = PITCH_PX * (1.5 if layout == "square" else 1.1)
    positions = prediction.obsm["spatial"]
    around = KDTree(positions).query_ball_point(positions, reach)
    assert max(map(len, around)) == most + 1
    predicted = set(np.flatnonzero(~np.isnan(prediction.X[:, 0])))
    for gene in (0, 33, 69):
        values = {tile: float(prediction.X[tile, gene]) for tile in predicted}
        mean = sum(values.values()) / len(values)
        alike, pairs = 0.0, 0
        for tile in predicted:
            for other in predicted & set(around[tile]) - {tile}:
                alike += (values[tile] - mean) * (values[other] - mean)
                pairs += 1
        variance = sum((value - mean) ** 2 for value in values.values())
        assert found.iloc[gene] == pytest.approx(len(values) / pairs * alike / variance, rel=1e-5)


def test_morans_i_of_a_checkerboard_by_hand() -> None:
    board = np.indices((6, 6)).sum(0).reshape(-1, 1) % 2
    prediction = array_prediction(np.hstack([board, board * 0 + 1.1]), 6, 6)
    found = moran(prediction)
    # 60 pairs along rows and columns differ, 50 on diagonals agree.
    assert found["G0"] == pytest.approx((50 - 60) / 110)
    assert np.isnan(found["G1"])
    assert found.name == "morans_i"


def test_tiles_predicted_first_stand_on_the_array_of_all() -> None:
    # Every third tile alone: no two of them are neighbors, however regular they look.
    values = np.full((81, 1), np.nan)
    y, x = np.mgrid[:9, :9].reshape(2, -1)
    coarse = (y % 3 == 0) & (x % 3 == 0)
    values[coarse] = np.arange(9)[:, None]
    assert moran(array_prediction(values, 9, 9)).isna().all()
    values[40] = 3  # beside nobody's, but diagonal to one's neighbor
    values[30] = 7
    values[31] = 8
    assert np.isfinite(moran(array_prediction(values, 9, 9))).all()
    assert moran(array_prediction(np.full((9, 2), np.nan), 3, 3)).isna().all()


def test_a_tile_without_a_value_is_not_predicted() -> None:
    prediction = random_prediction()
    assert predicted_tiles(prediction).sum() == 84
    assert predicted_tiles(prediction).tolist() == [not np.isnan(row[0]) for row in prediction.X]


def test_a_signature_is_the_mean_of_scipys_z_scores() -> None:
    prediction = random_prediction()
    score = signature_score(prediction, ["G3", "G68", "G3", "G10"])
    predicted = ~np.isnan(prediction.X[:, 0])
    values = prediction[predicted, ["G3", "G68", "G10"]].X.astype(float)
    np.testing.assert_allclose(score[predicted], zscore(values).mean(1), atol=1e-6)
    assert np.isnan(score[~predicted]).all()


def test_a_gene_without_variance_counts_as_zero_in_a_signature() -> None:
    values = np.column_stack([np.arange(9.0), np.full(9, 0.1)])
    prediction = array_prediction(values, 3, 3)
    both = signature_score(prediction, ["G0", "G1"])
    np.testing.assert_allclose(both, signature_score(prediction, ["G0"]) / 2)
    assert (signature_score(prediction, ["G1"]) == 0).all()


def test_a_signature_needs_genes_that_are_predicted() -> None:
    prediction = random_prediction()
    with pytest.raises(InputError, match="'G999' is not in the prediction"):
        signature_score(prediction, ["G1", "G999"])
    with pytest.raises(InputError, match="None of the signature's genes"):
        signature_score(prediction, [])


def test_pasted_genes_come_apart_however_they_are_separated() -> None:
    text = "ERBB2, ESR1;KRT18\tKRT19\r\n  'HLA-A' \"C4orf48\",,ERBB2\n"
    assert parse_genes(text) == ("ERBB2", "ESR1", "KRT18", "KRT19", "HLA-A", "C4orf48")
    assert parse_genes(" \n") == ()


def test_genes_match_in_the_panels_spelling_each_once() -> None:
    match = match_genes(["erbb2", "C4ORF48", "ERBB2", "KRT8", "XYZ123", "KRT8"], PANEL)
    assert match.found == ("ERBB2", "C4orf48")
    assert list(match.unknown) == ["KRT8", "XYZ123"]
    assert match.unknown["KRT8"][0] == "KRT18"
    assert "KRT19" in match.unknown["KRT8"]
    assert match.unknown["XYZ123"] == ()


def test_capitals_tell_genes_apart_where_the_panel_does() -> None:
    assert match_genes(["Abc1", "ABC1", "abc1"], ["ABC1", "Abc1"]).found == ("Abc1", "ABC1")


def test_a_list_for_another_panel_gets_hints_for_its_first_names() -> None:
    match = match_genes([f"KRT{i}" for i in range(100, 160)], PANEL)
    hinted = [name for name, near in match.unknown.items() if near]
    assert len(match.unknown) == 60
    assert hinted == [f"KRT{i}" for i in range(100, 120)]


def test_gmt_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text("A B\thttp://x\tG1\tG2\tG1\t\r\n\nSECOND\t\tG3\n", encoding="utf-8-sig")
    assert read_gmt(path) == {"A B": ("G1", "G2"), "SECOND": ("G3",)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A\tx\tG1\nB, x, G2\n", "line 2: .* separated by tabs"),
        ("A\tx\tG1\n\nB\tx\t\n", "line 3: "),
        ("A\tx\tG1\nA\ty\tG2\n", "line 2: a set 'A' is already above"),
        ("\n", "no gene set"),
    ],
)
def test_what_is_wrong_with_a_gmt_file_is_named_by_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "sets.gmt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_gmt(path)


def test_a_gmt_file_that_is_no_text_or_not_there_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "sets.gmt"
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_gmt(path)
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8 text"):
        read_gmt(path)


def test_analysis_imports_neither_torch_nor_napari_nor_what_is_slow() -> None:
    code = (
        "import sys; from napari_nh2st.analysis import *; import napari_nh2st.analysis as a;"
        "assert set(a.__all__) <= set(globals());"
        "print({'torch', 'napari', 'sklearn', 'igraph', 'scipy.stats'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"


def test_morans_i_keeps_the_genes_order() -> None:
    found = moran(random_prediction())
    assert isinstance(found, pd.Series)
    assert found.index.tolist() == [f"G{i}" for i in range(70)]
    # The later genes were drawn smoother.
    assert found.iloc[-10:].min() > 0.5 > found.iloc[0]
