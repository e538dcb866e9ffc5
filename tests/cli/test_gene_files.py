"""Files of gene names, as people have them."""

from pathlib import Path

import pytest

from napari_nh2st.cli.options import read_genes


@pytest.mark.parametrize(
    "text",
    [
        "ERBB2\nHLA-A\nIGKC\n",
        "ERBB2, HLA-A,IGKC",
        "ERBB2;HLA-A;IGKC\r\n",
        "ERBB2\tHLA-A\tIGKC\n",
        '"ERBB2"\n"HLA-A"\n"IGKC"\n',
        "\ufeffERBB2\r\n\r\n# HLA-B\r\nHLA-A  # class I\r\nIGKC,\r\n",
    ],
    ids=["lines", "commas", "semicolons", "a row of a spreadsheet", "R's quotes", "Windows"],
)
def test_gene_files_of_many_hands_read_the_same(tmp_path: Path, text: str) -> None:
    (tmp_path / "genes.txt").write_text(text, encoding="utf-8", newline="")
    assert read_genes(tmp_path / "genes.txt") == ("ERBB2", "HLA-A", "IGKC")
