"""The *Predict* dock: choose a slide and a model, run, watch, stop, go on."""
