"""The *Regions* tab: genes in drawn polygons, and between two of them."""
