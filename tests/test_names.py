"""Names as users write them: lists of genes, and near misses."""

import pytest

from napari_nh2st.names import folded_names, nearest_names, parse_genes

PANEL = ("ERBB2", "ERBB3", "EPCAM", "CD74", "COL1A1", "VIM")


@pytest.mark.parametrize(
    ("text", "genes"),
    [
        ("", ()),
        (" , ;\n", ()),
        ("ERBB2,CD74", ("ERBB2", "CD74")),
        ("ERBB2; CD74\tVIM\nESR1", ("ERBB2", "CD74", "VIM", "ESR1")),
        ("\"ERBB2\", 'CD74', `VIM`", ("ERBB2", "CD74", "VIM")),
        ("CD74 ERBB2 CD74", ("CD74", "ERBB2")),
        ("HLA-A MT-CO1 H2-K1.1", ("HLA-A", "MT-CO1", "H2-K1.1")),
    ],
)
def test_genes_are_parsed_from_pasted_text(text: str, genes: tuple[str, ...]) -> None:
    assert parse_genes(text) == genes


def test_the_nearest_names_come_whatever_their_case() -> None:
    assert nearest_names("erbb", PANEL) == ("ERBB3", "ERBB2")
    assert nearest_names("epcan", PANEL, n=1) == ("EPCAM",)
    assert nearest_names("xyzzy", PANEL) == ()
    assert nearest_names("vimm", folded_names(PANEL)) == ("VIM",)


def test_of_names_that_differ_in_case_the_first_stands() -> None:
    assert folded_names(["Cd74", "CD74", "VIM"]) == {"cd74": "Cd74", "vim": "VIM"}
