"""A prediction as AnnData: how it is made, read, written, and laid out in space."""
