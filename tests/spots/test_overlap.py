"""Panels and sections that have few genes in common."""

import pytest

from napari_nh2st.spots.overlap import panel_overlap

HUMAN = [f"GENE{i}" for i in range(250)]
MOUSE = [name.capitalize() for name in HUMAN]


@pytest.mark.parametrize(
    ("shared", "is_refused", "is_told"),
    [(250, False, False), (125, False, False), (124, False, True), (13, False, True),
     (12, True, True), (0, True, True)],
)  # fmt: skip
def test_few_genes_in_common_are_told_and_next_to_none_refused(
    shared: int, is_refused: bool, is_told: bool
) -> None:
    genes = [*HUMAN[:shared], *(f"OTHER{i}" for i in range(9000))]
    overlap = panel_overlap(HUMAN, genes, name="C3")
    assert (overlap.n_shared, overlap.n_panel) == (shared, 250)
    assert overlap.share == shared / 250
    assert overlap.is_refused == is_refused
    assert (overlap.sentence is not None) == is_told
    if overlap.sentence is not None:
        number = f"only {shared} of the 250 genes of" if shared else "no gene with"
        assert overlap.sentence.startswith(f"C3 shares {number} the model's panel")
        assert "mouse" not in overlap.sentence


def test_a_shared_name_does_not_hide_another_species() -> None:
    overlap = panel_overlap([*MOUSE, "C3", "C6"], [*HUMAN, "C3", "C6"])
    assert overlap.is_refused
    assert overlap.sentence == (
        "The section shares only 2 of the 252 genes of the model's panel: the panel has mouse "
        "symbols (Gene0, …), the section human symbols (GENE0, …). It looks like a mouse model on "
        "a human section."
    )


def test_ids_are_told_from_symbols_and_species_from_each_other() -> None:
    ids = [f"ENSG{i:011}" for i in range(20)]
    mouse_ids = [f"ENSMUSG{i:011}" for i in range(20)]
    sentence = panel_overlap(HUMAN, ids).sentence
    assert sentence is not None
    assert "the panel has human symbols (GENE0, …), the section Ensembl ids (ENSG…)" in sentence
    sentence = panel_overlap(mouse_ids, ids).sentence
    assert sentence is not None
    assert "the panel has Ensembl ids (ENSMUSG…), the section Ensembl ids (ENSG…)" in sentence


def test_nothing_is_said_of_an_empty_panel() -> None:
    overlap = panel_overlap([], HUMAN)
    assert (overlap.sentence, overlap.is_refused, overlap.share) == (None, False, 1.0)
