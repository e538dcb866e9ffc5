"""napari's side of the package: widgets over the core, one file each."""
