"""*Genes* dock: table of genes, pinned genes, signatures and display; tiles, domains, regions."""
