"""A prediction as AnnData: its keys, and how it is made, read, written and laid out in space."""
