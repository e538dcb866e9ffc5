"""The *Compare* dock: measured ST on its slide, beside what a model predicts."""
