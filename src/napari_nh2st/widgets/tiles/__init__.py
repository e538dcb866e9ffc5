"""The *Tile* tab: genes, neighborhood and pictures of the tile that was clicked."""
