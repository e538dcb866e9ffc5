"""napari layers of slides, predictions and measured spots, and how they are opened and saved."""
