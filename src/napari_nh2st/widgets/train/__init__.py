"""The *Train* dock: sections, settings, curves and scores of a training."""
