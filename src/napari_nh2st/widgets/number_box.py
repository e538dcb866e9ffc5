"""A box for a number that may be left out."""

from qtpy.QtWidgets import QDoubleSpinBox


def number_box(low: float, high: float, decimals: int, suffix: str, special: str) -> QDoubleSpinBox:
    """A spin box that shows the words `special` at `low`, which stands for "none"."""
    box = QDoubleSpinBox()
    box.setRange(low, high)
    box.setDecimals(decimals)
    box.setSuffix(suffix)
    box.setSpecialValueText(special)
    return box
