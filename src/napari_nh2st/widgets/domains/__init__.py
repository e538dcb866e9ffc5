"""The *Domains* tab: clusters of tiles, named and drawn."""
