"""Panels, against the reference, scanpy and naive loops."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anndata import AnnData
from scipy.sparse import csr_matrix

from napari_nh2st.errors import InputError
from napari_nh2st.spots import PanelSettings, choose_panel, morans_i, spot_array
from spot_sections import drawn_spots, her2st, mob


def test_the_published_panel_is_the_top_250_by_mean_of_the_training_sections(
    test_data: Path, vectors: Path
) -> None:
    sections = {name: her2st(test_data, name) for name in ("C2", "C3", "C4", "C5")}
    with np.load(vectors / "preprocessing_her2st_C6.npz") as content:
        assert choose_panel(sections).genes == tuple(content["genes"].tolist())


def section_of(counts: np.ndarray, genes: list[str]) -> AnnData:
    spots = drawn_spots("square", 5, len(counts) // 5, genes=tuple(genes))
    spots.X = csr_matrix(counts.astype(np.float32))
    return spots


def test_the_mean_is_over_all_spots_of_all_sections() -> None:
    # A is ahead in the small section, B over all spots.
    small = section_of(np.tile([8, 3], (20, 1)), ["A", "B"])
    large = section_of(np.tile([4, 6], (200, 1)), ["A", "B"])
    panel = choose_panel({"s": small, "l": large}, PanelSettings(n_genes=1))
    assert panel.genes == ("B",)


def test_only_genes_of_all_sections_are_chosen() -> None:
    one = drawn_spots(genes=("A", "B", "C"))
    two = drawn_spots(genes=("C", "D", "A"))
    panel = choose_panel({"one": one, "two": two})
    assert set(panel.genes) == {"A", "C"}
    assert panel.report == (
        "2 genes with the highest mean count of the 2 in every section; 250 were asked for"
    )


def test_sections_without_shared_genes_are_named() -> None:
    sections = {"human": drawn_spots(genes=("ACTB",)), "mouse": drawn_spots(genes=("Actb",))}
    with pytest.raises(InputError, match=r"mouse shares none with human .*'Actb'.*'ACTB'"):
        choose_panel(sections)


def test_equal_scores_stand_in_the_order_of_names() -> None:
    spots = section_of(np.ones((20, 3)), ["C", "A", "B"])
    assert choose_panel({"s": spots}).genes == ("A", "B", "C")


HUMAN = ["RPS6", "RPL36AL", "RPLP0", "RPSA", "RPS4Y1", "MT-CO1", "MT-RNR2"]
MOUSE = ["Rps27a", "Rpl10", "Rplp1", "Rpsa", "mt-Nd4", "mt-Atp6"]
LEFT_OUT = HUMAN + MOUSE
KEPT = ["RPS6KA1", "Rps6ka2", "MRPL12", "MRPS5", "MTOR", "MT1X", "Mt2", "RPN1", "RPRD1A"]


def test_ribosomal_and_mitochondrial_genes_of_man_and_mouse_are_left_out() -> None:
    spots = drawn_spots(genes=(*LEFT_OUT, *KEPT))
    settings = PanelSettings(leave_out_ribosomal=True, leave_out_mitochondrial=True)
    panel = choose_panel({"s": spots}, settings)
    assert set(panel.genes) == set(KEPT)
    assert f"{len(LEFT_OUT)} ribosomal or mitochondrial genes left out" in panel.report
    only_mt = choose_panel({"s": spots}, PanelSettings(leave_out_mitochondrial=True))
    assert set(LEFT_OUT) & set(only_mt.genes) == {g for g in LEFT_OUT if g[:2] not in ("MT", "mt")}


def test_ensembl_ids_do_not_tell_ribosomal_genes(test_data: Path) -> None:
    with pytest.raises(InputError, match=r"known by their symbols.*ENSMUSG"):
        choose_panel({"MOB1": mob(test_data, 1)}, PanelSettings(leave_out_ribosomal=True))


def test_a_given_list_keeps_its_order_and_reports_what_is_missing() -> None:
    settings = PanelSettings("given", genes=("C", "Z", "A", "C"))
    panel = choose_panel({"s": drawn_spots()}, settings)
    assert panel.genes == ("C", "A")
    assert panel.report == "2 of the 3 genes of the list; 1 gene is not in the section: Z"
    given = PanelSettings("given", genes=panel.genes)
    whole = choose_panel({"s": drawn_spots()}, given, whose="the start model")
    assert whole.report == "the 2 genes of the start model"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (PanelSettings("given"), "list of genes has none"),
        (
            PanelSettings("given", genes=("X", "Y")),
            "panel is empty: 2 genes are not in the section: X, Y",
        ),
    ],
)
def test_an_empty_panel_is_an_error(settings: PanelSettings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_panel({"s": drawn_spots()}, settings)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_genes": 0}, "n_genes is 0; it must be at least 1"),
        ({"rule": "best"}, "rule is 'best'; it must be one of mean, variable, spatial, given"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PanelSettings(**wrong)


def test_no_sections_is_an_error() -> None:
    with pytest.raises(InputError, match="no section"):
        choose_panel({})


def test_variable_genes_are_those_of_scanpy(test_data: Path) -> None:
    scanpy = pytest.importorskip("scanpy")
    spots = mob(test_data, 2)
    ours = choose_panel({"MOB2": spots}, PanelSettings("variable", 50)).genes
    residuals = scanpy.experimental.pp.normalize_pearson_residuals(spots, inplace=False)["X"]
    order = np.argsort(-np.var(residuals, axis=0))
    assert set(ours) == set(spots.var_names[order[:50]])


def naive_morans_i(values: np.ndarray, neighbors: np.ndarray) -> float:
    mean = sum(values) / len(values)
    above = below = weight = 0.0
    for i, a in enumerate(values):
        below += (a - mean) ** 2
        for j, b in enumerate(values):
            if neighbors[i, j]:
                above += (a - mean) * (b - mean)
                weight += 1
    return len(values) / weight * above / below


def test_morans_i_equals_a_naive_loop(test_data: Path) -> None:
    spots = her2st(test_data, "C2")
    neighbors = spot_array(spots).neighbors
    values = np.log1p(spots[:, ["ERBB2", "FABP7", "ACTB"]].X.toarray())
    naive = [naive_morans_i(column, neighbors.toarray()) for column in values.T]
    np.testing.assert_allclose(morans_i(values, neighbors), naive, rtol=1e-5)


def test_morans_i_of_a_constant_gene_is_nan_and_of_a_chessboard_negative() -> None:
    spots = drawn_spots()
    row, column = spots.obs["array_row"], spots.obs["array_col"]
    values = np.column_stack(
        [np.full(spots.n_obs, 0.1), (row + column) % 2, column, np.zeros(spots.n_obs)]
    )
    constant, chess, slope, zero = morans_i(values, spot_array(spots).neighbors)
    assert np.isnan(constant)
    assert np.isnan(zero)
    assert chess < 0 < 0.7 < slope


def test_spatial_panels_put_what_varies_in_space_first() -> None:
    rng = np.random.default_rng(0)
    spots = drawn_spots("hexagonal", 12, 12, genes=("flat", "noisy", "left", "rest"))
    left = spots.obs["array_col"].to_numpy() < 12
    counts = rng.poisson([20, 1, 1, 200], (spots.n_obs, 4))
    counts[:, 1] *= rng.integers(0, 20, spots.n_obs)
    counts[left, 2] += rng.poisson(15, left.sum())
    spots.X = csr_matrix(counts.astype(np.float32))
    assert choose_panel({"s": spots}, PanelSettings("spatial", 1)).genes == ("left",)
    assert choose_panel({"s": spots}, PanelSettings("variable", 1)).genes == ("noisy",)
