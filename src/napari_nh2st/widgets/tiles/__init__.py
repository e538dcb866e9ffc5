"""The *Tile* tab: what is known of the tile that was clicked."""
