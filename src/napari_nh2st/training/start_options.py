"""Options whose default is what the start model has."""

from napari_nh2st.options import Option


def of_start(published: float) -> str:
    """The default in words."""
    return f"the start model's, else {published:g}"


def shape_option(label: str, text: str, published: int, most: int = 65_536) -> Option:
    """Option of a whole number that fixes a shape of the network."""
    return Option(label, text, (1, most), default=of_start(published))
