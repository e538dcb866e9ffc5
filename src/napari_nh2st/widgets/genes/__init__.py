"""The *Genes* dock: the table of genes, and the layers that show them."""
